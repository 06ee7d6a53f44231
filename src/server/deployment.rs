//! What a deployment is, in its own words.

use super::error::{ServerError, failed, is_permission};
use mongodb::Client;
use mongodb::bson::{Document, doc, oid::ObjectId};
use mongodb::error::Result as DriverResult;

/// The kind of deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentKind {
    /// One server without a replica set: no transactions, no snapshot reads.
    Standalone,
    /// A replica set.
    ReplicaSet,
    /// A sharded cluster, through its router.
    Mongos,
}

/// What a deployment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The kind.
    pub kind: DeploymentKind,
    /// Name of the replica set.
    pub replica_set: Option<String>,
    /// The id that no other deployment has (the replica set's, or the cluster's), as hex digits; `None`
    /// when the user may not ask for it.
    pub replica_set_id: Option<String>,
    /// The server's version.
    pub server_version: String,
}

pub(super) async fn read_deployment(
    client: &Client,
    hosts: &str,
) -> Result<Deployment, ServerError> {
    let admin = client.database("admin");
    let hello = admin.run_command(doc! {"hello": 1}).await;
    let hello = hello.map_err(|e| match failed("greet the server", "none")(e) {
        ServerError::NotReady { .. } => ServerError::NotReady { hosts: hosts.to_owned() },
        other => other,
    })?;
    let replica_set = hello.get_str("setName").ok().map(str::to_owned);
    let kind = match (&replica_set, hello.get_str("msg")) {
        (Some(_), _) => DeploymentKind::ReplicaSet,
        (None, Ok("isdbgrid")) => DeploymentKind::Mongos,
        (None, _) => DeploymentKind::Standalone,
    };
    // With authentication on, `hello` is answered to anyone and this is not.
    let build = admin.run_command(doc! {"buildInfo": 1}).await;
    let build = build.map_err(failed("ask the server for its version", "buildInfo"))?;
    let replica_set_id = match kind {
        DeploymentKind::Standalone => None,
        DeploymentKind::ReplicaSet => replica_set_id(client).await,
        DeploymentKind::Mongos => cluster_id(client).await,
    };
    let server_version = build.get_str("version").unwrap_or("unknown").to_owned();
    Ok(Deployment { kind, replica_set, replica_set_id, server_version })
}

fn id_in(settings: &Document, name: &str) -> Option<String> {
    settings.get_object_id(name).ok().map(ObjectId::to_hex)
}

/// From the configuration command, or from the collection that holds the configuration: a user may
/// have the privilege for one and not for the other. `None` when they have neither.
pub(super) async fn replica_set_config(client: &Client) -> DriverResult<Option<Document>> {
    let reply = client.database("admin").run_command(doc! {"replSetGetConfig": 1}).await;
    match reply {
        Ok(reply) => return Ok(reply.get_document("config").ok().cloned()),
        Err(error) if is_permission(&error) => {}
        Err(error) => return Err(error),
    }
    let stored = client.database("local").collection::<Document>("system.replset");
    // The collection is local to the member: no majority can be asked for.
    let found = stored.find_one(doc! {}).read_concern(mongodb::options::ReadConcern::local()).await;
    match found {
        Err(error) if is_permission(&error) => Ok(None),
        found => found,
    }
}

async fn replica_set_id(client: &Client) -> Option<String> {
    let config = replica_set_config(client).await.ok()??;
    id_in(config.get_document("settings").ok()?, "replicaSetId")
}

async fn cluster_id(client: &Client) -> Option<String> {
    let version = client.database("config").collection::<Document>("version");
    id_in(&version.find_one(doc! {}).await.ok()??, "clusterId")
}
