//! Certificates that somebody else keeps, mounted from a Secret. kubelet exchanges the whole directory by a symbolic
//! link, so files are read again by content; a watch on a file would miss it (fault F4).

use super::tls::Served;
use super::{CA_CERTIFICATE, CertificateError, PEM_BYTES, Parsed, SERVING_CERTIFICATE, SERVING_KEY, parse_bundle};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

/// How often the files are read.
pub const TICK: Duration = Duration::from_secs(2);

/// The files' content.
#[derive(PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
    bundle: Option<Vec<u8>>,
}

/// Serves what a directory holds.
pub struct Directory {
    path: PathBuf,
    served: Served,
    bundle: watch::Sender<Option<String>>,
    expiry: watch::Sender<Option<SystemTime>>,
    given: Option<String>,
    last: Option<Files>,
    complaint: Option<String>,
}

/// Why a directory's certificates are not used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// A file cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it holds is of no use.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

// === impl Directory ===

impl Directory {
    /// `bundle` gets `ca.crt`, where the directory has one.
    pub fn new(
        path: PathBuf,
        served: Served,
        bundle: watch::Sender<Option<String>>,
        expiry: watch::Sender<Option<SystemTime>>,
    ) -> Self {
        Self { path, served, bundle, expiry, given: None, last: None, complaint: None }
    }

    /// With the bundle for the registrations given from outside, whatever the folder has.
    pub fn signed_by(self, given: Option<String>) -> Self {
        Self { given, ..self }
    }

    /// Reads again and again until the process ends. A bad or half-written pair leaves the one before in use.
    pub async fn run(mut self, tick: Duration) {
        let mut ticks = tokio::time::interval(tick);
        loop {
            ticks.tick().await;
            match self.look() {
                Ok(()) => self.complaint = None,
                Err(error) => {
                    let complaint = error.to_string();
                    if self.complaint.as_ref() != Some(&complaint) {
                        warn!(directory = %self.path.display(), error = %complaint, "certificates before these stay in use");
                    }
                    self.complaint = Some(complaint);
                }
            }
        }
    }

    /// Reads once; serves what is new.
    ///
    /// # Errors
    /// [`DirectoryError`]; then nothing has changed.
    pub fn look(&mut self) -> Result<(), DirectoryError> {
        let files = Files::read(&self.path)?;
        if self.last.as_ref() == Some(&files) {
            return Ok(());
        }
        let parsed = Parsed::new(&files.chain, &files.key)?;
        if let Some(bundle) = &files.bundle {
            parse_bundle(bundle)?;
        }
        self.served.set(&parsed)?;
        let not_after = parsed.chain[0].not_after;
        let until = humantime::format_rfc3339_seconds(not_after);
        info!(directory = %self.path.display(), %until, "serving certificate in use");
        self.expiry.send_replace(Some(not_after));
        let found = files.bundle.as_deref().map(|bundle| String::from_utf8_lossy(bundle).into_owned());
        self.bundle.send_replace(Some(self.given.clone().or(found).unwrap_or_default()));
        self.last = Some(files);
        Ok(())
    }
}

impl Files {
    fn read(directory: &Path) -> Result<Self, DirectoryError> {
        // Through the link once, so that all three are of one generation.
        let directory = directory.join("..data").canonicalize().unwrap_or_else(|_| directory.to_owned());
        let read = |name| {
            let path = directory.join(name);
            capped(&path).map_err(|source| DirectoryError::Read { path, source })
        };
        let bundle = match capped(&directory.join(CA_CERTIFICATE)) {
            Ok(bundle) if bundle.is_empty() => None,
            Ok(bundle) => Some(bundle),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(DirectoryError::Read { path: directory.join(CA_CERTIFICATE), source }),
        };
        Ok(Self { chain: read(SERVING_CERTIFICATE)?, key: read(SERVING_KEY)?, bundle })
    }
}

fn capped(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(PEM_BYTES as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}
