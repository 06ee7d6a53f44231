//! `set_field` and `remove_field` against a real server: byte for byte what `$set` and `$unset` store.
//!
//! A document in which a changed field occurs twice is left out on purpose: the server itself treats
//! it differently from member to member, so planning never lets one through.

use crate::support::mongod::shared;
use crate::support::odd::{self, CHANGED, Labelled};
use crate::support::random::{Random, seed};
use crate::support::raw::{RawValue, date, deep, document, element, int32, nested, string};
use crate::support::raw_collection::{RawCollection, Refusal, field, id, numbered_id, statement};
use mongodb::Database;
use remelt::document::{ValueKind, remove_field, set_field};

/// What happens to the changed fields: set to a value, removed (`None`), or, when not named, kept.
#[derive(Debug, Clone)]
struct Change(Vec<(&'static str, Option<RawValue>)>);

impl Change {
    /// The bytes that this crate expects the server to store.
    fn expected(&self, before: &[u8]) -> Vec<u8> {
        let mut fields = self.0.clone();
        fields.sort_by_key(|(name, _)| *name);
        fields.iter().fold(before.to_vec(), |bytes, (name, value)| {
            let name = name.as_bytes();
            match value {
                Some(value) => set_field(&bytes, name, value.borrowed()).unwrap(),
                None => remove_field(&bytes, name).unwrap(),
            }
        })
    }

    /// The update document for the server.
    fn update(&self) -> RawValue {
        let sets = self.0.iter().filter_map(|(name, value)| Some(element(name, value.as_ref()?)));
        let removals = self.0.iter().filter(|(_, value)| value.is_none());
        let operators = [
            ("$set", sets.collect::<Vec<_>>()),
            ("$unset", removals.map(|(name, _)| element(name, &int32(1))).collect()),
        ];
        let filled = operators.iter().filter(|(_, fields)| !fields.is_empty());
        nested(&filled.map(|(name, fields)| element(name, &nested(fields))).collect::<Vec<_>>())
    }

    /// The change that gives `before` back.
    fn undo(&self, before: &[u8]) -> Change {
        Change(self.0.iter().map(|(name, _)| (*name, field(before, name))).collect())
    }
}

fn new_value(name: &str) -> RawValue {
    match name {
        "status" => string("spent"),
        "spent_at" => date(1_732_000_000_123),
        _ => date(1_732_000_000_456),
    }
}

fn set(names: &[&'static str]) -> Change {
    Change(names.iter().map(|name| (*name, Some(new_value(name)))).collect())
}

fn unset(names: &[&'static str]) -> Change {
    Change(names.iter().map(|name| (*name, None)).collect())
}

fn changes() -> Vec<Change> {
    let mut changes: Vec<Change> = CHANGED.iter().map(|name| set(&[name])).collect();
    changes.extend(CHANGED.iter().map(|name| unset(&[name])));
    changes.push(set(&["updatedAt", "status", "spent_at"]));
    changes.push(unset(&CHANGED));
    let set_two = set(&["updatedAt", "status"]).0;
    changes.push(Change([set_two, unset(&["spent_at"]).0].concat()));
    changes
}

/// Documents that the server took, as it stores them.
struct Stored {
    collection: RawCollection,
    labels: Vec<String>,
    bytes: Vec<Vec<u8>>,
    refused: Vec<(String, i32)>,
}

impl Stored {
    async fn new(database: &Database, name: &str, documents: &[Labelled<Vec<u8>>]) -> Stored {
        let collection = RawCollection::new(database, name);
        let bytes: Vec<Vec<u8>> = documents.iter().map(|(_, bytes)| bytes.clone()).collect();
        let refusals = collection.insert(&bytes).await;
        let is_refused = |at: usize| refusals.iter().any(|refusal| refusal.index == at);
        let taken = documents.iter().enumerate().filter(|(at, _)| !is_refused(*at));
        let stored = Stored {
            labels: taken.map(|(_, (label, _))| label.clone()).collect(),
            bytes: collection.read().await,
            refused: labelled(&refusals, documents),
            collection,
        };
        assert_eq!(stored.labels.len(), stored.bytes.len());
        stored
    }

    /// Asserts that the server now holds `expected`, document by document.
    async fn assert_holds(&self, expected: &[Vec<u8>], context: &str) {
        let now = self.collection.read().await;
        assert_eq!(now.len(), expected.len());
        for (at, (now, expected)) in now.iter().zip(expected).enumerate() {
            assert!(
                now == expected,
                "{context}: {}\nbefore   {}\nexpected {}\nstored   {}",
                self.labels[at],
                hex(&self.bytes[at]),
                hex(expected),
                hex(now)
            );
        }
    }

    /// The bytes that each change must give.
    fn after(&self, changes: &[Change]) -> Vec<Vec<u8>> {
        let pairs = self.bytes.iter().zip(changes);
        pairs.map(|(bytes, change)| change.expected(bytes)).collect()
    }

    /// The changes that give each document back, checked against our own edits.
    fn undo(&self, changes: &[Change]) -> Vec<Change> {
        let undo_one = |(before, change): (&Vec<u8>, &Change)| {
            let undo = change.undo(before);
            assert_eq!(&undo.expected(&change.expected(before)), before);
            undo
        };
        self.bytes.iter().zip(changes).map(undo_one).collect()
    }

    /// Makes one change to each document.
    async fn change_each(&self, changes: &[Change]) {
        let pairs = self.bytes.iter().zip(changes);
        let statements: Vec<RawValue> =
            pairs.map(|(bytes, change)| statement(&[id(bytes)], &change.update())).collect();
        assert_eq!(self.collection.update(&statements).await, self.bytes.len());
    }
}

fn labelled(refusals: &[Refusal], documents: &[Labelled<Vec<u8>>]) -> Vec<(String, i32)> {
    let label = |refusal: &Refusal| (documents[refusal.index].0.clone(), refusal.code);
    refusals.iter().map(label).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn every_odd_document_is_stored_with_the_bytes_that_we_predict() {
    let database = shared().await.database;
    let documents = odd::documents();
    for (number, change) in changes().iter().enumerate() {
        let stored = Stored::new(&database, &format!("odd_{number}"), &documents).await;
        let ids: Vec<RawValue> = stored.bytes.iter().map(|bytes| id(bytes)).collect();
        let matched = stored.collection.update(&[statement(&ids, &change.update())]).await;
        assert_eq!(matched, stored.bytes.len(), "{change:?}");
        let changes = vec![change.clone(); stored.bytes.len()];
        stored.assert_holds(&stored.after(&changes), &format!("{change:?}")).await;
    }
}

#[tokio::test]
async fn undoing_a_repair_of_an_odd_document_gives_its_first_bytes_back() {
    let database = shared().await.database;
    let stored = Stored::new(&database, "undo", &odd::documents()).await;
    let repairs = vec![set(&CHANGED); stored.bytes.len()];
    stored.change_each(&repairs).await;
    stored.change_each(&stored.undo(&repairs)).await;
    stored.assert_holds(&stored.bytes, "undone").await;
}

#[tokio::test]
async fn every_odd_value_can_be_set_and_replaced_and_set_again() {
    let database = shared().await.database;
    for name in CHANGED {
        let odd_values: Vec<Change> =
            odd::values().into_iter().map(|(_, value)| Change(vec![(name, Some(value))])).collect();
        let plain = |number| (format!("{name} {number}"), document(&[numbered_id(number)]));
        let documents: Vec<Labelled<Vec<u8>>> = (0..odd_values.len()).map(plain).collect();
        let mut stored = Stored::new(&database, &format!("values_{name}"), &documents).await;
        stored.change_each(&odd_values).await;
        stored.assert_holds(&stored.after(&odd_values), "set").await;
        stored.bytes = stored.collection.read().await;
        let repairs = vec![set(&CHANGED); stored.bytes.len()];
        stored.change_each(&repairs).await;
        stored.assert_holds(&stored.after(&repairs), "replaced").await;
        stored.change_each(&stored.undo(&repairs)).await;
        stored.assert_holds(&stored.bytes, "set again").await;
    }
}

#[tokio::test]
async fn documents_with_odd_ids_are_found_and_changed_as_we_predict() {
    let database = shared().await.database;
    let mut refused = Vec::new();
    for (number, (label, value)) in odd::values().into_iter().enumerate() {
        let bytes = document(&[element("_id", &value), element("amount", &int32(8))]);
        let name = format!("id_{number}");
        let stored = Stored::new(&database, &name, &[(label.clone(), bytes)]).await;
        refused.extend(stored.refused.iter().map(|(label, _)| label.clone()));
        if !stored.bytes.is_empty() {
            let repair = [set(&CHANGED)];
            stored.change_each(&repair).await;
            stored.assert_holds(&stored.after(&repair), "_id").await;
        }
    }
    let never_an_id = |label: &String| {
        ["regex", "array", "undefined", "$ names"].iter().any(|word| label.contains(word))
    };
    assert!(refused.iter().all(never_an_id), "{refused:?}");
}

#[tokio::test]
async fn random_documents_are_stored_with_the_bytes_that_we_predict() {
    let seed = seed();
    let context = format!("REMELT_TEST_SEED={seed}");
    let random = &mut Random::new(seed);
    let database = shared().await.database;
    let documents: Vec<Labelled<Vec<u8>>> = (0..1_000)
        .map(|number| (format!("random {number}"), odd::random_document(random, number)))
        .collect();
    let mut stored = Stored::new(&database, "random", &documents).await;
    assert_eq!(stored.refused, [], "{context}");
    let choices = changes();
    // The second round meets what the first has left: removed, appended and replaced fields.
    for _ in 0..2 {
        let changes: Vec<Change> =
            stored.bytes.iter().map(|_| random.one_of(&choices).clone()).collect();
        stored.change_each(&changes).await;
        stored.assert_holds(&stored.after(&changes), &context).await;
        stored.bytes = stored.collection.read().await;
    }
    let repairs = vec![set(&CHANGED); stored.bytes.len()];
    stored.change_each(&repairs).await;
    stored.change_each(&stored.undo(&repairs)).await;
    stored.assert_holds(&stored.bytes, &format!("{context}, undone")).await;
}

#[tokio::test]
async fn the_server_changes_a_document_on_insert_only_in_its_id_and_its_timestamp_0() {
    let database = shared().await.database;
    let documents = odd::documents();
    let stored = Stored::new(&database, "inserted", &documents).await;
    assert_eq!(stored.refused, []);
    for ((label, sent), kept) in documents.iter().zip(&stored.bytes) {
        let is_exception = label.contains("timestamp 0") || label.contains("_id");
        assert!(sent == kept || is_exception, "{label}: {} {}", hex(sent), hex(kept));
    }
}

#[tokio::test]
async fn the_server_stores_181_levels_and_not_182() {
    let database = shared().await.database;
    for kind in [ValueKind::Document, ValueKind::Array] {
        let levels = |count| document(&[numbered_id(count), element("d", &deep(kind, count - 1))]);
        let collection = RawCollection::new(&database, format!("deep_{kind:?}"));
        let refusals = collection.insert(&[levels(181), levels(182)]).await;
        let overflow = Refusal { index: 1, code: 15 };
        assert_eq!(refusals, [overflow]);
        assert_eq!(collection.read().await, [levels(181)]);
    }
}

#[tokio::test]
async fn the_server_takes_no_boolean_but_0_and_1() {
    let database = shared().await.database;
    let collection = RawCollection::new(&database, "booleans");
    for byte in 0..=u8::MAX {
        let boolean = element("b", &RawValue::new(ValueKind::Boolean, [byte]));
        let bytes = document(&[numbered_id(byte.into()), boolean]);
        let outcome = collection.try_insert(&bytes).await;
        assert_eq!(outcome.is_ok(), byte < 2, "{byte}: {outcome:?}");
    }
}

#[tokio::test]
async fn the_server_stores_a_repair_of_16_mib_and_no_byte_more() {
    let database = shared().await.database;
    let repair = set(&CHANGED);
    for excess in [0, 1] {
        let fitting = |filler: usize| {
            document(&[numbered_id(filler), element("filler", &string(vec![b'x'; filler]))])
        };
        let overhead = repair.expected(&fitting(0)).len();
        let before = fitting(16 * 1024 * 1024 - overhead + excess);
        let collection = RawCollection::new(&database, format!("large_{excess}"));
        assert_eq!(collection.insert(std::slice::from_ref(&before)).await, []);
        let change = statement(&[id(&before)], &repair.update());
        let outcome = collection.try_update(&[change]).await;
        let expected = if excess == 0 { repair.expected(&before) } else { before };
        assert!(collection.read().await == [expected], "{excess}: {outcome:?}");
        assert_eq!(outcome.is_empty(), excess == 0, "{outcome:?}");
    }
}
