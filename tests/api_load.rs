//! Two hundred clients at once, while passes go on.

use crate::support::api::{Checked, TOKEN, api_options, monitor_options};
use remelt::monitor::{History, monitor};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

const CLIENTS: usize = 200;
const REQUESTS: usize = 30;

/// What the seed has, and one user.
const PATHS: [&str; 5] = [
    "/admin/migration/status",
    "/admin/migration/preview",
    "/admin/health/balance-consistency?limit=100&offset=1000",
    "/admin/health/token-integrity",
    "/admin/findings?code=duplicate_secrets&offset=5000",
];

/// How long each answer took, of one client that asks one thing after another.
async fn ask(client: reqwest::Client, address: String, first: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for path in PATHS.iter().cycle().skip(first).take(REQUESTS) {
        let began = Instant::now();
        let request = client.get(format!("http://{address}{path}")).bearer_auth(TOKEN);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.bytes().await.unwrap();
        took.push(began.elapsed());
    }
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_on_a_hundred_thousand_tokens_meet_no_error() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let checked = Checked::generated(100_000, 5, true).await;
    let mut options = monitor_options(&checked.uri);
    options.interval = Duration::from_secs(1);
    let (stop, stopped) = watch::channel(false);
    let (history, _) = History::open(None).unwrap();
    let passes =
        tokio::spawn(monitor(Arc::clone(&checked.board), Arc::new(options), history, stopped));
    let served = checked.serve(remelt::api::ApiOptions { rate_per_second: 0, ..api_options() });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(ask(client.clone(), served.address.to_string(), number));
    }
    let mut took: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(took.len(), CLIENTS * REQUESTS);
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100 - 1];
    println!(
        "{CLIENTS} clients, {} answers: p50 {:?}, p99 {:?}, longest {:?}",
        took.len(),
        at(50),
        at(99),
        at(100)
    );
    stop.send(true).unwrap();
    passes.await.unwrap();
}
