//! The cold path: RoleBindings, live edits of plans, PodProbeMarker status, Events. Runs in one replica at a time.

use crate::lease::Term;
use crate::metric::Metrics;
use crate::queue::pool::{self, Input, Work};
use crate::settings::file::Live;
use crate::settings::workers::Load;
use crate::settings::{MarkerStatus, Settings};
use crate::store::{Change, Store};
use kube::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

pub mod binding;
pub mod event;
pub mod pod;
pub mod pods;
pub mod rate;
pub mod revise;
pub mod status;
pub mod watch_pods;
pub mod writer;

use binding::RoleBindings;
use pod::PodWork;
use pods::{PodKey, Pods};
use status::Statuses;
use writer::Writer;

/// What controllers share.
#[derive(Clone)]
pub struct Context {
    /// For reads.
    pub client: Client,
    /// Settings of the process.
    pub settings: Settings,
    /// Settings that can change.
    pub live: watch::Receiver<Live>,
    /// The index.
    pub store: Store,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The queues, and what feeds them.
#[derive(Clone)]
pub struct Inputs {
    /// Namespaces whose RoleBinding is looked after.
    pub bindings: Input<String>,
    /// Pods whose plan is looked after.
    pub pods: Input<PodKey>,
    /// PodProbeMarkers whose status is looked after, by namespace and name.
    pub statuses: Input<(String, String)>,
}

/// Runs controllers whenever this replica leads, until the process ends.
pub async fn run(context: Context, term: Term, mut leads: watch::Receiver<bool>) {
    loop {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        context.metrics.leads(true);
        // Dropped at the end of the term, and with it all that controllers do.
        let mut tasks = start(&context, &term);
        info!("controllers started");
        tokio::select! {
            lost = leads.wait_for(|leads| !*leads) => if lost.is_err() {
                return;
            },
            Some(ended) = tasks.join_next() => warn!(?ended, "a controller ended, all start anew"),
        }
        tasks.shutdown().await;
        context.metrics.leads(false);
        info!("controllers stopped");
    }
}

fn start(context: &Context, term: &Term) -> JoinSet<()> {
    let inputs = Inputs { bindings: Input::default(), pods: Input::default(), statuses: Input::default() };
    let pods = Arc::new(Pods::default());
    let writer = Arc::new(Writer::new(context, term.clone()));
    let bindings = Arc::new(RoleBindings::new(context, Arc::clone(&writer), Arc::clone(&pods)));
    let mut tasks = JoinSet::new();
    // Before anything is listed, so that no change falls between.
    let changes = context.store.subscribe();
    tasks.spawn(watch_pods::run(context.clone(), Arc::clone(&pods), Arc::clone(&bindings), inputs.clone()));
    tasks.spawn(binding::follow(context.clone(), Arc::clone(&bindings), inputs.bindings.clone()));
    let statuses = Statuses::new(context, Arc::clone(&writer), Arc::clone(&pods));
    let keeps_status = context.settings.marker_status != MarkerStatus::Never;
    tasks.spawn(feed(context.store.clone(), changes, Arc::clone(&pods), inputs.clone(), keeps_status));
    let pod_work = PodWork::new(context, writer, Arc::clone(&pods));
    staff(&mut tasks, context, &pods, bindings, inputs.bindings);
    staff(&mut tasks, context, &pods, Arc::new(pod_work), inputs.pods);
    staff(&mut tasks, context, &pods, Arc::new(statuses), inputs.statuses);
    tasks
}

/// Workers for one queue, and someone who counts how many there should be.
fn staff<W: Work>(tasks: &mut JoinSet<()>, context: &Context, pods: &Arc<Pods>, work: Arc<W>, input: Input<W::Key>) {
    let (count_out, count) = watch::channel(1);
    tasks.spawn(pool::run(work, input.clone(), count, Arc::clone(&context.metrics)));
    let (context, pods) = (context.clone(), Arc::clone(pods));
    tasks.spawn(async move {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut live = context.live.clone();
        loop {
            let load = Load { nodes: context.store.nodes(), pods: pods.len(), waiting: input.due(), cpus };
            let workers = live.borrow_and_update().workers;
            count_out.send_if_modified(|count| std::mem::replace(count, workers.count(load)) != *count);
            tokio::select! {
                Ok(()) = live.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    });
}

/// Turns changes into keys.
async fn feed(
    store: Store,
    mut changes: broadcast::Receiver<Change>,
    pods: Arc<Pods>,
    inputs: Inputs,
    keeps_status: bool,
) {
    resync(&store, &pods, &inputs, keeps_status);
    loop {
        match changes.recv().await {
            Ok(Change::Namespace(namespace)) => {
                pods.keys(&namespace).for_each(|key| inputs.pods.add(key));
                inputs.bindings.add(namespace);
            }
            Ok(Change::Marker { namespace, name }) => {
                pods.keys(&namespace).for_each(|key| inputs.pods.add(key));
                if keeps_status {
                    inputs.statuses.add((namespace, name));
                }
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                warn!(missed, "changes came too fast, everything is looked at");
                resync(&store, &pods, &inputs, keeps_status);
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn resync(store: &Store, pods: &Pods, inputs: &Inputs, keeps_status: bool) {
    for namespace in store.cluster().namespace_names() {
        pods.keys(&namespace).for_each(|key| inputs.pods.add(key));
        if keeps_status && let Some(known) = store.cluster().namespace(&namespace) {
            known.markers.keys().for_each(|name| inputs.statuses.add((namespace.clone(), name.clone())));
        }
        inputs.bindings.add(namespace);
    }
}
