//! A directory as input: what mongodump writes, a dump's root or one database of it.
//!
//! Owns the choice of database and of files. It only ever opens files that lie directly in the
//! database's directory under a collection's own name, and never follows a link.

use super::error::{InputError, listed, shown};
use super::stored::{Links, StoredFile, look, unreadable};
use super::stream::{Packing, StreamFile};
use super::{Collection, Input, InputOptions, Lies, MANIFEST_NAME, NAMESPACES_MAX};
use crate::document::DOCUMENT_BYTES_MAX;
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

const DATA_SUFFIXES: [&str; 3] = [".bson", ".bson.gz", ".bson.zst"];
const METADATA_SUFFIXES: [&str; 2] = [".metadata.json", ".metadata.json.gz"];

/// The oplog lies in a dump's root, beside the databases.
const OPLOG: &str = "oplog";

/// The collection whose documents a file of this name holds.
pub(super) fn collection_of(file_name: &str) -> Option<&str> {
    DATA_SUFFIXES
        .iter()
        .find_map(|suffix| file_name.strip_suffix(suffix))
        .filter(|stem| !stem.is_empty())
}

/// What was looked for, in words.
pub(super) fn wanted(options: &InputOptions) -> String {
    match &options.db {
        Some(db) => shown(&format!("{db}.{}", options.tokens)),
        None => shown(&options.tokens),
    }
}

/// A directory's entries with names that are text, sorted.
fn entries(directory: &Path) -> Result<Vec<(String, FileType)>, InputError> {
    let failed = |error: io::Error| unreadable(directory, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if found.len() == NAMESPACES_MAX {
            return Err(InputError::TooMuch {
                file: directory.to_path_buf(),
                what: "more entries",
                most: super::stored::wide(NAMESPACES_MAX),
            });
        }
        // A name that is not text is none of mongodump's.
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.file_type().map_err(failed)?));
        }
    }
    found.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(found)
}

/// One database's directory.
struct Database {
    name: String,
    path: PathBuf,
    collections: Vec<String>,
}

impl Database {
    fn look_into(name: String, path: PathBuf) -> Result<Database, InputError> {
        let mut collections: Vec<String> = entries(&path)?
            .iter()
            .filter_map(|(name, _)| collection_of(name).map(str::to_owned))
            .collect();
        collections.dedup();
        Ok(Database { name, path, collections })
    }

    fn holds(&self, collection: &str) -> bool {
        self.collections.iter().any(|it| it == collection)
    }
}

/// Opens the dump or database directory at `path`.
pub(super) fn open(path: &Path, options: &InputOptions) -> Result<Input, InputError> {
    let listing = entries(path)?;
    let is_database = |(name, _): &(String, FileType)| {
        collection_of(name).is_some_and(|collection| collection != OPLOG)
    };
    let mut notes = Vec::new();
    let database = if listing.iter().any(is_database) {
        given_database(path, options, &mut notes)?
    } else {
        choose_database(path, listing, options, &mut notes)?
    };
    let missing = || InputError::NoTokens {
        path: path.to_path_buf(),
        wanted: wanted(options),
        found: listed(database.collections.clone()),
    };
    let tokens = collection_in(&database.path, &options.tokens, options)?.ok_or_else(missing)?;
    let wallets = collection_in(&database.path, &options.wallets, options)?;
    if wallets.is_none() && options.require_wallets {
        return Err(InputError::NoWallets {
            path: database.path,
            wanted: shown(&format!("{}.{}", database.name, options.wallets)),
        });
    }
    let is_other = |name: &&String| **name != options.tokens && **name != options.wallets;
    let others: Vec<String> = database.collections.iter().filter(is_other).cloned().collect();
    if !others.is_empty() {
        notes.push(format!(
            "not read from the database {}: {}",
            shown(&database.name),
            listed(others)
        ));
    }
    let manifest = path.join(MANIFEST_NAME);
    Ok(Input {
        db: Some(database.name),
        tokens,
        wallets,
        notes,
        manifest: fs::symlink_metadata(&manifest).is_ok().then_some(manifest),
    })
}

/// `path` is a database's directory; its name is the database's unless an option says otherwise.
fn given_database(
    path: &Path,
    options: &InputOptions,
    notes: &mut Vec<String>,
) -> Result<Database, InputError> {
    let whole = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
    let own = whole.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = match &options.db {
        Some(db) if db != own => {
            notes.push(format!(
                "the directory {} is read as the database {}, as --db says",
                shown(own),
                shown(db)
            ));
            db.clone()
        }
        _ => own.to_owned(),
    };
    Database::look_into(name, path.to_path_buf())
}

/// `path` is a dump's root: finds the one database that holds the tokens.
fn choose_database(
    path: &Path,
    listing: Vec<(String, FileType)>,
    options: &InputOptions,
    notes: &mut Vec<String>,
) -> Result<Database, InputError> {
    let mut holding = Vec::new();
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    for (name, kind) in listing {
        let is_asked = options.db.as_ref().is_none_or(|db| *db == name);
        if kind.is_symlink() {
            if options.db.as_ref() == Some(&name) {
                return Err(InputError::NotAFile {
                    file: path.join(name),
                    seen: "a symbolic link",
                });
            }
            skipped.push(format!("{name} (a symbolic link)"));
        } else if kind.is_dir() {
            let is_named = options.db.as_ref() == Some(&name);
            let database = match Database::look_into(name.clone(), path.join(&name)) {
                // Such as lost+found, in the root of a disk.
                Err(InputError::Unreadable { .. }) if !is_named => {
                    skipped.push(format!("{name} (unreadable)"));
                    continue;
                }
                database => database?,
            };
            if is_asked && database.holds(&options.tokens) {
                holding.push(database);
            } else {
                found.extend(database.collections.iter().map(|it| format!("{name}.{it}")));
                skipped.push(name);
            }
        } else if collection_of(&name) == Some(OPLOG) {
            skipped.push(name);
        }
    }
    if holding.len() > 1 {
        return Err(InputError::SeveralDatabases {
            path: path.to_path_buf(),
            tokens: shown(&options.tokens),
            databases: listed(holding.into_iter().map(|database| database.name)),
        });
    }
    let Some(database) = holding.pop() else {
        found.extend(skipped.into_iter().filter(|name| name.ends_with(')')));
        return Err(InputError::NoTokens {
            path: path.to_path_buf(),
            wanted: wanted(options),
            found: listed(found),
        });
    };
    if !skipped.is_empty() {
        notes.push(format!("not read from the dump: {}", listed(skipped)));
    }
    Ok(database)
}

/// The one of `names` that lies in `directory`; two are refused.
fn only_one<const N: usize>(
    directory: &Path,
    names: [String; N],
) -> Result<Option<PathBuf>, InputError> {
    let mut found = None;
    for name in names {
        let path = directory.join(name);
        match look(&path, Links::Refuse) {
            Err(InputError::Unreadable { kind: io::ErrorKind::NotFound, .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => match found {
                None => found = Some(path),
                Some(first) => {
                    return Err(InputError::Duplicate { first, second: path });
                }
            },
        }
    }
    Ok(found)
}

/// The collection `name` among the files of `directory`, if it is there.
///
/// mongodump leaves an empty file for a collection without documents, and metadata beside it; an empty
/// file without metadata, or where a compressed stream should be, is damage.
pub(super) fn collection_in(
    directory: &Path,
    name: &str,
    options: &InputOptions,
) -> Result<Option<Collection>, InputError> {
    let names = DATA_SUFFIXES.map(|suffix| format!("{name}{suffix}"));
    let Some(path) = only_one(directory, names)? else {
        return Ok(None);
    };
    let metadata_json = metadata_beside(directory, name, options)?;
    let stored = StoredFile::find(&path, Links::Refuse)?;
    let file = StreamFile::recognise(stored, options.limits())?;
    let is_empty = file.peek(&mut [0])? == 0;
    let may_be_empty = metadata_json.is_some()
        && (file.packing != Packing::Plain
            || path.extension().is_some_and(|extension| extension == "bson"));
    if is_empty && !may_be_empty {
        return Err(InputError::Empty { file: path });
    }
    Ok(Some(Collection { name: name.to_owned(), metadata_json, lies: Lies::Frames(file) }))
}

/// mongodump's metadata of the collection `name`, uncompressed, if a file of it is there.
pub(super) fn metadata_beside(
    directory: &Path,
    name: &str,
    options: &InputOptions,
) -> Result<Option<Vec<u8>>, InputError> {
    let names = METADATA_SUFFIXES.map(|suffix| format!("{name}{suffix}"));
    let Some(path) = only_one(directory, names)? else {
        return Ok(None);
    };
    let stored = StoredFile::find(&path, Links::Refuse)?;
    let mut stream = StreamFile::recognise(stored, options.limits())?.open()?;
    let mut json = Vec::new();
    // In an archive it is a field of one document, so it can't be larger than one.
    while json.len() <= DOCUMENT_BYTES_MAX {
        const STEP_BYTES: usize = 64 * 1024;
        let start = json.len();
        json.resize(start + STEP_BYTES, 0);
        let count = stream.fill(&mut json[start..])?;
        json.truncate(start + count);
        if count < STEP_BYTES {
            return Ok(Some(json));
        }
    }
    Err(InputError::TooMuch {
        file: path,
        what: "more bytes of metadata",
        most: super::stored::wide(DOCUMENT_BYTES_MAX),
    })
}
