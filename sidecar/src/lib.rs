//! The sidecar: probes its neighbours in the Pod, marks its own Pod. Data flows one way: annotation, plan, probe
//! tasks, outcomes, thresholds, desired state, comparison with the observed Pod, one patch, reporter.

pub mod api;
pub mod agent;
pub mod backoff;
pub mod chatter;
pub mod clock;
pub mod config;
pub mod desired;
pub mod dial;
pub mod exec;
pub mod fleet;
pub mod frame;
pub mod grpc;
pub mod handler;
pub mod heal;
pub mod http;
pub mod ledger;
pub mod look;
pub mod neighbour;
pub mod observed;
pub mod outcome;
pub mod patch;
pub mod random;
pub mod refusal;
pub mod schedule;
pub mod stats;
pub mod tcp;
pub mod threshold;
pub mod timing;
pub mod track;
pub mod verdict;
pub mod worker;
