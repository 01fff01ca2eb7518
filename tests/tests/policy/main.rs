//! The admission policies of the chart against a real API server: what a Pod's own identity may write, what it may
//! not, and what the shield puts back. No node and no webhook takes part, so a bare kube-apiserver is enough
//! (`PROBELET_KUBECONFIG`).

mod chart;
mod confinement;
mod cost;
mod exec;
mod field;
mod hook;
mod identity;
mod install;
mod own;
mod request;
mod shield;
mod stage;
