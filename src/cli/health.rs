//! The health check as text for people: 80 columns, readable without colour.

use super::render::{bytes, in_words, line, melted, number, prose};
use remelt::model::FindingCode;
use remelt::monitor::alerts::Alert;
use remelt::monitor::{HealthCheck, HealthStatus};
use std::fmt::Write;

/// One line about the latest pass.
pub(crate) fn pass(check: &HealthCheck) -> String {
    let mut text = format!("{}  ", check.timestamp);
    match (&check.migration, &check.balances, &check.stale_reason) {
        (_, _, Some(reason)) => line!(text, "FAILED: {reason}"),
        (Some(migration), Some(balances), None) => line!(
            text,
            "{}: {} of {} melted tokens unspent, {} users with wrong balances ({} s)",
            word(check.status),
            number(migration.problematic_tokens.into()),
            number(migration.total_melted_tokens.into()),
            number(balances.users_with_issues.into()),
            check.pass.seconds.unwrap_or_default()
        ),
        _ => line!(text, "no pass has ended yet"),
    }
    text
}

fn word(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Healthy => "healthy",
        HealthStatus::Degraded => "degraded",
        HealthStatus::Unhealthy => "unhealthy",
        HealthStatus::Unknown => "unknown",
    }
}

/// The whole check.
pub(crate) fn check(check: &HealthCheck, alerts: &[Alert]) -> String {
    let mut text = String::new();
    line!(text, "Health     {}", word(check.status));
    if let Some(as_of) = check.as_of {
        line!(text, "As of      {as_of}");
    }
    if let Some(migration) = &check.migration {
        line!(text, "Migration  {}", in_words(&migration.state));
        let (unspent, spent) = (migration.problematic_tokens, migration.spent_melted_tokens);
        line!(text, "Melted     {}", melted(migration.total_melted_tokens, unspent, spent));
    }
    if let Some(balances) = &check.balances {
        let wrong = number(balances.users_with_issues.into());
        let users = number(balances.total_users.into());
        line!(text, "Balances   {wrong} of {users} users have a wrong one");
    }
    system(&mut text, check);
    findings(&mut text, check);
    line!(text);
    if alerts.is_empty() {
        line!(text, "No alerts.");
    }
    for alert in alerts {
        line!(text, "[{}] {}", alert.priority.as_str(), alert.title);
        for part in alert.detail.split("; ") {
            prose(&mut text, "  ", part);
        }
        prose(&mut text, "  next: ", &alert.action);
    }
    text
}

fn system(text: &mut String, check: &HealthCheck) {
    let Some(system) = &check.system else { return };
    let connection = &system.connection;
    let set = connection.replica_set.as_deref().unwrap_or("no replica set");
    line!(
        text,
        "Server     {} ({set}, {}), answers in {} ms",
        connection.hosts,
        connection.server_version,
        connection.ping_ms
    );
    let database = &system.database;
    line!(
        text,
        "Database   {}: {} of documents, {} on disk, {} of indexes",
        database.name,
        bytes(database.data_bytes),
        bytes(database.storage_bytes),
        bytes(database.index_bytes)
    );
    if let Some(replication) = &system.replication {
        let members = replication.members.len();
        let lag = replication.lag_seconds_max;
        line!(text, "Members    {members}, at most {lag} s behind");
    }
    for missing in &system.missing_indexes {
        line!(text, "Missing    index on {} {{{}}}", missing.collection, missing.keys.join(", "));
    }
    for note in &system.notes {
        line!(text, "Note       {note}");
    }
}

fn findings(text: &mut String, check: &HealthCheck) {
    let Some(integrity) = &check.integrity else { return };
    let found = FindingCode::ALL.iter().filter_map(|code| {
        let count = integrity.get(code.as_str())?.get("count")?.as_u64()?;
        (count > 0).then_some((code, count))
    });
    for (code, count) in found {
        line!(text, "{:>18}  {code} ({})", number(count.into()), code.severity().as_str());
    }
}
