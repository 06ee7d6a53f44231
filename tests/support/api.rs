//! The API over a real ledger: pass and server in this process, questions over the network.

use super::exports::{fill, split};
use super::http::{HttpAnswer, connect, exchange};
use super::live::{Ledger, now};
use super::mongod::shared;
use super::watched;
use mongodb::Database;
use remelt::api::{ApiOptions, ApiToken, ServeError, Tls, serve};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::monitor::{Board, History, MonitorOptions, check_once};
use remelt::progress::Progress;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

pub(crate) const TOKEN: &str = "7f3a9c51d2e84b06a1c5f7e9d3b2084c";

pub(crate) fn monitor_options(uri: &str) -> MonitorOptions {
    MonitorOptions {
        interval: Duration::from_secs(60),
        ..watched::options(uri, &std::env::temp_dir())
    }
}

/// Options of a server on any free loopback port, without limits.
pub(crate) fn api_options() -> ApiOptions {
    ApiOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: ApiToken::parse(TOKEN).unwrap(),
        tls: None,
        behind_proxy: true,
        rate_per_second: 0,
        now,
    }
}

/// A server in a thread of its own.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<Result<(), ServeError>>>,
}

impl Served {
    /// Serves what stands on `board`.
    pub(crate) fn start(board: Arc<Board>, monitor: MonitorOptions, options: ApiOptions) -> Served {
        let (stop, stopped) = watch::channel(false);
        let (told, address) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let bound = move |address| told.send(address).unwrap();
            runtime.block_on(serve(board, Arc::new(monitor), options, stopped, bound))
        });
        let address = address.recv().expect("the server did not start");
        Served { address, stop, thread: Some(thread) }
    }

    /// Tells it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), ServeError> {
        self.stop.send_replace(true);
        self.thread.take().unwrap().join().unwrap()
    }

    /// Begins to stop.
    pub(crate) fn begin_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Sends a request exactly as written.
    pub(crate) fn raw(&self, request: &str) -> Option<HttpAnswer> {
        exchange(connect(self.address), request.as_bytes())
    }

    /// A request with the token and more headers, each ending with CR LF, from an address of its own.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> HttpAnswer {
        let authorization = format!("Authorization: Bearer {TOKEN}\r\n{headers}");
        self.ask_without_token(method, target, &authorization, body)
    }

    pub(crate) fn ask_without_token(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> HttpAnswer {
        static CLIENTS: AtomicU32 = AtomicU32::new(1);
        let client =
            std::net::Ipv4Addr::from_bits(0x0a00_0000 + CLIENTS.fetch_add(1, Ordering::Relaxed));
        let length = match body {
            "" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        self.raw(&format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n{headers}{length}\r\n{body}"
        ))
        .expect("an answer")
    }

    pub(crate) fn get(&self, target: &str) -> HttpAnswer {
        self.ask("GET", target, "", "")
    }

    /// The `data` of an answer.
    pub(crate) fn data(&self, target: &str) -> Value {
        self.get(target).data()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// A generated ledger in a real database, with one pass over it.
pub(crate) struct Checked {
    pub(crate) uri: String,
    pub(crate) database: Database,
    pub(crate) board: Arc<Board>,
    pub(crate) truth: Value,
    pub(crate) tokens: Vec<u8>,
    pub(crate) wallets: Vec<u8>,
}

impl Checked {
    pub(crate) async fn generated(tokens: u64, seed: u64, damage: bool) -> Checked {
        let options = GenerateOptions { tokens, seed, damage };
        let (tokens, wallets, truth) = generate_in_memory(&options).unwrap();
        let shared = shared().await;
        fill(&shared.database, "cashu_tokens", &split(&tokens)).await;
        fill(&shared.database, "cashu_wallets", &split(&wallets)).await;
        let (uri, database) = (shared.uri, shared.database);
        let checked = Checked { uri, database, board: empty_board(), truth, tokens, wallets };
        checked.check().await;
        checked
    }

    /// What `ledger`'s database holds now, of which no truth is known.
    pub(crate) async fn of(ledger: &Ledger) -> Checked {
        let checked = Checked {
            uri: ledger.uri.clone(),
            database: ledger.database.clone(),
            board: empty_board(),
            truth: Value::Null,
            tokens: Vec::new(),
            wallets: Vec::new(),
        };
        checked.check().await;
        checked
    }

    /// One more pass.
    pub(crate) async fn check(&self) {
        let options = Arc::new(monitor_options(&self.uri));
        let (history, _) = History::open(None).unwrap();
        let progress = Arc::new(Progress::new());
        check_once(&self.board, &options, history, &progress).await.unwrap();
        assert_eq!(self.board.pass_state().last_failure, None);
    }

    pub(crate) fn serve(&self, options: ApiOptions) -> Served {
        Served::start(Arc::clone(&self.board), monitor_options(&self.uri), options)
    }
}

pub(crate) fn empty_board() -> Arc<Board> {
    Arc::new(Board::new(now(), Vec::new(), Vec::new()))
}

/// A damaged ledger of 3,000 tokens, checked once and served to all tests that only ask.
pub(crate) fn damaged() -> &'static (Checked, Served) {
    static DAMAGED: OnceLock<(Checked, Served)> = OnceLock::new();
    DAMAGED.get_or_init(|| {
        let start = thread::spawn(|| {
            // Kept for ever: the connection to the database works in it.
            let runtime = Box::leak(Box::new(tokio::runtime::Runtime::new().unwrap()));
            let checked = runtime.block_on(Checked::generated(3_000, 7, true));
            let served = checked.serve(api_options());
            (checked, served)
        });
        start.join().unwrap()
    })
}

/// Certificate and key for `localhost`, made for tests, valid until 2126.
pub(crate) fn tls() -> Tls {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    Tls { cert: directory.join("localhost.crt"), key: directory.join("localhost.key") }
}
