//! Prometheus' text format.

use crate::sidecar::VERSION;
use crate::stats::Stats;
use crate::threshold::ProbeState;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(super) fn text(stats: &Stats) -> String {
    let mut text = String::with_capacity(2048);
    let runs = ["success", "failure", "error"].map(|result| format!("{{result=\"{result}\"}}"));
    let runs: Vec<(&str, u64)> = runs.iter().map(String::as_str).zip(stats.runs.iter().map(read)).collect();
    let all_runs = runs.iter().map(|(_, count)| count).sum();
    family(&mut text, "probelet_probe_total", "counter", "Runs of probes by result.", &runs);
    span(&mut text, "probelet_probe_duration_seconds", "Time that runs of probes took.", &stats.run_nanos, all_runs);
    span(
        &mut text,
        "probelet_mark_duration_seconds",
        "Time from a probe's verdict to the accepted patch.",
        &stats.mark_nanos,
        read(&stats.marks),
    );
    for (name, kind, help, value) in [
        ("probelet_transitions_total", "counter", "State changes of probes.", &stats.transitions),
        ("probelet_patches_total", "counter", "Patches sent that write something.", &stats.patches),
        ("probelet_looks_total", "counter", "Patches sent that only look at the Pod.", &stats.looks),
        ("probelet_request_failures_total", "counter", "Requests that did not go through.", &stats.failures),
        ("probelet_overwrites_total", "counter", "Overwrites of marks by others that were seen.", &stats.overwrites),
        ("probelet_heals_total", "counter", "Patches that put overwritten marks back.", &stats.heals),
        ("probelet_overwrite_war", "gauge", "1 while marks are overwritten again and again.", &stats.war),
        ("probelet_refused_marks", "gauge", "Marks that the API server refuses.", &stats.refused),
    ] {
        family(&mut text, name, kind, help, &[("", read(value))]);
    }
    states(&mut text, stats);
    let version = format!("{{version=\"{VERSION}\"}}");
    family(&mut text, "probelet_build_info", "gauge", "This build.", &[(&version, 1)]);
    text
}

/// One series per probe and state, as kube-state-metrics writes phases: 1 for the one that it is in.
fn states(text: &mut String, stats: &Stats) {
    let mut rows = Vec::new();
    for (id, now) in stats.states().iter() {
        let [container, probe] = [&id.container, &id.name].map(|name| escaped(name));
        for state in [ProbeState::Succeeded, ProbeState::Failed, ProbeState::Unknown] {
            let labels = format!("{{container=\"{container}\",probe=\"{probe}\",state=\"{}\"}}", state.word());
            rows.push((labels, u64::from(state == *now)));
        }
    }
    let rows: Vec<(&str, u64)> = rows.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
    family(text, "probelet_probe_state", "gauge", "What each probe has settled on.", &rows);
}

/// A label's value; names come from a plan that anybody may have written.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn family(text: &mut String, name: &str, kind: &str, help: &str, values: &[(&str, u64)]) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

fn span(text: &mut String, name: &str, help: &str, nanos: &AtomicU64, count: u64) {
    let sum = std::time::Duration::from_nanos(read(nanos)).as_secs_f64();
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} summary\n{name}_sum {sum}\n{name}_count {count}");
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
