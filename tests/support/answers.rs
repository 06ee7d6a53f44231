//! Answers of the admin API as `docs/api.md` describes them, for the pages to be shown.

use serde_json::{Value, json};

/// What names a user or a mint in a ledger that somebody prepared: markup, addresses, marks that turn text round.
pub(crate) const HOSTILE: [&str; 9] = [
    "<img src=http://evil.example/x onerror=\"window.hit=1\">",
    "\"><script>window.hit=1</script>",
    "</script><svg onload=window.hit=1>",
    "javascript:window.hit=1",
    "npub1\u{202e}gnp.exe\u{200b}",
    "../../etc/passwd",
    "..",
    "npub1%2e%2e%2f?token=x#y&z",
    "{{7*7}}${7*7}",
];

/// An amount above 2^53, which comes as a string.
pub(crate) const LARGE: &str = "9007199254740993";
/// The same, as a person reads it.
pub(crate) const LARGE_READ: &str = "9,007,199,254,740,993";

/// Answers to everything the dashboard asks, about a damaged ledger whose users have these names.
pub(crate) fn damaged(names: &[&str]) -> Vec<(&'static str, Value)> {
    let count = names.len();
    let top: Vec<Value> = names
        .iter()
        .map(|name| json!({"npub": name, "tokenCount": 2, "totalAmount": 500}))
        .collect();
    let issues: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({"npub": name, "issues": {"problematicMeltedTokens": 2, "doubleCounted": 1},
                "unspentBefore": 1500, "unspentAfter": 1000, "delta": -500})
        })
        .collect();
    let name = names.first().copied().unwrap_or("npub1");
    vec![
        ("/admin/migration/status", status(150, name)),
        ("/admin/migration/preview", preview(&top)),
        ("/admin/health", health(name)),
        ("/admin/health/token-integrity", integrity(150)),
        (
            "/admin/health/balance-consistency",
            of_pass(
                json!({"totalUsers": 1000, "checkedUsers": count, "matchingUsers": count, "limit": 20, "offset": 0,
                "issues": issues,
                "summary": {"usersWithIssues": count, "totalProblematicTokens": 150}}),
            ),
        ),
        ("/admin/trend", trend()),
        ("/admin/alerts", alerts(name)),
        ("/admin/findings", findings(names)),
    ]
}

/// What every answer that comes from a pass begins with.
fn of_pass(mut data: Value) -> Value {
    let begin = [
        ("timestamp", json!("2026-01-31T12:00:05.000Z")),
        ("asOf", json!("2026-01-31T12:00:00.000Z")),
        ("stale", json!(false)),
        ("staleReason", Value::Null),
    ];
    for (key, value) in begin {
        data[key] = value;
    }
    data
}

/// `data`, but old.
pub(crate) fn stale(mut data: Value, reason: &str) -> Value {
    data["stale"] = json!(true);
    data["staleReason"] = json!(reason);
    data
}

pub(crate) fn status(problematic: u64, name: &str) -> Value {
    of_pass(json!({
        "migration": {"isCompleted": false, "migrationNeeded": problematic > 0, "problematicTokens": problematic,
            "totalMeltedTokens": 500, "spentMeltedTokens": 500 - problematic, "state": "not_started"},
        "health": {"totalTokens": 10_000, "totalUsers": 1000, "totalWallets": 1200, "healthScore": 0.7},
        "runs": [],
        "lastSnapshot": null,
        "database": {"name": name, "replicaSet": "rs0", "serverVersion": "6.0.5", "dataBytes": 11_800_000,
            "storageBytes": 4_700_000, "indexBytes": 2_100_000},
        "readiness": {"ready": true, "reasons": []},
        "recommendations": [{"type": "migration", "priority": "high", "message": name, "action": name}],
    }))
}

/// `status`, with a run that is at work or has ended.
pub(crate) fn with_run(mut status: Value, run: &Value) -> Value {
    status["runs"] = json!([run]);
    status
}

/// A run with some of its 1,000 changes done.
pub(crate) fn run(done: u64, is_active: bool) -> Value {
    json!({"runId": "run-1", "planSha256": "ab", "state": if is_active { "running" } else { "completed" },
        "isActive": is_active, "startedAt": "2026-01-31T11:59:00.000Z", "updatedAt": "2026-01-31T12:00:00.000Z",
        "changes": 1000, "batches": 2, "applied": if is_active { Value::Null } else { json!(done) },
        "drifted": null, "restored": null, "error": null,
        "progress": {"step": "applying", "changes": 1000, "done": done, "total": 1000, "fraction": 0.25, "documentsPerSecond": 9812, "etaSeconds": 3}})
}

fn preview(top: &[Value]) -> Value {
    of_pass(json!({
        "migration_name": "004_fix_melted_token_status",
        "stats": {"tokensToMigrate": 150, "totalAmountAffected": LARGE, "affectedUsers": 25, "notChanged": 3,
            "estimatedExecutionTime": "2 seconds", "estimateBasis": "the latest run"},
        "userImpact": {}, "usersTotal": top.len(), "limit": 1, "offset": 0, "topUsers": top,
        "days": [{"day": "2025-01-28", "tokenCount": 100, "totalAmount": 40_000},
            {"day": "2025-01-29", "tokenCount": 48, "totalAmount": 30_000},
            {"day": "unknown", "tokenCount": 2, "totalAmount": 5000}],
        "amounts": [{"range": "100 to 999", "count": 150}],
    }))
}

/// A preview of a plan without changes, though three tokens would want some.
pub(crate) fn nothing_to_change() -> Value {
    let mut preview = preview(&[]);
    preview["stats"]["tokensToMigrate"] = json!(0);
    preview["days"] = json!([]);
    preview
}

fn integrity(problematic: u64) -> Value {
    of_pass(json!({
        "totalTokens": 10_000, "healthScore": 0.7,
        "issues": {
            "inconsistent_status": {"count": problematic, "severity": "high", "amount": LARGE, "affectedUsers": 25},
            "duplicate_secrets": {"count": 70, "severity": "high", "affectedUsers": 9,
                "classes": {"benign_copy": 66, "double_counted": 4, "cross_user": 0}},
            "orphaned_tokens": {"count": 9, "severity": "medium", "affectedUsers": 5,
                "classes": {"missing_wallet_id": 5, "dangling_wallet_id": 4}},
            "wallet_mismatch": null,
            "negative_balance": {"count": 0, "severity": "high", "amount": 0, "affectedUsers": 0},
        },
        "summary": {"totalIssues": problematic + 79, "high": problematic + 70, "medium": 9, "low": 0},
    }))
}

/// Of a ledger whose wallets are not there.
pub(crate) fn integrity_without_wallets() -> Value {
    let mut told = integrity(150);
    told["issues"]["orphaned_tokens"] = json!({"count": 0, "severity": "medium", "affectedUsers": 0,
        "classes": {"missing_wallet_id": 0, "dangling_wallet_id": null}});
    told
}

fn health(name: &str) -> Value {
    of_pass(json!({
        "status": "degraded", "healthScore": 0.7, "migration": {}, "balances": {}, "integrity": {},
        "system": {
            "connection": {"ok": true, "pingMs": 1, "hosts": name, "replicaSet": name, "serverVersion": "6.0.5"},
            "database": {"name": name, "dataBytes": 1, "storageBytes": 1, "indexBytes": 1},
            "collections": [{"name": name, "documents": 10_000, "dataBytes": 1, "storageBytes": 1, "indexBytes": 1}],
            "indexes": [{"collection": "cashu_tokens", "name": name, "keys": [name], "operations": 3,
                "since": "2026-01-01T00:00:00.000Z"}],
            "missingIndexes": [{"collection": "cashu_tokens", "keys": ["proofs.secret"]}],
            "replication": {"members": [{"host": name, "state": "PRIMARY", "isHealthy": true,
                "lagSeconds": null}], "lagSecondsMax": 0},
            "notes": [name],
        },
        "faults": [name],
        "recentErrors": [{"at": "2026-01-31T11:00:00.000Z", "what": "pass", "message": name}],
        "pass": {"number": 7, "beganAt": "2026-01-31T12:00:00.000Z", "seconds": 0.84, "bytes": 11_800_000,
            "documentsPerSecond": 13_380, "nextAt": "2026-01-31T12:01:00.000Z", "failuresInARow": 0},
        "movement": {"available": true, "reason": null, "since": "2026-01-31T12:00:00.000Z", "inserted": 4,
            "updated": 11, "deleted": 0, "newProblematic": 1},
    }))
}

fn trend() -> Value {
    let point = |minute: u64, count: u64| {
        json!({"at": format!("2026-01-31T11:{minute:02}:00.000Z"), "problematicTokens": count,
            "totalMeltedTokens": 500, "totalTokens": 10_000, "healthScore": 0.7, "amountAffected": 75_000,
            "seconds": 0.84})
    };
    json!({"points": (0..60).map(|minute| point(minute, 180 - minute / 2)).collect::<Vec<_>>()})
}

fn alerts(name: &str) -> Value {
    let alert = |id: &str, state: &str, resolved: Value| {
        json!({"id": id, "rule": "problematicTokens", "priority": "high", "state": state, "title": name,
            "detail": name, "value": 150, "threshold": 10, "action": name, "openedAt": "2026-01-31T11:00:00.000Z",
            "updatedAt": "2026-01-31T12:00:00.000Z", "resolvedAt": resolved, "times": 3})
    };
    json!({"timestamp": "2026-01-31T12:00:05.000Z", "alerts": [
        alert("a", "open", Value::Null), alert("b", "resolved", json!("2026-01-31T11:30:00.000Z"))]})
}

fn findings(names: &[&str]) -> Value {
    let rows: Vec<Value> = names
        .iter()
        .map(|name| {
            json!({"code": "inconsistent_status", "severity": "high", "tokenId": name, "npub": name, "mintUrl": name,
                "amount": LARGE, "detail": name})
        })
        .collect();
    of_pass(json!({"total": rows.len(), "limit": 50, "offset": 0, "findings": rows}))
}

/// Everything about one user.
pub(crate) fn user(name: &str) -> Value {
    let sums = json!({"tokensFixed": 2, "unspentBefore": 1500, "unspentAfter": 1000, "pending": 0,
        "spentBefore": 0, "spentAfter": 500, "delta": -500});
    let mut mint = sums.clone();
    mint["mintUrl"] = json!(name);
    of_pass(
        json!({"npub": name, "mints": [mint], "totals": sums, "issues": {"inconsistent_status": 1},
        "findings": findings(&[name])["findings"], "findingsTotal": 1}),
    )
}
