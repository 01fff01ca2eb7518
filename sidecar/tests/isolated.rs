//! What the sidecar sends out of its Pod, and what becomes of it in a network that answers nothing. Each test starts this program
//! again, for itself alone, in network and mount namespaces of its own, where everything that leaves is counted.
//!
//! That takes root. Without it the tests are skipped, and say so.

#[path = "isolated/form.rs"]
mod form;
#[path = "isolated/net.rs"]
mod net;
#[path = "isolated/packet.rs"]
mod packet;
#[path = "isolated/resolver.rs"]
mod resolver;
#[path = "isolated/silence.rs"]
mod silence;

#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/app.rs"]
mod app;
#[path = "handler_grpc/server.rs"]
mod grpc;
#[expect(dead_code, reason = "written for the tests of httpGet")]
#[path = "handler_http/server.rs"]
mod server;
#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/sidecar.rs"]
mod sidecar;
#[expect(dead_code, reason = "written for the tests of the reporter")]
#[path = "reporter/stub.rs"]
mod stub;
