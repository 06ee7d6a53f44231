//! A connection such as one server of a cluster makes to another.

use crate::support::wire::{body, message, read_message};
use mongodb::bson::{Bson, Document, deserialize_from_slice, doc, serialize_to_vec};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What MongoDB 6.0 speaks at most.
pub(super) const WIRE_VERSION_MAX: i32 = 17;

/// A connection that introduced itself as a server's. To such a one a shard answers as a part of the
/// cluster; to any other it answers from what it holds itself, orphans included.
pub(super) struct Connection {
    stream: TcpStream,
    messages: i32,
}

impl Connection {
    /// Connects and introduces itself.
    pub(super) async fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut connection = Connection { stream, messages: 0 };
        let client = doc! {"minWireVersion": 0, "maxWireVersion": WIRE_VERSION_MAX};
        let hello = doc! {"hello": 1, "internalClient": client, "$db": "admin"};
        connection.done(&hello).await;
        connection
    }

    /// The reply to a command as its bytes, which text in it need not let be decoded.
    pub(super) async fn forward(&mut self, command: &Document) -> Vec<u8> {
        self.messages += 1;
        let request = message(self.messages, 0, &serialize_to_vec(command).unwrap());
        self.stream.write_all(&request).await.unwrap();
        let reply = read_message(&mut self.stream).await.expect("the server left");
        body(&reply).to_vec()
    }

    /// The reply to a command, whatever it is.
    pub(super) async fn run(&mut self, command: &Document) -> Document {
        deserialize_from_slice(&self.forward(command).await).unwrap()
    }

    /// The reply to a command that must work.
    pub(super) async fn done(&mut self, command: &Document) -> Document {
        let reply = self.run(command).await;
        assert_eq!(reply.get("ok"), Some(&Bson::Double(1.0)), "{command}: {reply}");
        reply
    }
}
