//! Ctrl-C in the middle of a run: once finishes the batch and says how to go on, twice stops at once.

use crate::support::command::{Outcome, finish, remelt};
use crate::support::live::{Ledger, generated};
use crate::support::mongod::{ReplicaSet, Signal};
use mongodb::bson::{Document, doc};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SLOW: &str = "apply plan --confirm --yes --batch 2 --workers 1 --max-rate 20";

fn typed(place: &Path, uri: &str, line: &str) -> Command {
    let mut command = remelt(line.split(' '));
    command.env("MONGODB_URI", uri).current_dir(place);
    command
}

fn prepare(place: &Path, uri: &str) {
    finish(&mut typed(place, uri, "export snapshot --without-wallets -q")).exits(0);
    finish(&mut typed(place, uri, "analyze snapshot plan --without-wallets -q")).exits(0);
}

fn begin(place: &Path, uri: &str) -> Child {
    typed(place, uri, SLOW).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

async fn batches(ledger: &Ledger) -> u64 {
    let journal = ledger.database.collection::<Document>("remelt_journal");
    journal.count_documents(doc! {}).await.unwrap()
}

async fn wait_for_a_batch(ledger: &Ledger) {
    while batches(ledger).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The command that the output says to give again.
fn command_in(text: &str) -> String {
    let command = text.lines().map(str::trim).find(|line| line.starts_with("remelt apply "));
    command
        .unwrap_or_else(|| panic!("no command in: {text}"))
        .strip_prefix("remelt ")
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn once_finishes_the_batch_and_the_command_that_is_said_finishes_the_run() {
    let ledger = Ledger::new(&generated(400, 6, false)).await;
    let place = tempfile::tempdir().unwrap();
    prepare(place.path(), &ledger.uri);
    let child = begin(place.path(), &ledger.uri);
    wait_for_a_batch(&ledger).await;
    interrupt(&child);
    let outcome = Outcome::new(SLOW.to_owned(), &child.wait_with_output().unwrap()).exits(1);
    assert!(outcome.stderr.contains("stopping"), "{outcome:?}");
    assert!(outcome.stdout.contains("interrupted"), "{outcome:?}");
    let done = batches(&ledger).await;
    let said = format!("Applied    {} tokens", done * 2);
    assert!(outcome.stdout.contains(&said), "{said}: {outcome:?}");

    let again = command_in(&outcome.stdout);
    assert_eq!(again, SLOW);
    // The rate is all that is different, so that the test is quick.
    let quick = again.replace(" --max-rate 20", "");
    finish(&mut typed(place.path(), &ledger.uri, &quick)).exits(0);
    let verified = finish(&mut typed(place.path(), &ledger.uri, "verify plan --json")).exits(0);
    assert_eq!(verified.json()["ok"], true);
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn twice_stops_at_once_though_the_server_does_not_answer() {
    let mut set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "twice", &generated(200, 7, false)).await;
    let place = tempfile::tempdir().unwrap();
    prepare(place.path(), &ledger.uri);
    let mut child = begin(place.path(), &ledger.uri);
    wait_for_a_batch(&ledger).await;
    set.signal(0, Signal::Stop);
    interrupt(&child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("stopping") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended without a word");
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None, "one signal waits for the batch");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut told = String::new();
    stderr.read_to_string(&mut told).unwrap();
    assert!(told.contains("stopped at once"), "{told}");
    assert!(told.contains(&format!("remelt {SLOW}")), "{told}");

    set.signal(0, Signal::Cont);
    let quick = SLOW.replace(" --max-rate 20", "");
    finish(&mut typed(place.path(), &ledger.uri, &quick)).exits(0);
    let verified = finish(&mut typed(place.path(), &ledger.uri, "verify plan --json")).exits(0);
    assert_eq!(verified.json()["ok"], true);
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
}
