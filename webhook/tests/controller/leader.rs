//! Who leads, and how a process ends: faults F7 and F21.

use crate::api::{Lab, eventually};
use crate::replica::Replica;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use std::time::Instant;

#[tokio::test]
async fn a_leader_that_was_stopped_for_longer_than_its_term_writes_nothing_after() {
    let lab = Lab::turn().await;
    let first = Replica::ready(&lab, &[]).await;
    eventually("the first leads", async || first.leads().then_some(())).await;
    let second = Replica::start(&lab, &[]);
    second.wait_until_ready().await;
    first.signal("STOP");
    let stopped = Instant::now();
    eventually("the second takes over", async || second.leads().then_some(())).await;
    println!("taken over after {:?}", stopped.elapsed());
    // Work for whoever believes to lead.
    let namespace = lab.opted_in("handover").await;
    let bindings: Api<RoleBinding> = Api::namespaced(lab.client.clone(), &namespace);
    eventually("the second works", async || bindings.get_opt("probelet-sidecar").await.expect("answer")).await;
    first.signal("CONT");
    eventually("the first knows", async || (first.metric("probelet_leader ") == Some(0.0)).then_some(())).await;
    assert!(second.leads());
    assert!(!first.log().contains("RoleBinding made\" namespace=\"handover"));
    let made = second.log().matches("RoleBinding made").count();
    assert!(made >= 1);
    let holder = lab.leases().get("probelet-webhook").await.expect("lease").spec.expect("spec").holder_identity;
    assert!(second.log().contains(&holder.expect("holder")));
}

#[tokio::test]
async fn a_leader_that_ends_gives_the_lease_back_and_answers_until_it_is_gone() {
    let lab = Lab::turn().await;
    let mut first = Replica::ready(&lab, &["--drain=1s"]).await;
    eventually("the first leads", async || first.leads().then_some(())).await;
    let second = Replica::start(&lab, &[]);
    second.wait_until_ready().await;
    first.signal("TERM");
    let told = Instant::now();
    eventually("not ready at once", async || first.get("/readyz").contains("process: stopping").then_some(())).await;
    assert!(told.elapsed().as_millis() < 900, "{:?}", told.elapsed());
    assert!(std::net::TcpStream::connect(("127.0.0.1", first.port)).is_ok(), "connections are still taken");
    let status = eventually("ended", async || first.has_ended()).await;
    assert!(status.success(), "{status}");
    eventually("the second leads", async || second.leads().then_some(())).await;
    assert!(told.elapsed().as_secs() < 10, "long before the term would have ended: {:?}", told.elapsed());
}
