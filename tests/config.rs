//! The configuration file: what goes first, what is refused, and that no stranger's file is read.

use crate::support::command::{Outcome, arg, finish, remelt, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with two dumps that differ in more than three documents.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { root: tempfile::tempdir().unwrap() };
        for (name, seed) in [("a", "1"), ("b", "2")] {
            let path = place.at(name);
            run(["generate", arg(&path), "--tokens", "20", "--seed", seed, "-q"]).exits(0);
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn command(&self, line: &str) -> Command {
        let mut command = remelt(line.split(' '));
        command.current_dir(self.root.path()).env_remove("REMELT_CONFIG");
        command.env("XDG_CONFIG_HOME", self.at("xdg")).env("HOME", self.at("home"));
        command
    }

    fn run(&self, line: &str) -> Outcome {
        finish(&mut self.command(line))
    }
}

/// How many differences a comparison listed, which its option `--limit` bounds.
fn listed(outcome: Outcome) -> usize {
    outcome.exits(4).json()["differences"].as_array().unwrap().len()
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_built_in_default() {
    let place = Place::new();
    place.put("c.toml", "# a comment\n[diff]\nlimit = 3\n", 0o600);
    place.put("xdg/remelt/config.toml", "[diff]\nlimit = 2\n", 0o600);
    let line = "diff a b --json";
    assert_eq!(listed(place.run(line)), 2, "the user's own file");
    assert_eq!(listed(place.run(&format!("{line} --limit 1"))), 1, "a flag");
    assert_eq!(listed(place.run(&format!("{line} --config c.toml"))), 3, "a named file");
    assert_eq!(listed(place.run(&format!("{line} --config=c.toml --limit 1"))), 1);
    let by_variable = |value: &str| listed(finish(place.command(line).env("REMELT_CONFIG", value)));
    assert_eq!(by_variable("c.toml"), 3);
    assert!(by_variable("") > 3, "set and empty: no file");
    place.put("both.toml", "limit = 3\n[diff]\nlimit = 2\n", 0o600);
    assert_eq!(by_variable("both.toml"), 2, "a command's own goes before what all share");
    place.put("home/.config/remelt/config.toml", "[diff]\nlimit = 1\n", 0o600);
    let mut at_home = place.command(line);
    assert_eq!(listed(finish(at_home.env_remove("XDG_CONFIG_HOME"))), 1, "below HOME");
}

#[test]
fn the_environment_goes_before_the_file() {
    let place = Place::new();
    let uri = |port: u16| format!("mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=50");
    place.put("c.toml", &format!("uri = \"{}\"\n", uri(1)), 0o600);
    let told = |outcome: Outcome| outcome.exits(1).error().1;
    let message = told(place.run("status --json --config c.toml"));
    assert!(message.contains("127.0.0.1:1"), "{message}");
    let mut command = place.command("status --json --config c.toml");
    let message = told(finish(command.env("MONGODB_URI", uri(2))));
    assert!(message.contains("127.0.0.1:2"), "{message}");
    let mut command = place.command(&format!("status --json --config c.toml --uri {}", uri(3)));
    let message = told(finish(command.env("MONGODB_URI", uri(2))));
    assert!(message.contains("127.0.0.1:3"), "{message}");
}

#[test]
fn a_file_in_the_working_directory_is_not_read() {
    let place = Place::new();
    for name in ["remelt.toml", ".remelt.toml", "config.toml", "remelt/config.toml"] {
        place.put(name, "[diff]\nlimit = 1\n", 0o600);
    }
    assert!(listed(place.run("diff a b --json")) > 3);
    let mut relative = place.command("diff a b --json");
    assert!(listed(finish(relative.env("XDG_CONFIG_HOME", ".").env("HOME", "."))) > 3);
}

#[test]
fn what_is_not_known_or_of_the_wrong_type_is_refused_with_its_line() {
    let place = Place::new();
    for (text, line, told, advice) in [
        ("\nworker = 2\n", 2, "worker is no option", "did you mean workers?"),
        ("[diff]\nlimt = 2\n", 2, "limt is no option", "did you mean limit?"),
        ("[dif]\nlimit = 2\n", 1, "[dif] is no command", "did you mean diff?"),
        ("zebra = 2\n", 1, "zebra is no option", "lists"),
        ("[diff]\nlimit = \"2\"\n", 2, "limit can't be a string", "whole number"),
        ("[diff]\nlimit = 2.5\n", 2, "limit can't be a float", "whole number"),
        ("[diff]\nlimit = -1\n", 2, "limit can't be this", ""),
        ("db = 5\n", 1, "db can't be a integer", "text in double quotes"),
        ("memory = true\n", 1, "memory can't be a boolean", "512MiB"),
        ("memory = \"lots\"\n", 1, "memory can't be this", "512MiB"),
        ("workers = 99\n", 1, "workers can't be this", ""),
        ("on-drift = \"sometimes\"\n", 1, "on-drift can't be this", "abort, skip"),
        ("log-format = \"xml\"\n", 1, "log-format can't be this", "text, json"),
        ("\n\nconfirm = true\n", 3, "confirm can't be a default", "on the command line"),
        ("yes = true\n", 1, "yes can't be a default", "on the command line"),
        ("target = \"a/b\"\n", 1, "target can't be a default", "on the command line"),
        ("quiet = true\n", 1, "quiet can't be a default", "on the command line"),
        ("[diff]\nlimit 2\n", 2, "not TOML", "double quotes"),
    ] {
        let file = place.put("c.toml", text, 0o600);
        let (code, message, hint) = place.run("diff a b --json --config c.toml").exits(2).error();
        assert_eq!(code, "config", "{text:?}: {message}");
        assert!(message.starts_with(&format!("c.toml:{line}: ")), "{text:?}: {message}");
        assert!(message.contains(told), "{text:?}: {message}");
        assert!(hint.contains(advice) && !hint.is_empty(), "{text:?}: {hint}");
        assert!(file.exists());
    }
}

#[test]
fn every_kind_of_value_is_taken() {
    let place = Place::new();
    let text = "tokens = \"cashu_tokens\"\nmemory = \"64MiB\"\nthreads = 1\nworkers = 4\n\
                log-format = \"json\"\n[analyze]\nfail-on = [\"missing_metadata\", \"any\"]\n\
                spent-at = \"created\"\n[generate]\nseed = 7\n";
    place.put("c.toml", text, 0o600);
    run(["generate", arg(&place.at("damaged")), "--tokens", "60", "--damage", "-q"]).exits(0);
    let outcome = place.run("analyze damaged plan --config c.toml");
    assert_eq!(outcome.code, Some(4), "fail-on: {outcome:?}");
    assert!(outcome.stderr.starts_with("{\"timestamp\""), "log-format: {outcome:?}");
    let plan = fs::read_to_string(place.at("plan/plan.json")).unwrap();
    assert!(plan.contains("created"), "spent-at: {plan}");
    place.run("generate seven --tokens 20 --config c.toml").exits(0);
    place.run("generate same --tokens 20 --seed 7").exits(0);
    let truth = |name: &str| fs::read(place.at(name).join("truth.json")).unwrap();
    assert!(truth("seven") == truth("same") && truth("seven") != truth("a"), "seed");
}

#[test]
fn a_file_that_others_may_change_or_read_a_password_in_is_refused() {
    let place = Place::new();
    let refused = |text: &str, mode: u32, advice: &str| {
        let file = place.put("c.toml", text, mode);
        let outcome = place.run(&format!("diff a b --json --config {}", arg(&file))).exits(2);
        let (code, message, hint) = outcome.error();
        assert_eq!(code, "config", "{message}");
        assert!(hint.contains(advice), "{hint}");
        assert!(!message.contains("hunter2") && !hint.contains("hunter2"), "{message}; {hint}");
    };
    for mode in [0o622, 0o660, 0o602] {
        refused("[diff]\nlimit = 1\n", mode, "chmod go-w");
    }
    let with_password = "uri = \"mongodb://reader:hunter2@db1/nctool\"\n";
    for mode in [0o644, 0o640, 0o604] {
        refused(with_password, mode, "chmod 600");
    }
    let file = place.put("c.toml", with_password, 0o600);
    let help = place.run(&format!("status --help --config {}", arg(&file))).exits(0);
    assert!(!help.stdout.contains("hunter2"), "{help:?}");
    assert!(listed(place.run(&format!("diff a b --json --config {}", arg(&file)))) > 3);
}

#[test]
fn a_file_that_was_named_must_be_there_and_be_one() {
    let place = Place::new();
    fs::create_dir(place.at("directory")).unwrap();
    place.put("large.toml", &"#".repeat(65 * 1024), 0o600);
    fs::write(place.at("binary.toml"), [0xff, 0xfe]).unwrap();
    for name in ["nowhere.toml", "directory", "large.toml", "binary.toml"] {
        let error = place.run(&format!("diff a b --json --config {name}")).exits(2).error();
        assert_eq!(error.0, "config", "{name}: {error:?}");
        assert!(error.1.contains(name) && !error.2.is_empty(), "{name}: {error:?}");
        place.run(&format!("--help --config {name}")).exits(0);
        let named = finish(place.command("diff a b --json").env("REMELT_CONFIG", name)).exits(2);
        assert_eq!(named.error().0, "config", "{name}");
    }
    assert!(Path::new(&place.at("a")).exists());
}
