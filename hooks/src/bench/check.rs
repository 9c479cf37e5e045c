//! Every finding about a template at once: what keeps it from loading, what will fail when it runs, what looks wrong.

use wharf_protocol::template::{Finding, Severity};

use super::{Bench, case, lint};

impl Bench {
    /// Everything that is wrong with the template, and everything that looks wrong; by file and line.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = match &self.built {
            Ok(version) => version.findings.clone(),
            Err(findings) => findings.clone(),
        };
        let version = self.built.as_ref().ok();
        if version.is_none() {
            // A manifest that does not parse hides what the hooks have to say.
            let _ = crate::lua::hooks_of(&self.files, &mut findings);
        }
        let module = version.and_then(|version| self.hooks.module_of(version)).map(|module| {
            let functions = module.functions().iter().map(|function| function.name).collect();
            (module.name().to_owned(), functions)
        });
        lint::look(&self.files, version.map(AsRef::as_ref), module.as_ref(), &mut findings);
        lint::place(&self.files, &mut findings);
        let (_, mut cases) = case::all(&self.files);
        findings.append(&mut cases);
        findings.sort_by(|a, b| {
            let place = |finding: &Finding| (finding.file.clone(), finding.line.unwrap_or(0));
            let severity = |finding: &Finding| finding.severity == Severity::Warning;
            place(a).cmp(&place(b)).then(severity(a).cmp(&severity(b))).then(a.message.cmp(&b.message))
        });
        findings.dedup();
        findings
    }
}
