//! A probe's times and thresholds, with every unset field given its meaning.

use probelet_protocol::limit;
use probelet_protocol::plan::PlannedProbe;
use probelet_protocol::setting::{ByProbe, Defaults};
use std::fmt::{Display, Formatter};
use std::time::Duration;

/// When a probe runs and how often it must agree with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the container's start to the first run.
    pub initial_delay: Duration,
    /// Between the starts of two runs.
    pub period: Duration,
    /// For one whole run.
    pub timeout: Duration,
    /// Successes in a row until Succeeded, at least 1.
    pub success_threshold: u32,
    /// Failures in a row until Failed, at least 1.
    pub failure_threshold: u32,
}

/// What a Pod says about its probes' times beside the probes themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimingSettings {
    /// Meaning of unset fields.
    pub defaults: Defaults,
    /// Periods that replace the probes' own, also below one second.
    pub periods: ByProbe,
    /// Timeouts that replace the probes' own.
    pub timeouts: ByProbe,
}

/// A time as Go writes it, which kubelet's messages do (golang/go:src/time/time.go `Duration.String`): `1m0s`, `250ms`.
#[derive(Clone, Copy, Debug)]
pub struct GoDuration(pub Duration);

impl Timing {
    /// Zero and negative numbers count as unset, as they do upstream (openkruise/kruise:pkg/daemon/podprobe/worker.go,
    /// kubernetes/kubernetes:pkg/apis/core/v1/defaults.go `SetDefaults_Probe`). Numbers past [`limit::SECONDS`] are
    /// cut to it.
    pub fn of(planned: &PlannedProbe, settings: &TimingSettings) -> Self {
        let (period, failures) = match settings.defaults {
            Defaults::Kruise => (1, 1),
            Defaults::Core => (10, 3),
        };
        let probe = &planned.probe;
        let name = &planned.id.name;
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: settings.periods.get(name).unwrap_or_else(|| seconds(probe.period_seconds, period)),
            timeout: settings.timeouts.get(name).unwrap_or_else(|| seconds(probe.timeout_seconds, 1)),
            success_threshold: positive(probe.success_threshold).unwrap_or(1),
            failure_threshold: positive(probe.failure_threshold).unwrap_or(failures),
        }
    }
}

impl Display for GoDuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        if seconds < 60 {
            return write!(f, "{:?}", self.0);
        }
        if seconds >= 3600 {
            write!(f, "{}h", seconds / 3600)?;
        }
        write!(f, "{}m{}", seconds / 60 % 60, seconds % 60)?;
        if self.0.subsec_nanos() > 0 {
            let nanos = format!("{:09}", self.0.subsec_nanos());
            write!(f, ".{}", nanos.trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

fn positive(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

fn seconds(number: Option<i32>, unset: u64) -> Duration {
    let longest = u64::from(limit::SECONDS.unsigned_abs());
    Duration::from_secs(positive(number).map_or(unset, u64::from).min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use probelet_protocol::plan::Plan;

    fn timing(probe: &str, settings: &TimingSettings) -> Timing {
        let text = format!(r#"[{{"name":"health","containerName":"c","probe":{{"tcpSocket":{{"port":1}}{probe}}}}}]"#);
        Timing::of(&Plan::parse(Some(&text), None).expect("plan").probes[0], settings)
    }

    /// Values from golang/go:src/time/time_test.go `durationTests`, and ones a timeout can have.
    #[test]
    fn times_are_written_as_go_writes_them() {
        let (minute, hour) = (60_000_000_000, 3_600_000_000_000);
        for (nanos, text) in [
            (0_u64, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (250_000_000, "250ms"),
            (3_300_000_000, "3.3s"),
            (59_999_000_000, "59.999s"),
            (minute, "1m0s"),
            (minute + 500_000_000, "1m0.5s"),
            (4 * minute + 5_000_000_000, "4m5s"),
            (4 * minute + 5_001_000_000, "4m5.001s"),
            (hour, "1h0m0s"),
            (5 * hour + 6 * minute + 7_001_000_000, "5h6m7.001s"),
            (8 * minute + 1, "8m0.000000001s"),
        ] {
            assert_eq!(GoDuration(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn unset_fields_mean_what_the_switch_says() {
        let of = |delay, period, timeout, success_threshold, failure_threshold| Timing {
            initial_delay: Duration::from_secs(delay),
            period: Duration::from_secs(period),
            timeout: Duration::from_secs(timeout),
            success_threshold,
            failure_threshold,
        };
        let kruise = TimingSettings::default();
        let core = TimingSettings { defaults: Defaults::Core, ..Default::default() };
        let zeros = r#","initialDelaySeconds":-1,"periodSeconds":0,"timeoutSeconds":0,"successThreshold":0,"failureThreshold":-3"#;
        let set = r#","initialDelaySeconds":5,"periodSeconds":6,"timeoutSeconds":7,"successThreshold":2,"failureThreshold":4"#;
        for (probe, settings, expected) in [
            ("", &kruise, of(0, 1, 1, 1, 1)),
            (zeros, &kruise, of(0, 1, 1, 1, 1)),
            ("", &core, of(0, 10, 1, 1, 3)),
            (zeros, &core, of(0, 10, 1, 1, 3)),
            (set, &kruise, of(5, 6, 7, 2, 4)),
            (set, &core, of(5, 6, 7, 2, 4)),
            (r#","periodSeconds":2147483647"#, &kruise, of(0, 86400, 1, 1, 1)),
        ] {
            assert_eq!(timing(probe, settings), expected, "{probe}");
        }
    }

    #[test]
    fn settings_replace_the_probe_s_own_period_and_timeout() {
        let settings = TimingSettings {
            periods: "5s,health=250ms".parse().expect("periods"),
            timeouts: "100ms".parse().expect("timeouts"),
            ..Default::default()
        };
        let timing = timing(r#","periodSeconds":9,"timeoutSeconds":9"#, &settings);
        assert_eq!((timing.period, timing.timeout), (Duration::from_millis(250), Duration::from_millis(100)));
    }
}
