//! The head of an archive: which namespaces it holds.
//!
//! Owns reading of header and metadata documents. It never keeps the metadata of collections that
//! nobody asked for.

use super::super::error::{ArchiveFault, InputError, shown};
use super::super::{NAME_BYTES_MAX, NAMESPACES_MAX};
use super::window::Window;
use crate::document::{Value, ValueKind, elements, validate};
use std::collections::HashMap;

/// What every archive begins with: 0x8199e26d, little-endian.
pub(in super::super) const MAGIC: [u8; 4] = [0x6d, 0xe2, 0x99, 0x81];

/// A collection in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Namespace {
    pub(in super::super) db: String,
    pub(in super::super) collection: String,
    /// `collection`, `view`, `timeseries`; an old mongodump leaves it out, which means `collection`.
    pub(in super::super) kind: String,
    /// Only for the collections asked for.
    pub(in super::super) metadata_json: Option<Vec<u8>>,
}

impl Namespace {
    /// The name as people know it.
    pub(in super::super) fn shown(&self) -> String {
        shown(&format!("{}.{}", self.db, self.collection))
    }

    /// Whether it is a plain collection, whose documents are its own.
    pub(in super::super) fn is_collection(&self) -> bool {
        self.kind == "collection"
    }
}

/// The namespaces in the order of the file.
#[derive(Debug)]
pub(in super::super) struct Prelude {
    pub(in super::super) namespaces: Vec<Namespace>,
    index: HashMap<String, usize>,
}

/// One text for both names; neither can hold a 0, as the metadata's reader makes sure.
fn key(db: &str, collection: &str) -> String {
    format!("{db}\0{collection}")
}

impl Prelude {
    /// The namespace that a block's header means.
    pub(super) fn find(&self, db: &str, collection: &str) -> Option<usize> {
        self.index.get(&key(db, collection)).copied()
    }

    fn add(&mut self, namespace: Namespace) -> Result<(), ArchiveFault> {
        if self.namespaces.len() == NAMESPACES_MAX {
            return Err(ArchiveFault::ManyNamespaces(NAMESPACES_MAX));
        }
        let number = self.namespaces.len();
        let name = key(&namespace.db, &namespace.collection);
        if self.index.insert(name, number).is_some() {
            return Err(ArchiveFault::Twice(namespace.shown()));
        }
        if namespace.kind == "timeseries" {
            // Servers before 8.3 dump the buckets under this name.
            let buckets = format!("system.buckets.{}", namespace.collection);
            self.index.entry(key(&namespace.db, &buckets)).or_insert(number);
        }
        self.namespaces.push(namespace);
        Ok(())
    }
}

/// Reads magic, header and metadata up to the first block, and keeps the metadata of collections
/// named in `wanted`.
pub(in super::super) fn read_prelude(
    window: &mut Window,
    wanted: &[&str],
) -> Result<Prelude, InputError> {
    let fault = |window: &Window, at, fault| Err(window.archive(at, fault));
    if window.peek_four()? != MAGIC {
        return fault(window, 0, ArchiveFault::Header("the magic number of an archive"));
    }
    window.skip(MAGIC.len());
    let at = window.offset();
    let header = window.document()?.is_some_and(|document| validate(document).is_ok());
    if !header {
        return fault(window, at, ArchiveFault::Header("the archive's header document"));
    }
    let mut prelude = Prelude { namespaces: Vec::new(), index: HashMap::new() };
    loop {
        let at = window.offset();
        let read = match window.document()? {
            None => return Ok(prelude),
            Some(document) => metadata(document, wanted),
        };
        if let Err(found) = read.and_then(|namespace| prelude.add(namespace)) {
            return fault(window, at, found);
        }
    }
}

fn metadata(document: &[u8], wanted: &[&str]) -> Result<Namespace, ArchiveFault> {
    let [db, collection, metadata, kind] =
        fields(document, [b"db", b"collection", b"metadata", b"type"])?;
    let (db, collection) = names(db, collection)?;
    let kind = match kind {
        None => "collection",
        Some(kind) => kind.as_str().ok_or(ArchiveFault::Header("type to be text"))?,
    };
    let json = match metadata {
        None => None,
        Some(value) => {
            Some(value.as_text_bytes().ok_or(ArchiveFault::Header("metadata to be text"))?)
        }
    };
    Ok(Namespace {
        metadata_json: json
            .filter(|json| !json.is_empty() && wanted.contains(&collection))
            .map(<[u8]>::to_vec),
        db: db.to_owned(),
        collection: collection.to_owned(),
        kind: match kind {
            // What mongodump writes when the server did not say.
            "" => "collection".to_owned(),
            kind => shown(kind),
        },
    })
}

/// The fields of a header or metadata document that `wanted` names; each may be there once.
pub(super) fn fields<'a, const N: usize>(
    document: &'a [u8],
    wanted: [&[u8]; N],
) -> Result<[Option<Value<'a>>; N], ArchiveFault> {
    let broken = |_| ArchiveFault::Header("a valid header document");
    validate(document).map_err(broken)?;
    let mut found = [None; N];
    for element in elements(document).map_err(broken)? {
        let element = element.map_err(broken)?;
        let slot = wanted.iter().position(|&name| name == element.name);
        if let Some(slot) = slot
            && found[slot].replace(element.value).is_some()
        {
            return Err(ArchiveFault::Header("each field of a header once"));
        }
    }
    Ok(found)
}

/// Database and collection of a header; the database is empty for the oplog.
pub(super) fn names<'a>(
    db: Option<Value<'a>>,
    collection: Option<Value<'a>>,
) -> Result<(&'a str, &'a str), ArchiveFault> {
    let text = |value: Option<Value<'a>>| {
        let value = value.filter(|value| value.kind == ValueKind::String)?;
        value.as_str().filter(|name| name.len() <= NAME_BYTES_MAX && !name.contains('\0'))
    };
    let db = text(db).ok_or(ArchiveFault::Header("the name of a database in db"))?;
    let collection = text(collection)
        .filter(|name| !name.is_empty())
        .ok_or(ArchiveFault::Header("the name of a collection in collection"))?;
    Ok((db, collection))
}
