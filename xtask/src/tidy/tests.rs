//! The tree keeps the rules, and each rule finds what is planted against it.

use super::*;

#[test]
fn the_tree_is_tidy() {
    let findings = check(crate::root()).unwrap();
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} to tidy:\n{}", lines.len(), lines.join("\n"));
}

fn lines(path: &str, text: &str) -> Vec<(usize, String)> {
    code::judge(path, text).0.into_iter().map(|fault| (fault.line, fault.message)).collect()
}

#[test]
fn a_module_opens_with_what_it_is_for() {
    assert!(lines("core/src/a.rs", "//! What it is for.\nfn a() {}\n").is_empty());
    assert_eq!(lines("core/src/a.rs", "fn a() {}\n").len(), 1);
    assert!(lines("core/src/a/tests.rs", "fn a() {}\n").is_empty(), "its parent says it");
    assert_eq!(lines("tests/it/a.rs", "fn a() {}\n").len(), 1);
}

#[test]
fn words_count_only_as_code() {
    let text = "//! No todo!() and #[ignore] here.\nfn a() -> &'static str { \"todo!() sleep(1)\" }\n";
    assert!(lines("core/src/a.rs", text).is_empty());
    let text = "//! Words.\nmod utils;\n#[ignore = \"slow\"]\nfn a() {\n    todo!()\n}\n";
    let found: Vec<usize> = lines("core/src/a.rs", text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(found, [2, 3, 5]);
    assert_eq!(lines("core/src/helpers.rs", "//! Words.\n").len(), 1);
}

#[test]
fn sleep_is_for_the_product_and_for_waiting() {
    let product = "//! Words.\nfn a() { sleep(1); }\n";
    assert!(lines("core/src/a.rs", product).is_empty());
    assert_eq!(lines("core/tests/a.rs", product).len(), 1);
    assert!(lines("tests/src/wait.rs", product).is_empty());
    let inside =
        "//! Words.\n#[cfg(test)]\nmod tests {\n    fn a() {\n        std::thread::sleep(x);\n    }\n}\n";
    assert_eq!(lines("core/src/a.rs", inside).first().map(|(line, _)| *line), Some(5));
    let excused = "//! Words.\nfn a() {\n    // tidy: sleeps because the clock is paused\n    sleep(1);\n}\n";
    assert!(lines("core/tests/a.rs", excused).is_empty());
    let without = "//! Words.\nfn a() {\n    // tidy: sleeps because \n    sleep(1);\n}\n";
    assert_eq!(lines("core/tests/a.rs", without).len(), 1, "an excuse has a reason");
}

#[test]
fn length_counts_without_tests() {
    let line = "const A: u8 = 1;\n";
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(900));
    let (faults, length) = code::judge("core/src/a.rs", &format!("//! Words.\n{}{tests}", line.repeat(400)));
    assert_eq!((faults, length), (Vec::new(), 401));
    for (count, part) in [(600, "reason"), (900, "the most")] {
        let (faults, _) = code::judge("core/src/a.rs", &format!("//! Words.\n{}", line.repeat(count)));
        assert!(faults.iter().any(|fault| fault.message.contains(part)), "{faults:?}");
    }
    assert!(code::judge("core/src/a/tests.rs", &line.repeat(900)).0.is_empty());
}

#[test]
fn arrows_point_one_way() {
    let text =
        "[package]\nname = \"wharf-monitor\"\n[lints]\nworkspace = true\n[dependencies]\nwharf-core = 1\n";
    let member = |name, uses| arrows::Member { name, manifest: "m/Cargo.toml", text, uses };
    assert!(arrows::judge(&member("wharf-monitor", vec!["wharf-link"])).is_empty());
    let faults = arrows::judge(&member("wharf-monitor", vec!["wharf-core"]));
    assert_eq!(faults, [Fault::new("m/Cargo.toml", 6, "wharf-monitor must not know wharf-core")]);
    assert_eq!(arrows::judge(&member("wharf-new", vec![])).len(), 1);
    let bare = arrows::Member { text: "[package]\n", ..member("wharf-core", vec![]) };
    assert_eq!(arrows::judge(&bare).len(), 1, "lints are the workspace's");
}

#[test]
fn licences_and_sources() {
    for good in ["MIT OR Apache-2.0", "MIT/Apache-2.0", "Apache-2.0 WITH LLVM-exception", "GPL-3.0 OR MIT"] {
        assert_eq!(supply::licence(Some(good)), None, "{good}");
    }
    for bad in [Some("GPL-3.0-only"), Some("MIT AND AGPL-3.0-only"), Some("my own words"), None] {
        assert!(supply::licence(bad).is_some(), "{bad:?}");
    }
    let lock =
        "[[package]]\nname = \"a\"\n[[package]]\nname = \"b\"\nsource = \"git+https://example.org/b#1\"\n";
    let faults = supply::sources(lock).unwrap();
    assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [4]);
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let all = wharf_protocol::ErrorCode::ALL.len();
    assert_eq!(pages::check(dir.path()).unwrap().len(), 2 * all, "no pages, no index");
    let errors = dir.path().join("docs/errors");
    std::fs::create_dir_all(&errors).unwrap();
    std::fs::write(errors.join("nothing.md"), "").unwrap();
    std::fs::write(errors.join("usage.md"), "# `usage`\n\n## What to do\n").unwrap();
    assert_eq!(pages::check(dir.path()).unwrap().len(), 2 * all, "one page less, one stranger more");
}
