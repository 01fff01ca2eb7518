//! Our own certificates on a real API server: faults F3 and F5.

use crate::api::{Lab, create, eventually, pod, within};
use crate::mount::Mount;
use crate::replica::Replica;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use probelet_webhook::certificate::plan::Step;
use probelet_webhook::certificate::{self, Validity, renew};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime};

const HOUR: Duration = Duration::from_secs(3600);

fn configurations(lab: &Lab) -> Api<MutatingWebhookConfiguration> {
    Api::all(lab.client.clone())
}

fn secrets(lab: &Lab) -> Api<Secret> {
    Api::namespaced(lab.client.clone(), "probelet-system")
}

async fn bundles(lab: &Lab) -> Vec<String> {
    let found = configurations(lab).get("probelet-webhook").await.expect("configuration");
    let bundle = |bytes: k8s_openapi::ByteString| String::from_utf8(bytes.0).expect("text");
    found.webhooks.into_iter().flatten().filter_map(|hook| hook.client_config.ca_bundle.map(bundle)).collect()
}

#[tokio::test]
async fn certificates_are_made_once_by_whichever_replica_is_first() {
    let lab = Lab::turn().await;
    let _ = secrets(&lab).delete("probelet-webhook-tls", &DeleteParams::default()).await;
    let replicas = [Replica::start(&lab, &[]), Replica::start(&lab, &[]), Replica::start(&lab, &[])];
    for replica in &replicas {
        replica.wait_until_ready().await;
    }
    let secret = secrets(&lab).get("probelet-webhook-tls").await.expect("secret");
    let stored = String::from_utf8(secret.data.expect("data")["ca.crt"].0.clone()).expect("text");
    eventually("every webhook has the one bundle", async || {
        let bundles = bundles(&lab).await;
        (bundles.len() == 2 && bundles.iter().all(|bundle| *bundle == stored)).then_some(())
    })
    .await;
    let made = replicas.iter().filter(|replica| replica.log().contains("certificates stored")).count();
    assert_eq!(made, 1);
    assert_eq!(stored.matches("BEGIN").count(), 1);
}

#[tokio::test]
async fn an_emptied_bundle_is_filled_within_five_seconds() {
    let lab = Lab::turn().await;
    let _replica = Replica::ready(&lab, &[]).await;
    let patch = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch).expect("patch"));
    configurations(&lab).patch("probelet-webhook", &PatchParams::default(), &patch).await.expect("emptied");
    assert_eq!(bundles(&lab).await.len(), 1);
    within(Duration::from_secs(5), "filled again", async || (bundles(&lab).await.len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_secret_that_is_deleted_or_broken_is_written_again_with_what_is_trusted() {
    let lab = Lab::turn().await;
    let _replica = Replica::ready(&lab, &[]).await;
    let authority = async || Some(secrets(&lab).get_opt("probelet-webhook-tls").await.ok()??.data?["ca.crt"].clone());
    let before = authority().await.expect("secret");
    secrets(&lab).delete("probelet-webhook-tls", &DeleteParams::default()).await.expect("deleted");
    let after = eventually("written again", authority).await;
    assert!(after == before, "the same authority");
    let broken = Patch::Merge(json!({"data": {"tls.key": "Z2FyYmFnZQ=="}}));
    secrets(&lab).patch("probelet-webhook-tls", &PatchParams::default(), &broken).await.expect("broken");
    eventually("repaired", async || {
        let data = secrets(&lab).get("probelet-webhook-tls").await.ok()?.data?;
        (data["tls.key"].0 != b"garbage" && data["ca.crt"] == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_given_certificate_is_exchanged_by_rename_and_no_pod_is_refused() {
    let lab = Lab::turn().await;
    let namespace = lab.opted_in("given").await;
    create(&crate::markers::api(&lab, &namespace), crate::markers::marker("up", "example.io/up")).await;
    let (names, now) = (["127.0.0.1".to_owned()], SystemTime::now());
    let hours = |hours: u64| Validity { serving: HOUR * u32::try_from(hours).expect("few"), authority: HOUR * 9 };
    let first = certificate::create(now, &names, hours(1)).expect("certificates");
    let mut mount = Mount::new("given");
    mount.swap_to(&first);
    let replica = Replica::ready(&lab, &[&format!("--cert-dir={}", mount.path.display())]).await;
    crate::markers::injected(&lab, &namespace, "p").await;
    let expiry =
        async |replica: &Replica| replica.metric("probelet_certificate_expiry_timestamp_seconds").expect("metric");
    let before = expiry(&replica).await;
    let mut pods = 0_u32;
    let mut load = async || {
        pods += 1;
        let made = create(&lab.pods(&namespace), pod(&format!("p{pods}"))).await;
        assert_eq!(made.spec.expect("spec").containers.len(), 2, "Pod {pods} was not injected");
    };
    // As whoever keeps the Secret has to do it: a new authority is trusted first.
    let trusted = renew(&first, Step::AddAuthority, now, &names, hours(1)).expect("authority");
    mount.swap(&first.serving_chain, &first.serving_key, &trusted.bundle);
    within(Duration::from_secs(10), "both are trusted", async || {
        load().await;
        bundles(&lab).await.iter().all(|bundle| *bundle == trusted.bundle).then_some(())
    })
    .await;
    let second = renew(&trusted, Step::SignServing, now, &names, hours(2)).expect("serving");
    mount.swap(&second.serving_chain, &first.serving_key, &trusted.bundle);
    within(Duration::from_secs(10), "half a pair is told", async || {
        load().await;
        replica.log().contains("do not belong together").then_some(())
    })
    .await;
    assert!(expiry(&replica).await < before + 60.0, "half a pair is not taken");
    mount.swap(&second.serving_chain, &second.serving_key, &trusted.bundle);
    within(Duration::from_secs(10), "the new one is served", async || {
        load().await;
        (expiry(&replica).await > before + 3000.0).then_some(())
    })
    .await;
    load().await;
    println!("{pods} Pods while the authority and the certificate were exchanged by rename");
}

#[tokio::test]
async fn a_given_secret_without_authority_makes_a_replica_ready_and_the_given_bundle_is_kept() {
    let lab = Lab::turn().await;
    let (names, validity) = (["127.0.0.1".to_owned()], Validity { serving: HOUR, authority: HOUR });
    let material = certificate::create(SystemTime::now(), &names, validity).expect("certificates");
    let mut mount = Mount::new("bare");
    mount.swap(&material.serving_chain, &material.serving_key, "");
    let folder = format!("--cert-dir={}", mount.path.display());
    let alone = Replica::ready(&lab, &[&folder]).await;
    assert!(bundles(&lab).await.iter().all(|bundle| *bundle != material.bundle), "nobody told it the bundle");
    drop(alone);
    let namespace = lab.opted_in("bare").await;
    create(&crate::markers::api(&lab, &namespace), crate::markers::marker("up", "example.io/up")).await;
    let _replica = Replica::ready(&lab, &[&folder, &format!("--ca-bundle={}", material.bundle)]).await;
    crate::markers::injected(&lab, &namespace, "p").await;
    let patch = Patch::Json::<()>(
        serde_json::from_value(json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}])).expect("patch"),
    );
    configurations(&lab).patch("probelet-webhook", &PatchParams::default(), &patch).await.expect("emptied");
    within(Duration::from_secs(5), "filled again", async || (bundles(&lab).await.len() == 2).then_some(())).await;
}

#[tokio::test]
async fn no_pod_is_refused_or_missed_while_authority_and_certificate_rotate() {
    let lab = Lab::turn().await;
    let namespace = lab.opted_in("rotation").await;
    let markers = crate::markers::api(&lab, &namespace);
    create(&markers, crate::markers::marker("up", "example.io/up")).await;
    let short = ["--certificate-validity=30s", "--ca-validity=30s"];
    let _ = secrets(&lab).delete("probelet-webhook-tls", &DeleteParams::default()).await;
    let (_first, second) = (Replica::ready(&lab, &short).await, Replica::start(&lab, &short));
    second.wait_until_ready().await;
    eventually("the marker is known", async || {
        let probe: Pod = serde_json::from_value(pod("probe")).expect("pod");
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let seen = lab.pods(&namespace).create(&dry, &probe).await.expect("admitted");
        (seen.spec.expect("spec").containers.len() == 2).then_some(())
    })
    .await;
    let serials = async || {
        let data = secrets(&lab).get("probelet-webhook-tls").await.expect("secret").data.expect("data");
        (data["ca.crt"].0.clone(), data["tls.crt"].0.clone())
    };
    let (mut last, mut authorities, mut certificates, mut pods) = (serials().await, 0, 0, 0_u32);
    let start = Instant::now();
    // A change of authority is a whole round: trusted, signing, forgotten.
    while authorities < 3 || certificates < 2 {
        assert!(start.elapsed() < Duration::from_secs(120), "{authorities} authorities, {certificates} certificates");
        for _ in 0..10 {
            pods += 1;
            // The registration says Fail: one refused handshake is an error here.
            let made = create(&lab.pods(&namespace), pod(&format!("p{pods}"))).await;
            assert_eq!(made.spec.expect("spec").containers.len(), 2, "Pod {pods} was not injected");
        }
        let now = serials().await;
        authorities += u32::from(now.0 != last.0);
        certificates += u32::from(now.1 != last.1);
        last = now;
    }
    println!("{pods} Pods over {authorities} bundles and {certificates} certificates in {:?}", start.elapsed());
}
