//! The whole repair of a database full of canaries, and every place where one could come to light: both
//! streams of every command, every file of snapshots, plans, reports and runs, and what is written to the
//! database.

use crate::support::canaries::{CANARIES, Sinks, token, wallet};
use crate::support::command::{Outcome, finish, remelt};
use crate::support::files::files_below;
use crate::support::mongod::{Options, ReplicaSet};
use crate::support::raw_collection::RawCollection;
use mongodb::bson::doc;
use std::path::Path;

const PASSWORD: &str = "canaryPasswordcanary";
const OTHER_PASSWORD: &str = "canaryWrongPwcanary";

struct Watch<'a> {
    directory: &'a Path,
    sinks: Sinks,
}

impl Watch<'_> {
    /// Runs `line` for people and for programs; both streams must be silent.
    fn on(&self, uri: &str, line: &str) -> Vec<Outcome> {
        let outcomes = ["", " --json", " --quiet"].map(|form| {
            let mut command = remelt(format!("{line}{form}").split(' '));
            let command = command.env("MONGODB_URI", uri).env("RUST_BACKTRACE", "1");
            let outcome = finish(command.env("RUST_LOG", "trace").current_dir(self.directory));
            self.sinks.silent(&format!("standard output of {line}"), outcome.stdout.as_bytes());
            self.sinks.silent(&format!("standard error of {line}"), outcome.stderr.as_bytes());
            outcome
        });
        outcomes.into()
    }

    /// Every file below a directory but the documents of a snapshot that holds its secrets.
    fn files(&self, name: &str, holds_secrets: bool) {
        for (file, bytes) in files_below(&self.directory.join(name)) {
            let is_snapshot = file.ends_with("cashu_tokens.bson");
            if !(holds_secrets && is_snapshot) {
                self.sinks.silent(&format!("{name}/{file}"), &bytes);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_database_comes_to_light_anywhere() {
    let set = ReplicaSet::start_with(&Options { auth: true, ..Options::default() }).await;
    let roles = vec![
        doc! {"role": "readWrite", "db": "nctool"},
        doc! {"role": "clusterMonitor", "db": "admin"},
    ];
    set.add_user("worker", PASSWORD, roles).await;
    let database = set.client().await.database("nctool");
    let tokens: Vec<Vec<u8>> = (0..30).map(token).collect();
    let collection = RawCollection::new(&database, "cashu_tokens");
    collection.insert(&tokens).await;
    RawCollection::new(&database, "cashu_wallets").insert(&[wallet(1).bytes]).await;

    let root = tempfile::tempdir().unwrap();
    let sinks = Sinks::new(CANARIES.into_iter().chain([PASSWORD, OTHER_PASSWORD]));
    let watch = Watch { directory: root.path(), sinks };
    let uri = set.user_uri("worker", PASSWORD).replacen("/?", "/nctool?", 1);
    let ok = |line: &str| {
        let outcomes = watch.on(&uri, line);
        assert_eq!(outcomes[0].code, Some(0), "{:#?}", outcomes[0]);
    };
    ok("export full");
    ok("export hashed --without-secrets");
    ok("status");
    ok("analyze full plan");
    ok("analyze hashed plan-of-hashed");
    for line in ["preview plan", "explain plan 7", "explain plan 9", "rehearse full"] {
        watch.on(&uri, line);
    }
    watch.on(&uri, "validate plan");
    watch.on(&uri, "apply plan");
    watch.on(&uri, "apply plan-of-hashed --confirm --yes");
    // Somebody else changes a token, so that drift is told of.
    let changed = doc! {"$set": {"note": CANARIES[8]}};
    let tokens = database.collection::<mongodb::bson::Document>("cashu_tokens");
    tokens.update_one(doc! {"_id": 7}, changed).await.unwrap();
    watch.on(&uri, "apply plan --confirm --yes");
    let skipped = watch.on(&uri, "apply plan --confirm --yes --on-drift skip --batch 10");
    assert_eq!(skipped[0].code, Some(4), "{:#?}", skipped[0]);
    for line in ["verify plan", "status", "validate plan", "apply plan --confirm --yes"] {
        watch.on(&uri, line);
    }
    // Runs, leases and the journal with its undo images.
    for name in ["remelt_runs", "remelt_journal", "migrationstates"] {
        let stored = RawCollection::new(&database, name).read().await;
        assert!(!stored.is_empty(), "{name}");
        stored.iter().for_each(|document| watch.sinks.silent(name, document));
    }
    ok("rollback plan --confirm --yes");
    watch.on(&uri, "rollback plan --confirm --yes");
    watch.on(&uri, "diff full hashed");

    // Addresses that do not work, and a password that is wrong.
    let wrong = uri.replace(PASSWORD, OTHER_PASSWORD);
    let nowhere = format!("mongodb://worker:{PASSWORD}@127.0.0.1:1/?serverSelectionTimeoutMS=200");
    let malformed = format!("mongodb://worker:{PASSWORD}@@127.0.0.1:x/%zz");
    for uri in [&wrong, &nowhere, &malformed] {
        for line in ["status", "export other", "verify plan", "apply plan --confirm --yes"] {
            let outcomes = watch.on(uri, line);
            assert!(matches!(outcomes[0].code, Some(1..=3)), "{:#?}", outcomes[0]);
        }
    }
    watch.on(&uri, &format!("status --uri {wrong}"));
    watch.files("full", true);
    watch.files("hashed", false);
    watch.files("plan", false);
    watch.files("plan-of-hashed", false);
    watch.sinks.are_those_of_the_documentation("a repair");
}
