//! Standing by where a node agent probes and marks. In a Pod that may end, a plain container that stood by for ever would keep it from
//! ending, and a Job from completing (fault F13). That its neighbours have ended it learns from the Pod, by a look. So that this costs
//! nothing while they run, it knocks every now and then where the plan's network probes go: as long as one of them succeeds somebody
//! runs. Commands are not run: they may do things, and kruise-daemon runs them already.

use super::VERSION;
use crate::api::{Api, ApiError, Call};
use crate::backoff::{Backoff, Trouble};
use crate::clock::Clock;
use crate::config::{Config, PodName};
use crate::exec::AgentsHandle;
use crate::handler::{Handler, Target};
use crate::look::{Awaited, LookSettings, Looks};
use crate::outcome::Outcome;
use crate::patch::Patch;
use crate::random::Random;
use crate::repeat::Repeat;
use crate::reporter::End;
use crate::verdict::{Verdict, judge};
use probelet_protocol::name::SIDECAR_CONTAINER;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// Between two knocks.
const PERIOD: Duration = Duration::from_secs(2);
/// For the answer to one.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Waits for the neighbours' end.
pub(super) struct StandBy {
    pod: PodName,
    handlers: Vec<Handler>,
    api: Api,
    clock: Clock,
    looks: Looks,
    backoff: Backoff,
    random: Random,
    repeat: Repeat,
}

// === impl StandBy ===

impl StandBy {
    /// For a Pod that would wait for this container; `None` for any other.
    ///
    /// # Errors
    /// Where the API server should be.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, ApiError> {
        if !config.may_end {
            return Ok(None);
        }
        let target = Target {
            host: config.probe_host,
            pod_ips: config.pod_ips.clone(),
            ports: Arc::new(config.ports.clone()),
            agents: AgentsHandle::none(),
            version: VERSION,
        };
        let network = config.plan.probes.iter().filter(|planned| planned.probe.exec.is_none());
        let mut random = Random::new(RandomState::new().hash_one(&config.pod.uid));
        // On this node no shield and no watch tells of the Pod.
        let settings = LookSettings { has_watch: false, has_shield: false, ..config.look };
        Ok(Some(Self {
            pod: config.pod.clone(),
            handlers: network.filter_map(|planned| Handler::try_new(planned, &target).ok()).collect(),
            api: Api::try_new(config.api.clone(), config.token_dir.clone(), VERSION)?,
            clock: Clock::start(),
            looks: Looks::new(settings, random.fork()),
            backoff: Backoff::new(config.retry_spread),
            random,
            repeat: Repeat::default(),
        }))
    }

    /// Until every other container has ended for good, or the Pod is gone. While nobody answers it looks after 0.3 s, then at doubling
    /// distances up to a minute; while somebody does, as rarely as any sidecar, in case it is not a neighbour that answers.
    pub(super) async fn wait(mut self) -> End {
        self.looks.observed(self.clock.now());
        loop {
            let awaited = if self.is_anybody_there().await { Awaited::Nothing } else { Awaited::Turn };
            let now = self.clock.now();
            self.looks.await_status(awaited, now);
            let due = self.looks.due().unwrap_or(now + PERIOD);
            if due > now {
                self.clock.sleep_until(Some(due.min(now + PERIOD))).await;
            } else if let Some(end) = self.look().await {
                return end;
            }
        }
    }

    async fn is_anybody_there(&self) -> bool {
        for handler in &self.handlers {
            if matches!(handler.run(TIMEOUT).await, Ok(Outcome::Success(_))) {
                return true;
            }
        }
        false
    }

    async fn look(&mut self) -> Option<End> {
        let call = Call::to_status(&self.pod, &Patch::look(&self.pod.uid));
        let verdict = match self.api.call(&call).await {
            Ok(answer) => judge(answer.status, answer.retry_after, &answer.body),
            Err(error) => Verdict::Retry(Trouble::Unreachable, None, error.to_string()),
        };
        // The next look is far away, most of the time.
        self.api.close();
        self.looks.observed(self.clock.now());
        match verdict {
            Verdict::Pod(pod) => {
                self.backoff.reset();
                (pod.is_over || pod.waits_only_for(SIDECAR_CONTAINER)).then_some(End::Done)
            }
            Verdict::Gone => Some(End::Gone),
            Verdict::Refused(message) => self.failed(Trouble::Forbidden, None, &message).await,
            Verdict::Retry(trouble, retry_after, message) => self.failed(trouble, retry_after, &message).await,
        }
    }

    async fn failed(&mut self, trouble: Trouble, retry_after: Option<Duration>, error: &str) -> Option<End> {
        let wait = self.backoff.next(trouble, retry_after, self.random.unit());
        if let Some(left_out) = self.repeat.may("look", self.clock.now()) {
            tracing::warn!(error, next_try = ?wait, left_out, "whether the other containers have ended cannot be seen yet");
        }
        tokio::time::sleep(wait).await;
        None
    }
}
