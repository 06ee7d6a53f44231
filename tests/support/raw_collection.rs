//! A collection written and read as bytes, so that nothing between the test and the server edits them.

use super::raw::{RawValue, array, document, element, int32, nested, string};
use futures_util::StreamExt;
use mongodb::Database;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use remelt::document::{ValueKind, find};

/// What the server said to one document or statement that it did not carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Which one, counted from 0.
    pub(crate) index: usize,
    /// The server's error code.
    pub(crate) code: i32,
}

/// A collection by name.
pub(crate) struct RawCollection {
    database: Database,
    name: String,
}

impl RawCollection {
    /// A collection of `database`, which need not exist yet.
    pub(crate) fn new(database: &Database, name: impl Into<String>) -> RawCollection {
        RawCollection { database: database.clone(), name: name.into() }
    }

    /// Inserts documents in order; those that the server refuses are left out.
    pub(crate) async fn insert(&self, documents: &[Vec<u8>]) -> Vec<Refusal> {
        let values: Vec<RawValue> = documents
            .iter()
            .map(|bytes| RawValue::new(ValueKind::Document, bytes.as_slice()))
            .collect();
        let reply = self.run("insert", "documents", &values).await.expect("the insert failed");
        refusals(&reply)
    }

    /// Inserts one document that the server may refuse as a whole command.
    pub(crate) async fn try_insert(&self, document: &[u8]) -> mongodb::error::Result<Document> {
        let value = RawValue::new(ValueKind::Document, document);
        self.run("insert", "documents", &[value]).await
    }

    /// Runs update statements in order and returns how many documents they matched.
    pub(crate) async fn update(&self, statements: &[RawValue]) -> usize {
        let reply = self.run("update", "updates", statements).await.expect("the update failed");
        assert_eq!(refusals(&reply), [], "{reply}");
        usize::try_from(reply.get_i32("n").unwrap()).unwrap()
    }

    /// Runs update statements in order, of which the server may refuse some.
    pub(crate) async fn try_update(&self, statements: &[RawValue]) -> Vec<Refusal> {
        let reply = self.run("update", "updates", statements).await.expect("the update failed");
        refusals(&reply)
    }

    /// Every document as it is stored, in the order of insertion.
    pub(crate) async fn read(&self) -> Vec<Vec<u8>> {
        let collection = self.database.collection::<RawDocumentBuf>(&self.name);
        let natural = doc! {"$natural": 1};
        let mut batches = collection.find(doc! {}).sort(natural).batch().await.unwrap();
        let mut documents = Vec::new();
        while let Some(batch) = batches.next().await {
            for value in batch.unwrap().doc_slices().unwrap() {
                let stored = value.unwrap().as_document().expect("a batch holds documents");
                documents.push(stored.as_bytes().to_vec());
            }
        }
        documents
    }

    /// Sends a write command with its list of documents or statements, unordered.
    async fn run(
        &self,
        command: &str,
        list: &str,
        values: &[RawValue],
    ) -> mongodb::error::Result<Document> {
        let bytes = document(&[
            element(command, &string(&self.name)),
            element("ordered", &RawValue::new(ValueKind::Boolean, [0])),
            element(list, &array(values)),
        ]);
        let command = RawDocumentBuf::from_bytes(bytes).unwrap();
        self.database.run_raw_command(command).await
    }
}

/// The statement that makes `update` to every document whose `_id` is in `ids`.
pub(crate) fn statement(ids: &[RawValue], update: &RawValue) -> RawValue {
    let these = nested(&[element("$in", &array(ids))]);
    nested(&[
        element("q", &nested(&[element("_id", &these)])),
        element("u", update),
        element("multi", &RawValue::new(ValueKind::Boolean, [1])),
    ])
}

/// A document's `_id`.
pub(crate) fn id(document: &[u8]) -> RawValue {
    field(document, "_id").expect("every stored document has an _id")
}

/// The first field of that name.
pub(crate) fn field(document: &[u8], name: &str) -> Option<RawValue> {
    let found = find(document, name.as_bytes()).unwrap()?;
    Some(RawValue::new(found.value.kind, found.value.bytes))
}

/// An `_id` that no other document of the test has.
pub(crate) fn numbered_id(number: usize) -> Vec<u8> {
    element("_id", &int32(i32::try_from(number).unwrap()))
}

fn refusals(reply: &Document) -> Vec<Refusal> {
    let Ok(errors) = reply.get_array("writeErrors") else {
        return Vec::new();
    };
    errors
        .iter()
        .map(|error| error.as_document().expect("a write error is a document"))
        .map(|error| Refusal {
            index: usize::try_from(error.get_i32("index").unwrap()).unwrap(),
            code: error.get_i32("code").unwrap(),
        })
        .collect()
}
