//! Arguments that `serve` and `monitor` share, and what becomes of them.

use super::args::{ServerArgs, memory};
use super::failure::Refusal;
use super::run::{TOOL, now};
use anyhow::Context;
use clap::Args;
use remelt::monitor::{Board, History, INTERVAL_MIN, MonitorOptions, Thresholds, Webhook};
use remelt::publish::{io_reason, open_regular};
use remelt::server::ServerOptions;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a file with a key or a token.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// How to monitor.
#[derive(Args)]
pub(crate) struct MonitorArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Name of the tokens' collection
    #[arg(long, value_name = "NAME", default_value = "cashu_tokens")]
    tokens: String,
    /// Name of the wallets' collection
    #[arg(long, value_name = "NAME", default_value = "cashu_wallets")]
    wallets: String,
    /// Time between the beginnings of two passes, such as 60s or 5m
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "60s")]
    interval: Duration,
    /// Where a pass keeps its copy of the ledger, without secrets, while it
    /// lasts; TMPDIR when not given
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Memory of the analysis; the rest spills to TMPDIR
    #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "256MiB")]
    memory: u64,
    /// Threads of the analysis; all processors but one when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Keep alerts and trend here over restarts
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// POST alerts to this address; better given as REMELT_WEBHOOK, which no
    /// process list shows
    #[arg(
        long,
        value_name = "URL",
        env = "REMELT_WEBHOOK",
        hide_env_values = true,
        help_heading = "Alerts"
    )]
    webhook: Option<String>,
    /// File with the key that signs them (HMAC-SHA256)
    #[arg(long, value_name = "FILE", requires = "webhook", help_heading = "Alerts")]
    webhook_key_file: Option<PathBuf>,
    /// Alert when more melted tokens than this are unspent
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Alerts")]
    alert_problematic: u64,
    /// Alert when more secrets than this stand in several proofs (benign copies
    /// not counted)
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Alerts")]
    alert_duplicates: u64,
    /// Alert when more users' balances than this are wrong
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Alerts")]
    alert_users: u64,
    /// Alert when more tokens than this have no wallet
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Alerts")]
    alert_orphans: u64,
    /// Alert when the health score is below this, 0 to 1
    #[arg(long, value_name = "SCORE", value_parser = permille, default_value = "0.9", help_heading = "Alerts")]
    alert_health_score: Permille,
    /// Alert when a secondary is further behind than this
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = "Alerts")]
    alert_lag: Duration,
    /// Warn when a pass or a run takes longer than this
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s", help_heading = "Alerts")]
    alert_slow: Duration,
    /// Call it an error when one takes longer than this
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m", help_heading = "Alerts")]
    alert_stuck: Duration,
}

impl std::fmt::Debug for MonitorArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MonitorArgs").field("server", &self.server).finish_non_exhaustive()
    }
}

/// A score in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Permille(u64);

impl MonitorArgs {
    /// What the monitor is to do.
    pub(crate) fn options(&self) -> anyhow::Result<MonitorOptions> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let scratch = self.scratch.clone().unwrap_or_else(std::env::temp_dir);
        if !scratch.is_dir() {
            let message = format!(
                "{} is no directory; create it, or choose another --scratch",
                scratch.display()
            );
            return Err(Refusal::usage(&message).into());
        }
        Ok(MonitorOptions {
            server: ServerOptions { uri: self.server.uri.clone(), db: self.server.db.clone() },
            tokens: self.tokens.clone(),
            wallets: self.wallets.clone(),
            tool: TOOL.to_owned(),
            now,
            interval: self.interval,
            scratch,
            memory_bytes: self.memory,
            threads: self.threads.map_or(cores.saturating_sub(1).max(1), usize::from),
            state_directory: self.state_dir.clone(),
            thresholds: Thresholds {
                problematic_tokens_max: self.alert_problematic,
                duplicate_secrets_max: self.alert_duplicates,
                orphaned_tokens_max: self.alert_orphans,
                users_with_issues_max: self.alert_users,
                health_score_min_permille: self.alert_health_score.0,
                lag_max: self.alert_lag,
                execution_warn: self.alert_slow,
                execution_error: self.alert_stuck,
            },
            webhook: self.webhook()?,
        })
    }

    fn webhook(&self) -> anyhow::Result<Option<Webhook>> {
        let Some(url) = &self.webhook else { return Ok(None) };
        let is_http = ["http://", "https://"].iter().any(|scheme| {
            url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        });
        if !is_http {
            return Err(Refusal::usage(
                "the webhook's address is malformed (it is not shown, as it may hold a secret); \
                 expected http://HOST/… or https://HOST/…",
            )
            .into());
        }
        let key = match &self.webhook_key_file {
            Some(path) => Some(read_secret(path)?),
            None => None,
        };
        Ok(Some(Webhook { url: url.clone(), key }))
    }
}

/// The content of a small private file, without the newline at its end.
fn read_secret(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_regular(path)
        .and_then(|file| file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut content))
        .map_err(|error| {
            anyhow::anyhow!("could not read {}: {}", path.display(), io_reason(&error))
        })?;
    if content.len() as u64 > KEY_FILE_BYTES_MAX {
        let message = format!(
            "{} holds more than {KEY_FILE_BYTES_MAX} bytes, so it is no key; give the right file",
            path.display()
        );
        return Err(Refusal::usage(&message).into());
    }
    while content.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        content.pop();
    }
    if content.is_empty() {
        let message = format!("{} is empty; put the key into it", path.display());
        return Err(Refusal::usage(&message).into());
    }
    Ok(content)
}

/// Chooses the cryptography of TLS, once for the process; it fails only when that was done before.
pub(crate) fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The board, with what earlier processes remembered.
pub(crate) fn open_board(options: &MonitorOptions) -> anyhow::Result<(Arc<Board>, History)> {
    let (history, remembered) = History::open(options.state_directory.as_deref())
        .context("the state directory can't be used")?;
    Ok((Arc::new(Board::new(now(), remembered.alerts, remembered.trend)), history))
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < INTERVAL_MIN {
        return Err(format!("at least {} s is needed", INTERVAL_MIN.as_secs()));
    }
    Ok(interval)
}

/// `500ms`, `60s`, `5m`, `1h`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 60s, 5m or 1h".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" | "min" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(wrong()),
    };
    // Later times than a thousand years from now break clocks.
    let ms = ms.filter(|ms| *ms <= 1_000 * 366 * 86_400 * 1_000).ok_or_else(wrong)?;
    Ok(Duration::from_millis(ms))
}

/// `0.9` as 900: exact, without floating point.
fn permille(text: &str) -> Result<Permille, String> {
    let wrong = || "expected a score from 0 to 1 with at most three decimals".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let part: u64 = format!("{part:0<3}").parse().map_err(|_| wrong())?;
    let score = whole.checked_mul(1000).and_then(|whole| whole.checked_add(part));
    score.filter(|score| *score <= 1000).map(Permille).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "s", "-1s", "1.5s", "1d", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(interval("999ms").is_err());
    }

    #[test]
    fn scores_are_read_exactly() {
        assert_eq!(permille("0.9"), Ok(Permille(900)));
        assert_eq!(permille("1"), Ok(Permille(1000)));
        assert_eq!(permille("0.005"), Ok(Permille(5)));
        for bad in ["", "1.001", "2", "0.9999", ".", "-0.5", "1e3"] {
            assert!(permille(bad).is_err(), "{bad}");
        }
    }
}
