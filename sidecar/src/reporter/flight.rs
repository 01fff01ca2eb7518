//! The one request that is under way, and what its answer means.

use super::{End, Reporter, told};
use crate::api::{Answer, Api, ApiError, Call, IDLE};
use crate::backoff::Trouble;
use crate::ledger::Purpose;
use crate::patch::Patch;
use crate::stats::add;
use crate::verdict::{Verdict, judge};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A request under way; the client comes back with the answer.
pub(super) type Flight = Pin<Box<dyn Future<Output = (Api, Result<Answer, ApiError>)> + Send>>;

impl Reporter {
    pub(super) fn send(&mut self, patch: &Patch, purpose: Purpose) {
        let Some(mut api) = self.api.take() else { return };
        let counter = if purpose == Purpose::Look { &self.parts.stats.looks } else { &self.parts.stats.patches };
        add(counter, 1);
        self.sent_at = self.parts.clock.now();
        self.wrote = told::units(patch);
        if purpose != Purpose::Look {
            self.riding.append(&mut self.waiting);
        }
        tracing::debug!(?purpose, changes = self.wrote, "patch");
        let call = Call::to_status(&self.parts.pod, patch);
        self.in_flight = Some(Box::pin(async move {
            let answer = api.call(&call).await;
            (api, answer)
        }));
    }

    pub(super) fn answered(&mut self, api: Api, answer: Result<Answer, ApiError>) -> Option<End> {
        self.in_flight = None;
        self.api = Some(api);
        let now = self.parts.clock.now();
        self.last_call = now;
        let verdict = match answer {
            Ok(answer) => judge(answer.status, answer.retry_after, &answer.body),
            Err(error) => Verdict::Retry(Trouble::Unreachable, None, error.to_string()),
        };
        match verdict {
            Verdict::Pod(pod) => {
                self.tell_written(now);
                let findings = self.parts.ledger.accepted(*pod, now);
                self.tell(findings, now);
                self.tell_settled();
                self.observed(now)
            }
            Verdict::Gone => Some(End::Gone),
            // Nothing is in it that could be refused.
            Verdict::Refused(message) if self.parts.ledger.is_looking() => {
                self.failed(Trouble::Forbidden, None, &message, now)
            }
            Verdict::Refused(message) => {
                self.wait_again();
                let findings = self.parts.ledger.refused(&message, now);
                self.tell(findings, now);
                self.tell_settled();
                None
            }
            Verdict::Retry(trouble, retry_after, message) => self.failed(trouble, retry_after, &message, now),
        }
    }

    fn failed(&mut self, trouble: Trouble, after: Option<Duration>, message: &str, now: Duration) -> Option<End> {
        self.wait_again();
        let wait = self.parts.ledger.failed(trouble, after, now);
        self.tell_trouble(message, wait, now);
        None
    }

    pub(super) fn idle_at(&self) -> Option<Duration> {
        self.api.as_ref().filter(|api| api.is_connected()).map(|_| self.last_call + IDLE)
    }

    /// An idle connection costs the API server memory.
    pub(super) fn give_back(&mut self) {
        if self.idle_at().is_some_and(|at| at <= self.parts.clock.now())
            && let Some(api) = &mut self.api
        {
            api.close();
        }
    }
}

/// Waits for the request under way; for ever where there is none.
pub(super) async fn land(flight: &mut Option<Flight>) -> (Api, Result<Answer, ApiError>) {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}
