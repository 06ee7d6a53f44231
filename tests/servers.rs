//! The servers that the other tests stand on do what those tests ask of them.

use crate::support::mongod::{Options, ReplicaSet, Signal, Standalone, shared};
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::{Client, Collection};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Asks a second test process to hold a server; also the prefix of its answer.
const HOLD: &str = "REMELT_TEST_HOLD_SERVER";

fn collection(client: &Client) -> Collection<Document> {
    client.database("servers").collection("documents")
}

async fn insert_with_majority(client: &Client, id: i32) {
    let majority = mongodb::options::WriteConcern::majority();
    let documents = collection(client);
    let insert = documents.insert_one(doc! {"_id": id}).write_concern(majority);
    insert.await.unwrap();
}

fn exists(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn shared_databases_are_empty_and_differ() {
    let (one, two) = (shared().await, shared().await);
    assert_ne!(one.uri, two.uri);
    assert_eq!(one.database.list_collection_names().await.unwrap(), Vec::<String>::new());
    let client = Client::with_uri_str(&one.uri).await.unwrap();
    assert_eq!(client.default_database().unwrap().name(), one.database.name());
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_data() {
    let mut set = ReplicaSet::start(1).await;
    insert_with_majority(&set.client().await, 1).await;
    for signal in [Signal::Kill, Signal::Term] {
        let pid = set.pid(0);
        set.stop(0, signal);
        assert!(!exists(pid));
        set.restart(0).await;
        set.wait_until_healthy().await;
    }
    let count = collection(&set.client().await).count_documents(doc! {}).await.unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_server_waits_until_its_port_is_free_again() {
    let mut set = ReplicaSet::start(1).await;
    let uri = set.member_uri(0);
    let address = uri.split('/').nth(2).unwrap();
    set.kill_9(0);
    let squatter = TcpListener::bind(address).unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        drop(squatter);
    });
    set.restart(0).await;
    assert_eq!(set.member_uri(0), uri);
    assert_eq!(set.primary().await, 0);
}

#[tokio::test]
async fn a_dropped_set_leaves_no_process() {
    let set = ReplicaSet::start(1).await;
    let pid = set.pid(0);
    drop(set);
    assert!(!exists(pid));
}

#[tokio::test]
async fn a_set_of_three_survives_step_down_and_death_of_its_primary() {
    let mut set = ReplicaSet::start(3).await;
    let client = set.client().await;
    let first = set.primary().await;
    set.step_down().await;
    let second = set.primary().await;
    assert_ne!(first, second);
    insert_with_majority(&client, 1).await;
    set.kill_9(second);
    assert_ne!(set.primary().await, second);
    insert_with_majority(&client, 2).await;
    set.restart(second).await;
    set.wait_until_healthy().await;
    let count = collection(&client).count_documents(doc! {}).await.unwrap();
    assert_eq!(count, 2);
}

#[tokio::test]
async fn a_frozen_server_answers_when_it_goes_on() {
    let mut set = ReplicaSet::start(1).await;
    let client = set.client().await;
    insert_with_majority(&client, 1).await;
    set.signal(0, Signal::Stop);
    let insert = tokio::spawn(async move { insert_with_majority(&client, 2).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!insert.is_finished());
    set.signal(0, Signal::Cont);
    insert.await.unwrap();
}

#[tokio::test]
async fn a_fail_point_fails_as_often_as_asked() {
    let set = ReplicaSet::start(1).await;
    let client = set.client().await;
    let data = doc! {"failCommands": ["insert"], "errorCode": 13};
    set.fail_point(doc! {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data})
        .await;
    let error = collection(&client).insert_one(doc! {}).await.unwrap_err();
    assert!(matches!(*error.kind, ErrorKind::Command(command) if command.code == 13));
    collection(&client).insert_one(doc! {}).await.unwrap();
}

#[tokio::test]
async fn a_user_may_do_what_its_roles_say_and_a_stranger_nothing() {
    let options = Options {
        auth: true,
        parameters: vec!["transactionLifetimeLimitSeconds=7".to_owned()],
        ..Options::default()
    };
    let set = ReplicaSet::start_with(&options).await;
    insert_with_majority(&set.client().await, 1).await;
    set.add_user("reader", "pass", vec![doc! {"role": "read", "db": "servers"}]).await;
    let reader = Client::with_uri_str(&set.user_uri("reader", "pass")).await.unwrap();
    assert_eq!(collection(&reader).count_documents(doc! {}).await.unwrap(), 1);
    assert!(collection(&reader).insert_one(doc! {}).await.is_err());
    let stranger = Client::with_uri_str(&set.user_uri("reader", "wrong")).await.unwrap();
    assert!(collection(&stranger).count_documents(doc! {}).await.is_err());
}

#[tokio::test]
async fn a_standalone_has_no_transactions() {
    let server = Standalone::start().await;
    assert!(server.uri().starts_with("mongodb://127.0.0.1:"));
    let hello = server.client().await.database("admin").run_command(doc! {"hello": 1}).await;
    assert_eq!(hello.unwrap().get("setName"), None);
}

#[tokio::test]
async fn a_killed_test_process_leaves_no_server_and_no_directory() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers::holds_a_server_when_asked_to", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let pid = lines.find_map(|line| line.unwrap().strip_prefix(HOLD)?.parse().ok()).unwrap();
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let data = PathBuf::from(arguments.split('\0').nth(2).unwrap());
    assert!(exists(pid) && data.is_dir());
    process.kill().unwrap();
    process.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while exists(pid) || data.parent().unwrap().exists() {
        assert!(Instant::now() < deadline, "mongod {pid} or {} is still there", data.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The other half of the test above; does nothing in a usual run.
#[tokio::test]
async fn holds_a_server_when_asked_to() {
    if std::env::var_os(HOLD).is_some() {
        let set = ReplicaSet::start(1).await;
        println!("\n{HOLD}{}", set.pid(0));
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}
