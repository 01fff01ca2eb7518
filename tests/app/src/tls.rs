//! HTTPS with a certificate that nobody signed, made as the program starts: kubelet takes any.

use crate::http;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Makes key and certificate.
pub(crate) fn config() -> Result<Arc<ServerConfig>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot make a certificate: {error}");
    let made = rcgen::generate_simple_self_signed(vec!["test-app".to_owned()]).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(|error| failed(&error))?;
    Ok(Arc::new(config))
}

/// Serves each connection on a thread of its own.
pub(crate) fn serve(listener: &TcpListener, config: &Arc<ServerConfig>, state: &Arc<http::State>) {
    for stream in listener.incoming().flatten() {
        let (config, state) = (Arc::clone(config), Arc::clone(state));
        std::thread::spawn(move || {
            stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
            let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
            http::connection(&mut stream, &state);
            stream.conn.send_close_notify();
            stream.conn.complete_io(&mut stream.sock).ok()
        });
    }
}
