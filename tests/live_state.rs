//! What a database says of its runs: before one begins, while one works, and when one was taken back.

use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::live::{Ledger, melted, stopped_after_100, stopping_at};
use mongodb::bson::{Document, RawDocumentBuf, doc};
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
