//! A sharded cluster for tests, as far as it can be had without `mongos`, of which no package registry has
//! a binary.
//!
//! Real are the three servers: a config server and two shards, each a `mongod` and a replica set of one,
//! which know each other as parts of one cluster and keep the collections' chunks as `mongos` would have
//! them made. Real is what happens to an aggregation: a shard that is asked for the `$unionWith` of a
//! sharded collection splits the pipeline into a part for every shard and a part that merges, sends
//! the former to all shards at one cluster time and with the version of the chunks, and each answers
//! from the documents of its own chunks alone. `mongos` splits and sends with the same code
//! (`sharded_agg_helpers` of the server).
//!
//! Not real is the router itself ([`router`]). What `mongos` has of its own is not tested here: how it
//! keeps connections, picks the cluster time and retries, and that it may hand the part that merges to
//! another shard, which here always runs where the pipeline was split.
//!
//! Every document lies on both shards, so that on each about half are orphans, as after moved chunks; and on
//! each lie some documents more that belong to the other and are not there. Whoever reads one shard
//! alone, or both without asking what they own, counts wrongly.

mod connection;
mod router;

use super::exports::{fill, stored};
use super::mongod::{Options, ReplicaSet, Role};
use super::raw_collection::field;
use connection::Connection;
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// The first has the databases and what is not sharded.
const SHARDS: [&str; 2] = ["a", "b"];
const COLLECTIONS: [&str; 2] = ["cashu_tokens", "cashu_wallets"];
/// How many documents that belong to the other shard are tried on each; about half do.
const STRAYS: i32 = 24;
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);
/// SnapshotUnavailable: the collection is younger than the snapshot.
const TOO_YOUNG: i32 = 246;

struct Cluster {
    config: ReplicaSet,
    shards: [ReplicaSet; 2],
    router: u16,
}

/// A database of its own for one test, with both collections sharded by the hash of `_id`, on the cluster
/// that all tests share.
pub(crate) struct ShardedDatabase {
    cluster: &'static Cluster,
    /// The database's name.
    pub(crate) name: String,
    /// Connection string through the router, with the database as its default.
    pub(crate) uri: String,
    /// The database as each shard holds it, orphans included.
    pub(crate) shards: [Database; 2],
    /// The connection strings of that.
    pub(crate) shard_uris: [String; 2],
}

/// A fresh database without documents.
pub(crate) async fn sharded() -> ShardedDatabase {
    sharded_with(&doc! {"locale": "simple"}).await
}

/// The same, with a collation by which the collections compare text unless told otherwise.
pub(crate) async fn sharded_with(collation: &Document) -> ShardedDatabase {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let cluster = CLUSTER.get_or_init(start).await;
    let name = format!("sharded_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let [first, second] = &cluster.shards;
    let database = ShardedDatabase {
        cluster,
        uri: format!("mongodb://127.0.0.1:{}/{name}", cluster.router),
        shards: [first.client().await.database(&name), second.client().await.database(&name)],
        shard_uris: [first.database_uri(&name), second.database_uri(&name)],
        name,
    };
    database.create(collation).await;
    database.stray().await;
    database
}

async fn start() -> Cluster {
    let set = |set_name, role| async move {
        ReplicaSet::start_with(&Options { set_name, role, ..Options::default() }).await
    };
    let (config, first, second) = tokio::join!(
        set("config", Role::ConfigServer),
        set(SHARDS[0], Role::Shard),
        set(SHARDS[1], Role::Shard),
    );
    let shards = [first, second];
    let admin = config.client().await.database("admin");
    for (name, shard) in SHARDS.iter().zip(&shards) {
        let host = format!("{name}/{}", shard.address(0));
        let add = doc! {
            "_configsvrAddShard": host, "name": *name, "writeConcern": durable(),
        };
        admin.run_command(add).await.unwrap();
    }
    let router = router::listen(router::Servers {
        config: config.address(0),
        shards: [shards[0].address(0), shards[1].address(0)],
    });
    Cluster { config, shards, router }
}

fn durable() -> Document {
    doc! {"w": "majority", "wtimeout": 60_000}
}

impl ShardedDatabase {
    /// Fills both collections anew: every document lies on both shards. What then counts: the bytes of all
    /// tokens and of all wallets, but for those that the server refuses.
    pub(crate) async fn refill(&self, tokens: &[Vec<u8>], wallets: &[Vec<u8>]) -> [Vec<u8>; 2] {
        let [first, second] = &self.shards;
        let mut counted = [const { Vec::new() }; 2];
        let collections = COLLECTIONS.iter().zip([tokens, wallets]);
        for ((name, documents), counted) in collections.zip(&mut counted) {
            let others = doc! {"stray": {"$exists": false}};
            for shard in &self.shards {
                shard.collection::<Document>(name).delete_many(others.clone()).await.unwrap();
            }
            fill(first, name, documents).await;
            let mut documents = stored(first, name).await;
            documents.retain(|document| field(document, "stray").is_none());
            fill(second, name, &documents).await;
            *counted = documents.concat();
        }
        self.let_first_shard_know().await;
        counted
    }

    /// The id by which the cluster is told from others.
    pub(crate) async fn cluster_id(&self) -> String {
        let version = self.cluster.config.client().await.database("config");
        let version = version.collection::<Document>("version").find_one(doc! {}).await.unwrap();
        version.unwrap().get_object_id("clusterId").unwrap().to_hex()
    }

    async fn create(&self, collation: &Document) {
        let config = self.cluster.config.client().await;
        let create = doc! {
            "_configsvrCreateDatabase": &self.name, "primaryShardId": SHARDS[0],
            "writeConcern": durable(),
        };
        let created = config.database("admin").run_command(create).await.unwrap();
        let version = created.get_document("databaseVersion").unwrap();
        self.shards[0].create_collection(router::EMPTY).await.unwrap();
        for name in COLLECTIONS {
            let create = doc! {"create": name, "collation": collation};
            self.shards[0].run_command(create).await.unwrap();
            let shard = doc! {
                "_shardsvrCreateCollection": name, "shardKey": {"_id": "hashed"}, "unique": false,
                "collation": {"locale": "simple"}, "databaseVersion": version,
                "writeConcern": durable(),
            };
            self.shards[0].run_command(shard).await.unwrap();
            self.read(name).await;
        }
    }

    /// Leaves on each shard documents that belong to the other one.
    async fn stray(&self) {
        for (shard, of) in self.shards.iter().zip(SHARDS) {
            let stray = |number: i32| {
                doc! {"_id": format!("stray-{of}-{number}"), "stray": true, "npub": "stray"}
            };
            for name in COLLECTIONS {
                let strays = shard.collection::<Document>(name);
                strays.insert_many((0..STRAYS).map(stray)).await.unwrap();
                self.let_first_shard_know().await;
                // What is seen through the router is where it belongs.
                let own: Vec<Bson> = self.read(name).await;
                strays.delete_many(doc! {"_id": {"$in": own}}).await.unwrap();
                let left = strays.count_documents(doc! {}).await.unwrap();
                assert!((1..STRAYS.unsigned_abs().into()).contains(&left), "{left} strays on {of}");
            }
        }
        self.let_first_shard_know().await;
        for name in COLLECTIONS {
            assert_eq!(self.read(name).await, []);
        }
    }

    /// The `_id`s of what the cluster holds of a collection, once it gives a snapshot.
    async fn read(&self, collection: &str) -> Vec<Bson> {
        let mut first = self.connect(0).await;
        let aggregate = doc! {
            "aggregate": collection, "pipeline": [], "cursor": {"batchSize": 10_000},
            "readConcern": {"level": "snapshot"}, "$db": &self.name,
        };
        let aggregate = router::to_all_shards(aggregate).unwrap();
        let deadline = Instant::now() + SNAPSHOT_TIMEOUT;
        loop {
            let reply = first.run(&aggregate).await;
            if let Ok(cursor) = reply.get_document("cursor") {
                let batch = cursor.get_array("firstBatch").unwrap().iter();
                return batch.map(|it| it.as_document().unwrap()["_id"].clone()).collect();
            }
            assert_eq!(reply.get("code"), Some(&Bson::Int32(TOO_YOUNG)), "{reply}");
            assert!(Instant::now() < deadline, "no snapshot within {SNAPSHOT_TIMEOUT:?}: {reply}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Tells the first shard, which picks the time of a snapshot, the time up to which the second one was
    /// written to. Clients of one router hear of it from each other; these wrote to the shards themselves.
    async fn let_first_shard_know(&self) {
        let note = doc! {
            "appendOplogNote": 1, "data": {"remelt": "test"}, "writeConcern": durable(),
            "$db": "admin",
        };
        let reply = self.connect(1).await.done(&note).await;
        let mut note = note;
        note.insert("$clusterTime", reply.get_document("$clusterTime").unwrap());
        self.connect(0).await.done(&note).await;
    }

    async fn connect(&self, shard: usize) -> Connection {
        Connection::open(&self.cluster.shards[shard].address(0)).await
    }
}
