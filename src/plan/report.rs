//! The result object of `analyze`, which is `reports/summary.json` as well.

use super::file::PlannedSnapshot;
use crate::analysis::{Analysis, FindingTotals};
use crate::model::{FindingCode, JsonAmount, Sha256Hash, Timestamp};
use crate::snapshot::format::Consistency;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// `analyze`'s result object (`design.md`, Result objects). Key order is the order of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnalyzeReport {
    /// What was analysed.
    pub snapshot: SnapshotReport,
    /// Counts.
    pub stats: StatsReport,
    /// What the plan changes.
    pub impact: ImpactReport,
    /// By code; `null` where the snapshot can't tell.
    pub findings: Map<String, Value>,
    /// 1 − problematic / melted; 1 when nothing is melted.
    pub health_score: f64,
    /// The plan; `null` when none was made (`cluster`).
    pub plan: Option<PlanReport>,
    /// What was left as it is, by reason; only reasons that occurred. For people; `plan.json` has it.
    #[serde(skip)]
    pub not_changed: Map<String, Value>,
    /// What people should know about the snapshot. For people.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// Measured.
    pub performance: PerformanceReport,
}

/// What was analysed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotReport {
    /// Root hash; `null` when the bytes stayed in the database (`cluster`).
    pub sha256: Option<Sha256Hash>,
    /// `snapshot`, `none` or `foreign`.
    pub consistency: Consistency,
    /// Cluster time.
    pub cluster_time: Option<String>,
    /// Bytes of all documents.
    pub bytes: u64,
    /// Documents by role.
    pub documents: DocumentsReport,
}

/// Documents by role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentsReport {
    /// Tokens.
    pub cashu_tokens: u64,
    /// Wallets; `null` when there was no such collection.
    pub cashu_wallets: Option<u64>,
}

/// Counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatsReport {
    /// Documents.
    pub total_tokens: u64,
    /// Melted ones.
    pub total_melted_tokens: u64,
    /// Melted and unspent ones.
    pub problematic_tokens: u64,
    /// Melted and spent ones.
    pub spent_melted_tokens: u64,
    /// Distinct users.
    pub total_users: u64,
    /// Wallet documents.
    pub total_wallets: u64,
}

/// What the plan changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImpactReport {
    /// Changes.
    pub tokens_to_migrate: u64,
    /// Sum of their amounts.
    pub total_amount_affected: JsonAmount,
    /// Their users.
    pub affected_users: u64,
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanReport {
    /// Its hash.
    pub sha256: Sha256Hash,
    /// Changes in it.
    pub changes: u64,
    /// Batches in it.
    pub batches: u64,
    /// T.
    pub repair_time: Timestamp,
    /// Where it lies; `.` in `summary.json`, which lies in it.
    pub path: String,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PerformanceReport {
    /// Bytes of documents.
    pub bytes: u64,
    /// Wall time.
    pub seconds: f64,
    /// Documents per second of it.
    pub documents_per_second: u64,
}

impl PerformanceReport {
    /// Figures of `documents` with `bytes` in `elapsed`.
    #[must_use]
    pub fn new(bytes: u64, documents: u64, elapsed: Duration) -> PerformanceReport {
        let micros = elapsed.as_micros().max(1);
        let rate = u128::from(documents) * 1_000_000 / micros;
        PerformanceReport {
            bytes,
            seconds: seconds_of(elapsed),
            documents_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
        }
    }
}

/// Seconds to the millisecond.
#[must_use]
pub fn seconds_of(elapsed: Duration) -> f64 {
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(ms).as_secs_f64()
}

/// The report's part that follows from the analysis alone.
pub(super) fn report(
    snapshot: &PlannedSnapshot,
    notes: Vec<String>,
    analysis: &Analysis,
    plan: PlanReport,
    performance: PerformanceReport,
) -> AnalyzeReport {
    let totals = &analysis.totals;
    let (tokens, wallets) = (snapshot.tokens_documents, snapshot.wallets_documents);
    let problematic = totals.of(FindingCode::InconsistentStatus).count;
    let not_changed = crate::analysis::NotChanged::ALL.iter().filter_map(|reason| {
        let count = totals.not_changed[*reason as usize];
        (count > 0).then(|| (reason.as_str().to_owned(), json!(count)))
    });
    AnalyzeReport {
        snapshot: SnapshotReport {
            sha256: Some(snapshot.sha256),
            consistency: snapshot.consistency,
            cluster_time: snapshot.cluster_time.clone(),
            bytes: snapshot.bytes,
            documents: DocumentsReport { cashu_tokens: tokens, cashu_wallets: wallets },
        },
        stats: StatsReport {
            total_tokens: tokens,
            total_melted_tokens: totals.melted,
            problematic_tokens: problematic,
            spent_melted_tokens: totals.spent_melted,
            total_users: totals.users,
            total_wallets: wallets.unwrap_or(0),
        },
        impact: ImpactReport {
            tokens_to_migrate: totals.changes,
            total_amount_affected: JsonAmount(totals.amount_changed),
            affected_users: totals.users_changed,
        },
        findings: findings_object(|code| totals.of(code), wallets.is_some()),
        health_score: health_score(problematic, totals.melted),
        plan: Some(plan),
        not_changed: not_changed.collect(),
        notes,
        performance,
    }
}

/// 1 − problematic / melted; 1 when nothing is melted.
#[allow(clippy::float_arithmetic, clippy::cast_precision_loss)] // a score for people, no amount
pub(crate) fn health_score(problematic: u64, melted: u64) -> f64 {
    if melted == 0 { 1.0 } else { melted.saturating_sub(problematic) as f64 / melted as f64 }
}

/// The findings by code, in the order of reports.
pub(crate) fn findings_object<'a>(
    of: impl Fn(FindingCode) -> &'a FindingTotals,
    has_wallets: bool,
) -> Map<String, Value> {
    FindingCode::ALL
        .iter()
        .map(|code| (code.as_str().to_owned(), finding(*code, of(*code), has_wallets)))
        .collect()
}

fn finding(code: FindingCode, totals: &FindingTotals, has_wallets: bool) -> Value {
    let amount = || json!(JsonAmount(totals.amount));
    let [first, second, third] = totals.classes;
    let mut object = Map::new();
    object.insert("count".into(), json!(totals.count));
    match code {
        FindingCode::WalletMismatch if !has_wallets => return Value::Null,
        FindingCode::InconsistentStatus
        | FindingCode::NegativeBalance
        | FindingCode::AmountMismatch
        | FindingCode::DoubleCounted
        | FindingCode::MissingChange => {
            object.insert("amount".into(), amount());
        }
        _ => {}
    }
    object.insert("affectedUsers".into(), json!(totals.affected_users));
    match code {
        FindingCode::OrphanedTokens => {
            let dangling = has_wallets.then_some(second);
            let classes = json!({"missing_wallet_id": first, "dangling_wallet_id": dangling});
            object.insert("classes".into(), classes);
        }
        FindingCode::DuplicateSecrets => {
            let classes =
                json!({"benign_copy": first, "double_counted": second, "cross_user": third});
            object.insert("classes".into(), classes);
        }
        _ => {}
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_number_while_every_reader_holds_it_exactly_and_else_a_string() {
        let largest = 9_007_199_254_740_992_i128; // 2^53
        for (amount, text) in [
            (0, "0".to_owned()),
            (largest, largest.to_string()),
            (-largest, (-largest).to_string()),
            (largest + 1, format!("\"{}\"", largest + 1)),
            (-largest - 1, format!("\"{}\"", -largest - 1)),
            (i64::MIN.into(), format!("\"{}\"", i64::MIN)),
            (i128::MAX, format!("\"{}\"", i128::MAX)),
        ] {
            assert_eq!(serde_json::to_string(&JsonAmount(amount)).unwrap(), text);
            assert_eq!(serde_json::from_str::<JsonAmount>(&text).unwrap(), JsonAmount(amount));
        }
        let odd = serde_json::from_str::<JsonAmount>("true").unwrap_err().to_string();
        assert!(odd.contains("an integer, or a string of one"), "{odd}");
        assert!(serde_json::from_str::<JsonAmount>("\"1.5\"").is_err());
    }

    #[test]
    fn a_performance_is_documents_a_second_of_the_wall_time() {
        let measured = PerformanceReport::new(9, 300, Duration::from_micros(1_500_900));
        let expected = PerformanceReport { bytes: 9, seconds: 1.5, documents_per_second: 199 };
        assert_eq!(measured, expected);
        assert_eq!(PerformanceReport::new(0, 3, Duration::ZERO).documents_per_second, 3_000_000);
    }

    #[test]
    fn what_only_wallets_could_tell_is_unknown_without_them() {
        let totals = FindingTotals::default();
        let found = |has_wallets| findings_object(|_| &totals, has_wallets);
        let (without, with) = (found(false), found(true));
        assert_eq!(without["wallet_mismatch"], Value::Null);
        assert_eq!(with["wallet_mismatch"], json!({"count": 0, "affectedUsers": 0}));
        let dangling = |found: &Map<String, Value>| {
            found["orphaned_tokens"]["classes"]["dangling_wallet_id"].clone()
        };
        assert_eq!((dangling(&without), dangling(&with)), (Value::Null, json!(0)));
    }
}
