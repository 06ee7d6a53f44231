//! What the API answers, over a real ledger in a real database: equal to `analyze` and to the truth.

use crate::support::api::{Checked, api_options, damaged};
use crate::support::dumps::{build_options, make_plan, write_dump};
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::model::JsonAmount;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn amount(json: &Value) -> i128 {
    serde_json::from_value::<JsonAmount>(json.clone()).unwrap().0
}

/// What `analyze` makes of the same documents.
fn analysed(checked: &Checked, root: &Path) -> Value {
    write_dump(root, &checked.tokens, Some(&checked.wallets));
    let options = build_options(SpentAt::Repair, 1, MEMORY_BYTES_MIN, 3);
    let report = make_plan(&root.join("nctool"), &root.join("plan"), &options).unwrap();
    serde_json::to_value(&report).unwrap()
}

/// All entries of a paged list, by pages of `limit`.
fn paged(target: &str, list: &str, total: &str, limit: u64) -> Vec<Value> {
    let (_, api) = damaged();
    let mark = if target.contains('?') { '&' } else { '?' };
    let mut entries = Vec::new();
    for offset in (0..).step_by(usize::try_from(limit).unwrap()) {
        let data = api.data(&format!("{target}{mark}limit={limit}&offset={offset}"));
        assert_eq!((&data["limit"], &data["offset"]), (&json!(limit), &json!(offset)));
        if offset >= data[total].as_u64().unwrap() {
            break;
        }
        match &data[list] {
            Value::Array(page) => entries.extend(page.iter().cloned()),
            Value::Object(page) => entries.extend(page.iter().map(|(k, v)| json!([k, v]))),
            other => panic!("{other}"),
        }
    }
    entries
}

#[test]
fn every_figure_equals_what_analyze_says_of_the_same_ledger_and_the_truth() {
    let (checked, api) = damaged();
    let root = tempfile::tempdir().unwrap();
    let report = analysed(checked, root.path());
    let truth = &checked.truth;

    let status = api.data("/admin/migration/status");
    for (name, part) in [
        ("problematicTokens", "migration"),
        ("totalMeltedTokens", "migration"),
        ("spentMeltedTokens", "migration"),
        ("totalTokens", "health"),
        ("totalUsers", "health"),
        ("totalWallets", "health"),
    ] {
        assert_eq!(status[part][name], report["stats"][name], "{name}");
        assert_eq!(status[part][name], truth["stats"][name], "{name}");
    }
    assert_eq!(status["health"]["healthScore"], report["healthScore"]);

    let preview = api.data("/admin/migration/preview");
    for name in ["tokensToMigrate", "totalAmountAffected", "affectedUsers"] {
        assert_eq!(preview["stats"][name], report["impact"][name], "{name}");
        assert_eq!(amount(&preview["stats"][name]), amount(&truth["impact"][name]), "{name}");
    }
    let not_changed = truth["notChanged"].as_object().unwrap().values();
    let not_changed: u64 = not_changed.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(preview["stats"]["notChanged"], not_changed);
    for (part, field) in [("days", "tokenCount"), ("amounts", "count")] {
        let counts = preview[part].as_array().unwrap().iter().map(|it| it[field].as_u64().unwrap());
        let planned = report["impact"]["tokensToMigrate"].as_u64().unwrap();
        assert_eq!(counts.sum::<u64>(), planned, "{part}");
    }

    let integrity = api.data("/admin/health/token-integrity");
    let mut totals = BTreeMap::<String, u64>::new();
    for (code, finding) in report["findings"].as_object().unwrap() {
        let mut told = integrity["issues"][code].clone();
        if let Some(told) = told.as_object_mut() {
            let severity = told.remove("severity").unwrap().as_str().unwrap().to_owned();
            *totals.entry(severity).or_default() += told["count"].as_u64().unwrap();
        }
        assert_eq!(&told, finding, "{code}");
    }
    for (severity, count) in &totals {
        assert_eq!(&integrity["summary"][severity], count, "{severity}");
    }
    assert_eq!(integrity["summary"]["totalIssues"], totals.values().sum::<u64>());

    let balances = api.data("/admin/health/balance-consistency");
    assert_eq!(balances["totalUsers"], truth["stats"]["totalUsers"]);
    assert_eq!(balances["summary"]["totalProblematicTokens"], truth["stats"]["problematicTokens"]);
}

#[test]
fn every_users_impact_equals_the_truth_page_by_page() {
    let (checked, _) = damaged();
    let expected: BTreeMap<String, (u64, i128)> = checked.truth["perUser"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, user)| user["tokensFixed"] != 0)
        .map(|(npub, user)| {
            (npub.clone(), (user["tokensFixed"].as_u64().unwrap(), -amount(&user["delta"])))
        })
        .collect();
    for limit in [7, 1000] {
        let entries = paged("/admin/migration/preview", "userImpact", "usersTotal", limit);
        let names: Vec<&str> = entries.iter().map(|it| it[0].as_str().unwrap()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let seen: BTreeMap<String, (u64, i128)> = entries
            .iter()
            .filter(|it| it[0] != "") // documents whose `npub` is no text belong to no user
            .map(|it| {
                let (name, impact) = (it[0].as_str().unwrap(), &it[1]);
                let count = impact["tokenCount"].as_u64().unwrap();
                (name.to_owned(), (count, amount(&impact["totalAmount"])))
            })
            .collect();
        assert_eq!(seen, expected, "{limit}");
    }
}

#[test]
fn pages_of_balances_are_stable_and_whole() {
    let (_, api) = damaged();
    let summary = api.data("/admin/health/balance-consistency")["summary"].clone();
    let path = "/admin/health/balance-consistency";
    let at_once = paged(path, "issues", "matchingUsers", 1000);
    let users = at_once.iter().filter(|it| it["npub"] != ""); // tokens without an npub are nobody's
    assert_eq!(summary["usersWithIssues"], users.count());
    assert_eq!(paged(path, "issues", "matchingUsers", 9), at_once);
    let only = paged(&format!("{path}?onlyIssues=true"), "issues", "matchingUsers", 9);
    assert_eq!(only, at_once);
    let fixed: u64 = at_once
        .iter()
        .map(|it| it["issues"]["problematicMeltedTokens"].as_u64().unwrap_or(0))
        .sum();
    assert_eq!(summary["totalProblematicTokens"], fixed);

    let npub = at_once.last().unwrap()["npub"].as_str().unwrap();
    let found = api.data(&format!("{path}?npub={npub}&onlyIssues=true"));
    assert_eq!(
        (found["matchingUsers"].as_u64(), &found["issues"][0]),
        (Some(1), at_once.last().unwrap())
    );
    assert_eq!(found["summary"], summary, "the summary is over all users, always");
    let nobody = api.data(&format!("{path}?npub=npub1nobody"));
    assert_eq!((&nobody["checkedUsers"], &nobody["issues"]), (&json!(0), &json!([])));
}

#[test]
fn findings_are_those_of_the_report_in_its_order() {
    let (checked, api) = damaged();
    let root = tempfile::tempdir().unwrap();
    analysed(checked, root.path());
    let mut rows = csv::Reader::from_path(root.path().join("plan/reports/findings.csv")).unwrap();
    // Details may hold hashes under a key of the plan's own.
    let cells = |row: &csv::StringRecord| -> Vec<String> {
        row.iter().take(6).map(str::to_owned).collect()
    };
    let expected: Vec<Vec<String>> = rows.records().map(|row| cells(&row.unwrap())).collect();
    let told = |it: &Value| -> Vec<String> {
        ["code", "severity", "tokenId", "npub", "mintUrl", "amount"]
            .iter()
            .map(|name| match &it[*name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
            .collect()
    };
    let of = |filter: &str, limit| -> Vec<Vec<String>> {
        let target = format!("/admin/findings{filter}");
        paged(&target, "findings", "total", limit).iter().map(told).collect()
    };
    // Rows of one kind that the report sorts by what only its own key says may change places.
    let sorted = |mut rows: Vec<Vec<String>>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(of("", 1000)), sorted(expected.clone()));
    assert_eq!(of("", 97), of("", 1000));
    let (code, npub) =
        (&expected[0][0], &expected.iter().find(|row| !row[3].is_empty()).unwrap()[3]);
    let keep = |test: &dyn Fn(&Vec<String>) -> bool| {
        sorted(expected.iter().filter(|row| test(row)).cloned().collect())
    };
    assert_eq!(sorted(of(&format!("?code={code}"), 1000)), keep(&|row| &row[0] == code));
    assert_eq!(sorted(of("?severity=medium", 1000)), keep(&|row| row[1] == "medium"));
    let both = format!("?npub={npub}&severity=high");
    assert_eq!(sorted(of(&both, 1000)), keep(&|row| &row[3] == npub && row[1] == "high"));

    let user = api.data(&format!("/admin/users/{npub}"));
    assert_eq!(user["npub"], **npub);
    assert_eq!(user["findingsTotal"], keep(&|row| &row[3] == npub).len());
    let counts = user["issues"].as_object().unwrap();
    for (code, count) in counts {
        assert_eq!(count, keep(&|row| &row[3] == npub && &row[0] == code).len(), "{code}");
    }
}

#[test]
fn a_users_balances_add_up_and_equal_the_truth() {
    let (checked, api) = damaged();
    for (npub, truth) in checked.truth["perUser"].as_object().unwrap().iter().take(20) {
        let user = api.data(&format!("/admin/users/{npub}"));
        assert_eq!(user["totals"]["tokensFixed"], truth["tokensFixed"], "{npub}");
        assert_eq!(amount(&user["totals"]["delta"]), amount(&truth["delta"]), "{npub}");
        for name in ["unspentBefore", "unspentAfter", "pending", "spentBefore", "spentAfter"] {
            let mints = user["mints"].as_array().unwrap().iter();
            let sum: i128 = mints.map(|mint| amount(&mint[name])).sum();
            assert_eq!(sum, amount(&user["totals"][name]), "{name} of {npub}");
        }
    }
}

#[test]
fn what_is_not_there_and_what_is_malformed_is_said() {
    let (_, api) = damaged();
    for target in [
        "/nowhere",
        "/admin",
        "/admin/",
        "/admin/users/npub1nobody",
        "/admin/users/",
        "/admin/users/..%2f..%2fetc%2fpasswd",
        "/admin/users/%ff",
        "/admin/runs/unknown",
        "/admin/runs/..%2F..%2F/events",
        "/admin/runs/unknown/events",
        "/../etc/passwd",
        "/admin/migration/status/",
    ] {
        let answer = api.get(target);
        assert_eq!((answer.status, &*answer.error()), (404, "not_found"), "{target}");
    }
    for target in [
        "/admin/migration/status?verbose=1",
        "/admin/migration/preview?limit=0",
        "/admin/migration/preview?limit=1001",
        "/admin/migration/preview?limit=-1",
        "/admin/migration/preview?limit=1e2",
        "/admin/migration/preview?limit=5&limit=5",
        "/admin/migration/preview?offset=99999999999999999999",
        "/admin/findings?code=nonsense",
        "/admin/findings?severity=HIGH",
        "/admin/health/balance-consistency?onlyIssues=yes",
        "/admin/alerts?state=new",
        "/admin/alerts?state=open&state=open",
        "/readyz?x",
    ] {
        let answer = api.get(target);
        assert_eq!((answer.status, &*answer.error()), (400, "bad_request"), "{target}");
    }
}

#[test]
fn an_answer_that_has_not_changed_is_not_sent_again() {
    let (_, api) = damaged();
    let target = "/admin/migration/preview?limit=3";
    let first = api.get(target);
    let tag = first.header("etag").unwrap();
    assert!(tag.starts_with("W/\""), "{tag}");
    for known in [tag.to_owned(), format!("\"other\", {tag}"), "*".to_owned(), tag[2..].to_owned()]
    {
        let again = api.ask("GET", target, &format!("If-None-Match: {known}\r\n"), "");
        assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
        assert_eq!(again.header("etag"), Some(tag));
        assert_eq!(again.header("cache-control"), Some("no-store"));
    }
    let other = api.ask(
        "GET",
        "/admin/migration/preview?limit=4",
        &format!("If-None-Match: {tag}\r\n"),
        "",
    );
    assert_eq!(other.status, 200);
    assert_ne!(other.header("etag"), Some(tag));
    let head = api.ask("HEAD", target, "", "");
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(tag)));
    assert_eq!(head.header("content-length"), Some(&*first.body.len().to_string()));
}

#[test]
fn before_the_first_pass_nothing_is_made_up() {
    let board = remelt::monitor::Board::new(crate::support::live::now(), Vec::new(), Vec::new());
    let (checked, _) = damaged();
    let options = crate::support::api::monitor_options(&checked.uri);
    let api = crate::support::api::Served::start(board.into(), options, api_options());
    for target in [
        "/readyz",
        "/admin/migration/status",
        "/admin/migration/preview",
        "/admin/health/balance-consistency",
        "/admin/health/token-integrity",
        "/admin/findings",
        "/admin/users/x",
        "/admin/runs",
    ] {
        let answer = api.get(target);
        assert_eq!((answer.status, &*answer.error()), (503, "not_ready"), "{target}");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(api.data("/healthz")["status"], "ok");
    let health = api.data("/admin/health");
    assert_eq!((&health["asOf"], &health["stale"]), (&Value::Null, &json!(true)));
    assert!(api.get("/metrics").text().contains("remelt_up 0"));
    assert_eq!(api.data("/admin/trend")["points"], json!([]));
    let validated = api.ask("POST", "/admin/migration/validate", "", "").data();
    assert_eq!(
        (&validated["isValid"], &validated["checks"][0]["name"]),
        (&json!(false), &json!("reachable"))
    );
}

#[test]
fn validate_measures_every_prerequisite_and_changes_nothing() {
    let (checked, api) = damaged();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let names = || {
        runtime.block_on(async {
            let client = mongodb::Client::with_uri_str(&checked.uri).await.unwrap();
            client.database(checked.database.name()).list_collection_names().await.unwrap()
        })
    };
    let before: BTreeSet<String> = names().into_iter().collect();
    for body in ["", "{}"] {
        let kind =
            if body.is_empty() { "" } else { "Content-Type: application/json; charset=utf-8\r\n" };
        let data = api.ask("POST", "/admin/migration/validate", kind, body).data();
        assert_eq!(data["isValid"], true, "{data}");
        let checks = data["checks"].as_array().unwrap();
        assert!(checks.len() >= 10, "{data}");
        for check in checks {
            assert!(["pass", "warn"].contains(&check["result"].as_str().unwrap()), "{check}");
        }
        assert!(data["estimateBasis"].as_str().unwrap().contains("documents a second"), "{data}");
        for risk in data["riskFactors"].as_array().unwrap() {
            assert!(!risk["mitigation"].as_str().unwrap().is_empty(), "{risk}");
        }
    }
    assert_eq!(names().into_iter().collect::<BTreeSet<_>>(), before);
}

#[test]
fn metrics_say_what_the_answers_say() {
    let (checked, api) = damaged();
    let answer = api.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.text();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} is missing in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let truth = &checked.truth["stats"];
    for (name, truth) in [
        ("remelt_tokens", &truth["totalTokens"]),
        ("remelt_melted_tokens", &truth["totalMeltedTokens"]),
        ("remelt_problematic_tokens", &truth["problematicTokens"]),
        ("remelt_users", &truth["totalUsers"]),
        ("remelt_wallets", &truth["totalWallets"]),
        ("remelt_amount_affected", &checked.truth["impact"]["totalAmountAffected"]),
    ] {
        let truth: f64 = amount(truth).to_string().parse().unwrap();
        assert!((value(name) - truth).abs() < 0.5, "{name}");
    }
    assert!((value("remelt_up") - 1.0).abs() < 0.1);
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("remelt_alert_open{rule=\"problematic_tokens\",priority=\"high\"} 1"));
    let duplicates =
        &api.data("/admin/health/token-integrity")["issues"]["duplicate_secrets"]["count"];
    let line =
        format!("remelt_findings{{code=\"duplicate_secrets\",severity=\"high\"}} {duplicates}");
    assert!(text.contains(&line), "{line} is missing in\n{text}");
    api.get("/admin/users/npub1nobody");
    let after = api.get("/metrics").text();
    assert!(after.contains("route=\"/admin/users/{npub}\""), "{after}");
    assert!(!after.contains("nobody"));
}

/// `text` without the secrets' hashes, whose key is another in every pass.
fn without_hashes(text: &str) -> String {
    let is_hash = |word: &&str| word.len() == 16 && word.bytes().all(|it| it.is_ascii_hexdigit());
    let words = text.split(' ').map(|word| if is_hash(&word) { "<hash>" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// `json` with everything that differs from run to run replaced by its kind.
fn settled(json: &Value) -> Value {
    const VOLATILE: &[&str] = &[
        "sha256",
        "clusterTime",
        "hosts",
        "host",
        "dataBytes",
        "storageBytes",
        "indexBytes",
        "bytes",
        "pingMs",
        "seconds",
        "documentsPerSecond",
        "operations",
        "lagSeconds",
        "lagSecondsMax",
        "estimateBasis",
        "estimatedExecutionTime",
        // A busy machine may earn a warning here and there.
        "result@checks",
        "detail@checks",
        "action@checks",
        "riskFactors",
    ];
    fn settle(json: &Value, name: &str, parent: &str) -> Value {
        let is_volatile =
            VOLATILE.contains(&name) || VOLATILE.contains(&&*format!("{name}@{parent}"));
        match json {
            Value::String(text)
                if text.len() == 24 && text.ends_with('Z') && text.contains('T') =>
            {
                json!("<time>")
            }
            Value::Array(_) if is_volatile => json!(format!("<{name}>")),
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(k, v)| (k.clone(), settle(v, k, name))).collect::<Map<_, _>>(),
            ),
            // Findings of one kind may be in the order of their hashed secrets.
            Value::Array(items) if name == "findings" => {
                let mut items: Vec<Value> =
                    items.iter().map(|item| settle(item, name, parent)).collect();
                items.sort_by_key(Value::to_string);
                items.into()
            }
            Value::Array(items) => items.iter().map(|item| settle(item, name, parent)).collect(),
            Value::String(text) if text.contains(" secret ") => json!(without_hashes(text)),
            Value::Null => Value::Null,
            _ if is_volatile => json!(format!("<{name}>")),
            other => other.clone(),
        }
    }
    settle(json, "", "")
}

#[test]
fn every_shape_is_as_expected() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let checked = runtime.block_on(Checked::generated(300, 1, true));
    let api = checked.serve(api_options());
    let npub = checked.truth["perUser"].as_object().unwrap().keys().next().unwrap().clone();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/api.expected");
    for (name, method, target) in [
        ("status", "GET", "/admin/migration/status"),
        ("preview", "GET", "/admin/migration/preview?limit=5"),
        ("balance-consistency", "GET", "/admin/health/balance-consistency?limit=20&offset=3"),
        ("token-integrity", "GET", "/admin/health/token-integrity"),
        ("validate", "POST", "/admin/migration/validate"),
        ("health", "GET", "/admin/health"),
        ("findings", "GET", "/admin/findings?limit=3"),
        ("alerts", "GET", "/admin/alerts?state=open"),
        ("trend", "GET", "/admin/trend"),
        ("user", "GET", &format!("/admin/users/{npub}")),
        ("runs", "GET", "/admin/runs"),
    ] {
        let answer = api.ask(method, target, "", "");
        answer.data();
        let found = settled(&answer.json());
        let mut found = serde_json::to_string_pretty(&found).unwrap();
        found.push('\n');
        found = found.replace(checked.database.name(), "<database>");
        crate::goldens::compare(&directory.join(format!("{name}.json")), found.as_bytes());
    }
}

/// Whether everything in the seed's example is in the answer, with the same kind of value.
fn has_shape_of(answer: &Value, example: &Value, at: &str) {
    match example {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if name == "npub1..." {
                    let (_, first) = answer.as_object().unwrap().iter().next().unwrap();
                    has_shape_of(first, inner, &format!("{at}.*"));
                } else {
                    has_shape_of(&answer[name], inner, &format!("{at}.{name}"));
                }
            }
        }
        Value::Array(items) => {
            for inner in items {
                let first = answer.as_array().and_then(|items| items.first());
                has_shape_of(
                    first.unwrap_or_else(|| panic!("{at} is empty")),
                    inner,
                    &format!("{at}[]"),
                );
            }
        }
        other => {
            let kind = |json: &Value| (json.is_number(), json.is_string(), json.is_boolean());
            assert_eq!(kind(answer), kind(other), "{at}: {answer}");
        }
    }
}

#[test]
fn every_shape_of_the_seeds_examples_is_produced() {
    let (_, api) = damaged();
    let status = json!({"success": true, "data": {"timestamp": "", "migration": {"isCompleted": false,
        "migrationNeeded": true, "problematicTokens": 150, "totalMeltedTokens": 500},
        "health": {"totalTokens": 10000, "healthScore": 0.7},
        "recommendations": [{"type": "action", "priority": "high", "message": ""}]}});
    let preview = json!({"success": true, "data": {"migration_name": "004_fix_melted_token_status",
        "stats": {"tokensToMigrate": 150, "totalAmountAffected": 75000, "estimatedExecutionTime": "2 seconds"},
        "userImpact": {"npub1...": {"tokenCount": 5, "totalAmount": 5000}}}});
    let balances = json!({"success": true, "data": {"totalUsers": 1000, "checkedUsers": 100,
        "issues": [{"npub": "", "issues": {"problematicMeltedTokens": 3}}],
        "summary": {"usersWithIssues": 25, "totalProblematicTokens": 150}}});
    for (target, example) in [
        ("/admin/migration/status", status),
        ("/admin/migration/preview", preview),
        ("/admin/health/balance-consistency?limit=100&offset=0", balances),
    ] {
        has_shape_of(&api.get(target).json(), &example, target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_run_the_answers_tell_of_it_and_estimate_from_it() {
    use crate::support::live::Ledger;
    let (documents, _) = crate::support::exports::small_ledger(600);
    let ledger = Ledger::new(&documents).await;
    let checked = Checked::of(&ledger).await;
    let api = checked.serve(api_options());
    assert_eq!(api.data("/admin/runs")["runs"], json!([]));
    let before = api.data("/admin/migration/preview")["stats"].clone();
    assert!(
        before["estimatedExecutionTime"].as_str().unwrap().starts_with("at least "),
        "{before}"
    );
    assert_eq!(
        api.data("/admin/migration/status")["readiness"],
        json!({"ready": true, "reasons": []})
    );

    let report = ledger.apply().await.unwrap();
    checked.check().await;
    let status = api.data("/admin/migration/status");
    let run = &status["runs"][0];
    assert_eq!((&run["runId"], &run["state"]), (&json!(report.run_id), &json!("completed")));
    assert_eq!(run["applied"], report.applied);
    assert_eq!(status["migration"]["isCompleted"], true);
    assert_eq!(status["readiness"]["ready"], false, "nothing is left to change");
    let one = api.data(&format!("/admin/runs/{}", report.run_id));
    assert_eq!(&one["run"], run);
    // Fewer tokens are wrong than before, and there is a run to measure by.
    let after = api.data("/admin/migration/preview")["stats"].clone();
    assert_eq!(after["tokensToMigrate"], 0);

    ledger.roll_back().await.unwrap();
    checked.check().await;
    assert_eq!(
        api.data("/admin/migration/preview")["stats"]["tokensToMigrate"],
        before["tokensToMigrate"]
    );
    let points = api.data("/admin/trend")["points"].clone();
    let trend: Vec<bool> =
        points.as_array().unwrap().iter().map(|it| it["problematicTokens"] != 0).collect();
    assert_eq!(trend.len(), 3, "{points}");
    assert!(trend[0] && trend[2], "{points}");
}
