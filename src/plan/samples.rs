//! Small plans, written by hand, for the tests of this layer.

use super::file::{
    BatchRecord, CHANGES_FILE, CSV_REPORTS, FORMAT_VERSION, PLAN_FILE, Plan, PlanFile,
    PlannedSnapshot, PlannedTotals, REPORTS_DIRECTORY, ReportRecord, RuleRecord, SEAL_KEY,
};
use super::{SUMMARY_FILE, SUMS_FILE, encode};
use crate::analysis::{ChangedFields, ImagePair, ProposedChange, RULE, SpentAt};
use crate::document::{Value, ValueKind};
use crate::model::{JsonAmount, Sha256Hash, Timestamp, hash_bytes};
use crate::sealed::seal;
use crate::snapshot::format::{Consistency, Presence, Source};
use serde_json::json;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

pub(super) const REPAIR_TIME: Timestamp = Timestamp(1_767_225_600_000);

/// A token before and after its change, as far as a change is compared with it.
pub(super) const TOKEN: [&[u8]; 2] = [b"before", b"afterwards"];

/// The bytes of a string value.
fn string(text: &str) -> Vec<u8> {
    let length = i32::try_from(text.len() + 1).unwrap();
    [&length.to_le_bytes()[..], text.as_bytes(), &[0]].concat()
}

/// A change of a token of `npub` with this amount and time of creation.
pub(super) fn change(npub: &str, amount: Option<i64>, created_at: Option<Timestamp>) -> Vec<u8> {
    let (npub, status) = (string(npub), string("unspent"));
    let text = |bytes| Value { kind: ValueKind::String, bytes };
    let created_at = created_at.map(|Timestamp(ms)| ms.to_le_bytes());
    let mut encoded = Vec::new();
    let proposed = ProposedChange {
        ordinal: 0,
        id: Value { kind: ValueKind::Int32, bytes: &[7, 0, 0, 0] },
        npub: Some(text(&npub)),
        wallet_id: None,
        mint_url: None,
        transaction_id: None,
        amount,
        created_at: created_at.as_ref().map(|ms| Value { kind: ValueKind::DateTime, bytes: ms }),
        before: ChangedFields { status: text(&status), spent_at: None, updated_at: None },
        spent_at_after: REPAIR_TIME,
        updated_at_after: None,
        image: ImagePair {
            bytes_before: TOKEN[0].len(),
            bytes_after: TOKEN[1].len(),
            sha256_before: hash_bytes(TOKEN[0]),
            sha256_after: hash_bytes(TOKEN[1]),
        },
    };
    encode(&proposed, &mut encoded);
    encoded
}

/// A plan with these changes in one batch, of a consistent snapshot taken at [`REPAIR_TIME`].
pub(super) fn content(changes: &[Vec<u8>]) -> PlanFile {
    let (bytes, count) = (changes.concat(), changes.len() as u64);
    let sha256 = hash_bytes(&bytes);
    let batch = BatchRecord { offset: 0, changes: count, bytes: bytes.len() as u64, sha256 };
    let report = |name: &str| ReportRecord { name: name.into(), bytes: 0, sha256 };
    PlanFile {
        format_version: FORMAT_VERSION,
        tool: "remelt test".into(),
        rule: RuleRecord { name: RULE.into(), spent_at: SpentAt::Repair, repair_time: REPAIR_TIME },
        snapshot: PlannedSnapshot {
            sha256,
            consistency: Consistency::Snapshot,
            cluster_time: Some(format!("{}:1", REPAIR_TIME.0 / 1_000)),
            source: Some(Source {
                host: "db".into(),
                replica_set: Some("rs".into()),
                replica_set_id: Some("64b5".into()),
                server_version: "6.0.5".into(),
            }),
            secrets: Presence::Full,
            db: None,
            tokens: "cashu_tokens".into(),
            tokens_documents: count,
            wallets_documents: None,
            bytes: 0,
        },
        totals: PlannedTotals { changes: count, amount: JsonAmount(0), users: 0 },
        not_changed: [("no_id".to_owned(), 0), ("no_room".to_owned(), 0)].into(),
        reports: CSV_REPORTS.map(report).into(),
        batches: if count == 0 { Vec::new() } else { vec![batch] },
    }
}

/// What lies in a plan's directory.
pub(super) struct Sample<'a> {
    pub(super) changes: &'a [Vec<u8>],
    /// Rows of `balance_deltas.csv`.
    pub(super) deltas: &'a str,
    /// What `summary.json` says of findings.
    pub(super) findings: serde_json::Value,
}

pub(super) const DELTAS_HEADER: &str = "npub,mint_url,tokens_fixed,unspent_before,unspent_after,\
                                        pending,spent_before,spent_after,delta\r\n";

/// Writes `content` sealed and gives its hash.
pub(super) fn write_plan(directory: &Path, content: &PlanFile) -> Sha256Hash {
    let (text, sha256) = seal(content, SEAL_KEY).unwrap();
    fs::write(directory.join(PLAN_FILE), text).unwrap();
    sha256
}

/// Writes `summary` and its line of `SHA256SUMS`.
pub(super) fn write_summary(directory: &Path, summary: &serde_json::Value) {
    let (name, text) = (format!("{REPORTS_DIRECTORY}/{SUMMARY_FILE}"), summary.to_string());
    fs::write(directory.join(&name), &text).unwrap();
    let sum = format!("{}  {name}\n", hash_bytes(text.as_bytes()));
    fs::write(directory.join(SUMS_FILE), sum).unwrap();
}

/// The sample's plan with what `edit` makes of it, written and opened.
pub(super) fn plan_with(sample: &Sample<'_>, edit: impl FnOnce(&mut PlanFile)) -> (TempDir, Plan) {
    let root = tempfile::tempdir().unwrap();
    let reports = root.path().join(REPORTS_DIRECTORY);
    fs::create_dir(&reports).unwrap();
    let deltas = format!("{DELTAS_HEADER}{}", sample.deltas);
    fs::write(reports.join(CSV_REPORTS[0]), &deltas).unwrap();
    fs::write(root.path().join(CHANGES_FILE), sample.changes.concat()).unwrap();
    let mut content = content(sample.changes);
    content.reports[0].sha256 = hash_bytes(deltas.as_bytes());
    edit(&mut content);
    let sha256 = write_plan(root.path(), &content);
    let summary = json!({"plan": {"sha256": sha256.to_string()}, "findings": sample.findings});
    write_summary(root.path(), &summary);
    let plan = Plan::open(root.path()).unwrap();
    (root, plan)
}
