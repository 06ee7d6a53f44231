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
