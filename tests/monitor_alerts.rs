//! Every alert of the seed: its condition is made true in a real database, it opens, the condition is
//! taken back, it resolves. And how alerts are delivered.

use crate::support::live::now;
use crate::support::mongod::shared;
use crate::support::watched::{Watched, options, store, token, until, webhook};
use hmac::{Hmac, KeyInit, Mac};
use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use remelt::monitor::alerts::{Figure, Priority, Rule};
use remelt::monitor::{Board, HealthStatus, History, check_once, health_check};
use remelt::progress::Progress;
use serde_json::Value;
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const NPUB: &str = "npub1u6zqfk0m8aj08gygxzm3892uy9vu4fhsea3lulcfh375d9kafmnqc46lks";

/// A ledger of twenty melted and spent tokens in which nothing is wrong.
async fn healthy(database: &Database) {
    let wallet = ObjectId::new();
    store(database, &[], &[]).await;
    let wallets = database.collection::<Document>("cashu_wallets");
    let mint = "https://mint.example.com";
    wallets.insert_one(doc! {"_id": wallet, "npub": NPUB, "mint_url": mint}).await.unwrap();
    let tokens = database.collection::<Document>("cashu_tokens");
    let spent = (0..20).map(|number| {
        let mut token = token(number, NPUB, wallet);
        token.insert("transaction_type", "melted");
        token.insert("status", "spent");
        token.insert("spent_at", DateTime::from_millis(1_760_000_000_000));
        token
    });
    tokens.insert_many(spent).await.unwrap();
}

/// Makes the condition true, sees the alert open, takes the condition back, sees it resolve.
async fn fires_and_resolves(
    watched: &Watched,
    rule: Rule,
    priority: Priority,
    make: impl AsyncFnOnce(),
    unmake: impl AsyncFnOnce(),
) {
    make().await;
    let opened = watched.opened(rule).await;
    assert_eq!(opened.priority, priority, "{rule:?}");
    unmake().await;
    let resolved = watched.resolved(rule).await;
    assert_eq!(resolved.id, opened.id, "{rule:?} opened once");
    assert!(resolved.resolved_at >= Some(opened.opened_at));
}

#[tokio::test]
async fn every_condition_that_the_ledger_can_hold_fires_and_resolves() {
    let shared = shared().await;
    healthy(&shared.database).await;
    let watched = Watched::start(&shared.uri, |_| {});
    watched.opened(Rule::HealthOptimal).await;
    let tokens = shared.database.collection::<Document>("cashu_tokens");
    let set = async |filter: Document, set: Document| {
        tokens.update_many(filter, doc! {"$set": set}).await.unwrap();
    };
    let eleven = || doc! {"_id": {"$lt": 11_i64}};
    fires_and_resolves(
        &watched,
        Rule::ProblematicTokens,
        Priority::High,
        async || set(eleven(), doc! {"status": "unspent"}).await,
        async || set(eleven(), doc! {"status": "spent"}).await,
    )
    .await;
    // Eleven of twenty are also a low score and a wrong balance.
    watched.resolved(Rule::HealthDegraded).await;
    watched.resolved(Rule::BalanceInconsistency).await;

    let one = || doc! {"_id": 1_i64};
    fires_and_resolves(
        &watched,
        Rule::DuplicateSecrets,
        Priority::High,
        async || {
            set(one(), doc! {"proofs.0.secret": "s2", "status": "unspent"}).await;
            set(one(), doc! {"transaction_type": "received"}).await;
        },
        async || {
            set(one(), doc! {"proofs.0.secret": "s1", "status": "spent"}).await;
            set(one(), doc! {"transaction_type": "melted"}).await;
        },
    )
    .await;
    fires_and_resolves(
        &watched,
        Rule::OrphanedTokens,
        Priority::Medium,
        async || set(one(), doc! {"wallet_id": ObjectId::new()}).await,
        async || {
            let other = tokens.find_one(doc! {"_id": 2_i64}).await.unwrap().unwrap();
            set(one(), doc! {"wallet_id": other.get_object_id("wallet_id").unwrap()}).await;
        },
    )
    .await;
    fires_and_resolves(
        &watched,
        Rule::BalanceInconsistency,
        Priority::Medium,
        async || set(one(), doc! {"total_amount": -8}).await,
        async || set(one(), doc! {"total_amount": 8}).await,
    )
    .await;
    watched.opened(Rule::HealthOptimal).await;
    watched.stop().await;
}

#[tokio::test]
async fn wallets_that_are_not_there_are_said_and_resolve_nothing() {
    let shared = shared().await;
    healthy(&shared.database).await;
    let tokens = shared.database.collection::<Document>("cashu_tokens");
    let dangling = doc! {"$set": {"wallet_id": ObjectId::new()}};
    tokens.update_one(doc! {"_id": 1_i64}, dangling).await.unwrap();
    let watched = Watched::start(&shared.uri, |_| {});
    let orphaned = watched.opened(Rule::OrphanedTokens).await;
    let name = shared.database.name();
    let rename = async |from: &str, to: &str| {
        let (from, to) = (format!("{name}.{from}"), format!("{name}.{to}"));
        let admin = shared.database.client().database("admin");
        admin.run_command(doc! {"renameCollection": from, "to": to}).await.unwrap();
    };
    rename("cashu_wallets", "wallets").await;
    let degraded = watched.opened(Rule::HealthDegraded).await;
    assert!(degraded.detail.contains("no collection cashu_wallets"), "{}", degraded.detail);
    watched.next_pass().await;
    let open = watched.board.open_alerts();
    assert!(open.iter().any(|alert| alert.id == orphaned.id), "{open:?}");
    assert!(open.iter().all(|alert| alert.rule != Rule::HealthOptimal), "{open:?}");
    let check = health_check(&watched.board, &watched.options, now());
    assert_eq!(check.status, HealthStatus::Degraded);
    assert!(check.faults.iter().any(|fault| fault.contains("cashu_wallets")), "{check:?}");

    rename("wallets", "cashu_wallets").await;
    watched.resolved(Rule::HealthDegraded).await;
    tokens.delete_one(doc! {"_id": 1_i64}).await.unwrap();
    assert_eq!(watched.resolved(Rule::OrphanedTokens).await.id, orphaned.id);
    watched.stop().await;
}

#[tokio::test]
async fn every_condition_of_the_system_fires_and_resolves() {
    let shared = shared().await;
    healthy(&shared.database).await;
    let watched = Watched::start(&shared.uri, |_| {});
    watched.opened(Rule::HealthOptimal).await;
    let tokens = shared.database.collection::<Document>("cashu_tokens");
    fires_and_resolves(
        &watched,
        Rule::HealthDegraded,
        Priority::High,
        async || tokens.drop_index("mint_url_1_status_1").await.unwrap(),
        async || {
            let keys = doc! {"mint_url": 1, "status": 1};
            let index = mongodb::IndexModel::builder().keys(keys).build();
            tokens.create_index(index).await.unwrap();
        },
    )
    .await;
    let states = shared.database.collection::<Document>("migrationstates");
    let name = doc! {"migration_name": "004_fix_melted_token_status"};
    fires_and_resolves(
        &watched,
        Rule::MigrationCompleted,
        Priority::Low,
        async || {
            let mut state = name.clone();
            state.insert("status", "completed");
            states.insert_one(state).await.unwrap();
        },
        async || {
            states.delete_one(name.clone()).await.unwrap();
        },
    )
    .await;
    let runs = shared.database.collection::<Document>("remelt_runs");
    let hour = 3_600_000_i64;
    let in_hours = |n| DateTime::from_millis(DateTime::now().timestamp_millis() + n * hour);
    // A week old, and taken up again an hour ago.
    let (week_ago, hour_ago, in_an_hour) = (in_hours(-7 * 24), in_hours(-1), in_hours(1));
    fires_and_resolves(
        &watched,
        Rule::LongExecution,
        Priority::Medium,
        async || {
            let run =
                doc! {"_id": "slow", "planSha256": "00", "state": "running", "startedAt": week_ago};
            let lease = doc! {"_id": "lease:cashu_tokens", "run": "slow", "takenAt": hour_ago,
            "expiresAt": in_an_hour};
            runs.insert_many([run, lease]).await.unwrap();
        },
        async || {
            runs.delete_many(doc! {}).await.unwrap();
        },
    )
    .await;
    let slow = watched.resolved(Rule::LongExecution).await;
    assert!(slow.title.contains("Run slow takes long (error)"), "{}", slow.title);
    assert!(matches!(slow.value, Some(Figure::Whole(3_600..86_400))), "{slow:?}");
    watched.stop().await;
}

/// One request that a webhook got: its signature and its body.
type Posted = (String, Vec<u8>);

/// A webhook that answers with each of `statuses` in turn, then with the last for ever.
async fn receiver(statuses: &'static [u16]) -> (String, mpsc::UnboundedReceiver<Posted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secretpath", listener.local_addr().unwrap());
    let (sender, posted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let (head, length) = loop {
                let mut part = [0; 4096];
                let count = stream.read(&mut part).await.unwrap();
                bytes.extend_from_slice(&part[..count]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some(end) = text.find("\r\n\r\n") {
                    let value = |name: &str| {
                        let lines = text[..end].lines();
                        let mut fields = lines.filter_map(|line| line.split_once(": "));
                        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|f| f.1)
                    };
                    let length: usize = value("content-length").unwrap().parse().unwrap();
                    let signature = value("x-remelt-signature").unwrap_or_default().to_owned();
                    break (signature, end + 4 + length);
                }
            };
            while bytes.len() < length {
                let mut part = [0; 4096];
                let count = stream.read(&mut part).await.unwrap();
                bytes.extend_from_slice(&part[..count]);
            }
            let body_at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let _ = sender.send((head, bytes[body_at..].to_vec()));
            let status = statuses.get(number).or(statuses.last()).unwrap();
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, posted)
}

#[tokio::test]
async fn a_webhook_that_fails_is_tried_again_and_what_comes_is_signed() {
    let shared = shared().await;
    healthy(&shared.database).await;
    let (url, mut posted) = receiver(&[503, 200]).await;
    let watched = Watched::start(&shared.uri, |options| options.webhook = webhook(url));
    let first = posted.recv().await.unwrap();
    let second = posted.recv().await.unwrap();
    assert_eq!(first, second, "the same notice again");
    let (signature, body) = first;
    let mut mac = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
    mac.update(&body);
    let expected: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, format!("sha256={expected}"));
    let notice: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(notice["event"], "opened");
    assert_eq!(notice["alert"]["rule"], "health_optimal");
    assert!(notice["source"].as_str().unwrap().ends_with(shared.database.name()), "{notice}");
    let error =
        until(|| watched.board.errors().into_iter().find(|e| e.what == "send an alert")).await;
    assert!(error.message.contains("status 503"), "{}", error.message);
    assert!(!error.message.contains("secretpath"), "{}", error.message);
    watched.stop().await;
}

#[tokio::test]
async fn one_pass_does_not_wait_long_for_a_webhook_that_takes_nothing() {
    let shared = shared().await;
    store(&shared.database, &[], &[]).await;
    let tokens = shared.database.collection::<Document>("cashu_tokens");
    for id in 0..30_i64 {
        let token =
            doc! {"_id": id, "transaction_type": "melted", "status": "unspent", "total_amount": -8};
        tokens.insert_one(token).await.unwrap();
    }
    let (url, mut posted) = receiver(&[500]).await;
    let scratch = tempfile::tempdir().unwrap();
    let mut options = options(&shared.uri, scratch.path());
    options.webhook = webhook(url);
    let (history, _) = History::open(None).unwrap();
    let board = Arc::new(Board::new(now(), Vec::new(), Vec::new()));
    check_once(&board, &Arc::new(options), history, &Arc::new(Progress::new())).await.unwrap();
    let alerts = board.open_alerts().len();
    assert!(alerts > 1, "{:?}", board.open_alerts());
    posted.close();
    let mut count = 0;
    while posted.recv().await.is_some() {
        count += 1;
    }
    assert_eq!(count, 3 + (alerts - 1), "the first three times, the others once");
}

#[tokio::test]
async fn a_webhook_that_never_answers_holds_nothing_up() {
    let shared = shared().await;
    healthy(&shared.database).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap(); // takes connections, says nothing
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let watched = Watched::start(&shared.uri, |options| options.webhook = webhook(url));
    watched.opened(Rule::HealthOptimal).await;
    for _ in 0..3 {
        watched.next_pass().await;
    }
    let tokens = shared.database.collection::<Document>("cashu_tokens");
    tokens.update_one(doc! {"_id": 1_i64}, doc! {"$set": {"total_amount": -8}}).await.unwrap();
    watched.opened(Rule::BalanceInconsistency).await;
    watched.stop().await;
}

#[tokio::test]
async fn passes_never_overlap_and_a_long_one_puts_the_next_off() {
    let shared = shared().await;
    healthy(&shared.database).await;
    let watched =
        Watched::start(&shared.uri, |options| options.interval = Duration::from_millis(1));
    let mut passes = Vec::new();
    while passes.len() < 4 {
        let pass = watched.next_pass().await;
        passes.push((pass.began_at.0, i64::try_from(pass.took.as_millis()).unwrap()));
    }
    for pair in passes.windows(2) {
        let [(began, took), (next, _)] = pair else { unreachable!() };
        assert!(
            next - began >= 3 * took,
            "a pass of {took} ms is followed after {} ms",
            next - began
        );
    }
    watched.stop().await;
}
