//! Command lines that name a database and a snapshot to work on, or ask of one what is only for the other.
//!
//! A MONGODB_URI in the environment is no such name, nor a default in a file such a wish: they stand there for other
//! commands.

use super::args::{EngineArg, OnDriftArg};
use super::failure::Refusal;
use clap::ArgMatches;
use clap::parser::ValueSource;

/// Options that only a server has a use for.
const FOR_SERVERS: &[&str] = &["workers", "batch", "max_rate", "max_lag", "target"];
/// Options that only a snapshot has a use for, as the plan knows the collection on a server.
const FOR_SNAPSHOTS: &[&str] = &["tokens", "wallets", "without_wallets"];
/// Options that say how a snapshot is read.
const OF_SNAPSHOTS: &[&str] =
    &["db", "tokens", "wallets", "without_wallets", "inflated_bytes_max", "inflate_ratio_max"];

/// What is wrong with the command line that gave `matches`.
pub(crate) fn misplaced(matches: &ArgMatches) -> Option<Refusal> {
    let (command, given) = matches.subcommand()?;
    match command {
        "analyze" => {
            let is_local = given.get_one("engine") == Some(&EngineArg::Local);
            first(given, &["uri", "consistency"]).filter(|_| is_local).map(|option| {
                Refusal::usage(format!(
                    "--{option} is for --engine mongodb, and a snapshot is read without it; leave one of them out"
                ))
            })
        }
        "audit" | "explain" if first(given, &["snapshot"]).is_none() => {
            first(given, OF_SNAPSHOTS).map(|option| {
                Refusal::usage(format!(
                    "--{option} says how a snapshot is read, and none is named; add --snapshot SNAPSHOT, or leave \
                     it out"
                ))
            })
        }
        "apply" | "verify" | "rollback" if first(given, &["snapshot"]).is_some() => on_copy(given),
        "apply" | "verify" | "rollback" => first(given, FOR_SNAPSHOTS).map(|option| {
            Refusal::usage(format!(
                "--{option} is for a snapshot: on a server the plan names the collection; leave it out"
            ))
        }),
        _ => None,
    }
}

fn on_copy(given: &ArgMatches) -> Option<Refusal> {
    if first(given, &["uri"]).is_some() {
        let message = "--uri and --snapshot both name what to work on; leave one of them out";
        return Some(Refusal::usage(message));
    }
    if let Some(option) = first(given, FOR_SERVERS) {
        let message =
            format!("--{option} is for a server, and --snapshot names a copy; leave it out");
        return Some(Refusal::usage(message));
    }
    let skips = || given.get_one("on_drift") == Some(&OnDriftArg::Skip);
    (first(given, &["on_drift"]).is_some() && skips()).then(|| {
        Refusal::usage(
            "--on-drift skip is for a server: a copy is made of the plan's own snapshot, in which nothing has \
             drifted, or not at all; leave it out",
        )
    })
}

/// The first of `options` that stands on the command line, as it is written there.
fn first(given: &ArgMatches, options: &[&str]) -> Option<String> {
    let is_given = |id: &&&str| {
        matches!(given.try_contains_id(id), Ok(true))
            && given.value_source(id) == Some(ValueSource::CommandLine)
    };
    options.iter().find(is_given).map(|id| id.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::CommandFactory;

    fn said(line: &str) -> Option<String> {
        let matches = Cli::command().try_get_matches_from(line.split(' ')).unwrap();
        misplaced(&matches).map(|refusal| refusal.message)
    }

    #[test]
    fn what_is_for_a_server_is_not_ignored_beside_a_copy_nor_the_other_way_round() {
        let copy = "remelt apply plan --snapshot dump --out new";
        let server = "remelt rollback plan --uri mongodb://h";
        for line in [
            copy,
            server,
            &format!("{copy} --on-drift abort --tokens t --db d"),
            "remelt audit plan --snapshot dump --tokens t",
            "remelt explain plan 7",
            "remelt analyze --engine mongodb --consistency none --uri mongodb://h",
        ] {
            assert_eq!(said(line), None, "{line}");
        }
        for (line, option) in [
            (format!("{copy} --uri mongodb://h"), "--uri and --snapshot"),
            (format!("{copy} --max-rate 9"), "--max-rate"),
            (format!("{copy} --workers 4"), "--workers"),
            (format!("{copy} --on-drift skip"), "--on-drift skip"),
            (format!("{server} --tokens t"), "--tokens"),
            (format!("{server} --without-wallets"), "--without-wallets"),
            ("remelt verify plan --snapshot dump --uri mongodb://h".to_owned(), "--uri and"),
            ("remelt analyze dump plan --uri mongodb://h".to_owned(), "--engine mongodb"),
            ("remelt analyze dump plan --consistency none".to_owned(), "--consistency is for"),
            ("remelt audit plan --tokens t".to_owned(), "--tokens says how a snapshot"),
            ("remelt explain plan 7 --without-wallets".to_owned(), "--without-wallets says"),
        ] {
            assert!(said(&line).is_some_and(|said| said.contains(option)), "{line}");
        }
    }
}
