//! The stand-in for `mongos`: what a driver sees, and how a command reaches the shards.
//!
//! It greets as `mongos` does and hands each command on, over a connection of its own for each of the
//! client's. An aggregation goes to the first shard as the `$unionWith` of an empty collection, which the
//! shard itself then takes apart and sends to all shards (see [`super`]). It knows the commands that only
//! read; it refuses every other, so that nothing can be written through it.

use super::connection::{Connection, WIRE_VERSION_MAX};
use crate::support::wire::{body, message, number_of, read_message};
use mongodb::bson::{DateTime, Document, deserialize_from_slice, doc, serialize_to_vec};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// An empty collection that lies on the first shard alone.
pub(super) const EMPTY: &str = "router";

/// Where the servers of the cluster listen.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    pub(super) config: String,
    /// The first has the databases and what is not sharded.
    pub(super) shards: [String; 2],
}

/// Listens until the process ends; the port. It has a thread with a runtime of its own, since each
/// test's runtime ends with the test.
pub(super) fn listen(servers: Servers) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            let servers = Arc::new(servers);
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&servers)));
            }
        });
    });
    port
}

/// Answers one connection. It does not see that the client left before the reply is there: what runs in
/// the cluster then ends only when it is told to.
async fn serve(mut client: TcpStream, servers: Arc<Servers>) {
    let mut upstream = Upstream { servers, connections: BTreeMap::new() };
    let mut replies = 0;
    while let Some(request) = read_message(&mut client).await {
        let command = deserialize_from_slice(body(&request)).unwrap();
        let reply = upstream.answer(command).await;
        replies += 1;
        if client.write_all(&message(replies, number_of(&request), &reply)).await.is_err() {
            return;
        }
    }
}

/// One client's connections to the servers, each made when it is first wanted.
struct Upstream {
    servers: Arc<Servers>,
    connections: BTreeMap<String, Connection>,
}

impl Upstream {
    async fn answer(&mut self, command: Document) -> Vec<u8> {
        let [first, second] = self.servers.shards.clone();
        let name = command.keys().next().map_or("", String::as_str);
        match (name, command.get_str("$db")) {
            ("hello" | "isMaster" | "ismaster", _) => serialize_to_vec(&hello()).unwrap(),
            ("find", Ok("config")) => self.ask(self.servers.config.clone(), &command).await,
            ("aggregate", _) => match to_all_shards(command) {
                Some(command) => self.ask(first, &command).await,
                None => refusal("an aggregation of no collection"),
            },
            ("buildInfo" | "getMore" | "killCursors" | "listCollections" | "ping", _) => {
                self.ask(first, &command).await
            }
            ("endSessions" | "killSessions", _) => {
                self.ask(second, &command).await;
                self.ask(first, &command).await
            }
            _ => refusal(name),
        }
    }

    async fn ask(&mut self, server: String, command: &Document) -> Vec<u8> {
        if !self.connections.contains_key(&server) {
            self.connections.insert(server.clone(), Connection::open(&server).await);
        }
        self.connections.get_mut(&server).unwrap().forward(command).await
    }
}

/// What a driver takes for the greeting of a sharded cluster.
fn hello() -> Document {
    doc! {
        "isWritablePrimary": true, "ismaster": true, "helloOk": true, "msg": "isdbgrid",
        "maxBsonObjectSize": 16 * 1024 * 1024, "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000, "localTime": DateTime::now(),
        "logicalSessionTimeoutMinutes": 30, "minWireVersion": 0,
        "maxWireVersion": WIRE_VERSION_MAX, "readOnly": false, "ok": 1.0,
    }
}

/// An aggregation of a collection in the form that a shard sends to all shards itself; `None` when it is
/// of no collection. A server must say its concerns, which a driver need not.
pub(super) fn to_all_shards(mut command: Document) -> Option<Document> {
    let collection = command.get_str("aggregate").ok()?;
    let pipeline = command.get_array("pipeline").ok()?;
    let union = doc! {"$unionWith": {"coll": collection, "pipeline": pipeline}};
    command.insert("aggregate", EMPTY);
    command.insert("pipeline", vec![union]);
    for concern in ["readConcern", "writeConcern"] {
        command.entry(concern.to_owned()).or_insert_with(|| doc! {}.into());
    }
    Some(command)
}

fn refusal(what: &str) -> Vec<u8> {
    let message = format!("the stand-in for mongos does not know: {what}");
    eprintln!("{message}");
    let reply = doc! {"ok": 0.0, "code": 59, "codeName": "CommandNotFound", "errmsg": message};
    serialize_to_vec(&reply).unwrap()
}
