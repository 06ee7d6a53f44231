//! `GET /metrics`: what the board says, and how the API is used, in the form of Prometheus.
//!
//! Labels come from fixed lists only: nothing that a client or a document says becomes one.

use crate::live::RunReport;
use crate::model::FindingCode;
use crate::monitor::alerts::{AlertState, Rule};
use crate::monitor::{Board, Pass};
use crate::plan::seconds_of;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::{self, Error};
use std::sync::Arc;
use std::time::Duration;

/// Upper bounds of the requests' durations, in seconds.
const DURATIONS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// All metrics.
pub(super) struct HttpMetrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
}

impl HttpMetrics {
    pub(super) fn new(board: &Arc<Board>) -> HttpMetrics {
        let requests = Family::<Request, Counter>::default();
        let durations: Family<Route, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(DURATIONS));
        let mut registry = Registry::with_prefix("remelt");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", build);
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time until an answer began",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register_collector(Box::new(OfBoard(Arc::clone(board))));
        HttpMetrics { registry, requests, durations }
    }

    pub(super) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        let request = Request { method, route: route.clone(), status };
        self.requests.get_or_create(&request).inc();
        self.durations.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }

    /// All of them, as text.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut told = String::new();
        text::encode(&mut told, &self.registry)?;
        Ok(told)
    }
}

/// Reads the board whenever it is asked.
#[derive(Debug)]
struct OfBoard(Arc<Board>);

impl Collector for OfBoard {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut out = Out(encoder);
        let board = &self.0;
        let state = board.pass_state();
        out.gauge(
            "up",
            "Whether the database answers and the latest pass ended well",
            u64::from(board.stale_reason().is_none()),
        )?;
        out.counter("passes_ended", "Passes that ended well", state.ended)?;
        out.counter("passes_failed", "Passes that failed", state.failed)?;
        out.gauge(
            "pass_failures_in_a_row",
            "Passes that failed since one ended well",
            state.failures_in_a_row,
        )?;
        if let Some(pass) = board.pass() {
            out.pass(&pass)?;
        }
        out.alerts(board)?;
        out.movement(board)?;
        if let Some(run) = board.runs().borrow().runs.iter().find(|run| run.is_active) {
            out.run(run)?;
        }
        let active = board.runs().borrow().runs.iter().filter(|run| run.is_active).count() as u64;
        out.gauge("runs_active", "Runs that a process works on", active)?;
        if let Some(system) = board.system() {
            out.seconds(
                "database_ping",
                "How fast the server answered",
                Duration::from_millis(system.connection.ping_ms).as_secs_f64(),
            )?;
            out.gauge(
                "missing_indexes",
                "Indexes that the service needs and that are not there",
                system.missing_indexes.len() as u64,
            )?;
            if let Some(replication) = &system.replication {
                out.seconds(
                    "replication_lag",
                    "How far the slowest secondary is behind",
                    Duration::from_secs(replication.lag_seconds_max).as_secs_f64(),
                )?;
            }
        }
        Ok(())
    }
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn one(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        metric: &impl EncodeMetric,
    ) -> Result<(), Error> {
        metric.encode(self.0.encode_descriptor(name, help, unit, metric.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.one(name, help, None, &ConstGauge::new(value))
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.one(name, help, Some(&Unit::Seconds), &ConstGauge::new(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.one(name, help, None, &ConstCounter::new(value))
    }

    /// One gauge for each of `values`, told apart by labels.
    fn family<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> Result<(), Error> {
        let kind = ConstGauge::new(0_u64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn pass(&mut self, pass: &Pass) -> Result<(), Error> {
        let (stats, impact) = (&pass.report.stats, &pass.report.impact);
        self.gauge("pass_number", "The latest pass that ended well", pass.number)?;
        self.seconds("pass_duration", "How long it took", seconds_of(pass.took))?;
        let as_of = Duration::from_millis(u64::try_from(pass.as_of.0).unwrap_or(0));
        self.seconds(
            "pass_as_of_timestamp",
            "The point in time of the ledger, since 1970",
            as_of.as_secs_f64(),
        )?;
        self.gauge(
            "pass_documents_per_second",
            "Documents read and analysed a second",
            pass.report.performance.documents_per_second,
        )?;
        self.one(
            "pass_read",
            "Bytes of documents read",
            Some(&Unit::Bytes),
            &ConstGauge::new(pass.report.snapshot.bytes),
        )?;
        self.gauge("tokens", "Tokens in the ledger", stats.total_tokens)?;
        self.gauge("melted_tokens", "Melted tokens", stats.total_melted_tokens)?;
        self.gauge(
            "problematic_tokens",
            "Melted tokens that are unspent",
            stats.problematic_tokens,
        )?;
        self.gauge("users", "Users in the ledger", stats.total_users)?;
        self.gauge("wallets", "Wallets in the ledger", stats.total_wallets)?;
        self.gauge(
            "tokens_to_migrate",
            "Tokens that a repair would change",
            impact.tokens_to_migrate,
        )?;
        self.one(
            "amount_affected",
            "Sum of their amounts, in the tokens' units",
            None,
            &ConstGauge::new(approximate(impact.total_amount_affected.0)),
        )?;
        self.gauge("users_with_issues", "Users whose balance is wrong", pass.users_with_issues)?;
        self.one(
            "health_score",
            "1 - problematic / melted",
            None,
            &ConstGauge::new(pass.report.health_score),
        )?;
        let findings = FindingCode::ALL.iter().map(|code| {
            ([("code", code.as_str()), ("severity", code.severity().as_str())], pass.count(*code))
        });
        self.family("findings", "Findings, by code", findings)
    }

    fn alerts(&mut self, board: &Board) -> Result<(), Error> {
        let open = board.alerts();
        let is_open = |rule: Rule| {
            open.iter().any(|alert| alert.rule == rule && alert.state == AlertState::Open)
        };
        let open = Rule::ALL.iter().map(|rule| {
            let labels = [("rule", rule.as_str()), ("priority", rule.priority().as_str())];
            (labels, u64::from(is_open(*rule)))
        });
        self.family("alert_open", "Whether an alert of the rule is open", open)
    }

    fn movement(&mut self, board: &Board) -> Result<(), Error> {
        let moved = board.movement();
        self.gauge(
            "movement_available",
            "Whether a change stream tells what moves between passes",
            u64::from(moved.available),
        )?;
        let kinds = [
            ("inserted", moved.inserted),
            ("updated", moved.updated),
            ("deleted", moved.deleted),
            ("new_problematic", moved.new_problematic),
        ];
        let kinds = kinds.map(|(kind, count)| ([("kind", kind)], count));
        self.family("movement_since_pass", "Writes to tokens since the latest pass began", kinds)
    }

    fn run(&mut self, run: &RunReport) -> Result<(), Error> {
        let progress = run.progress.as_ref();
        self.gauge(
            "run_documents_done",
            "Documents done of the active run",
            progress.map_or(0, |it| it.done),
        )?;
        self.gauge(
            "run_documents_total",
            "Documents of the active run",
            progress.map_or(run.changes, |it| it.total),
        )
    }
}

/// Metrics are floating point; the API has the exact amount.
#[allow(clippy::cast_precision_loss)] // said above
fn approximate(amount: i128) -> f64 {
    amount as f64
}
