//! `wharf demo`: the first thing that a newcomer runs.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use wharf_tests::launcher::Home;
use wharf_tests::{Probe, alone, cli, processes, until};

#[test]
fn once_shows_every_action_and_exits_0_in_time() {
    let _alone = alone();
    let home = Home::new();
    let output = home.cli(&["demo", "--once"]);
    output.exits(0);
    assert!(output.took < Duration::from_secs(10), "{output}");
    let said = format!("{}{}", output.stdout, output.stderr).to_lowercase();
    for action in
        ["start", "connect", "exec", "params", "logs", "share", "disconnect", "purge", "terminate", "pending"]
    {
        assert!(said.contains(action), "no word of {action}: {output}");
    }
    let home = home.path().to_string_lossy().into_owned();
    until("nothing of the demo runs on", Duration::from_secs(5), || {
        let left = processes::mentioning(&home);
        let lines: Vec<String> = left.iter().map(processes::Process::command_line).collect();
        Probe::when(left.is_empty(), (), || format!("{lines:?}"))
    });
}

#[test]
fn without_once_it_stays_until_ctrl_c_and_prints_an_address() {
    let _alone = alone();
    let home = Home::new();
    let mut command = home.command(&["demo"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("wharf is there");
    let stdout = child.stdout.take().expect("it is piped");
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            _ = sender.send(line);
        }
    });
    let mut seen = Vec::new();
    until("an address is printed", Duration::from_secs(20), || {
        seen.extend(lines.try_iter());
        let address = seen.iter().any(|line: &String| line.contains("http://"));
        Probe::when(address, (), || seen.join("\n"))
    });
    assert!(matches!(child.try_wait(), Ok(None)), "it waits for Ctrl-C: {seen:?}");
    processes::send(i32::try_from(child.id()).expect("a process id fits"), Signal::INT);
    let code = cli::finish(&mut child, Duration::from_secs(10));
    assert!(matches!(code, 0 | 130), "Ctrl-C is the way to end it, exit {code}");
}
