//! The system's health: what the deployment says of itself, its collections, indexes and members.
//!
//! Everything is asked, nothing assumed; what the user may not ask is said in a note.

use super::options::MonitorOptions;
use crate::live::JOURNAL_COLLECTION;
use crate::live::RUNS_COLLECTION;
use crate::model::Timestamp;
use crate::server::{Server, ServerError, failed};
use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use serde::Serialize;
use std::time::Instant;

/// The indexes that the service needs (`domain.md`), by collection: tokens, then wallets.
const TOKEN_INDEXES: &[&[&str]] = &[
    &["npub", "status"],
    &["npub", "transaction_type"],
    &["wallet_id", "status"],
    &["transaction_id"],
    &["mint_url", "status"],
    &["proofs.secret"],
];
const WALLET_INDEXES: &[&[&str]] = &[&["npub", "mint_url"]];

/// What the deployment says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemHealth {
    /// The connection.
    pub connection: ConnectionHealth,
    /// Sizes of the whole database.
    pub database: DatabaseSize,
    /// Its collections.
    pub collections: Vec<CollectionHealth>,
    /// Their indexes and how often each was used.
    pub indexes: Vec<IndexUse>,
    /// Indexes that the service needs and that are not there.
    pub missing_indexes: Vec<MissingIndex>,
    /// The members; `None` where there are none or they can't be asked.
    pub replication: Option<Replication>,
    /// What could not be asked, and the privilege that it takes.
    pub notes: Vec<String>,
}

/// The connection.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionHealth {
    /// Whether the server answers.
    pub ok: bool,
    /// How fast, in milliseconds.
    pub ping_ms: u64,
    /// Hosts, without credentials.
    pub hosts: String,
    /// Name of the replica set.
    pub replica_set: Option<String>,
    /// The server's version.
    pub server_version: String,
}

/// Sizes of a database, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSize {
    /// Its name.
    pub name: String,
    /// Documents, not compressed.
    pub data_bytes: u64,
    /// On disk.
    pub storage_bytes: u64,
    /// Indexes on disk.
    pub index_bytes: u64,
}

/// Figures of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionHealth {
    /// Its name.
    pub name: String,
    /// Documents, as the server's metadata has them.
    pub documents: u64,
    /// Documents' bytes, not compressed.
    pub data_bytes: u64,
    /// On disk.
    pub storage_bytes: u64,
    /// Indexes on disk.
    pub index_bytes: u64,
}

/// One index and its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexUse {
    /// The collection.
    pub collection: String,
    /// The index.
    pub name: String,
    /// Its fields.
    pub keys: Vec<String>,
    /// How often it was used, on the member that answered.
    pub operations: u64,
    /// Since when that is counted.
    pub since: Option<Timestamp>,
}

/// An index that should be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingIndex {
    /// The collection.
    pub collection: String,
    /// Its fields.
    pub keys: Vec<String>,
}

/// The members of the replica set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replication {
    /// Each member.
    pub members: Vec<Member>,
    /// How far the slowest secondary is behind, in seconds.
    pub lag_seconds_max: u64,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Host and port.
    pub host: String,
    /// `PRIMARY`, `SECONDARY` and so on.
    pub state: String,
    /// Whether it is up.
    pub is_healthy: bool,
    /// How far it is behind the primary, in seconds; of secondaries only.
    pub lag_seconds: Option<u64>,
}

/// Asks for everything.
pub(super) async fn ask(
    server: &Server,
    options: &MonitorOptions,
) -> Result<SystemHealth, ServerError> {
    let began = Instant::now();
    server.ping().await?;
    let ping_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let deployment = server.deployment();
    let mut health = SystemHealth {
        connection: ConnectionHealth {
            ok: true,
            ping_ms,
            hosts: server.hosts().to_owned(),
            replica_set: deployment.replica_set.clone(),
            server_version: deployment.server_version.clone(),
        },
        database: database_size(server).await?,
        collections: Vec::new(),
        indexes: Vec::new(),
        missing_indexes: Vec::new(),
        replication: None,
        notes: Vec::new(),
    };
    for name in [&*options.tokens, &*options.wallets, RUNS_COLLECTION, JOURNAL_COLLECTION] {
        match collection(server, name).await? {
            Asked::Told(Some(told)) => health.collections.push(told),
            Asked::Told(None) => {}
            Asked::NotAllowed => health.notes.push(not_allowed("the sizes", name, "collStats")),
        }
    }
    for (name, wanted) in [(&options.tokens, TOKEN_INDEXES), (&options.wallets, WALLET_INDEXES)] {
        if !health.collections.iter().any(|it| it.name == *name) {
            continue;
        }
        health.missing_indexes.extend(missing_indexes(server, name, wanted).await?);
        match index_use(server, name).await? {
            Asked::Told(used) => health.indexes.extend(used),
            Asked::NotAllowed => {
                health.notes.push(not_allowed("the use of the indexes", name, "indexStats"));
            }
        }
    }
    if deployment.replica_set.is_some() {
        match replication(server).await? {
            Asked::Told(told) => health.replication = Some(told),
            Asked::NotAllowed => health.notes.push(
                "the members' lag can't be asked; grant the role clusterMonitor to see it"
                    .to_owned(),
            ),
        }
    }
    Ok(health)
}

/// An answer, or the news that the user may not ask.
enum Asked<T> {
    Told(T),
    NotAllowed,
}

fn allowed<T>(answer: Result<T, ServerError>) -> Result<Asked<T>, ServerError> {
    match answer {
        Ok(told) => Ok(Asked::Told(told)),
        Err(ServerError::PermissionDenied { .. }) => Ok(Asked::NotAllowed),
        Err(error) => Err(error),
    }
}

fn not_allowed(what: &str, collection: &str, privilege: &str) -> String {
    format!("{what} of {collection} can't be asked; grant the privilege {privilege} to see it")
}

/// A whole number that the server may send in any of its number types.
fn whole(document: &Document, name: &str) -> u64 {
    match document.get(name) {
        Some(Bson::Int32(n)) => u64::try_from(*n).unwrap_or(0),
        Some(Bson::Int64(n)) => u64::try_from(*n).unwrap_or(0),
        Some(Bson::Double(n)) => format!("{n:.0}").parse().unwrap_or(0),
        _ => 0,
    }
}

async fn database_size(server: &Server) -> Result<DatabaseSize, ServerError> {
    let stats = server.database().run_command(doc! {"dbStats": 1}).await;
    let stats = stats.map_err(failed("ask for the database's size", "dbStats (the role read)"))?;
    Ok(DatabaseSize {
        name: server.db().to_owned(),
        data_bytes: whole(&stats, "dataSize"),
        storage_bytes: whole(&stats, "storageSize"),
        index_bytes: whole(&stats, "indexSize"),
    })
}

async fn collection(
    server: &Server,
    name: &str,
) -> Result<Asked<Option<CollectionHealth>>, ServerError> {
    let pipeline = [doc! {"$collStats": {"storageStats": {}}}];
    let asked = async {
        let mut found = server.collection(name).aggregate(pipeline).await?;
        match found.advance().await? {
            true => Ok(Some(Document::try_from(found.current())?)),
            false => Ok(None),
        }
    };
    let stats = match asked.await {
        Err(error) if crate::server::error_code(&error) == Some(26) => None, // no such collection
        other => {
            let failed = failed("ask for a collection's size", "collStats (the role read)");
            match allowed(other.map_err(failed))? {
                Asked::NotAllowed => return Ok(Asked::NotAllowed),
                Asked::Told(stats) => stats,
            }
        }
    };
    let stats = stats.as_ref().and_then(|stats| stats.get_document("storageStats").ok());
    Ok(Asked::Told(stats.map(|stats| CollectionHealth {
        name: name.to_owned(),
        documents: whole(stats, "count"),
        data_bytes: whole(stats, "size"),
        storage_bytes: whole(stats, "storageSize"),
        index_bytes: whole(stats, "totalIndexSize"),
    })))
}

async fn missing_indexes(
    server: &Server,
    name: &str,
    wanted: &[&[&str]],
) -> Result<Vec<MissingIndex>, ServerError> {
    let listed = async {
        let command = doc! {"listIndexes": name, "cursor": {}};
        server.database().run_cursor_command(command).await?.try_collect::<Vec<Document>>().await
    };
    let privilege = "listIndexes on the collection (the role read)";
    let listed = listed.await.map_err(failed("list the indexes", privilege))?;
    let there: Vec<Vec<&str>> = listed.iter().map(|index| keys(index)).collect();
    let missing = wanted.iter().filter(|keys| {
        // An index with more fields after these serves as well.
        !there.iter().any(|there| there.starts_with(keys))
    });
    Ok(missing
        .map(|keys| MissingIndex {
            collection: name.to_owned(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        })
        .collect())
}

fn keys(index: &Document) -> Vec<&str> {
    index
        .get_document("key")
        .map(|key| key.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

async fn index_use(server: &Server, name: &str) -> Result<Asked<Vec<IndexUse>>, ServerError> {
    let asked = async {
        let found = server.collection(name).aggregate([doc! {"$indexStats": {}}]).await?;
        found.try_collect::<Vec<Document>>().await
    };
    let failed = failed("ask for the use of the indexes", "indexStats (role clusterMonitor)");
    let Asked::Told(found) = allowed(asked.await.map_err(failed))? else {
        return Ok(Asked::NotAllowed);
    };
    let used = found.iter().map(|index| {
        let accesses = index.get_document("accesses").cloned().unwrap_or_default();
        IndexUse {
            collection: name.to_owned(),
            name: index.get_str("name").unwrap_or_default().to_owned(),
            keys: keys(index).into_iter().map(str::to_owned).collect(),
            operations: whole(&accesses, "ops"),
            since: accesses.get_datetime("since").ok().map(|at| Timestamp(at.timestamp_millis())),
        }
    });
    let mut used: Vec<IndexUse> = used.collect();
    used.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Asked::Told(used))
}

async fn replication(server: &Server) -> Result<Asked<Replication>, ServerError> {
    let admin = server.client().database("admin");
    let status = admin.run_command(doc! {"replSetGetStatus": 1}).await;
    let failed = failed("read the members' state", "replSetGetStatus (role clusterMonitor)");
    let Asked::Told(status) = allowed(status.map_err(failed))? else {
        return Ok(Asked::NotAllowed);
    };
    let members: Vec<&Document> = match status.get_array("members") {
        Ok(members) => members.iter().filter_map(Bson::as_document).collect(),
        Err(_) => Vec::new(),
    };
    let time = |member: &Document| member.get_datetime("optimeDate").ok().copied();
    let is_primary = |member: &&&Document| member.get_i32("state").is_ok_and(|state| state == 1);
    let primary = members.iter().find(is_primary).and_then(|member| time(member));
    let members: Vec<Member> = members
        .iter()
        .map(|member| {
            let behind = || {
                let ms = primary?.timestamp_millis() - time(member)?.timestamp_millis();
                Some(u64::try_from(ms).unwrap_or(0) / 1000)
            };
            let is_secondary = member.get_i32("state").is_ok_and(|state| state == 2);
            Member {
                host: member.get_str("name").unwrap_or_default().to_owned(),
                state: member.get_str("stateStr").unwrap_or("unknown").to_owned(),
                is_healthy: whole(member, "health") == 1,
                lag_seconds: if is_secondary { behind() } else { None },
            }
        })
        .collect();
    let lag_seconds_max = members.iter().filter_map(|member| member.lag_seconds).max().unwrap_or(0);
    Ok(Asked::Told(Replication { members, lag_seconds_max }))
}
