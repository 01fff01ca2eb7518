//! The lab itself: what it offers, how it comes back after a crash, that nothing of it stays, and what it
//! says when something stands in its way. The first part needs a lab that is up, the rest needs root.

#[path = "lab/life.rs"]
mod life;
#[path = "lab/node.rs"]
mod node;
#[path = "lab/trouble.rs"]
mod trouble;
