//! Connections lost at the commit, and a primary that freezes for longer than an election takes.

use crate::support::live::{Ledger, melted};
use crate::support::mongod::{ReplicaSet, Signal};
use crate::support::wire::{is_op_msg, read_message};
use remelt::live::RunOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const DOCUMENTS: usize = 200;

/// What is lost of a commit, and the connection with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// The request: the server never sees it.
    Request,
    /// The reply, which the server has given: the commit happened.
    Reply,
    /// The connection right after the request was passed on, whatever becomes of it.
    Connection,
}

/// Stands between a client and a server, and loses commits.
struct Proxy {
    port: u16,
    left: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Passes everything on to `server`, but for the next [`lose`](Self::lose) commits.
    async fn start(server: String, lost: Lost) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&left);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass_on(client, upstream, lost, Arc::clone(&counter)));
            }
        });
        Proxy { port, left, task }
    }

    /// Loses the next `commits` commits.
    fn lose(&self, commits: usize) {
        self.left.store(commits, Ordering::SeqCst);
    }

    fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

/// Passes messages on both ways until one side ends or a commit is lost; then both sides end.
async fn pass_on(client: TcpStream, server: TcpStream, lost: Lost, left: Arc<AtomicUsize>) {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // A connection has one request under way, so the next reply after a commit is the commit's.
    let (losing, reply_came) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let requests = async {
        while let Some(message) = read_message(&mut from_client).await {
            let is_lost = is_commit(&message)
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
            if is_lost && lost == Lost::Request {
                return;
            }
            if is_lost && lost == Lost::Reply {
                losing.store(1, Ordering::SeqCst);
            }
            if to_server.write_all(&message).await.is_err() {
                return;
            }
            if is_lost && lost == Lost::Connection {
                return;
            }
            if is_lost {
                reply_came.notified().await;
                return;
            }
        }
    };
    let replies = pass_replies(&mut from_server, to_client, &losing, &reply_came);
    tokio::select! {
        () = requests => {}
        () = replies => {}
    }
}

async fn pass_replies(
    from_server: &mut tokio::net::tcp::OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    losing: &AtomicUsize,
    reply_came: &Notify,
) {
    while let Some(message) = read_message(from_server).await {
        if losing.load(Ordering::SeqCst) == 1 {
            reply_came.notify_one();
            return;
        }
        if to_client.write_all(&message).await.is_err() {
            return;
        }
    }
}

fn is_commit(message: &[u8]) -> bool {
    let name = b"\x10commitTransaction\0";
    is_op_msg(message) && message.windows(name.len()).any(|bytes| bytes == name)
}

fn options(ledger: &Ledger) -> RunOptions {
    RunOptions { batch_changes_max: Some(40), ..ledger.options() }
}

/// Applies and rolls back through the proxy; each command loses its first `commits` commits.
async fn survive(set: &ReplicaSet, lost: Lost, commits: usize) {
    let name = format!("lost_{lost:?}_{commits}").to_lowercase();
    let mut ledger = Ledger::on(set, &name, &melted(DOCUMENTS)).await;
    let planned = ledger.planned();
    let proxy = Proxy::start(set.address(0), lost).await;
    ledger.uri = format!("mongodb://127.0.0.1:{}/{name}?directConnection=true", proxy.port);

    proxy.lose(commits);
    let report = ledger.apply_with(&options(&ledger)).await;
    let report = report.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(proxy.left(), 0, "{name}: the fault did not happen");
    let done = report.applied + report.already_applied;
    assert_eq!((done, report.drifted, report.batches), (DOCUMENTS as u64, 0, 5), "{name}");
    ledger.assert_documents(&planned, &name).await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1, "{name}");

    proxy.lose(commits);
    let report = ledger.roll_back_with(&options(&ledger)).await;
    let report = report.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(proxy.left(), 0, "{name}: the fault did not happen");
    assert_eq!(report.restored + report.already_restored, DOCUMENTS as u64, "{name}");
    ledger.assert_documents(&ledger.before, &name).await;
    assert_eq!(ledger.most_writes_of_a_token().await, 2, "{name}");
}

#[tokio::test]
async fn commits_whose_connection_is_lost_are_survived() {
    let set = ReplicaSet::start(1).await;
    for lost in [Lost::Reply, Lost::Request, Lost::Connection] {
        for commits in [1, 3] {
            let began = Instant::now();
            survive(&set, lost, commits).await;
            eprintln!("{:?} {lost:?} {commits}", began.elapsed());
        }
    }
}

/// Freezes the primary of three in the middle of an apply until another is elected, and `then` or until
/// the run has ended; says whether it had ended before the thaw.
async fn survive_frozen_primary(name: &str, then: Duration) -> bool {
    let mut set = ReplicaSet::start(3).await;
    let ledger = Ledger::on(&set, name, &melted(600)).await;
    let planned = ledger.planned();
    let slow = RunOptions { batch_changes_max: Some(30), rate_max: Some(300), ..ledger.options() };
    let frozen = set.primary().await;
    let began = Instant::now();
    let ended = Notify::new();
    let run = async {
        let report = ledger.apply_with(&slow).await;
        ended.notify_one();
        report
    };
    let (report, (elected, has_ended)) = tokio::join!(run, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        set.signal(frozen, Signal::Stop);
        let elected = set.primary().await; // a frozen member does not answer
        let has_ended = tokio::time::timeout(then, ended.notified()).await.is_ok();
        set.signal(frozen, Signal::Cont);
        (elected, has_ended)
    });
    eprintln!("{:?} {name}: the run ended, before the thaw: {has_ended}", began.elapsed());
    assert_ne!(elected, frozen);
    let report = report.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!((report.applied + report.already_applied, report.drifted), (600, 0));
    set.wait_until_healthy().await;
    ledger.assert_documents(&planned, name).await;
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
    assert_equal_members(&set, name).await;

    let report = ledger.roll_back().await.unwrap();
    assert_eq!((report.restored, report.drifted), (600, 0));
    ledger.assert_documents(&ledger.before, name).await;
    assert_eq!(ledger.most_writes_of_a_token().await, 2);
    assert_equal_members(&set, name).await;
    has_ended
}

#[tokio::test]
async fn a_primary_frozen_past_an_election_is_replaced() {
    // The driver gives up a silent member's connections after 20 s.
    let has_ended = survive_frozen_primary("replaced", Duration::from_secs(60)).await;
    assert!(has_ended, "the run waited for the frozen member");
}

#[tokio::test]
async fn a_primary_that_thaws_after_an_election_is_not_obeyed() {
    // Soon enough for the requests under way to be answered by the one that was replaced.
    let has_ended = survive_frozen_primary("thawed", Duration::from_secs(1)).await;
    assert!(!has_ended, "nothing was under way at the thaw");
}

async fn assert_equal_members(set: &ReplicaSet, database: &str) {
    let hashes = (0..3).map(|member| set.hash_of(member, database));
    let hashes = futures_util::future::join_all(hashes).await;
    assert!(!hashes[0].is_empty() && hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}
