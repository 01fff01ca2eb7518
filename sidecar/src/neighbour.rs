//! What observations say about the containers that are probed.

use crate::observed::{ContainerState, Observed};
use std::collections::BTreeMap;
use std::time::Duration;

/// All containers of an observation, by name. Empty before the first one.
pub type Neighbours = BTreeMap<String, Neighbour>;

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Changes with each start: runtime's id and restart count.
    pub incarnation: (String, u64),
    /// Whether and since when it runs.
    pub life: Life,
    /// Its startupProbe, where it has one, has passed.
    pub is_started: bool,
}

/// Whether a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Runs since this time of our monotonic clock, where known.
    Running(Option<Duration>),
    /// Does not run, but will or may.
    Stopped,
    /// Ended and will not be started again.
    Ended,
}

/// Reads an observation made at `now` (monotonic) and `wall` (seconds since 1970). A start is turned into our own clock here,
/// once, so that later steps of the wall clock change nothing.
pub fn neighbours(observed: &Observed, now: Duration, wall: u64) -> Neighbours {
    let neighbour = |(name, seen): (&String, &crate::observed::ContainerSeen)| {
        let life = match seen.state {
            ContainerState::Running(since) => {
                Life::Running(since.map(|since| now.saturating_sub(Duration::from_secs(wall.saturating_sub(since)))))
            }
            ContainerState::Waiting => Life::Stopped,
            ContainerState::Terminated(code) if observed.ends(name, code) => Life::Ended,
            ContainerState::Terminated(_) => Life::Stopped,
        };
        let incarnation = (seen.id.clone(), seen.restarts);
        (name.clone(), Neighbour { incarnation, life, is_started: seen.is_started })
    };
    observed.statuses.iter().map(neighbour).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_told_by_our_own_clock_and_an_end_by_the_restart_policy() {
        let pod = |policy: &str, state: &str| {
            let (policy, own) = policy.split_once(' ').unwrap_or((policy, ""));
            let json = format!(
                r#"{{"metadata":{{"uid":"u"}},"spec":{{"restartPolicy":"{policy}","containers":[{{{own}"name":"c"}}]}},
                "status":{{"containerStatuses":[{{"name":"c","containerID":"x://1","restartCount":3,"state":{state}}}]}}}}"#
            );
            let observed = Observed::parse(json.as_bytes()).expect("pod");
            neighbours(&observed, Duration::from_secs(100), 1_767_323_055)["c"].clone()
        };
        let running = r#"{"running":{"startedAt":"2026-01-02T03:04:05Z"}}"#;
        let future = r#"{"running":{"startedAt":"2027-01-02T03:04:05Z"}}"#;
        for (policy, state, life) in [
            ("Always", running, Life::Running(Some(Duration::from_secs(90)))),
            ("Always", future, Life::Running(Some(Duration::from_secs(100)))),
            ("Always", r#"{"waiting":{}}"#, Life::Stopped),
            ("Always", r#"{"terminated":{"exitCode":0}}"#, Life::Stopped),
            ("OnFailure", r#"{"terminated":{"exitCode":0}}"#, Life::Ended),
            ("OnFailure", r#"{"terminated":{"exitCode":1}}"#, Life::Stopped),
            ("Never", r#"{"terminated":{"exitCode":1}}"#, Life::Ended),
            (r#"Never "restartPolicy":"Always","#, r#"{"terminated":{"exitCode":0}}"#, Life::Stopped),
            (r#"Always "restartPolicy":"Never","#, r#"{"terminated":{"exitCode":1}}"#, Life::Ended),
            (
                r#"Never "restartPolicy":"Never","restartPolicyRules":[{}],"#,
                r#"{"terminated":{"exitCode":1}}"#,
                Life::Stopped,
            ),
            (
                r#"Never "restartPolicy":"Never","restartPolicyRules":[{}],"#,
                r#"{"terminated":{"exitCode":0}}"#,
                Life::Ended,
            ),
        ] {
            let neighbour = pod(policy, state);
            assert_eq!(neighbour.life, life, "{policy} {state}");
            assert_eq!(neighbour.incarnation, ("x://1".to_owned(), 3));
        }
    }
}
