use clap::CommandFactory as _;

use super::session::{Change, KeyArg, parse_key};
use super::*;

fn parse(line: &str) -> Result<Arguments, String> {
    Arguments::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
}

#[test]
fn the_grammar_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_says_what_it_does_in_one_short_line() {
    fn check(command: &clap::Command, below: &str) {
        for sub in command.get_subcommands() {
            let name = format!("{below} {}", sub.get_name());
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            assert!((8..=70).contains(&about.len()) && !about.ends_with('.'), "{name}: {about:?}");
            check(sub, &name);
        }
    }
    check(&Arguments::command(), "wharf");
}

#[test]
fn start_takes_all_that_the_contract_names() {
    let line = "wharf start slurm -p partition=gpu -p note=a=b --name x --tag k=v --env A=1 --key K --wait=30s --attach -- sh -c x";
    let Ok(Arguments { command: Command::Start(start), .. }) = parse(line) else { panic!("it is a start") };
    assert_eq!(start.template, "slurm");
    assert_eq!(start.params[1], Pair { key: "note".to_owned(), value: "a=b".to_owned() });
    assert_eq!(start.wait, Some(Some(Dur::secs(30))));
    assert_eq!(start.command, ["sh", "-c", "x"]);
    let Ok(Arguments { command: Command::Start(start), .. }) = parse("wharf start shell --wait") else {
        panic!("it is a start")
    };
    assert_eq!(start.wait, Some(None));
}

#[test]
fn options_stand_before_and_after_what_they_belong_to() {
    for line in [
        "wharf --output json list",
        "wharf list --output=json",
        "wharf exec -it ID -- bash",
        "wharf exec ID -i -t -- bash",
        "wharf share ID --list",
        "wharf share ID --with link --expires 1h",
        "wharf params ID a=b c-",
        "wharf terminate A B --grace 5s --no-wait",
        "wharf logs -f ID --tail 3 --stream stdout",
        "wharf wait ID --for ended --timeout 3s",
        "wharf serve --listen unix:/x --listen http://127.0.0.1:0 --templates a --insecure-http",
        "wharf token create --scope guest --user bob",
        "wharf config show --default",
        "wharf demo --once",
        "wharf man",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn what_is_wrong_is_refused() {
    for line in [
        "wharf",
        "wharf nonsense",
        "wharf start",
        "wharf start x -p novalue",
        "wharf start x -p =v",
        "wharf start x --wait=soon",
        "wharf start x cmd",
        "wharf list --all --state ended",
        "wharf list --limit 0",
        "wharf list --output yaml",
        "wharf exec ID",
        "wharf wait ID",
        "wharf wait ID --for lunch",
        "wharf share ID",
        "wharf share ID --with bob",
        "wharf share ID --with user:",
        "wharf share ID --list --exec",
        "wharf params ID a",
        "wharf purge",
        "wharf terminate",
        "wharf token create --scope guest",
        "wharf token create --scope everything",
        "wharf attach ID --detach-key x",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn variables_are_passed_through_when_they_are_set() {
    assert_eq!(Pair::parse_env("A=").unwrap().value, "");
    assert_eq!(Pair::parse_env("PATH").unwrap().value, std::env::var("PATH").unwrap());
    assert!(Pair::parse_env("SURELY_NOT_SET_ANYWHERE").is_err());
}

#[test]
fn changes_set_and_remove() {
    assert_eq!(Change::parse("a=b-").unwrap(), Change { key: "a".to_owned(), value: Some("b-".to_owned()) });
    assert_eq!(Change::parse("a-").unwrap(), Change { key: "a".to_owned(), value: None });
    for text in ["", "-", "a", "=b"] {
        assert!(Change::parse(text).is_err(), "{text}");
    }
}

#[test]
fn detach_keys_are_control_characters() {
    assert_eq!(parse_key("ctrl-]"), Ok(KeyArg(Some(0x1d))));
    assert_eq!(parse_key("^P"), Ok(KeyArg(Some(0x10))));
    assert_eq!(parse_key("none"), Ok(KeyArg(None)));
    for text in ["", "x", "ctrl-", "ctrl-1", "ctrl-ab"] {
        assert!(parse_key(text).is_err(), "{text}");
    }
}

#[test]
fn the_help_is_as_it_was_looked_at() {
    insta::assert_snapshot!(Arguments::command().term_width(100).render_help());
}
