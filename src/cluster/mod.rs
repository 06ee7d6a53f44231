//! Analysis inside the user's cluster: the result object of `analyze`, computed by aggregation pipelines.
//!
//! One file a pipeline: `documents` (what one document shows by itself, and the balances), `npubs`,
//! `secrets`, `transaction_ids`, `melts` and `wallets`. Each follows `docs/findings.md` in the server's
//! expressions (`expression`) and ends with one document of numbers (`figures`). Nothing is exported: what leaves
//! the server are these numbers, and each distinct `npub` with its number of documents, whose checksum the
//! server can't compute. It makes no plan, writes nothing, and shares no code with the local engine but that
//! checksum: each is the other's oracle in the tests.

mod catalog;
mod documents;
mod error;
mod expression;
mod figures;
mod melts;
mod npubs;
mod reading;
mod secrets;
mod transaction_ids;
mod wallets;

pub use error::ClusterError;
pub use reading::ClusterConsistency;

use crate::analysis::{FindingTotals, SpentAt};
use crate::model::{FindingCode, JsonAmount};
use crate::plan::{
    AnalyzeReport, DocumentsReport, ImpactReport, PerformanceReport, SnapshotReport, StatsReport,
    findings_object, health_score,
};
use crate::progress::Progress;
use crate::server::{DeploymentKind, Server};
use crate::snapshot::format::Consistency;
use figures::Figures;
use npubs::Npubs;
use reading::{Reading, Step};
use serde_json::json;
use std::time::Duration;

/// What to analyse, and how.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The tokens' collection.
    pub tokens: String,
    /// The wallets' collection.
    pub wallets: String,
    /// Whether a database without the wallets' collection is an error.
    pub require_wallets: bool,
    /// Where the rule would take `spent_at` from; a document may lack it.
    pub spent_at: SpentAt,
    /// How far the documents are to be of one point in time.
    pub consistency: ClusterConsistency,
}

impl Default for ClusterOptions {
    fn default() -> ClusterOptions {
        ClusterOptions {
            tokens: "cashu_tokens".to_owned(),
            wallets: "cashu_wallets".to_owned(),
            require_wallets: true,
            spent_at: SpentAt::Repair,
            consistency: ClusterConsistency::Snapshot,
        }
    }
}

/// What the pipelines found.
struct Found {
    documents: Figures,
    npubs: Npubs,
    secrets: Figures,
    transaction_ids: Figures,
    melts: Figures,
    wallets: Figures,
    /// `None` without the wallets' collection.
    wallets_size: Option<Figures>,
}

/// Analyses the database in place. `elapsed` tells the time since the command began.
///
/// # Errors
/// [`ClusterError`]. Told to stop, it ends what runs on the server as well.
pub async fn analyze_in_cluster(
    server: &Server,
    options: &ClusterOptions,
    progress: &Progress,
    elapsed: &(dyn Fn() -> Duration + Sync),
) -> Result<AnalyzeReport, ClusterError> {
    let require_wallets = options.require_wallets;
    let wallets =
        catalog::check(server, &options.tokens, &options.wallets, require_wallets).await?;
    let is_snapshot = options.consistency == ClusterConsistency::Snapshot
        && server.deployment().kind != DeploymentKind::Standalone;
    let mut reading = Reading::begin(server, is_snapshot, progress).await?;
    let found = run(&mut reading, options, wallets).await?;
    report(&found, reading.cluster_time(), is_snapshot, elapsed())
}

async fn run(
    reading: &mut Reading<'_>,
    options: &ClusterOptions,
    wallets: Option<&str>,
) -> Result<Found, ClusterError> {
    let on_tokens = |name, pipeline| Step { name, collection: options.tokens.as_str(), pipeline };
    let documents = on_tokens("check the documents", documents::pipeline(options.spent_at));
    let documents = reading.figures(documents).await?;
    let mut npubs = Npubs::default();
    let step = on_tokens("check the npubs", npubs::pipeline());
    reading.each(step, |group| npubs.take(group).map_err(|_| ClusterError::Figures)).await?;
    let secrets = reading.figures(on_tokens("compare the secrets", secrets::pipeline())).await?;
    let step = on_tokens("compare transactions", transaction_ids::pipeline());
    let transaction_ids = reading.figures(step).await?;
    let melts = reading.figures(on_tokens("match the melts", melts::pipeline())).await?;
    let step = on_tokens("match the wallets", wallets::pipeline(wallets));
    let on_wallets = reading.figures(step).await?;
    let wallets_size = match wallets {
        None => None,
        Some(collection) => {
            let pipeline = wallets::size_pipeline();
            let step = Step { name: "count the wallets", collection, pipeline };
            Some(reading.figures(step).await?)
        }
    };
    Ok(Found {
        documents,
        npubs,
        secrets,
        transaction_ids,
        melts,
        wallets: on_wallets,
        wallets_size,
    })
}

fn report(
    found: &Found,
    cluster_time: Option<String>,
    is_snapshot: bool,
    elapsed: Duration,
) -> Result<AnalyzeReport, ClusterError> {
    let documents = &found.documents;
    let count = |name| documents.count(name);
    let wallets = found.wallets_size.as_ref();
    let total_wallets = wallets.map(|size| size.count(wallets::WALLETS)).transpose()?;
    let wallets_bytes = wallets.map(|size| size.count(wallets::BYTES)).transpose()?;
    let total_tokens = count(documents::TOKENS)?;
    let melted = count(documents::MELTED)?;
    let problematic = count(FindingCode::InconsistentStatus.as_str())?;
    let bytes = count(documents::BYTES)? + wallets_bytes.unwrap_or(0);
    let mut findings = [FindingTotals::default(); FindingCode::ALL.len()];
    for code in FindingCode::ALL {
        findings[code.index()] = totals(found, *code)?;
    }
    let mut not_changed = serde_json::Map::new();
    for reason in documents::NOT_CHANGED {
        match documents.count(&documents::not_changed(reason))? {
            0 => {}
            count => drop(not_changed.insert(reason.to_owned(), json!(count))),
        }
    }
    let read = total_tokens + total_wallets.unwrap_or(0);
    Ok(AnalyzeReport {
        snapshot: SnapshotReport {
            sha256: None,
            consistency: if is_snapshot { Consistency::Snapshot } else { Consistency::None },
            cluster_time,
            bytes,
            documents: DocumentsReport { cashu_tokens: total_tokens, cashu_wallets: total_wallets },
        },
        stats: StatsReport {
            total_tokens,
            total_melted_tokens: melted,
            problematic_tokens: problematic,
            spent_melted_tokens: count(documents::SPENT_MELTED)?,
            total_users: found.npubs.users,
            total_wallets: total_wallets.unwrap_or(0),
        },
        impact: ImpactReport {
            tokens_to_migrate: count(documents::CHANGES)?,
            total_amount_affected: JsonAmount(documents.amount(documents::CHANGED_AMOUNT)?),
            affected_users: documents.users(documents::CHANGES)?,
        },
        findings: findings_object(|code| &findings[code.index()], wallets.is_some()),
        health_score: health_score(problematic, melted),
        plan: None,
        not_changed,
        notes: notes(is_snapshot),
        performance: PerformanceReport::new(bytes, read, elapsed),
    })
}

/// Figures of one finding, from the pipeline that counts it.
fn totals(found: &Found, code: FindingCode) -> Result<FindingTotals, ClusterError> {
    let simple = |figures: &Figures| -> Result<FindingTotals, ClusterError> {
        let (count, affected_users) = figures.finding(code)?;
        Ok(FindingTotals { count, affected_users, ..FindingTotals::default() })
    };
    let documents = &found.documents;
    let secrets = &found.secrets;
    Ok(match code {
        FindingCode::InvalidAmounts
        | FindingCode::MissingMetadata
        | FindingCode::SpentAtMismatch
        | FindingCode::UnknownStatus
        | FindingCode::DuplicateField => simple(documents)?,
        FindingCode::InconsistentStatus => {
            let amount = documents.amount(documents::INCONSISTENT_AMOUNT)?;
            FindingTotals { amount, ..simple(documents)? }
        }
        FindingCode::AmountMismatch => {
            let amount = documents.amount(documents::MISMATCH_AMOUNT)?;
            FindingTotals { amount, ..simple(documents)? }
        }
        FindingCode::NegativeBalance => {
            let amount = documents.amount(documents::NEGATIVE_AMOUNT)?;
            FindingTotals { amount, ..simple(documents)? }
        }
        FindingCode::MalformedNpub => FindingTotals {
            count: found.npubs.malformed_documents,
            affected_users: found.npubs.malformed_users,
            ..FindingTotals::default()
        },
        FindingCode::DuplicateSecrets => FindingTotals {
            count: secrets.count(code.as_str())?,
            affected_users: secrets.users(secrets::OF_A_DUPLICATE)?,
            classes: [
                secrets.count(secrets::BENIGN_COPY)?,
                secrets.count(secrets::DOUBLE_COUNTED)?,
                secrets.count(secrets::CROSS_USER)?,
            ],
            ..FindingTotals::default()
        },
        FindingCode::DoubleCounted => FindingTotals {
            count: secrets.count(secrets::DOUBLE_COUNTED)?,
            amount: secrets.amount(secrets::PHANTOM_AMOUNT)?,
            affected_users: secrets.users(secrets::OF_A_DOUBLE_COUNTED)?,
            ..FindingTotals::default()
        },
        FindingCode::DuplicateTransactionId => FindingTotals {
            affected_users: found.transaction_ids.users(transaction_ids::OF_A_DUPLICATE)?,
            count: found.transaction_ids.count(code.as_str())?,
            ..FindingTotals::default()
        },
        FindingCode::MissingChange => {
            let amount = found.melts.amount(melts::EXCESS)?;
            FindingTotals { amount, ..simple(&found.melts)? }
        }
        FindingCode::OrphanedTokens => {
            let missing = found.wallets.count(wallets::MISSING_WALLET_ID)?;
            let dangling = found.wallets.count(wallets::DANGLING_WALLET_ID)?;
            FindingTotals { classes: [missing, dangling, 0], ..simple(&found.wallets)? }
        }
        FindingCode::WalletMismatch => simple(&found.wallets)?,
    })
}

fn notes(is_snapshot: bool) -> Vec<String> {
    if is_snapshot {
        return Vec::new();
    }
    vec![
        "NOT CONSISTENT: read without a snapshot, so documents may be of different times and sums over \
         them may be wrong"
            .to_owned(),
    ]
}
