//! A ledger in a real database and a monitor that watches it.

use super::exports::fill;
use super::live::now;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use remelt::monitor::alerts::{Alert, AlertState, Rule};
use remelt::monitor::{Board, History, MonitorOptions, Pass, Thresholds, Webhook, monitor};
use remelt::server::ServerOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The indexes that the service needs.
const INDEXES: [(&str, &[&str]); 7] = [
    ("cashu_tokens", &["npub", "status"]),
    ("cashu_tokens", &["npub", "transaction_type"]),
    ("cashu_tokens", &["wallet_id", "status"]),
    ("cashu_tokens", &["transaction_id"]),
    ("cashu_tokens", &["mint_url", "status"]),
    ("cashu_tokens", &["proofs.secret"]),
    ("cashu_wallets", &["npub", "mint_url"]),
];

/// How often a condition is looked at that will come true.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Puts a ledger with all its indexes into `database`.
pub(crate) async fn store(database: &Database, tokens: &[Vec<u8>], wallets: &[Vec<u8>]) {
    for (collection, fields) in INDEXES {
        let keys: Document = fields.iter().map(|field| ((*field).to_owned(), 1.into())).collect();
        let index = mongodb::IndexModel::builder().keys(keys).build();
        database.collection::<Document>(collection).create_index(index).await.unwrap();
    }
    fill(database, "cashu_wallets", wallets).await;
    fill(database, "cashu_tokens", tokens).await;
}

/// How the tests monitor: passes as often as can be.
pub(crate) fn options(uri: &str, scratch: &Path) -> MonitorOptions {
    MonitorOptions {
        server: ServerOptions { uri: uri.to_owned(), db: None },
        tokens: "cashu_tokens".to_owned(),
        wallets: "cashu_wallets".to_owned(),
        tool: "remelt test".to_owned(),
        now,
        interval: Duration::from_millis(100),
        scratch: scratch.to_path_buf(),
        memory_bytes: 64 << 20,
        threads: 1,
        state_directory: None,
        thresholds: Thresholds::default(),
        webhook: None,
    }
}

/// A monitor at work.
pub(crate) struct Watched {
    pub(crate) board: Arc<Board>,
    pub(crate) options: Arc<MonitorOptions>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    pub(crate) scratch: Arc<TempDir>,
}

impl Watched {
    /// Starts to monitor the database of `uri`.
    pub(crate) fn start(uri: &str, change: impl FnOnce(&mut MonitorOptions)) -> Watched {
        let scratch = Arc::new(TempDir::new().unwrap());
        let mut options = options(uri, scratch.path());
        change(&mut options);
        let (history, remembered) = History::open(options.state_directory.as_deref()).unwrap();
        let board = Arc::new(Board::new(now(), remembered.alerts, remembered.trend));
        let options = Arc::new(options);
        let (stop, stopped) = watch::channel(false);
        let task =
            tokio::spawn(monitor(Arc::clone(&board), Arc::clone(&options), history, stopped));
        Watched { board, options, stop, task, scratch }
    }

    /// Waits for a pass that began after this call.
    pub(crate) async fn next_pass(&self) -> Arc<Pass> {
        let asked_at = now();
        until(|| self.board.pass().filter(|pass| pass.began_at > asked_at)).await
    }

    /// Waits until the rule's alert is open.
    pub(crate) async fn opened(&self, rule: Rule) -> Alert {
        until(|| self.board.open_alerts().into_iter().find(|alert| alert.rule == rule)).await
    }

    /// Waits until the rule's alert is resolved.
    pub(crate) async fn resolved(&self, rule: Rule) -> Alert {
        until(|| {
            let latest = self.board.alerts().into_iter().filter(|alert| alert.rule == rule);
            latest.max_by_key(|alert| alert.id).filter(|alert| alert.state == AlertState::Resolved)
        })
        .await
    }

    /// Ends the monitor and waits for it.
    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

/// Waits until something is there.
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A webhook's address and key.
pub(crate) fn webhook(url: String) -> Option<Webhook> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Some(Webhook { url, key: Some(b"key".to_vec()) })
}

/// One healthy token of `npub`, with its only proof.
pub(crate) fn token(number: i64, npub: &str, wallet: mongodb::bson::oid::ObjectId) -> Document {
    let at = mongodb::bson::DateTime::from_millis(1_760_000_000_000);
    doc! {
        "_id": number,
        "npub": npub,
        "wallet_id": wallet,
        "proofs": [{"id": "00ad268c4d1f5826", "amount": 8, "secret": format!("s{number}"), "C": "02ab"}],
        "mint_url": "https://mint.example.com",
        "total_amount": 8,
        "status": "unspent",
        "transaction_type": "received",
        "transaction_id": format!("tx{number}"),
        "metadata": {"source": "p2p"},
        "createdAt": at,
        "updatedAt": at,
    }
}
