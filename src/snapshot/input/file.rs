//! One file as input: an archive, or the tokens alone.
//!
//! Owns the choice between the two, by content, and the choice of database in an archive.

use super::archive::{MAGIC, Namespace, Prelude, Until, read_prelude, window};
use super::error::{InputError, listed, shown};
use super::stored::{Links, StoredFile};
use super::stream::StreamFile;
use super::{Collection, Input, InputOptions, Lies, dir};
use std::collections::BTreeSet;
use std::path::Path;

/// Opens the file at `path`.
pub(super) fn open(path: &Path, options: &InputOptions) -> Result<Input, InputError> {
    let stored = StoredFile::find(path, Links::Follow)?;
    let file = StreamFile::recognise(stored, options.limits())?;
    let mut head = [0; MAGIC.len()];
    let count = file.peek(&mut head)?;
    if count == 0 {
        return Err(InputError::Empty { file: path.to_path_buf() });
    }
    if head == MAGIC { open_archive(path, &file, options) } else { open_bson(path, file, options) }
}

fn open_archive(
    path: &Path,
    file: &StreamFile,
    options: &InputOptions,
) -> Result<Input, InputError> {
    let mut window = window(file.open()?);
    let prelude = read_prelude(&mut window, &[&options.tokens, &options.wallets])?;
    let db = choose_database(path, &prelude, options)?;
    let find = |name: &str| {
        let is_it = |it: &&Namespace| it.is_collection() && it.db == db && it.collection == name;
        prelude.namespaces.iter().find(is_it)
    };
    let collection = |namespace: &Namespace, until| Collection {
        name: namespace.collection.clone(),
        metadata_json: namespace.metadata_json.clone(),
        lies: Lies::Archive { file: file.clone(), db: db.clone(), until },
    };
    let Some(tokens) = find(&options.tokens) else {
        return Err(no_tokens(path, &prelude, options));
    };
    let wallets = find(&options.wallets);
    if wallets.is_none() && options.require_wallets {
        return Err(InputError::NoWallets {
            path: path.to_path_buf(),
            wanted: shown(&format!("{db}.{}", options.wallets)),
        });
    }
    Ok(Input {
        tokens: collection(tokens, Until::ArchiveEnd),
        wallets: wallets.map(|wallets| collection(wallets, Until::CollectionEnd)),
        notes: notes(&prelude, &db, options),
        db: Some(db),
        manifest: None,
    })
}

fn choose_database(
    path: &Path,
    prelude: &Prelude,
    options: &InputOptions,
) -> Result<String, InputError> {
    let holding: BTreeSet<&str> = prelude
        .namespaces
        .iter()
        .filter(|it| it.is_collection() && it.collection == options.tokens && !it.db.is_empty())
        .map(|it| it.db.as_str())
        .filter(|&db| options.db.as_deref().is_none_or(|wanted| wanted == db))
        .collect();
    let mut names = holding.iter();
    match (names.next(), names.next()) {
        (Some(db), None) => Ok((*db).to_owned()),
        (None, _) => Err(no_tokens(path, prelude, options)),
        (Some(_), Some(_)) => Err(InputError::SeveralDatabases {
            path: path.to_path_buf(),
            tokens: shown(&options.tokens),
            databases: listed(holding.iter().map(|&db| db.to_owned())),
        }),
    }
}

fn no_tokens(path: &Path, prelude: &Prelude, options: &InputOptions) -> InputError {
    InputError::NoTokens {
        path: path.to_path_buf(),
        wanted: dir::wanted(options),
        found: listed(prelude.namespaces.iter().map(described)),
    }
}

fn described(namespace: &Namespace) -> String {
    let kind =
        if namespace.is_collection() { String::new() } else { format!(" (a {})", namespace.kind) };
    format!("{}.{}{kind}", namespace.db, namespace.collection)
}

fn notes(prelude: &Prelude, db: &str, options: &InputOptions) -> Vec<String> {
    let read = |it: &&Namespace| {
        let named = it.collection == options.tokens || it.collection == options.wallets;
        it.is_collection() && it.db == db && named
    };
    let skipped: Vec<String> =
        prelude.namespaces.iter().filter(|it| !read(it)).map(described).collect();
    if skipped.is_empty() {
        return Vec::new();
    }
    vec![format!("not read from the archive: {}", listed(skipped))]
}

/// The tokens alone; wallets only when a file with their name lies beside.
fn open_bson(path: &Path, file: StreamFile, options: &InputOptions) -> Result<Input, InputError> {
    let mut notes = Vec::new();
    let own_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = dir::collection_of(own_name).unwrap_or(own_name);
    if stem != options.tokens {
        notes.push(format!(
            "{} is read as the collection {}",
            shown(own_name),
            shown(&options.tokens)
        ));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let metadata_json = dir::metadata_beside(folder, stem, options)?;
    let wallets = if stem == options.wallets {
        None
    } else {
        dir::collection_in(folder, &options.wallets, options)?
    };
    notes.push(match &wallets {
        Some(_) => format!(
            "the wallets are read from {}, which lies beside the tokens",
            shown(&options.wallets)
        ),
        None => format!(
            "no file of {} lies beside the tokens: wallets are not known",
            shown(&options.wallets)
        ),
    });
    Ok(Input {
        db: options.db.clone(),
        tokens: Collection {
            name: options.tokens.clone(),
            metadata_json,
            lies: Lies::Frames(file),
        },
        wallets,
        notes,
        manifest: None,
    })
}
