//! Sending alerts out: to the log at once, to the webhook from a queue, with retries.
//!
//! Nobody waits for a webhook. Its address may hold a secret and is never shown; what it answers but for
//! the status is never read.

use super::alerts::{Alert, AlertState, Priority, Turn};
use super::board::{Board, RecentError};
use super::options::{MonitorOptions, Webhook};
use crate::model::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Alerts that may wait for the webhook.
const QUEUE_MAX: usize = 1000;
/// How often one is sent at most, by whom.
const ATTEMPTS_LONG: u32 = 8;
const ATTEMPTS_SHORT: u32 = 3;
/// What was being done, in the list of errors.
const SENDING: &str = "send an alert";
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);

/// The header with the signature: `sha256=` and the HMAC-SHA256 of the body, as hex digits.
pub const SIGNATURE_HEADER: &str = "X-Remelt-Signature";

/// How much is done for an alert that the webhook does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Nobody waits for it.
    Long,
    /// The process ends with it: once one was given up, each of the rest is tried once.
    Short,
}

/// The body of a delivery.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// `opened` or `resolved`.
    pub event: &'static str,
    /// The alert.
    pub alert: Alert,
    /// Which ledger: hosts without credentials, and the database.
    pub source: String,
    /// When it was put in the queue.
    pub sent_at: Timestamp,
}

/// Sends what happens to alerts.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Option<mpsc::Sender<Notice>>,
}

/// The queue and, with a webhook, the task that empties it.
pub(super) fn outbox(
    board: &Arc<Board>,
    options: &MonitorOptions,
    patience: Patience,
) -> (Outbox, Option<impl Future<Output = ()> + use<>>) {
    let Some(webhook) = options.webhook.clone() else {
        return (Outbox { queue: None }, None);
    };
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let task = deliver(Arc::clone(board), webhook, receiver, patience, options.now);
    (Outbox { queue: Some(sender) }, Some(task))
}

impl Outbox {
    /// Logs what happened and queues it for the webhook.
    pub(super) fn send(&self, turn: &Turn, source: &str, board: &Board, now: Timestamp) {
        log(turn.alert());
        let Some(queue) = &self.queue else { return };
        let event = match turn {
            Turn::Opened(_) => "opened",
            Turn::Resolved(_) => "resolved",
        };
        let alert = turn.alert().clone();
        let notice = Notice { event, alert, source: source.to_owned(), sent_at: now };
        if queue.try_send(notice).is_err() {
            let message =
                format!("{QUEUE_MAX} alerts wait already, so one is not sent; check the webhook");
            board.note_error(RecentError { at: now, what: SENDING, message });
        }
    }
}

fn log(alert: &Alert) {
    let Alert { rule, priority, title, detail, .. } = alert;
    let (rule, priority_word) = (rule.as_str(), priority.as_str());
    match (alert.state, priority) {
        (AlertState::Resolved, _) => {
            tracing::info!(rule, priority = priority_word, "alert resolved: {title}");
        }
        (AlertState::Open, Priority::High) => {
            tracing::error!(rule, priority = priority_word, "alert: {title}; {detail}");
        }
        (AlertState::Open, Priority::Medium) => {
            tracing::warn!(rule, priority = priority_word, "alert: {title}; {detail}");
        }
        (AlertState::Open, Priority::Low) => {
            tracing::info!(rule, priority = priority_word, "alert: {title}; {detail}");
        }
    }
}

async fn deliver(
    board: Arc<Board>,
    webhook: Webhook,
    mut queue: mpsc::Receiver<Notice>,
    patience: Patience,
    now: fn() -> Timestamp,
) {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("remelt/", env!("CARGO_PKG_VERSION")));
    let Ok(client) = client.build() else {
        let message = "the webhook's client could not be set up; check the system's certificates";
        let (what, message) = (SENDING, message.to_owned());
        return board.note_error(RecentError { at: now(), what, message });
    };
    let mut attempts_max = match patience {
        Patience::Long => ATTEMPTS_LONG,
        Patience::Short => ATTEMPTS_SHORT,
    };
    while let Some(notice) = queue.recv().await {
        let is_taken = hand_over(&board, &client, &webhook, &notice, attempts_max, now).await;
        if !is_taken && patience == Patience::Short {
            attempts_max = 1;
        }
    }
}

/// Whether the webhook took `notice`, which is tried so often.
async fn hand_over(
    board: &Board,
    client: &reqwest::Client,
    webhook: &Webhook,
    notice: &Notice,
    attempts_max: u32,
    now: fn() -> Timestamp,
) -> bool {
    let Ok(body) = serde_json::to_vec(notice) else { return false };
    let (what, id) = (SENDING, notice.alert.id);
    let mut pause = BACKOFF_FIRST;
    for attempt in 1..=attempts_max {
        let Err(reason) = post(client, webhook, body.clone()).await else { return true };
        let is_last = attempt == attempts_max;
        let next = match is_last {
            true => "it is given up; check the webhook".to_owned(),
            false => format!("tried again in {} s", pause.as_secs()),
        };
        let message = format!("alert {id} was not taken by the webhook ({reason}); {next}");
        board.note_error(RecentError { at: now(), what, message });
        if !is_last {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }
    false
}

async fn post(client: &reqwest::Client, webhook: &Webhook, body: Vec<u8>) -> Result<(), String> {
    let mut request =
        client.post(&webhook.url).header(reqwest::header::CONTENT_TYPE, "application/json");
    if let Some(key) = &webhook.key {
        request = request.header(SIGNATURE_HEADER, format!("sha256={}", signature(key, &body)));
    }
    match request.body(body).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("it answered with status {}", answer.status().as_u16())),
        // The error's own text has the address in it.
        Err(error) if error.is_timeout() => Err("it did not answer in time".to_owned()),
        Err(error) if error.is_connect() => Err("it could not be reached".to_owned()),
        Err(_) => Err("the request failed".to_owned()),
    }
}

/// HMAC-SHA256 as hex digits.
fn signature(key: &[u8], body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new(); // never happens: HMAC takes keys of any length
    };
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256() {
        // RFC 4231, test case 2.
        assert_eq!(
            signature(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
