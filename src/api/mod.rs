//! The admin API: what the monitor knows, over HTTP.
//!
//! Owns the routes, who may ask, and the forms of the answers (`docs/api.md` is the contract,
//! `openapi.json` says it to machines). Handlers read the [`Board`](crate::monitor::Board) and never the
//! database, but for `POST /admin/migration/validate`, which measures the prerequisites. Nothing here
//! can change data.

mod answer;
mod answers;
mod client;
mod connections;
mod estimate;
mod guard;
mod limits;
mod metrics;
mod options;
mod outer;
mod pages;
mod query;
mod refusal;
mod router;
mod serve;
mod state;
mod tls;
mod token;
mod validation;

pub use options::ApiOptions;
pub use serve::{ServeError, serve};
pub use tls::{Tls, TlsError};
pub use token::{ApiToken, TokenError};
