//! What a database says of its runs: before one begins, while one works, and when one was taken back.

use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::live::{Ledger, melted, now, stopped_after_100, stopping_at};
use crate::support::mongod::ReplicaSet;
use futures_util::TryStreamExt;
use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};
use remelt::analysis::SpentAt;
use remelt::decide::OnDrift;
use remelt::live::{
    Applying, RollbackOf, RunError, RunOptions, StatusReport, apply, applying, rollback, status,
};
use remelt::model::Timestamp;
use remelt::plan::Plan;
use remelt::progress::Progress;

async fn left(ledger: &Ledger, options: &RunOptions) -> Result<Applying, RunError> {
    applying(&ledger.plan(), &ledger.server().await, options, &Progress::new()).await
}

async fn said(ledger: &Ledger) -> StatusReport {
    status(&ledger.server().await, &ledger.options()).await.unwrap()
}

#[tokio::test]
async fn what_an_apply_would_do_is_what_is_left_of_it_or_what_stands_in_its_way() {
    let ledger = Ledger::new(&melted(600)).await;
    let options = ledger.options();
    let whole = left(&ledger, &options).await.unwrap();
    let totals = ledger.plan().content().totals.clone();
    assert_eq!((whole.run_id, whole.tokens, whole.drifted), (None, 600, 0));
    assert_eq!((whole.users, whole.amount), (totals.users, totals.amount.0));

    let run = stopped_after_100(&ledger).await;
    let rest = left(&ledger, &options).await.unwrap();
    assert_eq!((rest.run_id.as_ref(), rest.tokens), (Some(&run), 500));
    assert!(0 < rest.amount && rest.amount < whole.amount, "{rest:?}");

    let tokens = ledger.database.collection::<RawDocumentBuf>("cashu_tokens");
    let moved = doc! {"$set": {"status": "spent"}};
    let one = doc! {"status": "unspent"};
    assert_eq!(tokens.update_one(one, moved).await.unwrap().modified_count, 1);
    let now = ledger.tokens.read().await;
    let error = left(&ledger, &options).await.unwrap_err();
    assert!(matches!(error, RunError::Drift { count: 1, written: 0, .. }), "{error}");
    let skip = RunOptions { on_drift: OnDrift::Skip, ..options.clone() };
    assert_eq!(left(&ledger, &skip).await.unwrap().drifted, 1);
    ledger.assert_documents(&now, "only read").await;

    assert_eq!(ledger.apply_with(&skip).await.unwrap().applied, 499);
    let error = left(&ledger, &options).await.unwrap_err();
    assert!(matches!(error, RunError::AlreadyCompleted { .. }), "{error}");
}

#[tokio::test]
async fn a_rollback_under_way_is_no_completed_migration() {
    let ledger = Ledger::new(&melted(600)).await;
    let options = RunOptions { workers: 1, batch_changes_max: Some(100), ..ledger.options() };
    ledger.apply_with(&options).await.unwrap();
    assert!(said(&ledger).await.migration.is_completed);

    let (progress, options) = stopping_at("batch noted", options);
    let (server, plan) = (ledger.server().await, ledger.plan());
    rollback(RollbackOf::Plan(&plan), &server, &options, &progress).await.unwrap();
    let seen = said(&ledger).await;
    assert_eq!((seen.migration.state.as_str(), seen.migration.is_completed), ("running", false));
    let run = &seen.runs[0];
    assert_eq!((run.state.as_str(), run.restored), ("rolling_back", Some(100)));
    // What is unspent is what was restored, and nothing to settle.
    let kinds: Vec<_> = seen.recommendations.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, ["run"]);
    let error = left(&ledger, &ledger.options()).await.unwrap_err();
    assert!(matches!(error, RunError::BeingRolledBack(_)), "{error}");

    ledger.roll_back().await.unwrap();
    assert_eq!(said(&ledger).await.migration.state, "rolled_back");
}

#[tokio::test]
async fn the_migrations_state_is_that_of_the_run_that_stands() {
    let ledger = Ledger::new(&melted(20)).await;
    let dump = ledger.plan_directory().with_file_name("dump-later");
    write_dump(&dump, &ledger.before.concat(), None);
    let later = ledger.plan_directory().with_file_name("later");
    let mut options = build_options(SpentAt::Repair, 1, 64 << 20, 7);
    options.analyze.rule.repair_time = Timestamp(options.analyze.rule.repair_time.0 + 1_000);
    make_plan(&dump, &later, &options).unwrap();
    let later = Plan::open(&later).unwrap();
    let server = ledger.server().await;
    let skip = RunOptions { on_drift: OnDrift::Skip, ..ledger.options() };
    let undo = async || {
        let of = RollbackOf::Plan(&later);
        rollback(of, &server, &skip, &Progress::new()).await.unwrap()
    };
    let state = async || {
        let states = ledger.database.collection::<Document>("migrationstates");
        let found = states.find_one(doc! {}).await.unwrap().unwrap();
        let affected = found.get_i64("affected_tokens").unwrap();
        (found.get_str("status").unwrap().to_owned(), affected)
    };

    // A second plan that finds everything done writes nothing; the first is what stands.
    let first = ledger.apply().await.unwrap();
    let second = apply(&later, &server, &skip, &Progress::new()).await.unwrap();
    assert_eq!((first.applied, second.applied, second.drifted), (20, 0, 20));
    assert_eq!(undo().await.restored, 0);
    assert_eq!(state().await, ("completed".to_owned(), 20));

    // Taken back, nothing stands, though the second plan's run was the last to be completed.
    apply(&later, &server, &skip, &Progress::new()).await.unwrap();
    assert_eq!(state().await, ("completed".to_owned(), 0));
    assert_eq!(ledger.roll_back().await.unwrap().restored, 20);
    assert_eq!(state().await.0, "rolled_back");
    ledger.assert_documents(&ledger.before, "taken back").await;
}

#[tokio::test]
async fn a_run_at_work_tells_how_far_it_is_and_how_fast() {
    let ledger = Ledger::new(&melted(60)).await;
    let options = RunOptions {
        workers: 1,
        batch_changes_max: Some(5),
        rate_max: Some(20),
        ..ledger.options()
    };
    let run = ledger.apply_with(&options);
    let watch = async {
        loop {
            let seen = said(&ledger).await;
            let run = seen.runs.first();
            let told = run.and_then(|run| run.progress.clone());
            if let Some(told) = told.filter(|it| it.step == "applying" && it.done > 0) {
                return (told, run.cloned());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let (done, (told, seen)) = tokio::join!(run, watch);
    assert_eq!(done.unwrap().applied, 60);
    assert_eq!((told.changes, told.total), (60, 60));
    // A bucket of one batch may be spent at once.
    assert!(told.documents_per_second.is_some_and(|rate| rate <= 40), "{told:?}");
    assert!(told.fraction.is_some_and(|it| (0.0..=1.0).contains(&it)), "{told:?}");
    let seen = seen.unwrap();
    assert!(seen.is_active && seen.updated_at > seen.started_at, "{seen:?}");
}

#[tokio::test]
async fn a_run_that_goes_on_after_a_week_has_not_worked_for_a_week() {
    let ledger = Ledger::new(&melted(600)).await;
    let run = stopped_after_100(&ledger).await;
    let week_ago = DateTime::from_millis(now().0 - 7 * 86_400_000);
    let runs = ledger.database.collection::<Document>("remelt_runs");
    let set = doc! {"$set": {"startedAt": week_ago}};
    runs.update_one(doc! {"_id": &run}, set).await.unwrap();
    let began = now();
    let options =
        RunOptions { batch_changes_max: Some(20), rate_max: Some(400), ..ledger.options() };
    let watch = async {
        loop {
            let seen = said(&ledger).await.runs.remove(0);
            if seen.is_active {
                return seen;
            }
        }
    };
    let (done, seen) = tokio::join!(ledger.apply_with(&options), watch);
    assert_eq!(done.unwrap().applied, 500);
    assert_eq!(seen.started_at, Some(Timestamp(week_ago.timestamp_millis())));
    assert!(seen.worked_on_since >= Some(began), "{seen:?}");
    let ended = said(&ledger).await.runs.remove(0);
    assert_eq!(ended.worked_on_since, None, "{ended:?}");
    let pace = ended.pace.unwrap();
    assert_eq!(pace.documents, 500, "what was applied a week ago is not in it");
    assert!(i64::try_from(pace.ms).unwrap() <= now().0 - began.0, "{pace:?}");
}

#[tokio::test]
async fn what_an_unfinished_run_did_is_known_without_its_journal() {
    let ledger = Ledger::new(&melted(600)).await;
    let tokens = ledger.database.collection::<Document>("cashu_tokens");
    let change = async |id: i32| {
        tokens.update_one(doc! {"_id": id}, doc! {"$set": {"x": 1}}).await.unwrap();
    };
    change(5).await;
    let server = ledger.server().await;
    let hundred = |options: RunOptions| RunOptions {
        workers: 1,
        batch_changes_max: Some(100),
        on_drift: OnDrift::Skip,
        ..options
    };
    let (progress, options) = stopping_at("batch noted", hundred(ledger.options()));
    let run = apply(&ledger.plan(), &server, &options, &progress).await.unwrap().run_id;
    // What counts is what the transactions counted, and not what the run wrote down when it was stopped.
    let runs = ledger.database.collection::<Document>("remelt_runs");
    let killed = doc! {"$unset": {"applied": 1}, "$set": {"state": "running"}};
    runs.update_one(doc! {"_id": &run}, killed).await.unwrap();
    let journal = ledger.database.collection::<Document>("remelt_journal");
    let kept: Vec<Document> = journal.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    journal.delete_many(doc! {}).await.unwrap();
    let seen = said(&ledger).await.runs.remove(0);
    assert_eq!((seen.applied, seen.restored), (Some(99), None));
    journal.insert_many(&kept).await.unwrap();

    // Of a run of a version that did not count, the journal tells the same.
    let fences = doc! {"_id": {"$regex": "^fence:"}};
    let counted: Vec<Document> =
        runs.find(fences.clone()).await.unwrap().try_collect().await.unwrap();
    runs.update_many(fences, doc! {"$unset": {"applied": 1}}).await.unwrap();
    assert_eq!(said(&ledger).await.runs.remove(0).applied, Some(99));
    for fence in counted {
        runs.replace_one(doc! {"_id": fence.get("_id").unwrap()}, fence.clone()).await.unwrap();
    }

    ledger.apply_with(&hundred(ledger.options())).await.unwrap();
    change(550).await;
    let (progress, options) = stopping_at("batch noted", hundred(ledger.options()));
    let of = RollbackOf::Run(&run);
    rollback(of, &server, &options, &progress).await.unwrap();
    journal.delete_many(doc! {}).await.unwrap();
    let seen = said(&ledger).await.runs.remove(0);
    assert_eq!(
        (seen.state.as_str(), seen.applied, seen.restored),
        ("rolling_back", Some(599), Some(99))
    );
}

#[tokio::test]
async fn a_rollback_says_why_it_failed_and_no_more_why_the_apply_did() {
    let set = ReplicaSet::start(1).await;
    let ledger = Ledger::on(&set, "failing", &melted(60)).await;
    let fail = async |mode: Document| {
        set.fail_point(doc! {"configureFailPoint": "failCommand", "mode": mode, "data": {
            "failCommands": ["update"], "appName": "failing", "errorCode": 121,
            "namespace": "failing.cashu_tokens",
        }})
        .await;
    };
    let error = async || said(&ledger).await.runs.remove(0).error;
    let options = RunOptions { workers: 1, batch_changes_max: Some(20), ..ledger.options() };
    // The server is asked first whether it may be written to.
    fail(doc! {"skip": 2}).await;
    let failed = ledger.apply_with(&options).await.unwrap_err();
    assert_eq!(failed.code(), "server", "{failed}");
    let of_apply = error().await.unwrap();
    assert_eq!(of_apply, failed.to_string());
    let runs = ledger.database.collection::<Document>("remelt_runs");
    let mark = doc! {"$set": {"error": "of the apply"}};
    runs.update_one(doc! {"planSha256": {"$exists": true}}, mark).await.unwrap();
    fail(doc! {"skip": 1}).await;
    let failed = ledger.roll_back_with(&options).await.unwrap_err();
    assert_eq!(error().await, Some(failed.to_string()));
    set.fail_point(doc! {"configureFailPoint": "failCommand", "mode": "off"}).await;
    ledger.roll_back_with(&options).await.unwrap();
    assert_eq!(error().await, None);
    ledger.assert_documents(&ledger.before, "rolled back").await;
}
