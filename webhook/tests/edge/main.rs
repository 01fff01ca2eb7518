//! The HTTPS server against callers that are slow, large, broken or many, and through a change of certificates and an end.

mod callers;
mod directory;
mod harness;
mod life;
mod mount;
