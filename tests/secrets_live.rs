//! The whole repair of a database full of canaries, and every place where one could come to light: both
//! streams of every command, every file of snapshots, plans, reports and runs, and what is written to the
//! database.

use crate::support::canaries::{CANARIES, find_any};
use crate::support::command::{Outcome, finish, remelt};
use crate::support::files::files_below;
use crate::support::mongod::{Options, ReplicaSet};
use crate::support::raw::{RawValue, array, document, element, int32, nested, string};
use crate::support::raw_collection::RawCollection;
use mongodb::bson::doc;
use std::cell::Cell;
use std::path::Path;

const PASSWORD: &str = "canaryPasswordcanary";
const OTHER_PASSWORD: &str = "canaryWrongPwcanary";

fn proof(number: usize) -> RawValue {
    let text = |index: usize| string(CANARIES[index]);
    nested(&[
        element("id", &string("00ad268c4d1f5826")),
        element("amount", &int32(8)),
        // Two tokens have the same.
        element("secret", &string(format!("{}{}", CANARIES[0], number / 2))),
        element("C", &text(1)),
        element("witness", &nested(&[element("signatures", &array(&[text(2)]))])),
        element("dleq", &nested(&[element("r", &text(3))])),
    ])
}

/// A wallet's document, private key and all, as it stands in the wallets and in a populated token.
fn wallet(number: i32) -> RawValue {
    nested(&[
        element("_id", &int32(number)),
        element("npub", &string("npub-of-a-user")),
        element("mint_url", &string("https://mint.example")),
        element("p2pk_privkey", &string(CANARIES[4])),
    ])
}

fn token(number: usize) -> Vec<u8> {
    let encoded = string(format!("cashuA{}", CANARIES[5]));
    let wallet_id = if number.is_multiple_of(3) { wallet(1) } else { int32(1) };
    let odd = number.is_multiple_of(5);
    document(&[
        element("_id", &int32(i32::try_from(number).unwrap())),
        element("npub", if odd { &encoded } else { &wallet_id }),
        element("wallet_id", &wallet_id),
        element("mint_url", if odd { &encoded } else { &wallet_id }),
        element("status", &string("unspent")),
        element("transaction_type", &string("melted")),
        element("transaction_id", if odd { &encoded } else { &wallet_id }),
        element("total_amount", &int32(9)),
        element("proofs", &array(&[proof(number)])),
        element("metadata", &nested(&[element("token", &encoded)])),
        element("note", &nested(&[element("secret", &string(CANARIES[8]))])),
    ])
}

struct Watch<'a> {
    directory: &'a Path,
    secrets: Vec<&'a str>,
    sinks: Cell<usize>,
}

impl Watch<'_> {
    fn silent(&self, what: &str, bytes: &[u8]) {
        let found = find_any(bytes, &self.secrets);
        assert!(found.is_none(), "{found:?} in {what}");
        self.sinks.set(self.sinks.get() + 1);
    }

    /// Runs `line` for people and for programs; both streams must be silent.
    fn on(&self, uri: &str, line: &str) -> Vec<Outcome> {
        let outcomes = ["", " --json", " --quiet"].map(|form| {
            let mut command = remelt(format!("{line}{form}").split(' '));
            let command = command.env("MONGODB_URI", uri).env("RUST_BACKTRACE", "1");
            let outcome = finish(command.env("RUST_LOG", "trace").current_dir(self.directory));
            self.silent(&format!("standard output of {line}"), outcome.stdout.as_bytes());
            self.silent(&format!("standard error of {line}"), outcome.stderr.as_bytes());
            outcome
        });
        outcomes.into()
    }

    /// Every file below a directory but the documents of a snapshot that holds its secrets.
    fn files(&self, name: &str, holds_secrets: bool) {
        for (file, bytes) in files_below(&self.directory.join(name)) {
            let is_snapshot = file.ends_with("cashu_tokens.bson");
            if !(holds_secrets && is_snapshot) {
                self.silent(&format!("{name}/{file}"), &bytes);
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
    let secrets: Vec<&str> = CANARIES.into_iter().chain([PASSWORD, OTHER_PASSWORD]).collect();
    let watch = Watch { directory: root.path(), secrets, sinks: Cell::new(0) };
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
        stored.iter().for_each(|document| watch.silent(name, document));
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
    let sinks = watch.sinks.get();
    assert!(sinks > 200, "{sinks}");
    eprintln!("{} secrets, {sinks} outputs searched, 0 hits", watch.secrets.len());
}
