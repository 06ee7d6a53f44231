//! The connection to MongoDB: one handle, what kind of deployment it leads to, and errors in our words.
//!
//! Owns how a connection string becomes a client, and how the driver's and the server's errors are told
//! to people. It reads and writes no documents; export and the live target do. No credential and no text
//! of a third party's error leaves this layer.

mod connect;
mod deployment;
mod error;
mod members;

pub(crate) use connect::durable;
pub use connect::{APP_NAME, DB_DEFAULT, Server, ServerOptions};
pub use deployment::{Deployment, DeploymentKind};
pub(crate) use error::NOT_READY;
pub use error::{ServerError, error_code, failed};
pub(crate) use members::{MEMBERS_PRIVILEGE, MemberState, read_members, slowest};

use crate::document::{Value, ValueKind};
use mongodb::bson::{Bson, Document};

/// A whole number that may have come in any of the server's number types; a double only where it is exact.
pub(crate) fn integer(value: &Bson) -> Option<i64> {
    let (kind, bytes) = match value {
        Bson::Int64(number) => (ValueKind::Int64, &number.to_le_bytes()[..]),
        Bson::Int32(number) => (ValueKind::Int32, &number.to_le_bytes()[..]),
        Bson::Double(number) => (ValueKind::Double, &number.to_le_bytes()[..]),
        _ => return None,
    };
    Value { kind, bytes }.as_amount()
}

/// The field `name` of `document` as a whole number that is not negative. Servers, shells and tools that restore a
/// collection from text each choose a type of their own.
pub(crate) fn unsigned(document: &Document, name: &str) -> Option<u64> {
    u64::try_from(integer(document.get(name)?)?).ok()
}
