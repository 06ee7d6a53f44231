//! Whether the collections to analyse are there.

use super::error::{ClusterError, judge};
use crate::server::Server;
use futures_util::TryStreamExt;
use mongodb::bson::doc;
use mongodb::results::{CollectionSpecification, CollectionType};

const DOING: &str = "list the collections";
const PRIVILEGE: &str = "listCollections on the database (the role read has it)";

/// Makes sure of the tokens' collection; gives the wallets' when it is there.
pub(super) async fn check<'a>(
    server: &Server,
    tokens: &str,
    wallets: &'a str,
    require_wallets: bool,
) -> Result<Option<&'a str>, ClusterError> {
    if tokens == wallets {
        return Err(ClusterError::SameCollection);
    }
    // The driver asks again when the connection is lost, which it does not for a command of our own.
    let filter = doc! {"name": {"$in": [tokens, wallets]}};
    let cursor = server.database().list_collections().filter(filter).await;
    let cursor = cursor.map_err(judge(DOING, PRIVILEGE))?;
    let found = cursor.try_collect::<Vec<_>>().await.map_err(judge(DOING, PRIVILEGE))?;
    if !is_there(server, &found, tokens, "tokens")? {
        return Err(missing(server, tokens, "tokens", ""));
    }
    match is_there(server, &found, wallets, "wallets")? {
        true => Ok(Some(wallets)),
        false if require_wallets => {
            Err(missing(server, wallets, "wallets", ", or pass --without-wallets"))
        }
        false => Ok(None),
    }
}

fn is_there(
    server: &Server,
    found: &[CollectionSpecification],
    name: &str,
    option: &'static str,
) -> Result<bool, ClusterError> {
    match found.iter().find(|entry| entry.name == name) {
        None => Ok(false),
        Some(entry) if matches!(entry.collection_type, CollectionType::Collection) => Ok(true),
        Some(_) => {
            let (db, name) = (server.db().to_owned(), name.escape_debug().collect());
            Err(ClusterError::NotACollection { db, name, option })
        }
    }
}

fn missing(
    server: &Server,
    wanted: &str,
    option: &'static str,
    or_without: &'static str,
) -> ClusterError {
    let (db, wanted) = (server.db().to_owned(), wanted.escape_debug().collect());
    ClusterError::NoCollection { db, wanted, option, or_without }
}
