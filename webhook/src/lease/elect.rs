//! The Lease on the API server: read and written by what [`super::Election`] decides.

use super::{Act, DURATION, Election, RENEWAL, Record, Term};
use crate::client::{CallError, within};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{info, warn};

/// Takes part in elections.
pub struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    election: Election,
    leads: watch::Sender<bool>,
}

/// A name for this process that no other has, also after a restart in the same Pod.
pub fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = RandomState::new().hash_one(std::process::id());
    format!("{}_{random:016x}", host.trim())
}

// === impl Candidate ===

impl Candidate {
    /// `leads` is told when a term begins and ends.
    pub fn new(client: Client, namespace: &str, name: &str, leads: watch::Sender<bool>) -> Self {
        let identity = identity();
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            election: Election::new(identity.clone()),
            identity,
            leads,
        }
    }

    /// The term, for those who write.
    pub fn term(&self) -> Term {
        self.election.term()
    }

    /// Runs until `stop`; then gives the Lease back, so that the next one need not wait.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.turn().await {
                if error.is_conflict() {
                    self.election.lost();
                } else {
                    warn!(lease = %self.name, %error, "Lease not looked after");
                }
            }
            self.tell();
            // The end of a term is told in time also while the API server is away.
            let end = self.term().until().map_or(RENEWAL, |until| until.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = tokio::time::sleep(RENEWAL.min(end.max(Duration::from_millis(50)))) => {}
                () = stopped(&mut stop) => return self.release().await,
            }
        }
    }

    fn tell(&self) {
        let leads = self.term().allows(Instant::now(), Duration::ZERO);
        self.leads.send_if_modified(|before| {
            if leads != *before {
                info!(identity = %self.identity, leads, "leadership");
            }
            std::mem::replace(before, leads) != leads
        });
    }

    async fn turn(&mut self) -> Result<(), CallError> {
        let found = within(self.api.get_opt(&self.name)).await?;
        let begun = Instant::now();
        match self.election.decide(found.as_ref().map(record), begun) {
            Act::Wait => return Ok(()),
            Act::Acquire | Act::Renew => {}
        }
        let params = PostParams {
            field_manager: Some(probelet_protocol::name::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        // The resource version makes sure that nobody else has written since it was read.
        match found {
            Some(mut lease) => {
                lease.spec = Some(self.spec(lease.spec.as_ref()));
                within(self.api.replace(&self.name, &params, &lease)).await?;
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    namespace: Some(self.namespace.clone()),
                    labels: Some(crate::owned::labels()),
                    ..ObjectMeta::default()
                };
                within(self.api.create(&params, &Lease { metadata, spec: Some(self.spec(None)) })).await?;
            }
        }
        self.election.held(begun);
        Ok(())
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or_default();
        let same = before.is_some_and(|before| before.holder_identity.as_ref() == Some(&self.identity));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: before.filter(|_| same).and_then(|before| before.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if same { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    async fn release(mut self) {
        let held = self.term().allows(Instant::now(), Duration::ZERO);
        self.election.lost();
        self.tell();
        if !held {
            return;
        }
        let released = async {
            let Some(mut lease) = within(self.api.get_opt(&self.name)).await? else { return Ok(()) };
            if record(&lease).holder == self.identity {
                lease.spec.get_or_insert_default().holder_identity = Some(String::new());
                within(self.api.replace(&self.name, &PostParams::default(), &lease)).await?;
            }
            Ok::<_, CallError>(())
        };
        if let Err(error) = released.await {
            warn!(lease = %self.name, %error, "Lease not given back");
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a sender nobody will ever say so, and the process ends.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        duration: seconds.map_or(DURATION, Duration::from_secs),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
