//! What the documents of a batch are: read as bytes, hashed, compared.

use super::command::{ReadAt, find_by_ids, is_storable_id};
use crate::decide::Observed;
use crate::document::{Value, find};
use crate::journal::{DriftEntry, DriftKind};
use crate::plan::Change;
use crate::server::Server;
use futures_util::StreamExt;
use mongodb::ClientSession;
use mongodb::error::Result;
use mongodb::raw_batch_cursor::RawBatch;
use std::collections::HashMap;

/// What one document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Byte for byte as before the change.
    Before,
    /// Byte for byte as after it.
    After,
    /// Something else; whether the rule would still change it.
    Changed {
        /// Melted and unspent.
        is_problematic: bool,
    },
    /// Nothing with that `_id`, to the byte.
    Missing,
}

/// What all documents of a batch are, in the order of its changes.
#[derive(Debug)]
pub(super) struct Observation(pub(super) Vec<Seen>);

impl Observation {
    pub(super) fn observed(&self) -> Observed {
        let all = |wanted| self.0.iter().all(|seen| *seen == wanted);
        let is_known = |seen: &Seen| matches!(seen, Seen::Before | Seen::After);
        if !self.0.iter().all(is_known) {
            Observed::Drifted
        } else if all(Seen::Before) {
            Observed::AllBefore
        } else if all(Seen::After) {
            Observed::AllAfter
        } else {
            Observed::Mixed
        }
    }

    pub(super) fn count(&self, wanted: Seen) -> u64 {
        self.0.iter().filter(|seen| **seen == wanted).count() as u64
    }

    /// The documents that drifted.
    pub(super) fn drift(&self, batch: u64, changes: &[Change<'_>]) -> Vec<DriftEntry> {
        let drifted = self.0.iter().zip(changes).filter_map(|(seen, change)| {
            let kind = match seen {
                Seen::Before | Seen::After => return None,
                Seen::Changed { .. } => DriftKind::Changed,
                Seen::Missing => DriftKind::Missing,
            };
            let id = crate::document::identifier_text(change.id);
            let id = id.chars().take(ID_CHARS_MAX).collect();
            Some(DriftEntry { batch, ordinal: change.ordinal, id, kind })
        });
        drifted.collect()
    }
}

/// Most characters of an `_id` in a list.
const ID_CHARS_MAX: usize = 128;

/// Reads the documents of `changes`, in the session's transaction or at majority.
pub(super) async fn observe(
    server: &Server,
    collection: &str,
    changes: &[Change<'_>],
    session: Option<&mut ClientSession>,
) -> Result<Observation> {
    let asked: Vec<Value<'_>> =
        changes.iter().map(|change| change.id).filter(|id| is_storable_id(*id)).collect();
    let mut seen = Comparison::new(changes);
    if asked.is_empty() {
        return Ok(seen.end());
    }
    let database = server.database();
    match session {
        Some(session) => {
            let find = find_by_ids(collection, &asked, ReadAt::Transaction);
            let reply = database.run_raw_cursor_command(find).session(&mut *session);
            let mut cursor = reply.batch().await?;
            let mut batches = cursor.stream(session);
            while let Some(batch) = batches.next().await {
                take(&mut seen, &batch?)?;
            }
        }
        None => {
            let find = find_by_ids(collection, &asked, ReadAt::Majority);
            let mut batches = database.run_raw_cursor_command(find).batch().await?;
            while let Some(batch) = batches.next().await {
                take(&mut seen, &batch?)?;
            }
        }
    }
    Ok(seen.end())
}

fn take(seen: &mut Comparison<'_>, batch: &RawBatch) -> Result<()> {
    for value in batch.doc_slices()? {
        if let Some(document) = value?.as_document() {
            seen.take(document.as_bytes());
        }
    }
    Ok(())
}

/// The documents of some changes, as they are found in any order.
pub(super) struct Comparison<'a> {
    changes: &'a [Change<'a>],
    /// By the `_id`'s exact type and bytes: the server finds others that it holds to be equal.
    places: HashMap<(u8, &'a [u8]), usize>,
    seen: Vec<Seen>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(changes: &'a [Change<'a>]) -> Comparison<'a> {
        let place = |(index, change): (usize, &Change<'a>)| {
            ((change.id.kind.byte(), change.id.bytes), index)
        };
        Comparison {
            changes,
            places: changes.iter().enumerate().map(place).collect(),
            seen: vec![Seen::Missing; changes.len()],
        }
    }

    /// Compares a document with its change.
    pub(super) fn take(&mut self, document: &[u8]) {
        let Ok(Some(id)) = find(document, b"_id") else {
            return;
        };
        let Some(place) = self.places.get(&(id.value.kind.byte(), id.value.bytes)) else {
            return;
        };
        let change = &self.changes[*place];
        self.seen[*place] = if change.is_before(document) {
            Seen::Before
        } else if change.is_after(document) {
            Seen::After
        } else {
            Seen::Changed { is_problematic: is_problematic(document) }
        };
    }

    pub(super) fn end(self) -> Observation {
        Observation(self.seen)
    }
}

fn is_problematic(document: &[u8]) -> bool {
    let is = |name: &[u8], word: &str| {
        let field = find(document, name).ok().flatten();
        field.and_then(|field| field.value.as_str()) == Some(word)
    };
    is(b"transaction_type", "melted") && is(b"status", "unspent")
}
