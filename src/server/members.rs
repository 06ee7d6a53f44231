//! The members of a replica set, and how far each is behind.

use super::deployment::replica_set_config;
use super::unsigned;
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Result;
use std::time::Duration;

const PRIMARY: u64 = 1;
const SECONDARY: u64 = 2;

/// What a user needs to see the members.
pub(crate) const MEMBERS_PRIVILEGE: &str = "replSetGetStatus (role clusterMonitor)";

/// A member, as the one that was asked sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberState {
    /// Host and port.
    pub(crate) host: String,
    /// `PRIMARY`, `SECONDARY` and so on.
    pub(crate) state: String,
    /// Whether it is up.
    pub(crate) is_healthy: bool,
    /// How far it is behind the primary. Only of a secondary that should keep up: one that is delayed by its
    /// configuration is behind for ever.
    pub(crate) lag: Option<Duration>,
}

/// Asks for the members.
pub(crate) async fn read_members(client: &Client) -> Result<Vec<MemberState>> {
    let status = client.database("admin").run_command(doc! {"replSetGetStatus": 1}).await?;
    let config = replica_set_config(client).await?;
    let members = config.as_ref().and_then(|config| config.get_array("members").ok());
    let members = members.into_iter().flatten().filter_map(Bson::as_document);
    // Named `slaveDelay` before 5.0.
    let is_delayed = |member: &&Document| {
        ["secondaryDelaySecs", "slaveDelay"]
            .iter()
            .any(|name| unsigned(member, name).is_some_and(|seconds| seconds > 0))
    };
    let delayed: Vec<u64> =
        members.filter(is_delayed).filter_map(|member| unsigned(member, "_id")).collect();
    Ok(members_of(&status, &delayed))
}

/// How far the slowest of `members` is behind.
pub(crate) fn slowest(members: &[MemberState]) -> Duration {
    members.iter().filter_map(|member| member.lag).max().unwrap_or_default()
}

fn members_of(status: &Document, delayed: &[u64]) -> Vec<MemberState> {
    let members = status.get_array("members").map_or(&[][..], Vec::as_slice);
    let members = members.iter().filter_map(Bson::as_document);
    let time =
        |member: &Document| member.get_datetime("optimeDate").ok().map(|at| at.timestamp_millis());
    let is_in = |member: &Document, state| unsigned(member, "state") == Some(state);
    // Of two that hold themselves to be primary, the newer one is.
    let primary = members.clone().filter(|member| is_in(member, PRIMARY)).filter_map(time).max();
    let lag = |member: &Document| {
        let should_keep_up = unsigned(member, "_id").is_none_or(|id| !delayed.contains(&id));
        let behind = primary?.saturating_sub(time(member)?);
        let behind = Duration::from_millis(u64::try_from(behind).unwrap_or(0));
        (is_in(member, SECONDARY) && should_keep_up).then_some(behind)
    };
    members
        .map(|member| MemberState {
            host: member.get_str("name").unwrap_or_default().to_owned(),
            state: member.get_str("stateStr").unwrap_or("unknown").to_owned(),
            is_healthy: unsigned(member, "health") == Some(1),
            lag: lag(member),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::DateTime;

    fn member(id: i32, state: i32, ms: i64) -> Document {
        doc! {"_id": id, "name": format!("h{id}"), "state": state, "health": 1.0,
        "optimeDate": DateTime::from_millis(ms)}
    }

    fn lags(members: &[Document], delayed: &[u64]) -> (Vec<Option<u64>>, u64) {
        let seen = members_of(&doc! {"members": members.to_vec()}, delayed);
        let ms = |lag: Duration| u64::try_from(lag.as_millis()).unwrap();
        (seen.iter().map(|member| member.lag.map(ms)).collect(), ms(slowest(&seen)))
    }

    #[test]
    fn the_lag_is_that_of_the_slowest_secondary_that_should_keep_up() {
        let members = [
            member(0, 1, 90_000),
            member(1, 2, 88_500),
            member(2, 2, 10_000),
            member(3, 7, 0),
            member(4, 8, 0),
        ];
        assert_eq!(
            lags(&members, &[2]),
            (vec![None, Some(1_500), None, None, None], 1_500),
            "neither the delayed one, nor the arbiter, nor the one that is down"
        );
        assert_eq!(lags(&members, &[]).1, 80_000);
    }

    #[test]
    fn without_a_primary_nobody_is_behind_and_of_two_the_newer_counts() {
        assert_eq!(lags(&[member(0, 2, 9_000), member(1, 2, 1_000)], &[]), (vec![None, None], 0));
        let two = [member(0, 1, 5_000), member(1, 1, 9_000), member(2, 2, 9_500)];
        assert_eq!(lags(&two, &[]), (vec![None, None, Some(0)], 0), "ahead is not behind");
        assert_eq!(
            lags(&[member(0, 1, 5_000), member(1, 1, 9_000), member(2, 2, 8_000)], &[]).1,
            1_000
        );
    }
}
