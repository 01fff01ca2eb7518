//! From marks gone to marks back, both as a watcher of Pods sees them, on real virtual nodes of both styles and with
//! nothing simulated: the virtual node overwrites by itself after a transition. Beside it a war, and the same with the shield.

use crate::exposed::{self, Exposed};
use crate::history::{self, History};
use crate::image::TEST_APP;
use crate::marker;
use crate::pod::{app, is_ready};
use crate::space::{self, Labels, Space};
use anyhow::Result;
use case::{Case, Mode, Style};
use report::Report;
use round::{Round, Subject};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tally::Tally;
use tokio::task::JoinSet;

mod bare;
pub mod case;
mod report;
mod round;
pub mod tally;

/// Further apart than the sidecar's 35 s, within which overwrites count as one war.
const APART: Duration = Duration::from_secs(37);
/// Between two transitions under the shield: longer than the 5 s of a poll.
const SHIELDED_APART: Duration = Duration::from_secs(8);
const START: Duration = Duration::from_secs(180);

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which of the modes; a war is shown for those with a sidecar, the shield beside patch-only mode.
    pub modes: Vec<Mode>,
    /// Pods of each style and mode.
    pub pods: usize,
    /// Transitions of each Pod.
    pub rounds: usize,
}

/// Measures and prints.
pub async fn run(settings: Settings) -> Result<()> {
    exposed::with("heal-bench", vec![history::probe()], move |exposed| async move {
        space::with("heal-shield", Labels::opted_in(), move |shielded| async move {
            marker::create(&shielded, "health", "web", &[history::probe()]).await?;
            measure(&settings, &exposed, &shielded).await?.print(&settings);
            Ok(())
        })
        .await
    })
    .await
}

impl Settings {
    /// What is told apart in this run.
    fn cases(&self) -> impl Iterator<Item = Case> {
        Case::ALL.into_iter().filter(|case| self.modes.contains(&case.mode))
    }
}

async fn measure(settings: &Settings, exposed: &Exposed, shielded: &Space) -> Result<Report> {
    let cluster = exposed.space().cluster();
    let image = cluster.image(TEST_APP)?;
    let mut subjects = Vec::new();
    for (group, count) in [("flip", settings.pods), ("war", 1)] {
        let is_wanted = |case: &Case| match group {
            "war" => case.style == Style::Poll && case.mode != Mode::Bare,
            _ => true,
        };
        for case in settings.cases().filter(is_wanted) {
            for number in 0..count {
                let name = format!("{group}-{}-{number}", case.name());
                let pod = case.pod(&name, &image);
                match case.mode {
                    Mode::Bare => exposed.space().create_object(&pod.build()).await?,
                    _ => exposed.create(pod).await?,
                };
                subjects.push(Subject { space: exposed.space().clone(), name, case, has_shield: false });
            }
        }
    }
    let sample = app("web", &image).on("virtual-push").labelled("app", "web").build();
    marker::settled(shielded, &sample).await?;
    let styles = [Style::Push, Style::Poll].into_iter().filter(|_| settings.modes.contains(&Mode::Patch));
    for style in styles {
        let case = Case { style, mode: Mode::Patch };
        let name = format!("shield-{}", case.name());
        shielded.create_object(&case.pod(&name, &image).labelled("app", "web").build()).await?;
        subjects.push(Subject { space: shielded.clone(), name, case, has_shield: true });
    }
    let open = History::start(cluster.client(), exposed.space().name());
    let under = History::start(cluster.client(), shielded.name());
    for subject in &subjects {
        let mut history = if subject.has_shield { under.clone() } else { open.clone() };
        if subject.case.mode != Mode::Bare {
            history.until(&subject.name, 0, START, history::Marks::Whole(true)).await?;
        }
        subject.space.wait_for_pod(&subject.name, "to be ready", START, is_ready).await?;
    }
    println!("heal: {} Pods run and are marked", subjects.len());
    let begin = Instant::now();
    let (rounds, before) = transitions(settings, &subjects, &open, &under).await?;
    let after = tally::all(&subjects).await?;
    Ok(Report { rounds, subjects, open, before, after, took: begin.elapsed() })
}

/// All Pods at once, each beginning a little after the one before, so that they share the machine evenly.
async fn transitions(
    settings: &Settings,
    subjects: &[Subject],
    open: &History,
    under: &History,
) -> Result<(Vec<Round>, BTreeMap<String, Tally>)> {
    let flipped: Vec<_> = subjects.iter().filter(|subject| !subject.name.starts_with("war")).cloned().collect();
    let step = APART / u32::try_from(flipped.len()).unwrap_or(u32::MAX);
    let mut tasks = JoinSet::new();
    for (subject, number) in flipped.into_iter().zip(0..) {
        let history = if subject.has_shield { under.clone() } else { open.clone() };
        let apart = if subject.has_shield { SHIELDED_APART } else { APART };
        let count = if subject.has_shield { settings.rounds * 4 } else { settings.rounds };
        let name = subject.name.clone();
        let work = round::rounds(subject, history, step * number, apart, count);
        tasks.spawn(async move { anyhow::Ok((name, work.await?)) });
    }
    let (mut rounds, mut before) = (Vec::new(), BTreeMap::new());
    while let Some(done) = tasks.join_next().await {
        let (name, (those, tally)) = done??;
        rounds.extend(those);
        before.insert(name, tally);
    }
    Ok((rounds, before))
}
