//! The sidecars' own counters, from their `/metrics`.

use super::case::Mode;
use super::round::Subject;
use crate::space::Space;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// Where the benched and tested sidecars serve metrics.
pub const PORT: u16 = 9464;

/// Counters without labels, by name.
pub type Tally = BTreeMap<String, u64>;

/// A Pod's counters, read through the API server.
pub async fn of(space: &Space, pod: &str) -> Result<Tally> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}:{PORT}/proxy/metrics", space.name());
    let request = http::Request::get(path).body(Vec::new())?;
    let text = space.cluster().client().request_text(request).await;
    let text = text.with_context(|| format!("cannot read the metrics of Pod {pod}"))?;
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// Every sidecar's, by Pod name.
pub(super) async fn all(subjects: &[Subject]) -> Result<BTreeMap<String, Tally>> {
    let mut tallies = BTreeMap::new();
    for subject in subjects.iter().filter(|subject| subject.case.mode != Mode::Bare) {
        tallies.insert(subject.name.clone(), of(&subject.space, &subject.name).await?);
    }
    Ok(tallies)
}
