//! Admission through the router: AdmissionReviews as files, without a socket.

mod binding;
mod body;
mod exec;
mod harness;
mod marker;
mod merge;
mod pod;
mod property;
mod setting;
mod skip;
