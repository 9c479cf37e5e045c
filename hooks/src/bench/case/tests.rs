use serde_json::json;

use super::*;

const CASE: &str = r##"# Why it is here.
hook = "submit"
now = "2026-01-01T10:00:00Z"
unordered = true

[request]
mode = "stop"
[request.session.params]
queue = "it's; $(id)"
text = "two\nlines"

[[command]]
argv = ["mysub", "--name=\u001bx", 'say "so"']
stdin = """
#!/bin/sh
exit 1
"""
env = { A = "1" }
status = 3
stdout = "4711\n"
stderr = "tab\there"

[[command]]
argv = ["shell.list", '{"tags":[]}']
kind = "unavailable"
signal = 9

[[file]]
name = "job.sh"
text = "#!/bin/sh\n"

[expect.result]
job_id = "4711"
"a b" = [1, 2.5, true]
"##;

#[test]
fn a_case_is_read_and_written_back_as_it_was() {
    let case = read("tests/a.toml", CASE).unwrap();
    assert_eq!(case.hook, Hook::Submit);
    assert_eq!(case.commands[0].stdin.as_deref(), Some("#!/bin/sh\nexit 1\n"));
    assert_eq!(case.commands[1].kind, Some(HookErrorKind::Unavailable));
    assert_eq!(case.expect, Expect::Result(json!({ "job_id": "4711", "a b": [1, 2.5, true] })));
    let again =
        read("tests/a.toml", &case.to_toml()).unwrap_or_else(|found| panic!("{found:?}\n{}", case.to_toml()));
    assert_eq!(again, case, "{}", case.to_toml());
    assert!(case.to_toml().starts_with("# Why it is here.\n"));
}

#[test]
fn every_mistake_of_a_case_is_told_with_its_line() {
    let found = read(
        "tests/a.toml",
        "hook = \"submitt\"\nexpekt = 1\n[[command]]\nstatus = \"x\"\n[expect]\nresult = {}\nerror = \"invalid\"\n",
    )
    .unwrap_err();
    let said: Vec<_> = found.iter().map(|finding| (finding.line.unwrap(), finding.code.as_str())).collect();
    for (line, code) in [(1, "unknown_hook"), (2, "unknown_key"), (3, "missing"), (4, "type")] {
        assert!(said.contains(&(line, code)), "{code} in line {line}: {found:?}");
    }
    assert!(found.iter().any(|finding| finding.message.contains("did you mean `submit`?")), "{found:?}");
    assert!(found.iter().any(|finding| finding.code == "expect"), "{found:?}");
}
