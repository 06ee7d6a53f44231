//! From a connection string to a handle.

use super::deployment::{Deployment, read_deployment};
use super::error::{ServerError, failed};
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{
    ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};
use std::time::Duration;

/// The name under which the server's logs and `currentOp` show this program.
pub const APP_NAME: &str = "remelt";
/// The database when neither the options nor the connection string name one.
pub const DB_DEFAULT: &str = "nctool";

const SELECTION_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to connect.
#[derive(Clone)]
pub struct ServerOptions {
    /// Connection string; may hold a password, so it is never shown.
    pub uri: String,
    /// The database; else the connection string's, else [`DB_DEFAULT`].
    pub db: Option<String>,
}

impl std::fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOptions").field("db", &self.db).finish_non_exhaustive()
    }
}

/// A deployment that answered, and the database to work on.
#[derive(Debug, Clone)]
pub struct Server {
    client: Client,
    db: String,
    hosts: String,
    deployment: Deployment,
}

impl Server {
    /// Connects, and asks the deployment what it is.
    ///
    /// # Errors
    /// [`ServerError`] when the connection string is malformed or nobody answers.
    pub async fn connect(options: &ServerOptions) -> Result<Server, ServerError> {
        let mut client = ClientOptions::parse(&options.uri).await.map_err(|e| unparsed(&e))?;
        client.app_name.get_or_insert_with(|| APP_NAME.to_owned());
        client.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
        client.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        // Whatever the connection string says, what this program writes is durable and what it
        // reads comes from the primary and can't be rolled back.
        client.write_concern = Some(durable());
        client.read_concern = Some(ReadConcern::majority());
        client.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let hosts: Vec<String> = client.hosts.iter().map(ToString::to_string).collect();
        let hosts = hosts.join(",");
        let db = options.db.clone().or_else(|| client.default_database.clone());
        let db = db.unwrap_or_else(|| DB_DEFAULT.to_owned());
        if !is_database_name(&db) {
            return Err(ServerError::BadDatabaseName);
        }
        let client = Client::with_options(client).map_err(|e| unparsed(&e))?;
        let deployment = read_deployment(&client, &hosts).await?;
        Ok(Server { client, db, hosts, deployment })
    }

    /// The driver's client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Name of the database.
    #[must_use]
    pub fn db(&self) -> &str {
        &self.db
    }

    /// Hosts of the connection string, without credentials.
    #[must_use]
    pub fn hosts(&self) -> &str {
        &self.hosts
    }

    /// What the deployment said of itself when it was connected.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> Database {
        self.client.database(&self.db)
    }

    /// A collection of the database, for documents of our own that need no exact bytes.
    #[must_use]
    pub fn collection(&self, name: &str) -> Collection<Document> {
        self.database().collection(name)
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// [`ServerError`] when it does not answer.
    pub async fn ping(&self) -> Result<(), ServerError> {
        let admin = self.client.database("admin");
        let ping = admin.run_command(doc! {"ping": 1});
        ping.await.map(drop).map_err(failed("ask for a sign of life", "none"))
    }
}

/// A string that is in order may name a host whose members can't be looked up, or files that can't be used.
fn unparsed(error: &Error) -> ServerError {
    match error.kind.as_ref() {
        ErrorKind::DnsResolve { .. } => ServerError::NotReady {
            hosts: "the given address, whose name can't be looked up".to_owned(),
        },
        ErrorKind::InvalidTlsConfig { .. } => ServerError::BadTls,
        _ => ServerError::BadUri,
    }
}

/// Majority, and in the members' journals.
pub(crate) fn durable() -> WriteConcern {
    WriteConcern::builder().w(mongodb::options::Acknowledgment::Majority).journal(true).build()
}

/// The server's own rule for names, so that a name can stand in messages and paths.
fn is_database_name(name: &str) -> bool {
    let allowed = |c: char| !matches!(c, '/' | '\\' | '.' | ' ' | '"' | '$') && !c.is_control();
    !name.is_empty() && name.len() < 64 && name.chars().all(allowed)
}
