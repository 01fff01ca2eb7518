//! An edit that the node wrote into the volume.

use super::app::App;
use super::process::{Program, plan};
use super::stub::{Reply, Stub, pod};
use probelet_protocol::environment;
use serde_json::json;

/// Under a shield there are no looks, and of a watch that is forbidden nothing is heard.
#[tokio::test]
async fn an_edit_is_taken_up_where_the_watch_is_forbidden() {
    let app = App::start().await;
    let stub = Stub::start(pod(), |_, seen| match seen.line.starts_with("GET") {
        true => Reply::Status(403, "pods is forbidden", ""),
        false => Reply::Serve,
    })
    .await;
    let probe = json!({"tcpSocket": {"port": app.port}});
    let program = Program::start(&stub, &probe, &[(environment::OBSERVE, "watch"), (environment::SHIELD, "true")]);
    stub.until("marked", |pod| pod["status"]["conditions"][0]["type"] == "x.io/Up").await;
    let edited = plan(&probe).replace("x.io/Up", "x.io/Edited");
    stub.edit(|pod| {
        pod["metadata"]["annotations"] =
            json!({"kruise.io/podprobe": edited.clone(), "probelet.io/writes": "c:x.io/Edited,c:x.io/Up"});
    });
    program.write_volume(&edited);
    let types = |pod: &serde_json::Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().map(|condition| condition["type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    stub.until("edited", |pod| types(pod) == ["x.io/Edited"]).await;
}
