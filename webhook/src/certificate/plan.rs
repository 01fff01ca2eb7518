//! When to renew what. A pure function of the clock and of what is stored, so that all replicas come to the same answer
//! and none needs to lead.
//!
//! A new CA is stored and trusted first, and signs only once the API server trusts it; an old one is trusted until it
//! has expired. So whichever serving certificate a replica still holds, it is trusted.

use super::{Material, Validity};
use std::time::{Duration, SystemTime};

/// Share of a serving certificate's life after which it is renewed.
const RENEW_SERVING: f64 = 2.0 / 3.0;
/// Share of a CA's life after which the next one is made: half is left for the overlap.
const RENEW_AUTHORITY: f64 = 0.5;
/// Longest time that a new CA waits, trusted, before it signs: API servers learn of a changed bundle in seconds.
const SETTLE: Duration = Duration::from_secs(60);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time.
    Keep {
        /// When to ask again.
        until: SystemTime,
    },
    /// Make everything: what there was has expired.
    StartAnew,
    /// Make a CA and trust it, beside the ones before.
    AddAuthority,
    /// Sign a new serving certificate with the newest CA.
    SignServing,
    /// Forget CAs that have expired.
    DropExpired,
}

/// The next step. `installed`: the API server's registrations carry the whole bundle.
pub fn next(material: &Material, now: SystemTime, names: &[String], validity: Validity, installed: bool) -> Step {
    let newest = material.newest();
    // Where nothing is trusted any more, nothing is lost by not waiting.
    if newest.not_after <= now {
        return Step::StartAnew;
    }
    if material.serving.not_after <= now {
        return Step::SignServing;
    }
    if newest.age(now) >= RENEW_AUTHORITY {
        return Step::AddAuthority;
    }
    if names.iter().any(|name| !material.serving.names.contains(name)) && material.is_signed_by_newest() {
        return Step::SignServing;
    }
    let settled = newest.not_before + super::SKEW + settle(validity);
    if !material.is_signed_by_newest() {
        let urgent = material.serving.age(now) >= 0.95;
        return match (installed || urgent, now >= settled || urgent) {
            (true, true) => Step::SignServing,
            (true, false) => Step::Keep { until: settled },
            (false, _) => Step::Keep { until: now + Duration::from_secs(1) },
        };
    }
    if material.serving.age(now) >= RENEW_SERVING {
        return Step::SignServing;
    }
    if material.authorities.iter().any(|authority| authority.not_after <= now) {
        return Step::DropExpired;
    }
    let expiries = material.authorities.iter().map(|authority| authority.not_after);
    let until = [newest.at_age(RENEW_AUTHORITY), material.serving.at_age(RENEW_SERVING)].into_iter().chain(expiries);
    Step::Keep { until: until.min().unwrap_or(now) }
}

/// How long a new CA is trusted before it signs.
fn settle(validity: Validity) -> Duration {
    SETTLE.min(validity.authority / 12)
}

#[cfg(test)]
mod tests;
