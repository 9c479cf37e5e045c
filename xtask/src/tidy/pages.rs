//! Every error code has its page in `docs/errors/`, every page a code, and the index names them all.

use std::path::Path;

use anyhow::Context as _;
use wharf_protocol::ErrorCode;

use super::Fault;

const DIR: &str = "docs/errors";

pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Fault>> {
    let dir = root.join(DIR);
    let index = format!("{DIR}/README.md");
    let words = std::fs::read_to_string(root.join(&index)).unwrap_or_default();
    let mut faults = Vec::new();
    for code in ErrorCode::ALL {
        let name = format!("{DIR}/{code}.md");
        match std::fs::read_to_string(root.join(&name)) {
            Err(_) => faults.push(Fault::new(&name, 1, format!("the code {code} has no page"))),
            Ok(page) => {
                if !page.starts_with(&format!("# `{code}`")) {
                    faults.push(Fault::new(
                        &name,
                        1,
                        format!("the page begins with another title than `{code}`"),
                    ));
                }
                if !page.contains("## What to do") {
                    faults.push(Fault::new(&name, 1, "the page does not say what to do"));
                }
            }
        }
        if !words.contains(&format!("({code}.md)")) {
            faults.push(Fault::new(&index, 1, format!("the index does not name {code}")));
        }
    }
    if !dir.is_dir() {
        return Ok(faults);
    }
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let known = name == "README.md" || ErrorCode::ALL.iter().any(|code| name == format!("{code}.md"));
        if !known {
            faults.push(Fault::new(format!("{DIR}/{name}"), 1, "there is no such code"));
        }
    }
    Ok(faults)
}
