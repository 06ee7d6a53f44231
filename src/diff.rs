//! The exact differences between two snapshots, by document and field.
//!
//! Documents are matched by `_id` within each collection, wherever they stand. Values of fields that
//! may hold secrets are never shown; that they differ is. Reads only, in bounded memory.

use crate::document::{Malformed, Value, ValueKind, date_text, elements, find, identifier_text};
use crate::model::{Sha256Hash, hash_bytes};
use crate::progress::{Interrupted, Progress, Unit};
use crate::scratch::{Row, ScratchError, SortedRows, Sorter};
use crate::snapshot::identity::ChunkTable;
use crate::snapshot::input::{Collection, InputError};
use crate::snapshot::{Snapshot, SnapshotError};
use crate::verify::id_hash;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, VecDeque};

const SORTER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Fields whose values may be shown: none of them holds a bearer secret.
const SHOWN: [&[u8]; 13] = [
    b"_id",
    b"npub",
    b"wallet_id",
    b"mint_url",
    b"total_amount",
    b"status",
    b"transaction_type",
    b"transaction_id",
    b"spent_at",
    b"createdAt",
    b"updatedAt",
    b"__v",
    b"p2pk_pubkey",
];

/// The result object of `diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffReport {
    /// Whether all documents are the same, in the same order.
    pub identical: bool,
    /// Root hash of the first snapshot.
    pub sha256_first: Sha256Hash,
    /// Root hash of the second snapshot.
    pub sha256_second: Sha256Hash,
    /// Documents in both, byte for byte the same.
    pub unchanged: u64,
    /// Documents in both that differ.
    pub changed: u64,
    /// Documents in the first alone.
    pub only_in_first: u64,
    /// Documents in the second alone.
    pub only_in_second: u64,
    /// The differences, in the order of the first snapshot; at most as many as asked for.
    pub differences: Vec<Difference>,
    /// Whether there are more differences than listed.
    pub truncated: bool,
    /// `first` or `second` when that alone has a collection of wallets. Not part of the object.
    #[serde(skip)]
    pub wallets_only_in: Option<&'static str>,
}

/// One document that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Its collection.
    pub collection: String,
    /// Its `_id` as text.
    pub id: String,
    /// `changed`, `only_in_first` or `only_in_second`.
    pub kind: &'static str,
    /// The fields that differ.
    pub fields: Vec<FieldDifference>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// Its name.
    pub name: String,
    /// Its value in the first: `null`, or text, which names the type where only that may be shown. Not there when
    /// the field is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<serde_json::Value>,
    /// Its value in the second, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
}

/// Why a comparison could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A snapshot can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A snapshot's documents are not those of its manifest.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A document is malformed.
    #[error(
        "{collection}: document number {ordinal} (from 0) is malformed BSON: {fault}; take the dump anew"
    )]
    Malformed {
        /// The collection.
        collection: String,
        /// Number of the document.
        ordinal: u64,
        /// What is wrong.
        fault: Malformed,
    },
    /// Scratch space could not be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Compares `first` and `second`, listing up to `differences_max` differences.
///
/// # Errors
/// [`DiffError`]. That snapshots differ is a result, not an error.
pub fn diff(
    first: &Snapshot,
    second: &Snapshot,
    differences_max: usize,
    progress: &Progress,
) -> Result<DiffReport, DiffError> {
    let mut report = DiffReport {
        identical: false,
        sha256_first: Sha256Hash([0; 32]),
        sha256_second: Sha256Hash([0; 32]),
        unchanged: 0,
        changed: 0,
        only_in_first: 0,
        only_in_second: 0,
        differences: Vec::new(),
        truncated: false,
        wallets_only_in: match [first, second].map(|side| side.input.wallets.is_some()) {
            [true, false] => Some("first"),
            [false, true] => Some("second"),
            _ => None,
        },
    };
    let sides = [&first.input, &second.input];
    let tokens = compare(sides.map(|s| Some(&s.tokens)), differences_max, &mut report, progress)?;
    let wallets =
        compare(sides.map(|s| s.wallets.as_ref()), differences_max, &mut report, progress)?;
    let wallets = [0, 1].map(|side: usize| sides[side].wallets.as_ref().map(|_| &wallets[side]));
    report.sha256_first = first.check(&tokens[0], wallets[0])?;
    report.sha256_second = second.check(&tokens[1], wallets[1])?;
    report.identical = report.sha256_first == report.sha256_second;
    let all = report.changed + report.only_in_first + report.only_in_second;
    report.truncated = all > report.differences.len() as u64;
    Ok(report)
}

/// Compares one collection; gives both chunk tables.
fn compare(
    sides: [Option<&Collection>; 2],
    differences_max: usize,
    report: &mut DiffReport,
    progress: &Progress,
) -> Result<[ChunkTable; 2], DiffError> {
    let scratch = std::env::temp_dir();
    let mut by_id = Sorter::new(&scratch, SORTER_BYTES_MAX);
    let mut tables = [ChunkTable::new(), ChunkTable::new()];
    for (side, collection) in sides.into_iter().enumerate() {
        let Some(collection) = collection else { continue };
        progress.begin("comparing documents", collection.stored_bytes(), Unit::Bytes);
        tables[side] = read(collection, progress, |document, ordinal| {
            let id = find(document, b"_id")?.map_or([0; 32], |element| id_hash(element.value));
            let mut row = [0; 41];
            row[0] = u8::from(side == 1);
            row[1..9].copy_from_slice(&ordinal.to_be_bytes());
            row[9..].copy_from_slice(&hash_bytes(document).0);
            Ok(by_id.push(&id, &row)?)
        })?;
    }
    let room = differences_max.saturating_sub(report.differences.len());
    let pairs = pair_up(by_id.finish()?, room, report)?;
    let mut fields = Sorter::new(&scratch, SORTER_BYTES_MAX);
    for (side, collection) in sides.into_iter().enumerate() {
        let Some(collection) = collection.filter(|_| !pairs.is_empty()) else { continue };
        let mut wanted: Vec<(u64, u64)> =
            pairs.iter().enumerate().filter_map(|(i, p)| Some((p.0[side]?, i as u64))).collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        read(collection, progress, |document, ordinal| {
            while let Some((_, pair)) = wanted.next_if(|(at, _)| *at == ordinal) {
                let mut key = pair.to_be_bytes().to_vec();
                key.push(u8::from(side == 1));
                let row = serde_json::to_vec(&describe(document)?).unwrap_or_default();
                fields.push(&key, &row)?;
            }
            Ok(())
        })?;
    }
    let name = sides.iter().flatten().next().map_or_else(String::new, |c| c.name.clone());
    list(&name, fields.finish()?, report)?;
    Ok(tables)
}

/// Why one document stops a comparison.
enum Stop {
    Malformed(Malformed),
    Scratch(ScratchError),
}

impl From<Malformed> for Stop {
    fn from(fault: Malformed) -> Stop {
        Stop::Malformed(fault)
    }
}

impl From<ScratchError> for Stop {
    fn from(error: ScratchError) -> Stop {
        Stop::Scratch(error)
    }
}

fn read(
    collection: &Collection,
    progress: &Progress,
    mut each: impl FnMut(&[u8], u64) -> Result<(), Stop>,
) -> Result<ChunkTable, DiffError> {
    let mut ordinal = 0;
    collection.each_chunk(progress, |chunk| {
        for (_, document) in chunk.framed() {
            crate::document::validate(document)
                .map_err(Stop::from)
                .and_then(|()| each(document, ordinal))
                .map_err(|stop| match stop {
                    Stop::Scratch(error) => DiffError::Scratch(error),
                    Stop::Malformed(fault) => {
                        DiffError::Malformed { collection: collection.name.clone(), ordinal, fault }
                    }
                })?;
            ordinal += 1;
        }
        Ok(())
    })
}

/// A document's number in the first and in the second snapshot.
#[derive(Debug)]
struct Pair([Option<u64>; 2]);

/// Counts by kind and gives the first `room` pairs that differ, in the order of the first snapshot and
/// then of the second.
fn pair_up(
    mut sorted: SortedRows,
    room: usize,
    report: &mut DiffReport,
) -> Result<Vec<Pair>, DiffError> {
    let mut kept = BTreeMap::new();
    let mut keep = |pair: Pair| {
        let order = (pair.0[0].unwrap_or(u64::MAX), pair.0[1].unwrap_or(u64::MAX));
        kept.insert(order, pair);
        if kept.len() > room {
            kept.pop_last();
        }
    };
    let parse = |row: &Row| -> Option<(u64, [u8; 32])> {
        let (ordinal, hash) = row.payload.get(1..)?.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*ordinal), hash.try_into().ok()?))
    };
    // Rows come by `_id`, of one `_id` those of the first snapshot before those of the second. Documents
    // that share an `_id`, which only a damaged collection has, are paired in their order.
    let mut waiting: VecDeque<(u64, [u8; 32])> = VecDeque::new();
    let mut key = Vec::new();
    let mut row = Row::default();
    loop {
        let more = sorted.next_into(&mut row)?;
        if !more || row.key != key {
            for (first, _) in waiting.drain(..) {
                report.only_in_first += 1;
                keep(Pair([Some(first), None]));
            }
        }
        if !more {
            return Ok(kept.into_values().collect());
        }
        key.clone_from(&row.key);
        let (ordinal, hash) = parse(&row).ok_or(ScratchError::Damaged)?;
        if row.payload.first() == Some(&0) {
            waiting.push_back((ordinal, hash));
            continue;
        }
        match waiting.pop_front() {
            Some((_, first_hash)) if first_hash == hash => report.unchanged += 1,
            Some((first, _)) => {
                report.changed += 1;
                keep(Pair([Some(first), Some(ordinal)]));
            }
            None => {
                report.only_in_second += 1;
                keep(Pair([None, Some(ordinal)]));
            }
        }
    }
}

/// A document's fields without anything secret.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Described {
    id: String,
    fields: Vec<DescribedField>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DescribedField {
    name: String,
    shown: serde_json::Value,
    hash: Sha256Hash,
}

fn describe(document: &[u8]) -> Result<Described, Malformed> {
    let mut described = Described::default();
    for element in elements(document)? {
        let element = element?;
        if element.name == b"_id" && described.id.is_empty() {
            described.id = identifier_text(element.value);
        }
        let is_shown = SHOWN.contains(&element.name);
        described.fields.push(DescribedField {
            name: String::from_utf8_lossy(element.name).into_owned(),
            shown: match is_shown {
                true => shown(element.value),
                false => json!(format!("({:?}, not shown)", element.value.kind)),
            },
            hash: hash_bytes(&[&[element.value.kind.byte()], element.value.bytes].concat()),
        });
    }
    Ok(described)
}

fn shown(value: Value<'_>) -> serde_json::Value {
    match value.kind {
        ValueKind::Null => serde_json::Value::Null,
        ValueKind::DateTime => json!(date_text(value)),
        ValueKind::Int32 | ValueKind::Int64 | ValueKind::Double | ValueKind::Decimal128 => {
            match value.as_amount() {
                Some(amount) => json!(format!("{amount} ({:?})", value.kind)),
                None => json!(identifier_text(value)),
            }
        }
        _ => json!(identifier_text(value)),
    }
}

fn list(name: &str, mut sorted: SortedRows, report: &mut DiffReport) -> Result<(), DiffError> {
    let mut sides: [Option<Described>; 2] = [None, None];
    let mut current = Vec::new();
    let mut row = Row::default();
    loop {
        let more = sorted.next_into(&mut row)?;
        if !current.is_empty() && (!more || row.key[..8] != current[..]) {
            report.differences.push(difference(name, std::mem::take(&mut sides)));
        }
        if !more {
            return Ok(());
        }
        current = row.key[..8].to_vec();
        let described = serde_json::from_slice(&row.payload).map_err(|_| ScratchError::Damaged)?;
        sides[usize::from(row.key[8])] = Some(described);
    }
}

fn difference(collection: &str, [first, second]: [Option<Described>; 2]) -> Difference {
    let kind = match (&first, &second) {
        (Some(_), None) => "only_in_first",
        (None, Some(_)) => "only_in_second",
        _ => "changed",
    };
    let is_changed = kind == "changed";
    let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
    let id = if first.id.is_empty() { second.id.clone() } else { first.id.clone() };
    let mut fields = Vec::new();
    if is_changed {
        // Fields of one name, which a document may have, are paired in their order.
        let mut twins: HashMap<&str, VecDeque<usize>> = HashMap::new();
        for (at, after) in second.fields.iter().enumerate() {
            twins.entry(&after.name).or_default().push_back(at);
        }
        let mut is_added = vec![true; second.fields.len()];
        for before in &first.fields {
            let at = twins.get_mut(before.name.as_str()).and_then(VecDeque::pop_front);
            let after = at.map(|at| {
                is_added[at] = false;
                &second.fields[at]
            });
            if after.is_none_or(|after| after.hash != before.hash) {
                fields.push(field(&before.name, Some(before), after));
            }
        }
        let added = second.fields.iter().zip(is_added).filter(|(_, is_added)| *is_added);
        fields.extend(added.map(|(added, _)| field(&added.name, None, Some(added))));
        if fields.is_empty() {
            let name = "(order of the fields)".to_owned();
            fields.push(FieldDifference {
                name,
                before: Some(json!("as it was")),
                after: Some(json!("another")),
            });
        }
    }
    Difference { collection: collection.to_owned(), id, kind, fields }
}

fn field(
    name: &str,
    before: Option<&DescribedField>,
    after: Option<&DescribedField>,
) -> FieldDifference {
    let shown = |side: Option<&DescribedField>| side.map(|field| field.shown.clone());
    FieldDifference { name: name.to_owned(), before: shown(before), after: shown(after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(fields: impl Iterator<Item = (String, u8)>) -> Option<Described> {
        let field = |(name, value)| DescribedField {
            name,
            shown: json!(value),
            hash: Sha256Hash([value; 32]),
        };
        Some(Described { id: "7".to_owned(), fields: fields.map(field).collect() })
    }

    fn named(fields: &[(&str, u8)]) -> Option<Described> {
        described(fields.iter().map(|(name, value)| ((*name).to_owned(), *value)))
    }

    #[test]
    fn fields_are_paired_by_name_and_those_of_one_name_in_their_order() {
        let first = named(&[("a", 1), ("b", 1), ("a", 2), ("gone", 1), ("a", 3)]);
        let second = named(&[("new", 1), ("a", 1), ("a", 9), ("b", 1), ("last", 2)]);
        let found = difference("tokens", [first, second]).fields;
        let found: Vec<_> = found
            .iter()
            .map(|it| {
                let [before, after] = [&it.before, &it.after].map(|side| side.as_ref()?.as_u64());
                (it.name.as_str(), before, after)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("a", Some(2), Some(9)),
                ("gone", Some(1), None),
                ("a", Some(3), None),
                ("new", None, Some(1)),
                ("last", None, Some(2)),
            ]
        );
    }

    /// With a search through all fields for each this takes hours.
    #[test]
    fn a_document_of_a_million_fields_is_compared_field_by_field() {
        let names = || (0..1_000_000).map(|number: u32| (number.to_string(), 1));
        let found = difference("tokens", [described(names()), described(names().rev())]);
        assert_eq!(found.fields.len(), 1);
        assert_eq!(found.fields[0].name, "(order of the fields)");
    }
}
