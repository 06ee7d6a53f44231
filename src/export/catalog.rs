//! What the database says of its two collections: that they are there, their options and indexes.

use super::ExportOptions;
use super::error::{ExportError, Failure, judge};
use crate::server::{Server, integer};
use crate::snapshot::format::Role;
use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc, spec::BinarySubtype};
use serde_json::{Value, json};

/// One collection to export.
pub(super) struct SourceCollection {
    pub(super) role: Role,
    pub(super) name: String,
    /// The text of its metadata file, as mongodump writes it.
    pub(super) metadata_json: String,
}

const LIST_PRIVILEGE: &str = "listCollections on the database (the role read has it)";
const INDEX_PRIVILEGE: &str = "listIndexes on the collection (the role read has it)";

/// The collections that are to be exported, the tokens first.
pub(super) async fn read(
    server: &Server,
    options: &ExportOptions,
) -> Result<Vec<SourceCollection>, Failure> {
    let mut listed = list(server).await?;
    let mut collections = Vec::new();
    for (role, option, name) in
        [(Role::Tokens, "tokens", &options.tokens), (Role::Wallets, "wallets", &options.wallets)]
    {
        let Some(at) = listed.iter().position(|it| it.get_str("name").ok() == Some(name)) else {
            if role == Role::Wallets && !options.require_wallets {
                continue;
            }
            return Err(missing(server, name, option, &listed).into());
        };
        let entry = listed.swap_remove(at);
        let kind = entry.get_str("type").unwrap_or("collection");
        if kind != "collection" {
            let (db, name) = (server.db().to_owned(), name.clone());
            let kind = kind.chars().filter(char::is_ascii_alphanumeric).collect();
            return Err(ExportError::NotACollection { db, name, kind, option }.into());
        }
        let metadata_json = metadata(server, name, &entry).await?;
        collections.push(SourceCollection { role, name: name.clone(), metadata_json });
    }
    Ok(collections)
}

fn missing(
    server: &Server,
    wanted: &str,
    option: &'static str,
    listed: &[Document],
) -> ExportError {
    const NAMES_MAX: usize = 20;
    let mut names: Vec<String> = listed
        .iter()
        .filter_map(|entry| entry.get_str("name").ok())
        .map(|name| name.escape_debug().take(128).collect())
        .collect();
    names.sort();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let found = match (names.is_empty(), more) {
        (true, _) => "it has none at all".to_owned(),
        (false, 0) => format!("it has {}", names.join(", ")),
        (false, more) => format!("it has {} and {more} more", names.join(", ")),
    };
    ExportError::NoCollection {
        db: server.db().to_owned(),
        wanted: wanted.escape_debug().collect(),
        found,
        option,
    }
}

/// All collections of the database, as the server describes them.
async fn list(server: &Server) -> Result<Vec<Document>, Failure> {
    let judged = || judge("list the collections", LIST_PRIVILEGE);
    let command = doc! {"listCollections": 1, "cursor": {}};
    let cursor = server.database().run_cursor_command(command).await.map_err(judged())?;
    cursor.try_collect().await.map_err(judged())
}

/// As mongodump 100 writes it: canonical extended JSON with options, indexes, uuid, name and type.
async fn metadata(server: &Server, name: &str, entry: &Document) -> Result<String, Failure> {
    let judged = || judge("list the indexes", INDEX_PRIVILEGE);
    let command = doc! {"listIndexes": name, "cursor": {}};
    let cursor = server.database().run_cursor_command(command).await.map_err(judged())?;
    let indexes: Vec<Document> = cursor.try_collect().await.map_err(judged())?;
    let mut text = serde_json::Map::new();
    if let Ok(options) = entry.get_document("options")
        && !options.is_empty()
    {
        text.insert("options".into(), Bson::Document(options.clone()).into_canonical_extjson());
    }
    let indexes: Vec<Value> =
        indexes.into_iter().map(|index| Bson::Document(index).into_canonical_extjson()).collect();
    text.insert("indexes".into(), indexes.into());
    text.insert("uuid".into(), uuid(entry).into());
    text.insert("collectionName".into(), name.into());
    text.insert("type".into(), json!("collection"));
    let unreadable =
        |_| ExportError::Metadata { db: server.db().to_owned(), name: name.to_owned() };
    Ok(serde_json::to_string(&text).map_err(unreadable)?)
}

/// The collection's uuid as hex digits.
fn uuid(entry: &Document) -> String {
    let info = entry.get_document("info").ok();
    match info.and_then(|info| info.get("uuid")) {
        Some(Bson::Binary(binary)) if binary.subtype == BinarySubtype::Uuid => {
            binary.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        _ => String::new(),
    }
}

/// About how many bytes the documents have, for the progress; 0 when the server does not tell.
pub(super) async fn stored_bytes(server: &Server, collections: &[SourceCollection]) -> u64 {
    let mut sum = 0_u64;
    for collection in collections {
        let command = doc! {"collStats": &collection.name};
        let stats: Result<Document, _> = server.database().run_command(command).await;
        let Ok(stats) = stats else { return 0 };
        let size = stats.get("size").and_then(integer).unwrap_or(0);
        sum = sum.saturating_add(u64::try_from(size).unwrap_or(0));
    }
    sum
}

/// A handle for raw reading.
pub(super) fn handle(server: &Server, name: &str) -> mongodb::Collection<RawDocumentBuf> {
    server.database().collection(name)
}
