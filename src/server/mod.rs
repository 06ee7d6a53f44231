//! The connection to MongoDB: one handle, what kind of deployment it leads to, and errors in our words.
//!
//! Owns how a connection string becomes a client, and how the driver's and the server's errors are told
//! to people. It reads and writes no documents; export and the live target do. No credential and no text
//! of a third party's error leaves this layer.

mod connect;
mod deployment;
mod error;

pub(crate) use connect::durable;
pub use connect::{APP_NAME, DB_DEFAULT, Server, ServerOptions};
pub use deployment::{Deployment, DeploymentKind};
pub use error::{ServerError, error_code, failed, has_label};

use crate::document::{Value, ValueKind};
use mongodb::bson::Bson;

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
