//! The system's health: what the deployment says of itself, its collections, indexes and members.
//!
//! Everything is asked, nothing assumed; what can't be told is said in a note.

use super::options::MonitorOptions;
use crate::live::JOURNAL_COLLECTION;
use crate::live::RUNS_COLLECTION;
use crate::model::Timestamp;
use crate::server::{
    MEMBERS_PRIVILEGE, MemberState, Server, ServerError, error_code, failed, read_members, slowest,
    unsigned,
};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

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
    /// What could not be told, and why: the privilege that it takes, or what the server said.
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
    /// How often it was used, on the member that answered; of shards on one of each, summed.
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
    /// How far it is behind the primary, in seconds; only of secondaries that no configuration delays.
    pub lag_seconds: Option<u64>,
}

/// Asks for everything but the ping, which was answered after `ping`; for no longer than `patience`.
///
/// What fails is said in a note: the server answers, so it is not gone. What alerts judge stays then as
/// it was last `known`.
pub(super) async fn ask(
    server: &Server,
    options: &MonitorOptions,
    ping: Duration,
    patience: Duration,
    known: Option<&SystemHealth>,
) -> SystemHealth {
    let mut questions = Questions { deadline: Instant::now() + patience, notes: Vec::new() };
    let deployment = server.deployment();
    let database = questions.ask("the database's sizes", database_size(server)).await;
    let nothing = || DatabaseSize { name: server.db().to_owned(), ..DatabaseSize::default() };
    let mut health = SystemHealth {
        connection: ConnectionHealth {
            ok: true,
            ping_ms: u64::try_from(ping.as_millis()).unwrap_or(u64::MAX),
            hosts: server.hosts().to_owned(),
            replica_set: deployment.replica_set.clone(),
            server_version: deployment.server_version.clone(),
        },
        database: database.unwrap_or_else(nothing),
        collections: Vec::new(),
        indexes: Vec::new(),
        missing_indexes: Vec::new(),
        replication: None,
        notes: Vec::new(),
    };
    for name in [&*options.tokens, &*options.wallets, RUNS_COLLECTION, JOURNAL_COLLECTION] {
        let what = format!("the sizes of {name}");
        let told = questions.ask(&what, collection(server, name)).await;
        health.collections.extend(told.clone().flatten());
        let is_absent = told == Some(None);
        let wanted = indexes_of(name, options);
        if !is_absent && !wanted.is_empty() {
            indexes(server, &mut questions, name, wanted, known, &mut health).await;
        }
    }
    if deployment.replica_set.is_some() {
        let told = questions.ask("the members' lag", replication(server)).await;
        health.replication = told.or_else(|| known?.replication.clone());
    }
    health.notes = questions.notes;
    health
}

/// The indexes that the service needs on a collection; none on ours.
fn indexes_of(name: &str, options: &MonitorOptions) -> &'static [&'static [&'static str]] {
    match name {
        name if name == options.tokens => TOKEN_INDEXES,
        name if name == options.wallets => WALLET_INDEXES,
        _ => &[],
    }
}

async fn indexes(
    server: &Server,
    questions: &mut Questions,
    name: &str,
    wanted: &[&[&str]],
    known: Option<&SystemHealth>,
    health: &mut SystemHealth,
) {
    let what = format!("the indexes of {name}");
    match questions.ask(&what, missing_indexes(server, name, wanted)).await {
        Some(missing) => health.missing_indexes.extend(missing),
        None => {
            let known = known.into_iter().flat_map(|known| &known.missing_indexes);
            let of_this = known.filter(|missing| missing.collection == name);
            health.missing_indexes.extend(of_this.cloned());
        }
    }
    let what = format!("the use of the indexes of {name}");
    health
        .indexes
        .extend(questions.ask(&what, index_use(server, name)).await.into_iter().flatten());
}

/// Asks one thing after another until the deadline, and notes what it was not told.
struct Questions {
    deadline: Instant,
    notes: Vec<String>,
}

impl Questions {
    async fn ask<T>(
        &mut self,
        what: &str,
        answer: impl Future<Output = Result<T, ServerError>>,
    ) -> Option<T> {
        let why = match timeout_at(self.deadline, answer).await {
            Ok(Ok(told)) => return Some(told),
            Ok(Err(ServerError::PermissionDenied { privilege, .. })) => {
                format!("grant the privilege {privilege} to see it")
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "there was no answer in time; it is asked again".to_owned(),
        };
        self.notes.push(format!("{what} can't be told; {why}"));
        None
    }
}

/// A figure; 0 when the server does not tell it.
fn whole(document: &Document, name: &str) -> u64 {
    unsigned(document, name).unwrap_or(0)
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

/// The figures of a collection; `None` when it is not there.
async fn collection(server: &Server, name: &str) -> Result<Option<CollectionHealth>, ServerError> {
    let pipeline = [doc! {"$collStats": {"storageStats": {}}}];
    let asked = async {
        server.collection(name).aggregate(pipeline).await?.try_collect::<Vec<Document>>().await
    };
    match asked.await {
        Ok(shards) => Ok(collection_of(name, &shards)),
        Err(error) if error_code(&error) == Some(26) => Ok(None), // no such collection
        Err(error) => {
            Err(failed("ask for a collection's size", "collStats (the role read)")(error))
        }
    }
}

/// Adds up what each shard told of a collection; of one that is not sharded there is one answer.
fn collection_of(name: &str, shards: &[Document]) -> Option<CollectionHealth> {
    let stats: Vec<&Document> =
        shards.iter().filter_map(|shard| shard.get_document("storageStats").ok()).collect();
    let sum = |field: &str| stats.iter().map(|stats| whole(stats, field)).sum();
    (!stats.is_empty()).then(|| CollectionHealth {
        name: name.to_owned(),
        documents: sum("count"),
        data_bytes: sum("size"),
        storage_bytes: sum("storageSize"),
        index_bytes: sum("totalIndexSize"),
    })
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

async fn index_use(server: &Server, name: &str) -> Result<Vec<IndexUse>, ServerError> {
    let asked = async {
        let found = server.collection(name).aggregate([doc! {"$indexStats": {}}]).await?;
        found.try_collect::<Vec<Document>>().await
    };
    let failed = failed("ask for the use of the indexes", "indexStats (role clusterMonitor)");
    Ok(index_use_of(name, &asked.await.map_err(failed)?))
}

/// By name; of a sharded collection every shard tells of each index, and their uses are added up.
fn index_use_of(collection: &str, told: &[Document]) -> Vec<IndexUse> {
    let mut used: BTreeMap<&str, IndexUse> = BTreeMap::new();
    for index in told {
        let name = index.get_str("name").unwrap_or_default();
        let accesses = index.get_document("accesses").cloned().unwrap_or_default();
        let since = accesses.get_datetime("since").ok().map(|at| Timestamp(at.timestamp_millis()));
        let sum = used.entry(name).or_insert_with(|| IndexUse {
            collection: collection.to_owned(),
            name: name.to_owned(),
            keys: keys(index).into_iter().map(str::to_owned).collect(),
            operations: 0,
            since,
        });
        sum.operations += whole(&accesses, "ops");
        sum.since = sum.since.min(since); // all of them count since the earliest
    }
    used.into_values().collect()
}

async fn replication(server: &Server) -> Result<Replication, ServerError> {
    let failed = failed("read the members' state", MEMBERS_PRIVILEGE);
    let members = read_members(server.client()).await.map_err(failed)?;
    let lag_seconds_max = slowest(&members).as_secs();
    let member = |member: MemberState| Member {
        host: member.host,
        state: member.state,
        is_healthy: member.is_healthy,
        lag_seconds: member.lag.map(|lag| lag.as_secs()),
    };
    let members = members.into_iter().map(member).collect();
    Ok(Replication { members, lag_seconds_max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::DateTime;

    #[test]
    fn what_each_shard_tells_of_a_collection_is_added_up() {
        let shard = |count: i32, size: i64| {
            let stats =
                doc! {"count": count, "size": size, "storageSize": 2, "totalIndexSize": 3.0};
            doc! {"shard": "s", "storageStats": stats}
        };
        let told = collection_of("tokens", &[shard(5, 50), shard(7, 70)]).unwrap();
        let sizes = (told.documents, told.data_bytes, told.storage_bytes, told.index_bytes);
        assert_eq!(sizes, (12, 120, 4, 6));
        assert_eq!(collection_of("tokens", &[]), None);
    }

    #[test]
    fn the_use_of_an_index_is_that_on_all_shards() {
        let shard = |name: &str, ops: i64, since: i64| {
            let accesses = doc! {"ops": ops, "since": DateTime::from_millis(since)};
            doc! {"name": name, "key": {name: 1}, "accesses": accesses}
        };
        let told = [shard("b", 1, 9), shard("a", 10, 7), shard("b", 2, 8)];
        let used = index_use_of("tokens", &told);
        let used: Vec<_> = used.iter().map(|it| (&*it.name, it.operations, it.since)).collect();
        assert_eq!(used, [("a", 10, Some(Timestamp(7))), ("b", 3, Some(Timestamp(8)))]);
    }
}
