//! What the policies cost a PATCH, side by side in the same minute. Figures, no verdict.

use crate::request::Change;
use crate::stage::{Stage, Target, Who};
use anyhow::Result;
use serde_json::json;
use std::time::{Duration, Instant};

const ROUNDS: usize = 400;

/// A mark that changes each time.
async fn patch(stage: &Stage, target: &Target, who: Who, round: usize) -> Result<Duration> {
    let condition = match who {
        Who::Pod | Who::Controller => "game.io/healthy",
        _ => "other.io/theirs",
    };
    let status = if round.is_multiple_of(2) { "True" } else { "False" };
    let change = Change::Strategic(json!({"status": {"conditions": [{"type": condition, "status": status}]}}));
    let start = Instant::now();
    let answer = stage.change(target, who, &change).await?;
    let took = start.elapsed();
    assert_eq!(answer.code, 200, "{}", answer.message());
    Ok(took)
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

#[tokio::test]
#[ignore = "a bench: run by name, on a quiet machine"]
async fn cost_of_a_patch() -> Result<()> {
    let (plain, opted) = (Stage::new(false).await?, Stage::new(true).await?);
    plain.confined().await?;
    let unlisted = opted.pod_with(|pod| pod["metadata"]["annotations"] = json!({"note": "kept"})).await?;
    let cases = [
        ("no policy matches (a controller, plain namespace)", &plain, Who::Controller, &plain.pod().await?),
        ("confinement (the Pod itself, plain namespace)", &plain, Who::Pod, &plain.pod().await?),
        ("confinement, shield stands by (the Pod itself, opted in)", &opted, Who::Pod, &opted.pod().await?),
        ("provider, plain namespace", &plain, Who::Provider, &plain.pod().await?),
        ("provider, opted in, Pod without a list", &opted, Who::Provider, &unlisted),
        ("provider, opted in, shield looks", &opted, Who::Provider, &opted.pod().await?),
        ("controller, opted in, shield puts back", &opted, Who::Controller, &opted.pod().await?),
    ];
    let mut times = vec![Vec::with_capacity(ROUNDS); cases.len()];
    for round in 0..ROUNDS {
        for (index, (_, stage, who, target)) in cases.iter().enumerate() {
            times[index].push(patch(stage, target, *who, round).await?);
        }
    }
    for ((what, ..), times) in cases.iter().zip(&mut times) {
        println!("{:6.2} ms p50  {what}", median(times));
    }
    plain.end().await?;
    opted.end().await
}
