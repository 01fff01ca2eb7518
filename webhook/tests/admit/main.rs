//! Admission through the router: AdmissionReviews as files, without a socket.

mod harness;
mod pod;
