//! Values that become code are caught, in whatever a template is written.

use super::*;

/// What `--inject` says of a template that is bad in one way.
async fn caught(place: &Place, wanted: &str) {
    let report = inject(&at(place, "t")).await;
    let said: Vec<_> = report
        .failures
        .iter()
        .map(|failure| format!("{}: {}: {}", failure.slot, failure.value, failure.detail))
        .collect();
    assert!(said.iter().any(|said| said.contains(wanted)), "{wanted}\n{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_become_code_are_caught_in_lua() {
    let place = Place::new();
    for (argv, wanted) in [
        ("{ 'mysub', p.queue }", "option: write it as --name=VALUE"),
        ("{ 'mysub', '--name', ('%q'):format(p.queue) }", "instead of"),
        ("{ 'mysub', '--wrap=run ' .. p.queue }", "read as shell text"),
        ("{ 'mysub', unpack(string.split(p.queue, ' ')) }", "words instead of"),
    ] {
        lua(&place, argv);
        caught(&place, wanted).await;
    }
    // The same values as data.
    for argv in
        ["{ 'mysub', '--queue=' .. p.queue }", "{ 'mysub', '-q', p.queue }", "{ 'mysub', '--', p.queue }"]
    {
        lua(&place, argv);
        let report = inject(&at(&place, "t")).await;
        assert!(report.failures.is_empty(), "{argv}: {:#?}", report.failures);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_become_code_are_caught_in_documents() {
    let place = Place::new();
    let document = |text: &str| {
        place.lua(
            "t",
            "[hooks]\ncommands = [\"mysub\"]\n",
            "function M.submit(req)\n\
             local file = host.tmp('job.sh', host.render('job.sh.j2', { command = req.session.command }))\n\
             host.exec { argv = { 'mysub', file } }\nreturn { job_id = '1' }\nend\n",
        );
        place.write("t", "files/job.sh.j2", text);
    };
    for text in [
        "#!/bin/sh\nexec {% for word in command %}{{ word }} {% endfor %}\n",
        "#!/bin/sh\nexec {% for word in command %}\"{{ word }}\" {% endfor %}\n",
        "#!/bin/sh\nexec {% for word in command %}'{{ word }}' {% endfor %}\n",
        "#!/bin/sh\n#SBATCH --comment={{ command[1] }}\n",
    ] {
        document(text);
        caught(&place, "is a script, with a value in it that is not quoted").await;
    }
    for text in [
        "#!/bin/sh\nexec {% for word in command %}{{ word | shq }} {% endfor %}\n",
        "#!/bin/sh\n#SBATCH --comment={{ command[1] | directive }}\n",
    ] {
        document(text);
        let report = inject(&at(&place, "t")).await;
        assert!(report.failures.is_empty(), "{text}: {:#?}", report.failures);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_become_code_are_caught_in_executables() {
    let place = Place::new();
    let name = r#"request=$(cat)
name=$(printf '%s' "$request" | sed -n 's/.*"tags":{"inject":"\(\([^"\\]\|\\.\)*\)".*/\1/p')
"#;
    for (body, wanted) in [
        ("eval \"mysub --name=$name\"", "a value was run as code"),
        ("sh -c \"mysub --name=$name\"", "a value was run as code"),
        ("mysub $name", "instead of"),
        ("echo \"$name\" | sh >/dev/null 2>&1; mysub", "a value was run as code"),
        ("printf '#!/bin/sh\\necho %s\\n' \"$name\" > job.sh; mysub job.sh", "is a script, with a value"),
    ] {
        sh(&place, &format!("{name}{body}\necho 1"));
        caught(&place, wanted).await;
    }
    assert_eq!(processes("wharf-canary"), Vec::<i32>::new());
}
