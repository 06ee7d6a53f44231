//! What speaks against applying a plan as it is, and what to do about it: checked on the plan itself and
//! the reports beside it, without a server.

use super::balances::Balances;
use super::file::{Plan, PlanError};
use super::sums::is_summed;
use crate::model::{FindingCode, Severity, Timestamp, hash_bytes};
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
/// [`PlanError`] when a batch can't be read or was altered, or scratch space is missing.
pub fn assess(plan: &Plan, now: Timestamp) -> Result<RiskAssessment, PlanError> {
    let mut weighed = Weighed::default();
    weighed.snapshot(plan);
    weighed.age(plan, now);
    weighed.changes(plan)?;
    match Balances::read(plan, 0)? {
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
        if balances.halved > 0 {
            self.add(
                "large_share",
                Severity::Medium,
                format!(
                    "{} of {} users lose half or more of what they see at these mints",
                    balances.halved, balances.users
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
                "reports/summary.json is missing, not of this plan or not what SHA256SUMS says, so what the \
                 repair leaves unsettled was not weighed",
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

/// The summary, if it is the one that was written with the plan: it holds the plan's hash, and `SHA256SUMS` its own.
fn read_summary(plan: &Plan) -> Option<serde_json::Value> {
    let mut text = Vec::new();
    let file = open_regular(&plan.directory().join(SUMMARY)).ok()?;
    file.take(SUMMARY_BYTES_MAX).read_to_end(&mut text).ok()?;
    if !is_summed(plan.directory(), SUMMARY, hash_bytes(&text)) {
        return None;
    }
    let summary: serde_json::Value = serde_json::from_slice(&text).ok()?;
    (summary["plan"]["sha256"] == plan.sha256().to_string()).then_some(summary)
}

fn duration(hours: i64) -> String {
    if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SUMS_FILE;
    use crate::plan::file::{CSV_REPORTS, PlanFile, REPORTS_DIRECTORY};
    use crate::plan::samples::{
        DELTAS_HEADER, REPAIR_TIME, Sample, change, plan_with, write_summary,
    };
    use serde_json::json;
    use std::fs;

    /// A plan against which nothing speaks.
    const FINE: Sample<'_> = Sample { changes: &[], deltas: "", findings: serde_json::Value::Null };

    /// The risk of a plan without changes, with what `edit` makes of it.
    fn risk_of(now: Timestamp, edit: impl FnOnce(&mut PlanFile)) -> RiskAssessment {
        let (_root, plan) = plan_with(&FINE, edit);
        assess(&plan, now).unwrap()
    }

    fn codes(risk: &RiskAssessment) -> Vec<&'static str> {
        risk.factors.iter().map(|factor| factor.code).collect()
    }

    fn message<'a>(risk: &'a RiskAssessment, code: &str) -> &'a str {
        &risk.factors.iter().find(|factor| factor.code == code).unwrap().message
    }

    #[test]
    fn nothing_speaks_against_a_fresh_plan_of_a_consistent_snapshot_without_changes() {
        let risk = risk_of(REPAIR_TIME, |_| {});
        assert_eq!((risk.level, codes(&risk)), (Severity::Low, vec![]));
    }

    #[test]
    fn what_the_snapshot_does_not_say_is_weighed() {
        let risk = risk_of(REPAIR_TIME, |plan| plan.snapshot.secrets = Presence::Hashed);
        assert_eq!((risk.level, codes(&risk)), (Severity::High, vec!["secrets_hashed"]));
        let risk = risk_of(REPAIR_TIME, |plan| plan.snapshot.consistency = Consistency::None);
        assert_eq!((risk.level, codes(&risk)), (Severity::High, vec!["not_consistent"]));
        let risk = risk_of(REPAIR_TIME, |plan| plan.snapshot.consistency = Consistency::Foreign);
        assert_eq!((risk.level, codes(&risk)), (Severity::Medium, vec!["foreign_dump"]));
        for is_named in [false, true] {
            let risk = risk_of(REPAIR_TIME, |plan| match &mut plan.snapshot.source {
                Some(source) if is_named => source.replica_set_id = None,
                source => *source = None,
            });
            assert_eq!((risk.level, codes(&risk)), (Severity::Medium, vec!["deployment_unknown"]));
        }
    }

    #[test]
    fn a_plan_is_old_from_a_day_on() {
        let hours = |hours: i64| Timestamp(REPAIR_TIME.0 + hours * 3_600_000);
        let risk = risk_of(Timestamp(hours(24).0 - 1), |_| {});
        assert_eq!(codes(&risk), [""; 0]);
        for (age, said) in [(24, "24 hours"), (47, "47 hours"), (48, "2 days"), (71, "2 days")] {
            let risk = risk_of(hours(age), |_| {});
            assert_eq!((risk.level, codes(&risk)), (Severity::Medium, vec!["old"]));
            let begin = format!("the snapshot was taken {said} ago: ");
            assert!(message(&risk, "old").starts_with(&begin), "{risk:?}");
        }
        let risk = risk_of(hours(30), |plan| plan.snapshot.cluster_time = None);
        assert!(message(&risk, "old").starts_with("the plan was made 30 hours ago: "), "{risk:?}");
    }

    #[test]
    fn a_repair_time_far_from_the_snapshot_or_not_yet_come_is_weighed() {
        let repair = |ms: i64| {
            risk_of(REPAIR_TIME, |plan| plan.rule.repair_time = Timestamp(REPAIR_TIME.0 + ms))
        };
        assert_eq!(codes(&repair(-1)), [""; 0]);
        assert_eq!(codes(&repair(1)), ["repair_time_in_future"]);
        assert_eq!(codes(&repair(86_400_000 - 1)), ["repair_time_in_future"]);
        let far = repair(3 * 86_400_000);
        assert_eq!(codes(&far), ["repair_time_in_future", "repair_time_far"], "highest first");
        assert!(message(&far, "repair_time_far").contains(" is 3 days after the snapshot"));
        assert_eq!(repair(86_400_000).factors.len(), 2);
    }

    #[test]
    fn tokens_that_are_left_are_counted_by_reason() {
        let risk = risk_of(REPAIR_TIME, |plan| {
            plan.not_changed.insert("no_room".into(), 3);
        });
        assert_eq!((risk.level, codes(&risk)), (Severity::Medium, vec!["not_changed"]));
        assert!(message(&risk, "not_changed").ends_with(": 3 no_room"), "{risk:?}");
    }

    #[test]
    fn changes_have_what_holds_for_all_of_them_and_their_missing_amounts_are_counted() {
        let always = ["refused_on_save", "drift"];
        let assessed = |amounts: &[Option<i64>]| {
            let changes: Vec<Vec<u8>> =
                amounts.iter().map(|amount| change("ann", *amount, None)).collect();
            let (_root, plan) = plan_with(&Sample { changes: &changes, ..FINE }, |_| {});
            assess(&plan, REPAIR_TIME).unwrap()
        };
        let known = assessed(&[Some(0), Some(-5)]);
        assert_eq!((known.level, codes(&known)), (Severity::Low, always.to_vec()));
        let unknown = assessed(&[None, Some(1), None]);
        assert_eq!(codes(&unknown), ["no_amount", always[0], always[1]]);
        assert!(message(&unknown, "no_amount").contains(" no whole number: 2; "), "{unknown:?}");
    }

    /// The factors of these balances of users at mints.
    fn balanced(rows: &[(&str, i128, i128)]) -> RiskAssessment {
        let row = |(user, before, after): &(&str, i128, i128)| {
            format!("{user},mint,1,{before},{after},0,0,0,0\r\n")
        };
        let rows: String = rows.iter().map(row).collect();
        let (_root, plan) = plan_with(&Sample { deltas: &rows, ..FINE }, |_| {});
        assess(&plan, REPAIR_TIME).unwrap()
    }

    #[test]
    fn balances_that_the_repair_brings_below_zero_are_counted() {
        for fine in [(5, 4), (0, 0), (-5, -5), (-5, -4), (-1, 0)] {
            let risk = balanced(&[("ann", fine.0, fine.1)]);
            assert_eq!(codes(&risk), [""; 0], "{fine:?}");
        }
        // Two of one user at two mints, whose sum is not below zero.
        let risk = balanced(&[("ann", 0, -1), ("ann", 90, 90), ("bob", -2, -7), ("cid", -9, -9)]);
        assert_eq!((risk.level, codes(&risk)), (Severity::High, vec!["below_zero"]));
        let said = message(&risk, "below_zero");
        assert!(said.contains("after the repair: 2, the lowest -7; "), "{said}");
    }

    #[test]
    fn balances_that_the_repair_brings_to_nothing_are_counted() {
        let risk = balanced(&[("ann", 1, 0), ("ann", 7, 6), ("bob", 9, 0), ("bob", 99, 99)]);
        assert_eq!((risk.level, codes(&risk)), (Severity::Medium, vec!["emptied"]));
        assert!(message(&risk, "emptied").ends_with("exactly 0: 2"), "{risk:?}");
    }

    #[test]
    fn users_who_lose_half_over_all_mints_are_counted() {
        let risk = balanced(&[
            ("half", 4, 2),
            ("more", 5, 2),
            ("less", 5, 3),
            ("here and there", 2, 1),
            ("here and there", 2, 2),
            ("nothing", 0, 0),
            ("", 9, 1),
        ]);
        assert_eq!((risk.level, codes(&risk)), (Severity::Medium, vec!["large_share"]));
        assert!(message(&risk, "large_share").starts_with("2 of 5 users lose half"), "{risk:?}");
    }

    #[test]
    fn reports_that_are_not_the_plans_are_not_weighed() {
        let changes = [change("ann", Some(2), None)];
        let deltas = "ann,mint,1,1,-1,0,0,0,-2\r\n";
        let (root, plan) = plan_with(&Sample { changes: &changes, deltas, ..FINE }, |_| {});
        assert_eq!(codes(&assess(&plan, REPAIR_TIME).unwrap())[0], "below_zero");
        let deltas = root.path().join(REPORTS_DIRECTORY).join(CSV_REPORTS[0]);
        fs::write(&deltas, DELTAS_HEADER).unwrap();
        let risk = assess(&plan, REPAIR_TIME).unwrap();
        assert_eq!(codes(&risk), ["reports_do_not_fit", "refused_on_save", "drift"]);

        let of_another = json!({"plan": {"sha256": hash_bytes(b"").to_string()}, "findings": {}});
        write_summary(root.path(), &of_another);
        assert!(codes(&assess(&plan, REPAIR_TIME).unwrap()).contains(&"summary_does_not_fit"));

        let (root, plan) = plan_with(&FINE, |_| {});
        fs::remove_file(root.path().join(REPORTS_DIRECTORY).join(CSV_REPORTS[0])).unwrap();
        let risk = assess(&plan, REPAIR_TIME).unwrap();
        assert_eq!(codes(&risk), [""; 0], "without changes there is no balance to weigh");
    }

    #[test]
    fn serious_findings_that_the_rule_does_not_settle_are_named() {
        let findings = json!({
            "inconsistent_status": {"count": 9},
            "duplicate_secrets": {"count": 0},
            "orphaned_tokens": {"count": 8},
            "negative_balance": {"count": 2},
            "double_counted": {"count": 1},
        });
        let (_root, plan) = plan_with(&Sample { findings, ..FINE }, |_| {});
        let risk = assess(&plan, REPAIR_TIME).unwrap();
        assert_eq!((risk.level, codes(&risk)), (Severity::Medium, vec!["other_findings"]));
        let said = message(&risk, "other_findings");
        assert!(said.ends_with(": 2 negative_balance, 1 double_counted"), "{said}");
    }

    #[test]
    fn a_summary_that_is_not_the_one_written_with_the_plan_is_not_believed() {
        let findings = json!({"negative_balance": {"count": 2}});
        let (root, plan) = plan_with(&Sample { findings, ..FINE }, |_| {});
        let weighed = || codes(&assess(&plan, REPAIR_TIME).unwrap());
        assert_eq!(weighed(), ["other_findings"]);
        let summary = root.path().join(SUMMARY);
        let written = fs::read_to_string(&summary).unwrap();
        fs::write(&summary, written.replace("\"count\":2", "\"count\":0")).unwrap();
        assert_eq!(weighed(), ["summary_does_not_fit"]);
        fs::write(&summary, &written).unwrap();
        assert_eq!(weighed(), ["other_findings"]);
        fs::remove_file(root.path().join(SUMS_FILE)).unwrap();
        assert_eq!(weighed(), ["summary_does_not_fit"]);
    }

    #[test]
    fn an_assessment_is_words_for_programs() {
        let risk = risk_of(REPAIR_TIME, |plan| plan.snapshot.secrets = Presence::Hashed);
        let object = serde_json::to_value(&risk).unwrap();
        assert_eq!(
            (&object["level"], &object["factors"][0]["level"]),
            (&json!("high"), &json!("high"))
        );
    }
}
