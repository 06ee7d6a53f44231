//! What is refused, in which words, and that nothing is changed then.

use crate::support::dumps::write_dump;
use crate::support::live::{
    Ledger, connect, generated, melted, options_for, stopped_after_100, stopping_at,
};
use crate::support::mongod::{Options, ReplicaSet, Standalone};
use crate::support::raw::{RawValue, document, element, string};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use remelt::decide::OnDrift;
use remelt::document::ValueKind;
use remelt::live::{
    CheckResult, ExitClass, RollbackOf, RunError, RunOptions, StepHook, apply, rollback, status,
    validate, verify,
};
use remelt::progress::Progress;
use remelt::snapshot::Snapshot;
use remelt::snapshot::input::InputOptions;
use std::fs;
use std::sync::Arc;

fn refused(error: &RunError, code: &str, words: &str) {
    assert_eq!((error.code(), error.class()), (code, ExitClass::Refused), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

fn skip(options: &RunOptions) -> RunOptions {
    RunOptions { on_drift: OnDrift::Skip, ..options.clone() }
}

#[tokio::test]
async fn a_plan_is_applied_once_until_it_is_rolled_back() {
    let ledger = Ledger::new(&melted(30)).await;
    refused(&ledger.roll_back().await.unwrap_err(), "no_backup_data_found", "No backup data found");
    ledger.apply().await.unwrap();
    let error = ledger.apply().await.unwrap_err();
    refused(&error, "already_completed", "Migration has already been completed");
    ledger.roll_back().await.unwrap();
    let again = ledger.roll_back().await.unwrap();
    assert_eq!((again.restored, again.already_restored), (0, 30));
    assert_eq!(ledger.apply().await.unwrap().applied, 30);
}

#[tokio::test]
async fn another_tools_migration_is_respected() {
    let ledger = Ledger::new(&melted(3)).await;
    let states = ledger.database.collection::<Document>("migrationstates");
    let name = doc! {"migration_name": "004_fix_melted_token_status"};
    for (status, code, words) in [
        ("completed", "already_completed", "Migration has already been completed"),
        ("running", "other_tool_runs", "running"),
    ] {
        let set = doc! {"$set": {"status": status}};
        states.update_one(name.clone(), set).upsert(true).await.unwrap();
        refused(&ledger.apply().await.unwrap_err(), code, words);
        ledger.assert_documents(&ledger.before, status).await;
    }
    let (server, plan) = (ledger.server().await, ledger.plan());
    for (status, words) in [("failed", "is failed"), ("on fire", "in a state that is not known")] {
        states.update_one(name.clone(), doc! {"$set": {"status": status}}).await.unwrap();
        let report = validate(Some(&plan), &server, &ledger.options(), &Progress::new()).await;
        let is_place = |check: &&remelt::live::Check| check.name == "no other migration in the way";
        let check = report.checks.iter().find(is_place).unwrap();
        assert_eq!(check.result, CheckResult::Warn, "{check:?}");
        assert!(check.detail.contains("another tool's migration"), "{check:?}");
        assert!(check.detail.contains(words) && !check.detail.contains("fire"), "{check:?}");
    }
    ledger.apply().await.unwrap();
    assert_eq!(ledger.migration_status().await.as_deref(), Some("completed"));
}

#[tokio::test]
async fn a_plan_belongs_to_one_deployment_and_database() {
    let ledger = Ledger::new(&melted(3)).await;
    let options = |typed: Option<&str>| RunOptions {
        target_override: typed.map(str::to_owned),
        ..ledger.options()
    };
    let error = ledger.apply_with(&options(None)).await.unwrap_err();
    refused(&error, "other_database", "nctool");
    let error = ledger.apply_with(&options(Some("remelt/nctool"))).await.unwrap_err();
    refused(&error, "other_target", ledger.database.name());
    ledger.assert_documents(&ledger.before, "refused").await;
    let set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "nctool", &melted(3)).await;
    let error = ledger.apply_with(&options(None)).await.unwrap_err();
    refused(&error, "foreign_plan", "remelt/nctool");
    ledger.apply_with(&options(Some("remelt/nctool"))).await.unwrap();
}

#[tokio::test]
async fn a_standalone_is_refused() {
    let ledger = Ledger::new(&melted(3)).await;
    let standalone = Standalone::start().await;
    let server = connect(&standalone.uri()).await;
    let plan = ledger.plan();
    let error = apply(&plan, &server, &options_for("nctool"), &Progress::new()).await.unwrap_err();
    refused(&error, "standalone", "standalone");
}

#[tokio::test]
async fn a_reader_is_refused_before_any_write() {
    let set = ReplicaSet::start_with(&Options { auth: true, ..Options::default() }).await;
    let ledger = Ledger::on(&set, "nctool", &melted(3)).await;
    set.add_user("reader", "pass", vec![doc! {"role": "read", "db": "nctool"}]).await;
    let uri = set.user_uri("reader", "pass").replace("/?", "/nctool?");
    let server = connect(&uri).await;
    let (plan, options, progress) = (ledger.plan(), options_for("nctool"), Progress::new());
    let error = apply(&plan, &server, &options, &progress).await.unwrap_err();
    refused(&error, "permission_denied", "Permission denied");
    assert!(error.to_string().contains("readWrite"), "{error}");
    assert_eq!(ledger.database.list_collection_names().await.unwrap(), ["cashu_tokens"]);
    let seen = verify(&plan, &server, &options, &progress).await.unwrap();
    assert_eq!((seen.as_before, seen.ok), (3, false));
    let report = validate(Some(&plan), &server, &options, &progress).await;
    let privileges = report.checks.iter().find(|check| check.name == "privileges").unwrap();
    assert_eq!((privileges.result, report.ok), (CheckResult::Fail, false));
    assert_eq!(ledger.database.list_collection_names().await.unwrap(), ["cashu_tokens"]);
}

#[tokio::test]
async fn an_edited_plan_is_refused() {
    let ledger = Ledger::new(&melted(1_200)).await;
    let path = ledger.plan_directory().join("changes.bson");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = ledger.apply().await.unwrap_err();
    refused(&error, "plan", "batch 2");
    ledger.assert_documents(&ledger.before, "an edited plan").await;
}

#[tokio::test]
async fn drift_is_found_before_the_first_write_or_left_and_listed() {
    let ledger = Ledger::new(&melted(700)).await;
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    tokens.update_one(doc! {"_id": 650}, doc! {"$set": {"x": 1}}).await.unwrap();
    tokens.delete_one(doc! {"_id": 3}).await.unwrap();
    let changed = ledger.tokens.read().await;
    let error = ledger.apply().await.unwrap_err();
    refused(&error, "drift", "2 documents of the plan are no longer what the plan saw");
    ledger.assert_documents(&changed, "under abort").await;
    assert_eq!(fs::read_dir(ledger.plan_directory().join("runs")).unwrap().count(), 0);
    let skip = skip(&ledger.options());
    for (options, expected) in [(&ledger.options(), CheckResult::Fail), (&skip, CheckResult::Warn)]
    {
        let (plan, server) = (ledger.plan(), ledger.server().await);
        let report = validate(Some(&plan), &server, options, &Progress::new()).await;
        let check = report.checks.iter().find(|check| check.name == "no drift").unwrap();
        assert_eq!(check.result, expected, "{check:?}");
    }
    let report = ledger.apply_with(&skip).await.unwrap();
    assert_eq!((report.applied, report.drifted), (698, 2));
    let listed: Vec<u64> = report.drift.iter().map(|entry| entry.ordinal).collect();
    assert_eq!(
        {
            let mut l = listed;
            l.sort_unstable();
            l
        },
        [3, 650]
    );
    let (plan, server, options) = (ledger.plan(), ledger.server().await, ledger.options());
    let seen = verify(&plan, &server, &options, &Progress::new()).await.unwrap();
    assert_eq!((seen.as_planned, seen.drifted, seen.missing), (698, 1, 1));
    assert_eq!((seen.new_problematic_tokens, seen.ok), (0, false));
    // Only what was written is rolled back.
    let report = ledger.roll_back().await.unwrap();
    assert_eq!((report.restored, report.drifted), (698, 0));
    ledger.assert_documents(&changed, "rolled back").await;
}

#[tokio::test]
async fn a_rollback_leaves_what_was_changed_since() {
    let ledger = Ledger::new(&melted(600)).await;
    ledger.apply().await.unwrap();
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    tokens.update_one(doc! {"_id": 5}, doc! {"$set": {"x": 1}}).await.unwrap();
    let changed = ledger.tokens.read().await;
    let error = ledger.roll_back().await.unwrap_err();
    refused(&error, "drift", "1 document of the run is no longer what the run wrote: token {");
    ledger.assert_documents(&changed, "under abort").await;
    let report = ledger.roll_back_with(&skip(&ledger.options())).await.unwrap();
    assert_eq!((report.restored, report.drifted), (599, 1));
    let mut expected = ledger.before.clone();
    expected[5].clone_from(&changed[5]);
    ledger.assert_documents(&expected, "under skip").await;
    // Given again, it still says what it left, and does not call it restored.
    let again = ledger.roll_back().await.unwrap();
    assert_eq!((again.restored, again.already_restored, again.drifted), (0, 599, 1));
}

#[tokio::test]
async fn a_database_without_tokens_is_no_healthy_ledger() {
    let ledger = Ledger::new(&melted(3)).await;
    let server = ledger.server().await;
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    tokens.delete_many(doc! {}).await.unwrap();
    assert_eq!(status(&server, &ledger.options()).await.unwrap().health.total_tokens, 0);
    tokens.drop().await.unwrap();
    let error = status(&server, &ledger.options()).await.unwrap_err();
    assert!(error.to_string().contains("has no collection cashu_tokens"), "{error}");
}

#[tokio::test]
async fn a_rollback_needs_nothing_but_the_database_and_all_of_its_journal() {
    let ledger = Ledger::new(&melted(600)).await;
    let run_id = ledger.apply().await.unwrap().run_id;
    fs::remove_dir_all(ledger.plan_directory()).unwrap();
    let journal = ledger.database.collection::<Document>("remelt_journal");
    let id = doc! {"_id": {"run": &run_id, "batch": 1_i64, "from": 0_i64}};
    let (options, progress) = (ledger.options(), Progress::new());
    let server = ledger.server().await;
    let kept = journal.find_one_and_delete(id).await.unwrap().unwrap();
    let error = rollback(RollbackOf::Run(&run_id), &server, &options, &progress).await;
    refused(&error.unwrap_err(), "no_backup_data_found", "No backup data found");
    let mut altered = kept.clone();
    altered.insert("sha256", "00".repeat(32));
    journal.insert_one(&altered).await.unwrap();
    let error = rollback(RollbackOf::Run(&run_id), &server, &options, &progress).await;
    refused(&error.unwrap_err(), "journal_altered", "altered");
    journal.replace_one(doc! {"_id": altered.get("_id").unwrap()}, &kept).await.unwrap();
    let report = rollback(RollbackOf::Run(&run_id), &server, &options, &progress).await.unwrap();
    assert_eq!(report.restored, 600);
    ledger.assert_documents(&ledger.before, "by run id").await;
}

#[tokio::test]
async fn a_stopped_run_is_in_the_way_of_other_plans_and_goes_on() {
    let ledger = Ledger::new(&melted(600)).await;
    let (progress, options) = stopping_at("batch noted", ledger.options());
    let options = RunOptions { workers: 1, batch_changes_max: Some(100), ..options };
    let server = ledger.server().await;
    let report = apply(&ledger.plan(), &server, &options, &progress).await.unwrap();
    assert_eq!((report.state.as_str(), report.applied), ("interrupted", 100));
    let seen = status(&server, &ledger.options()).await.unwrap();
    assert_eq!(seen.runs[0].state, "interrupted");
    assert_eq!(seen.recommendations[0].kind, "run");
    let other = ledger.make_plan_of("other", &ledger.tokens.read().await);
    let other = remelt::plan::Plan::open(&other).unwrap();
    let error = apply(&other, &server, &ledger.options(), &Progress::new()).await.unwrap_err();
    refused(&error, "unfinished_run", &report.run_id);
    let rest = ledger.apply().await.unwrap();
    assert_eq!((rest.run_id, rest.applied, rest.already_applied), (report.run_id, 500, 100));
    assert_eq!(ledger.most_writes_of_a_token().await, 1);
}

#[tokio::test]
async fn a_rollback_without_all_of_its_images_never_looks_like_a_success() {
    let ledger = Ledger::new(&melted(600)).await;
    let run = stopped_after_100(&ledger).await;
    let applied = ledger.tokens.read().await;
    let journal = ledger.database.collection::<Document>("remelt_journal");
    let whole = journal.find_one(doc! {}).await.unwrap().unwrap();
    let server = ledger.server().await;
    let options = ledger.options();
    let put = async |document: Option<Document>| {
        journal.delete_many(doc! {}).await.unwrap();
        if let Some(document) = document {
            journal.insert_one(document).await.unwrap();
        }
    };

    let with = |field: &str, value: &str| {
        let mut altered = whole.clone();
        altered.insert(field, value);
        Some(altered)
    };
    for (document, code) in [
        (with("changes", "100"), "journal_altered"),
        (with("state", "Applied"), "journal_altered"),
        (None, "no_backup_data_found"),
    ] {
        put(document).await;
        let of = RollbackOf::Run(&run);
        let error = rollback(of, &server, &options, &Progress::new()).await.unwrap_err();
        assert_eq!((error.code(), error.class()), (code, ExitClass::Refused), "{error}");
        assert!(remelt::live::undoing(of, &server, &options).await.is_err(), "{code}");
    }

    // A killed run did not write how many it applied; the fences of its transactions know.
    let runs = ledger.database.collection::<Document>("remelt_runs");
    let killed = doc! {"$unset": {"applied": 1}, "$set": {"state": "running"}};
    runs.update_one(doc! {"_id": &run}, killed).await.unwrap();
    let of = RollbackOf::Run(&run);
    let error = rollback(of, &server, &options, &Progress::new()).await.unwrap_err();
    refused(&error, "no_backup_data_found", "0 changes");
    refused(&ledger.apply().await.unwrap_err(), "no_backup_data_found", "expected 100 to 600");

    // Of a run of a version whose fences did not count, the journal beside the plan knows.
    let uncounted = doc! {"$unset": {"recorded": 1}};
    runs.update_many(doc! {"_id": {"$regex": "^fence:"}}, uncounted).await.unwrap();
    let error = ledger.roll_back().await.unwrap_err();
    refused(&error, "journal_altered", "the journal beside the plan says that it was committed");
    let error = ledger.apply().await.unwrap_err();
    refused(&error, "journal_altered", "the journal beside the plan says that it was committed");
    ledger.assert_documents(&applied, "nothing is restored").await;

    // A tool that restores from text writes small numbers as int32.
    let mut restored = whole;
    restored.insert("changes", 100_i32);
    put(Some(restored)).await;
    assert_eq!(ledger.roll_back().await.unwrap().restored, 100);
    ledger.assert_documents(&ledger.before, "rolled back").await;
}

/// Makes the token what `bytes` say, in its place.
async fn put_token(ledger: &Ledger, id: i32, bytes: &[u8]) {
    let token = RawDocumentBuf::from_bytes(bytes.to_vec()).unwrap();
    let tokens = ledger.database.collection::<RawDocumentBuf>("cashu_tokens");
    let replaced = tokens.replace_one(doc! {"_id": id}, token).await.unwrap();
    assert_eq!(replaced.modified_count, 1);
}

#[tokio::test]
async fn what_was_as_wanted_before_is_no_drift_on_the_next_call_either() {
    let ledger = Ledger::new(&melted(600)).await;
    let planned = ledger.planned();
    put_token(&ledger, 7, &planned[7]).await;
    stopped_after_100(&ledger).await;
    let rest = ledger.apply().await.unwrap();
    assert_eq!((rest.applied, rest.already_applied, rest.drifted), (500, 100, 0));
    ledger.assert_documents(&planned, "applied").await;

    put_token(&ledger, 3, &ledger.before[3]).await;
    let first = ledger.roll_back().await.unwrap();
    assert_eq!((first.restored, first.already_restored, first.drifted), (598, 1, 0));
    let again = ledger.roll_back().await.unwrap();
    assert_eq!((again.restored, again.already_restored, again.drifted), (0, 599, 0));
}

#[tokio::test]
async fn a_run_that_was_stopped_early_is_rolled_back_as_far_as_it_came() {
    let ledger = Ledger::new(&melted(600)).await;
    let (progress, options) = stopping_at("batch noted", ledger.options());
    let options = RunOptions { workers: 1, batch_changes_max: Some(100), ..options };
    let server = ledger.server().await;
    apply(&ledger.plan(), &server, &options, &progress).await.unwrap();
    for (restored, already) in [(100, 0), (0, 100)] {
        let report = ledger.roll_back().await.unwrap();
        assert_eq!((report.restored, report.already_restored), (restored, already));
        ledger.assert_documents(&ledger.before, "rolled back early").await;
    }
    assert_eq!(ledger.apply().await.unwrap().applied, 600);
}

#[tokio::test]
async fn a_damaged_local_journal_stops_a_resume_before_any_write() {
    let ledger = Ledger::new(&melted(600)).await;
    let (progress, options) = stopping_at("preflight done", ledger.options());
    let server = ledger.server().await;
    let report = apply(&ledger.plan(), &server, &options, &progress).await.unwrap();
    let path = ledger.plan_directory().join("runs").join(&report.run_id).join("journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = ledger.apply().await.unwrap_err();
    assert!(error.to_string().contains("frame 0 at byte 8"), "{error}");
    ledger.assert_documents(&ledger.before, "a damaged journal").await;
    fs::remove_file(&path).unwrap();
    assert_eq!(ledger.apply().await.unwrap().applied, 600);
}

#[tokio::test]
async fn validate_and_status_measure_a_healthy_ledger() {
    let ledger = Ledger::new(&generated(500, 5, true)).await;
    let (plan, server, options) = (ledger.plan(), ledger.server().await, ledger.options());
    let report = validate(Some(&plan), &server, &options, &Progress::new()).await;
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.checks.len(), 14);
    let builds = report.checks.iter().find(|check| check.name.starts_with("index builds"));
    assert_eq!(builds.map(|check| check.detail.as_str()), Some("none under way"));
    let changes = plan.content().totals.changes;
    let left: u64 = plan.content().not_changed.values().sum();
    let seen = status(&server, &options).await.unwrap();
    assert_eq!(seen.migration.problematic_tokens, changes + left);
    assert_eq!((seen.migration.state.as_str(), seen.health.total_tokens), ("not_started", 500));
    ledger.apply().await.unwrap();
    let seen = status(&server, &options).await.unwrap();
    assert!(seen.migration.is_completed);
    assert_eq!(seen.migration.problematic_tokens, left);
    assert_eq!(seen.runs[0].applied, Some(changes));
    let verified = verify(&plan, &server, &options, &Progress::new()).await.unwrap();
    assert!(verified.ok, "{verified:?}");
    // New damage after the plan.
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    let new = doc! {"_id": "new", "transaction_type": "melted", "status": "unspent"};
    tokens.insert_one(new).await.unwrap();
    let verified = verify(&plan, &server, &options, &Progress::new()).await.unwrap();
    assert_eq!((verified.new_problematic_tokens, verified.ok), (1, false));
}

#[tokio::test]
async fn a_run_that_was_altered_or_forgotten_is_no_reason_to_begin_anew() {
    let ledger = Ledger::new(&melted(30)).await;
    let run = ledger.apply().await.unwrap().run_id;
    let runs = ledger.database.collection::<Document>("remelt_runs");
    let set = async |fields: Document| {
        runs.update_one(doc! {"_id": &run}, doc! {"$set": fields}).await.unwrap();
    };
    set(doc! {"changes": 30.0}).await; // as a shell writes it
    refused(&ledger.apply().await.unwrap_err(), "already_completed", &run);
    set(doc! {"changes": "30"}).await;
    refused(&ledger.apply().await.unwrap_err(), "run_altered", &run);
    refused(&ledger.roll_back().await.unwrap_err(), "run_altered", &run);
    // Comparisons by `_id` find one type only; these sort before ours.
    let journal = ledger.database.collection::<Document>("remelt_journal");
    journal
        .insert_many([doc! {"_id": 5}, doc! {"_id": "note"}, doc! {"_id": {"a": "x"}}])
        .await
        .unwrap();
    set(doc! {"changes": 30_i64, "state": "rolled_back"}).await;
    refused(&ledger.apply().await.unwrap_err(), "run_altered", "says rolled_back");
    refused(&ledger.roll_back().await.unwrap_err(), "run_altered", "says rolled_back");
    runs.delete_one(doc! {"_id": &run}).await.unwrap();
    refused(&ledger.apply().await.unwrap_err(), "run_altered", "it is gone");
    ledger.assert_documents(&ledger.planned(), "nothing was touched").await;
}

#[tokio::test]
async fn what_a_run_did_not_write_is_not_rolled_back_whatever_type_its_position_has() {
    let ledger = Ledger::new(&melted(30)).await;
    let planned = ledger.planned();
    put_token(&ledger, 7, &planned[7]).await;
    assert_eq!(ledger.apply().await.unwrap().applied, 29);
    let journal = ledger.database.collection::<Document>("remelt_journal");
    let set = async |fields: Document| {
        journal.update_one(doc! {}, doc! {"$set": fields}).await.unwrap();
    };
    for odd in [doc! {"left": ["7"]}, doc! {"left": [30_i64]}, doc! {"left": 7_i64}] {
        set(odd.clone()).await;
        assert_eq!(ledger.roll_back().await.unwrap_err().code(), "journal_altered", "{odd}");
    }
    set(doc! {"left": [7_i32]}).await;
    assert_eq!(ledger.roll_back().await.unwrap().restored, 29);
    let mut expected = ledger.before.clone();
    expected[7].clone_from(&planned[7]);
    ledger.assert_documents(&expected, "rolled back").await;
}

#[tokio::test]
async fn a_comparison_that_is_broken_off_proves_nothing_and_changes_no_state() {
    let ledger = Ledger::new(&melted(600)).await;
    let server = ledger.server().await;
    let (progress, options) = stopping_at("lease taken", ledger.options());
    let error = apply(&ledger.plan(), &server, &options, &progress).await.unwrap_err();
    assert_eq!(error.code(), "interrupted");
    assert!(status(&server, &ledger.options()).await.unwrap().runs.is_empty());

    ledger.apply().await.unwrap();
    let (progress, options) = stopping_at("lease taken", ledger.options());
    let plan = ledger.plan();
    let error = rollback(RollbackOf::Plan(&plan), &server, &options, &progress).await.unwrap_err();
    assert_eq!(error.code(), "interrupted");
    assert_eq!(status(&server, &ledger.options()).await.unwrap().runs[0].state, "completed");
}

#[tokio::test]
async fn a_collection_that_is_away_is_neither_drift_nor_health() {
    let ledger = Ledger::new(&melted(30)).await;
    let run = ledger.apply().await.unwrap().run_id;
    let server = ledger.server().await;
    let name = ledger.database.name();
    let admin = ledger.database.client().database("admin");
    let rename = async |from: &str, to: &str| {
        let (from, to) = (format!("{name}.{from}"), format!("{name}.{to}"));
        admin.run_command(doc! {"renameCollection": from, "to": to}).await.unwrap();
    };
    rename("cashu_tokens", "away").await;
    let options = skip(&ledger.options());
    let of = RollbackOf::Run(&run);
    let error = rollback(of, &server, &options, &Progress::new()).await.unwrap_err();
    assert!(error.to_string().contains("has no collection cashu_tokens"), "{error}");
    assert!(status(&server, &options).await.is_err());
    rename("away", "cashu_tokens").await;
    assert_eq!(ledger.roll_back().await.unwrap().restored, 30);
}

#[tokio::test]
async fn new_damage_is_seen_though_as_many_known_ones_were_settled() {
    let ledger = Ledger::new(&generated(300, 1, true)).await;
    let left = ledger.plan().content().left();
    assert!(left > 1, "{left}");
    ledger.apply().await.unwrap();
    let (plan, server, options) = (ledger.plan(), ledger.server().await, ledger.options());
    let new = async || {
        let seen = verify(&plan, &server, &options, &Progress::new()).await.unwrap();
        (seen.new_problematic_tokens, seen.ok)
    };
    assert_eq!(new().await, (0, true));
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    let damaged = doc! {"transaction_type": "melted", "status": "unspent"};
    tokens.delete_one(damaged.clone()).await.unwrap();
    assert_eq!(new().await, (0, true));
    tokens.insert_one(damaged).await.unwrap();
    assert_eq!(new().await, (1, false));
}

#[tokio::test]
async fn a_token_that_was_left_hides_no_new_one_whose_id_looks_the_same() {
    let damaged = |id: &RawValue| {
        document(&[
            element("_id", id),
            element("transaction_type", &string("melted")),
            element("status", &string("unspent")),
            element("status", &string("unspent")),
        ])
    };
    let known = damaged(&RawValue::new(ValueKind::ObjectId, [7; 12]));
    let ledger = Ledger::new(&[melted(3), vec![known]].concat()).await;
    assert_eq!(ledger.plan().content().left(), 1);
    ledger.apply().await.unwrap();
    let (plan, server, options) = (ledger.plan(), ledger.server().await, ledger.options());
    let new = async || {
        let live = verify(&plan, &server, &options, &Progress::new()).await.unwrap();
        let dump = tempfile::tempdir().unwrap();
        write_dump(dump.path(), &ledger.tokens.read().await.concat(), None);
        let options = InputOptions { require_wallets: false, ..InputOptions::default() };
        let copy = Snapshot::open(&dump.path().join("nctool"), &options).unwrap();
        let copy = remelt::verify::verify(&plan, &copy, &Progress::new()).unwrap();
        [(live.new_problematic_tokens, live.ok), (copy.new_problematic_tokens, copy.ok)]
    };
    assert_eq!(new().await, [(0, true); 2]);
    ledger.tokens.try_insert(&damaged(&string("07".repeat(12)))).await.unwrap();
    assert_eq!(new().await, [(1, false); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_state_that_was_removed_meanwhile_comes_back_as_this_runs() {
    let ledger = Ledger::new(&melted(30)).await;
    let states = ledger.database.collection::<Document>("migrationstates");
    let gone = states.clone();
    let hook = move |step: &str| {
        if step == "batch noted" {
            let gone = gone.clone();
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async { gone.drop().await }).unwrap();
            });
        }
    };
    let step = Some(StepHook(Arc::new(hook)));
    ledger.apply_with(&RunOptions { step, ..ledger.options() }).await.unwrap();
    ledger.roll_back().await.unwrap();
    assert_eq!(ledger.migration_status().await.as_deref(), Some("rolled_back"));
    assert_eq!(ledger.apply().await.unwrap().applied, 30);
}
