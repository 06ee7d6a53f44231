//! The commands whose values must keep every byte, built as bytes.

use crate::document::{DocumentBuilder, Value, ValueKind};
use crate::journal::Goal;
use crate::plan::{Change, FieldImages};
use mongodb::bson::RawDocumentBuf;
use std::collections::HashMap;

/// Reads at majority outside a transaction; inside one the transaction says what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadAt {
    /// Its own transaction's snapshot.
    Transaction,
    /// What a majority has.
    Majority,
}

fn array(values: &[Value<'_>]) -> Vec<u8> {
    let mut builder = DocumentBuilder::new();
    for (index, value) in values.iter().enumerate() {
        builder = builder.value(&index.to_string(), *value);
    }
    builder.finish()
}

/// The filter `{_id: {$in: ids}}`. Of one usual `_id` alone it is `{_id: id}`, for which the server plans
/// nothing; other types could mean something else there, such as an operator or a pattern.
fn with_ids(ids: &[Value<'_>]) -> Vec<u8> {
    if let [id @ Value { kind: ValueKind::ObjectId | ValueKind::String, .. }] = ids {
        return DocumentBuilder::new().value("_id", *id).finish();
    }
    let ids = array(ids);
    let ids = Value { kind: ValueKind::Array, bytes: &ids };
    DocumentBuilder::new().open("_id").value("$in", ids).finish()
}

fn command(bytes: Vec<u8>) -> RawDocumentBuf {
    // The builder closes every document that it opens, so the frame is right.
    RawDocumentBuf::from_bytes(bytes).unwrap_or_default()
}

/// Whether a collection can hold a document with this `_id`, so that asking for it is no error.
pub(super) fn is_storable_id(id: Value<'_>) -> bool {
    match id.kind {
        ValueKind::Undefined | ValueKind::Regex | ValueKind::Array => false,
        // A document beginning `$` would be read as an operator. No server stores one.
        ValueKind::Document => id.bytes.get(5) != Some(&b'$'),
        _ => true,
    }
}

/// `find` of the documents with these `_id`s, all in one reply where 16 MiB allow.
pub(super) fn find_by_ids(collection: &str, ids: &[Value<'_>], read_at: ReadAt) -> RawDocumentBuf {
    let filter = with_ids(ids);
    let count = i32::try_from(ids.len()).unwrap_or(i32::MAX).saturating_add(1).to_le_bytes();
    let mut builder = DocumentBuilder::new()
        .text("find", collection)
        .value("filter", Value { kind: ValueKind::Document, bytes: &filter })
        .value("batchSize", Value { kind: ValueKind::Int32, bytes: &count });
    if read_at == ReadAt::Majority {
        builder = builder.open("readConcern").text("level", "majority").close();
    }
    command(builder.finish())
}

/// What `goal` sets in a document, as an update: `{$set: …, $unset: …}`.
fn update_of(goal: Goal, change: &Change<'_>) -> Vec<u8> {
    let (from, to): (&FieldImages<'_>, &FieldImages<'_>) = match goal {
        Goal::Apply => (&change.before, &change.after),
        Goal::Rollback => (&change.after, &change.before),
    };
    let mut builder = DocumentBuilder::new().open("$set");
    for (name, value) in to.iter() {
        builder = builder.value_if(name, value);
    }
    builder = builder.close();
    let removed: Vec<&str> = to
        .iter()
        .zip(from.iter())
        .filter(|((_, to), (_, from))| to.is_none() && from.is_some())
        .map(|((name, _), _)| name)
        .collect();
    if !removed.is_empty() {
        builder = builder.open("$unset");
        for name in removed {
            builder = builder.int64(name, 1);
        }
        builder = builder.close();
    }
    builder.finish()
}

/// One `update` that brings all of `changes` to the goal, one statement for each identical change.
pub(super) fn update_changes(
    collection: &str,
    goal: Goal,
    changes: &[Change<'_>],
) -> RawDocumentBuf {
    let mut place: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut groups: Vec<Vec<Value<'_>>> = Vec::new();
    for change in changes {
        let group = *place.entry(update_of(goal, change)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(change.id);
    }
    let mut updates: Vec<(Vec<u8>, usize)> = place.into_iter().collect();
    updates.sort_unstable_by_key(|(_, group)| *group);
    let statements: Vec<Vec<u8>> =
        updates.iter().map(|(update, group)| statement(&groups[*group], update)).collect();
    let statements: Vec<Value<'_>> =
        statements.iter().map(|bytes| Value { kind: ValueKind::Document, bytes }).collect();
    let statements = array(&statements);
    let builder = DocumentBuilder::new()
        .text("update", collection)
        .value("updates", Value { kind: ValueKind::Array, bytes: &statements });
    command(builder.finish())
}

fn statement(ids: &[Value<'_>], update: &[u8]) -> Vec<u8> {
    let filter = with_ids(ids);
    DocumentBuilder::new()
        .value("q", Value { kind: ValueKind::Document, bytes: &filter })
        .value("u", Value { kind: ValueKind::Document, bytes: update })
        .value("multi", Value { kind: ValueKind::Boolean, bytes: &[1] })
        .finish()
}
