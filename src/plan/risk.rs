//! What speaks against applying a plan as it is, and what to do about it: checked on the plan itself and
//! the reports beside it, without a server.

use super::balances::{Balance, Balances};
use super::file::{Plan, PlanError};
use crate::model::{FindingCode, Severity, Timestamp};
use crate::publish::open_regular;
use crate::snapshot::format::{Consistency, Presence};
use serde::{Serialize, Serializer};
use std::io::Read;

const HOUR_MS: i64 = 60 * 60 * 1000;
/// From this age on, somebody will have used the wallets since.
const AGE_HOURS: i64 = 24;
const SUMMARY: &str = "reports/summary.json";
const SUMMARY_BYTES_MAX: u64 = 1024 * 1024;

/// What to weigh before a plan is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RiskAssessment {
    /// The highest of the factors.
    #[serde(serialize_with = "word")]
    pub level: Severity,
    /// What was found, highest first.
    pub factors: Vec<RiskFactor>,
}

/// One thing to weigh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RiskFactor {
    /// A word for programs.
    pub code: &'static str,
    /// How much it matters.
    #[serde(serialize_with = "word")]
    pub level: Severity,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub mitigation: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn word<S: Serializer>(level: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.as_str())
}

/// Weighs `plan` at the time `now`.
///
/// # Errors
/// [`PlanError`] when a batch can't be read or was altered.
pub fn assess(plan: &Plan, now: Timestamp) -> Result<RiskAssessment, PlanError> {
    let mut weighed = Weighed::default();
    weighed.snapshot(plan);
    weighed.age(plan, now);
    weighed.changes(plan)?;
    match Balances::read(plan) {
        Some(balances) => weighed.balances(&balances),
        None if plan.content().totals.changes > 0 => weighed.add(
            "reports_do_not_fit",
            Severity::Medium,
            "reports/balance_deltas.csv is missing or not the one that the plan names, so what users \
             are left with was not weighed",
            "remelt audit says what was altered; make plan and reports anew with remelt analyze",
        ),
        None => {}
    }
    weighed.other_findings(plan);
    weighed.always(plan);
    weighed.0.sort_by_key(|factor| factor.level);
    let level = weighed.0.iter().map(|factor| factor.level).min().unwrap_or(Severity::Low);
    Ok(RiskAssessment { level, factors: weighed.0 })
}

#[derive(Default)]
struct Weighed(Vec<RiskFactor>);

impl Weighed {
    fn add(
        &mut self,
        code: &'static str,
        level: Severity,
        message: impl Into<String>,
        mitigation: &str,
    ) {
        let (message, mitigation) = (message.into(), mitigation.to_owned());
        self.0.push(RiskFactor { code, level, message, mitigation });
    }

    fn snapshot(&mut self, plan: &Plan) {
        let snapshot = &plan.content().snapshot;
        if snapshot.secrets == Presence::Hashed {
            self.add(
                "secrets_hashed",
                Severity::High,
                "the snapshot was exported with --without-secrets: this plan can be read, but apply \
                 refuses it, as its hashes are not those of the real documents",
                "export again without that option and analyze that snapshot",
            );
        }
        match snapshot.consistency {
            Consistency::Snapshot => {}
            Consistency::None => self.add(
                "not_consistent",
                Severity::High,
                "the snapshot was exported with --consistency none: documents may be of different \
                 times, so balances may be wrong",
                "export again without that option",
            ),
            Consistency::Foreign => self.add(
                "foreign_dump",
                Severity::Medium,
                "the snapshot is another program's dump: whether its documents are of one point in \
                 time is not known",
                "prefer remelt export, whose documents are all of one cluster time",
            ),
        }
        if snapshot.source.as_ref().is_none_or(|source| source.replica_set_id.is_none()) {
            self.add(
                "deployment_unknown",
                Severity::Medium,
                "the snapshot does not say which deployment it came from, so nothing but you keeps \
                 this plan from another one",
                "apply asks for --target SET/DB: check the name twice; or export with remelt export",
            );
        }
    }

    fn age(&mut self, plan: &Plan, now: Timestamp) {
        let repair = plan.content().rule.repair_time;
        let cluster = plan.content().snapshot.cluster_time.as_deref();
        let seconds = cluster.and_then(|time| time.split(':').next()?.parse::<i64>().ok());
        let taken = seconds.and_then(|seconds| seconds.checked_mul(1000)).map(Timestamp);
        let hours = |from: Timestamp, to: Timestamp| to.0.saturating_sub(from.0) / HOUR_MS;
        let anew = "export and analyze anew right before applying";
        let age = hours(taken.unwrap_or(repair), now);
        if age >= AGE_HOURS {
            let what = if taken.is_some() { "the snapshot was taken" } else { "the plan was made" };
            self.add(
                "old",
                Severity::Medium,
                format!("{what} {} ago: documents that changed since are drift", duration(age)),
                anew,
            );
        }
        if let Some(gap) = taken.map(|taken| hours(taken, repair)).filter(|gap| *gap >= AGE_HOURS) {
            self.add(
                "repair_time_far",
                Severity::Low,
                format!(
                    "the repair time, which repaired tokens get as spent_at, is {} after the snapshot",
                    duration(gap)
                ),
                "choose another with analyze --repair-time, or keep each token's own with --spent-at",
            );
        }
        if repair > now {
            self.add(
                "repair_time_in_future",
                Severity::Medium,
                format!("the repair time {repair} has not come yet"),
                "analyze anew; --repair-time sets it",
            );
        }
    }

    fn changes(&mut self, plan: &Plan) -> Result<(), PlanError> {
        let not_changed: Vec<String> = plan
            .content()
            .not_changed
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        if !not_changed.is_empty() {
            self.add(
                "not_changed",
                Severity::Medium,
                format!(
                    "melted and unspent tokens that can't be repaired safely: {}",
                    not_changed.join(", ")
                ),
                "they keep counting: settle them by hand; reports/findings.csv lists them",
            );
        }
        let mut without_amount = 0_u64;
        for batch in plan.batches() {
            without_amount += batch?.changes().filter(|it| it.amount.is_none()).count() as u64;
        }
        if without_amount > 0 {
            self.add(
                "no_amount",
                Severity::Medium,
                format!(
                    "changed tokens whose total_amount is no whole number: {without_amount}; it counts as \
                     0 here, and may not in the wallet service"
                ),
                "look for invalid_amounts in reports/findings.csv",
            );
        }
        Ok(())
    }

    fn balances(&mut self, balances: &Balances) {
        if balances.below_zero > 0 {
            self.add(
                "below_zero",
                Severity::High,
                format!(
                    "balances of a user at a mint that are below zero after the repair: {}, the lowest \
                     {}; more is wrong there than the bug, such as money spent twice",
                    balances.below_zero, balances.lowest
                ),
                "look at unspent_after in reports/balance_deltas.csv; decide before users see it",
            );
        }
        if balances.emptied > 0 {
            self.add(
                "emptied",
                Severity::Medium,
                format!(
                    "balances of a user at a mint that the repair brings to exactly 0: {}",
                    balances.emptied
                ),
                "tell these users and their support before, not after",
            );
        }
        let users: Vec<&Balance> = balances.users().collect();
        let halved = users.iter().filter(|it| it.before > 0 && it.after <= it.before / 2).count();
        if halved > 0 {
            self.add(
                "large_share",
                Severity::Medium,
                format!(
                    "{halved} of {} users lose half or more of what they see at these mints",
                    users.len()
                ),
                "check the largest with remelt explain; tell users what happened",
            );
        }
    }

    /// High findings that the rule does not settle, from the summary of the same plan.
    fn other_findings(&mut self, plan: &Plan) {
        let Some(summary) = read_summary(plan) else {
            self.add(
                "summary_does_not_fit",
                Severity::Medium,
                "reports/summary.json is missing or not of this plan, so what the repair leaves \
                 unsettled was not weighed",
                "remelt audit says what was altered; make plan and reports anew with remelt analyze",
            );
            return;
        };
        let open: Vec<String> = FindingCode::ALL
            .iter()
            .filter(|code| code.severity() == Severity::High)
            .filter(|code| **code != FindingCode::InconsistentStatus)
            .filter_map(|code| {
                let count = summary["findings"][code.as_str()]["count"].as_u64()?;
                (count > 0).then(|| format!("{count} {code}"))
            })
            .collect();
        if !open.is_empty() {
            self.add(
                "other_findings",
                Severity::Medium,
                format!("the repair does not settle other serious findings: {}", open.join(", ")),
                "they are listed in reports/findings.csv and stay as they are",
            );
        }
    }

    /// What holds for every plan that changes something.
    fn always(&mut self, plan: &Plan) {
        if plan.content().totals.changes == 0 {
            return;
        }
        self.add(
            "refused_on_save",
            Severity::Low,
            "later versions of the wallet service refuse to save a melted and spent token that still \
             has proofs; they read it all the same",
            "do not re-save repaired tokens through the service",
        );
        self.add(
            "drift",
            Severity::Low,
            "a document that changes before the plan is applied is never overwritten; by default one \
             such document stops the whole run before it writes anything",
            "choose a quiet hour; or apply --on-drift skip, which lists what it left",
        );
    }
}

fn read_summary(plan: &Plan) -> Option<serde_json::Value> {
    let mut text = Vec::new();
    let file = open_regular(&plan.directory().join(SUMMARY)).ok()?;
    file.take(SUMMARY_BYTES_MAX).read_to_end(&mut text).ok()?;
    let summary: serde_json::Value = serde_json::from_slice(&text).ok()?;
    (summary["plan"]["sha256"] == plan.sha256().to_string()).then_some(summary)
}

fn duration(hours: i64) -> String {
    if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) }
}
