//! A ledger in a real database with a plan for it, and runs of that plan.

use super::dumps::{build_options, make_plan, write_dump};
use super::exports::fill;
use super::mongod::{ReplicaSet, shared};
use super::odd;
use super::random::Random;
use super::raw::{RawValue, document, element, int32, string};
use super::raw_collection::{RawCollection, numbered_id};
use mongodb::Database;
use mongodb::bson::{self, Document, doc};
use remelt::analysis::SpentAt;
use remelt::document::{Value, elements, find, validate};
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::live::{
    ApplyReport, RollbackOf, RollbackReport, RunError, RunOptions, StepHook, apply, rollback,
};
use remelt::model::{Sha256Hash, Timestamp, hash_bytes};
use remelt::plan::Plan;
use remelt::progress::Progress;
use remelt::server::{Server, ServerOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The system's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

/// Documents in a database, and a plan made from exactly these.
pub(crate) struct Ledger {
    pub(crate) uri: String,
    pub(crate) database: Database,
    pub(crate) tokens: RawCollection,
    pub(crate) before: Vec<Vec<u8>>,
    /// The server's time before the documents were inserted.
    began: bson::Timestamp,
    root: TempDir,
}

impl Ledger {
    /// On the server that all tests share.
    pub(crate) async fn new(documents: &[Vec<u8>]) -> Ledger {
        let shared = shared().await;
        Ledger::in_database(shared.uri, shared.database, documents).await
    }

    /// On a server of the test's own, in database `name`; the runs' connections have that name too,
    /// so that fail points can be meant for them.
    pub(crate) async fn on(set: &ReplicaSet, name: &str, documents: &[Vec<u8>]) -> Ledger {
        let database = set.client().await.database(name);
        let uri = format!("{}&appName={name}", set.database_uri(name));
        Ledger::in_database(uri, database, documents).await
    }

    async fn in_database(uri: String, database: Database, documents: &[Vec<u8>]) -> Ledger {
        let tokens = RawCollection::new(&database, "cashu_tokens");
        let began = operation_time(&database).await;
        fill(&database, "cashu_tokens", documents).await;
        let root = TempDir::new().unwrap();
        let before = tokens.read().await;
        let ledger = Ledger { uri, database, tokens, before, began, root };
        ledger.make_plan("plan");
        ledger
    }

    /// Makes a plan from the documents as they were inserted.
    pub(crate) fn make_plan(&self, name: &str) -> PathBuf {
        self.make_plan_of(name, &self.before)
    }

    /// Makes a plan from `documents`.
    pub(crate) fn make_plan_of(&self, name: &str, documents: &[Vec<u8>]) -> PathBuf {
        let dump = self.root.path().join(format!("dump-{name}"));
        write_dump(&dump, &documents.concat(), None);
        let directory = self.root.path().join(name);
        let options = build_options(SpentAt::Repair, 1, 64 << 20, 7);
        make_plan(&dump, &directory, &options).unwrap();
        directory
    }

    pub(crate) fn plan_directory(&self) -> PathBuf {
        self.root.path().join("plan")
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan::open(&self.plan_directory()).unwrap()
    }

    pub(crate) async fn server(&self) -> Server {
        connect(&self.uri).await
    }

    pub(crate) fn options(&self) -> RunOptions {
        options_for(self.database.name())
    }

    pub(crate) async fn apply(&self) -> Result<ApplyReport, RunError> {
        self.apply_with(&self.options()).await
    }

    pub(crate) async fn apply_with(&self, options: &RunOptions) -> Result<ApplyReport, RunError> {
        apply(&self.plan(), &self.server().await, options, &Progress::new()).await
    }

    pub(crate) async fn roll_back(&self) -> Result<RollbackReport, RunError> {
        self.roll_back_with(&self.options()).await
    }

    pub(crate) async fn roll_back_with(
        &self,
        options: &RunOptions,
    ) -> Result<RollbackReport, RunError> {
        let plan = self.plan();
        let server = self.server().await;
        rollback(RollbackOf::Plan(&plan), &server, options, &Progress::new()).await
    }

    /// The documents that must be there when the plan is applied.
    pub(crate) fn planned(&self) -> Vec<Vec<u8>> {
        self.planned_by(&self.plan_directory())
    }

    /// The documents that must be there when the plan in `directory` is applied.
    pub(crate) fn planned_by(&self, directory: &Path) -> Vec<Vec<u8>> {
        let plan = open_plan(directory);
        let mut planned = self.before.clone();
        for batch in plan.batches() {
            for change in batch.unwrap().changes() {
                let place = usize::try_from(change.ordinal).unwrap();
                planned[place] = change.after.put_into(&planned[place]).unwrap();
                assert!(change.is_after(&planned[place]));
            }
        }
        planned
    }

    /// Fails unless the collection holds exactly `expected`, naming the first difference.
    pub(crate) async fn assert_documents(&self, expected: &[Vec<u8>], when: &str) {
        // The natural order is another after a restart.
        let (mut seen, mut expected) = (self.tokens.read().await, expected.to_vec());
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen.len(), expected.len(), "{when}");
        for (number, (seen, expected)) in seen.iter().zip(&expected).enumerate() {
            assert_eq!(seen, expected, "{when}: document number {number} differs");
        }
        assert_eq!(sha256(&seen), sha256(&expected));
    }

    /// How often the token written most was, since the ledger was made, by the server's oplog.
    pub(crate) async fn most_writes_of_a_token(&self) -> i32 {
        self.most_writes(doc! {}).await
    }

    /// How often one token was written since the ledger was made, by the server's oplog.
    pub(crate) async fn writes_of_token(&self, id: i32) -> i32 {
        self.most_writes(doc! {"ops.o2._id": id}).await
    }

    async fn most_writes(&self, filter: Document) -> i32 {
        let oplog = self.database.client().database("local").collection::<Document>("oplog.rs");
        let name = format!("{}.cashu_tokens", self.database.name());
        let pipeline = vec![
            doc! {"$match": {"ts": {"$gte": self.began}, "$or": [{"ns": &name, "op": "u"}, {"o.applyOps.ns": &name}]}},
            doc! {"$project": {"ops": {"$ifNull": ["$o.applyOps", ["$$ROOT"]]}}},
            doc! {"$unwind": "$ops"},
            doc! {"$match": {"ops.ns": &name, "ops.op": "u"}},
            doc! {"$match": filter},
            doc! {"$group": {"_id": "$ops.o2._id", "n": {"$sum": 1}}},
            doc! {"$group": {"_id": null, "most": {"$max": "$n"}}},
        ];
        let mut found = oplog.aggregate(pipeline).await.unwrap();
        match found.advance().await.unwrap() {
            true => Document::try_from(found.current()).unwrap().get_i32("most").unwrap(),
            false => 0,
        }
    }

    pub(crate) async fn migration_status(&self) -> Option<String> {
        let states = self.database.collection::<Document>("migrationstates");
        let found = states.find_one(doc! {}).await.unwrap()?;
        Some(found.get_str("status").unwrap().to_owned())
    }
}

/// The time of the last operation; right after a set's beginning a member may not have one yet.
async fn operation_time(database: &Database) -> bson::Timestamp {
    loop {
        let hello = database.run_command(doc! {"hello": 1}).await.unwrap();
        match hello.get_timestamp("operationTime") {
            Ok(time) => return time,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) async fn connect(uri: &str) -> Server {
    Server::connect(&ServerOptions { uri: uri.to_owned(), db: None }).await.unwrap()
}

/// Options for tests: a lease that a busy machine keeps, a typed target, as the plans come from dumps.
pub(crate) fn options_for(db: &str) -> RunOptions {
    RunOptions {
        target_override: Some(format!("remelt/{db}")),
        lease: Duration::from_secs(5),
        retry: Duration::from_secs(60),
        ..RunOptions::new("remelt test", now)
    }
}

pub(crate) fn open_plan(directory: &Path) -> Plan {
    Plan::open(directory).unwrap()
}

fn sha256(documents: &[Vec<u8>]) -> Sha256Hash {
    hash_bytes(&documents.concat())
}

/// Cuts concatenated documents.
pub(crate) fn documents_in(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut documents = Vec::new();
    while let Some(head) = bytes.first_chunk::<4>() {
        let (document, rest) = bytes.split_at(usize::try_from(u32::from_le_bytes(*head)).unwrap());
        documents.push(document.to_vec());
        bytes = rest;
    }
    documents
}

/// Generated tokens.
pub(crate) fn generated(tokens: u64, seed: u64, damage: bool) -> Vec<Vec<u8>> {
    let options = GenerateOptions { tokens, seed, damage };
    documents_in(&generate_in_memory(&options).unwrap().0)
}

/// Small melted and unspent tokens.
pub(crate) fn melted(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| {
            document(&[
                numbered_id(number),
                element("transaction_type", &string("melted")),
                element("status", &string("unspent")),
                element("total_amount", &int32(8)),
            ])
        })
        .collect()
}

fn own(value: Value<'_>) -> RawValue {
    RawValue::new(value.kind, value.bytes)
}

/// `document` made a melted and unspent one, these two fields at random places.
pub(crate) fn made_melted(document_bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut kept: Vec<Vec<u8>> = elements(document_bytes)
        .unwrap()
        .map(Result::unwrap)
        .filter(|e| !matches!(e.name, b"status" | b"transaction_type"))
        .map(|e| element(e.name, &own(e.value)))
        .collect();
    for (name, word) in [("status", "unspent"), ("transaction_type", "melted")] {
        let place = 1 + random.below(kept.len());
        kept.insert(place, element(name, &string(word)));
    }
    document(&kept)
}

/// Melted tokens of every odd shape, and with every odd `_id`.
pub(crate) fn odd_melted(random: &mut Random) -> Vec<Vec<u8>> {
    let shapes = odd::documents().into_iter().map(|(_, shape)| shape);
    let mut documents: Vec<Vec<u8>> = shapes
        .filter(|shape| find(shape, b"_id").unwrap().is_some())
        .map(|shape| made_melted(&shape, random))
        .collect();
    for (_, value) in odd::values() {
        let plain = document(&[element("_id", &value), element("x", &int32(1))]);
        documents.push(made_melted(&plain, random));
    }
    documents.retain(|document| validate(document).is_ok()); // none nested deeper than is read
    documents
}

/// `options` of a run that is told to stop when it reaches `step`.
pub(crate) fn stopping_at(step: &'static str, options: RunOptions) -> (Arc<Progress>, RunOptions) {
    let progress = Arc::new(Progress::new());
    let stop = Arc::clone(&progress);
    let hook = move |reached: &str| {
        if reached == step {
            stop.stop();
        }
    };
    (progress, RunOptions { step: Some(StepHook(Arc::new(hook))), ..options })
}

/// A run of 600 changes in batches of 100 that is stopped after the first batch.
pub(crate) async fn stopped_after_100(ledger: &Ledger) -> String {
    let (progress, options) = stopping_at("batch noted", ledger.options());
    let options = RunOptions { workers: 1, batch_changes_max: Some(100), ..options };
    let server = ledger.server().await;
    apply(&ledger.plan(), &server, &options, &progress).await.unwrap().run_id
}
