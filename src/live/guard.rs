//! Whether a plan belongs to the deployment and database it is about to be applied to.

use super::error::RunError;
use super::options::RunOptions;
use crate::plan::Plan;
use crate::server::{DeploymentKind, Server};
use crate::snapshot::format::Presence;

/// What a person types to name `server`'s database as the target.
pub(super) fn target_of(server: &Server) -> String {
    let set = server.deployment().replica_set.as_deref().unwrap_or("mongos");
    format!("{set}/{}", server.db())
}

/// Refuses servers without transactions.
pub(super) fn guard_deployment(server: &Server) -> Result<(), RunError> {
    match server.deployment().kind {
        DeploymentKind::Standalone => Err(RunError::Standalone),
        DeploymentKind::ReplicaSet | DeploymentKind::Mongos => Ok(()),
    }
}

/// Refuses plans of another deployment or database, and plans that can't be compared.
pub(super) fn guard(plan: &Plan, server: &Server, options: &RunOptions) -> Result<(), RunError> {
    guard_deployment(server)?;
    let snapshot = &plan.content().snapshot;
    if snapshot.secrets != Presence::Full {
        return Err(RunError::WithoutSecrets);
    }
    let target = target_of(server);
    let seen = server.deployment().replica_set_id.as_deref();
    if let Some(typed) = &options.target_override {
        let by_id = seen.map(|id| format!("{id}/{}", server.db()));
        let is_this = *typed == target || Some(typed) == by_id.as_ref();
        return if is_this { Ok(()) } else { Err(RunError::OtherTarget { target }) };
    }
    if let Some(planned) = snapshot.db.as_ref().filter(|planned| *planned != server.db()) {
        let (planned, seen) = (planned.clone(), server.db().to_owned());
        return Err(RunError::OtherDatabase { planned, seen });
    }
    let planned = snapshot.source.as_ref().and_then(|source| source.replica_set_id.as_deref());
    match (planned, seen) {
        (None, _) => Err(RunError::ForeignPlan { db: server.db().to_owned(), target }),
        (Some(planned), Some(seen)) if planned == seen => Ok(()),
        (Some(planned), seen) => {
            let hidden = "one whose id this user may not see (role clusterMonitor shows it)";
            let seen = seen.unwrap_or(hidden).to_owned();
            Err(RunError::OtherDeployment { planned: planned.to_owned(), seen, target })
        }
    }
}
