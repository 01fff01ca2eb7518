//! When a connection was last of use, so that one that is not can be ended: hyper's own header timeout would also end a connection
//! that merely waits for its next request (hyperium/hyper:src/proto/h1/conn.rs, `poll_read_head`).

use super::Limits;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One connection's. Times are milliseconds on a clock that does not jump.
#[derive(Default)]
pub(super) struct Activity {
    open: AtomicUsize,
    seen: AtomicU64,
    last: AtomicU64,
    /// When a header began that is not whole yet, plus 1; 0: none.
    header: AtomicU64,
}

/// Counts a request as long as it lives.
pub(super) struct InHand(Arc<Activity>);

/// A stream whose headers are timed.
pub(super) struct Heard<S> {
    stream: S,
    activity: Arc<Activity>,
}

/// What is to be done with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again after this time.
    Keep(Duration),
    /// It was of use, and is not any more.
    Idle,
    /// It said nothing, or did not come to the end of a header.
    Stuck,
}

// === impl Activity ===

impl Activity {
    /// Starts with the connection.
    pub(super) fn new() -> Arc<Self> {
        let activity = Self::default();
        activity.touch();
        Arc::new(activity)
    }

    /// As if a request had just ended.
    pub(super) fn touch(&self) {
        self.last.store(millis(), Ordering::Relaxed);
    }

    /// By the limits, as things stand.
    pub(super) fn verdict(&self, limits: Limits) -> Verdict {
        let header = self.header.load(Ordering::Relaxed);
        if header > 0 {
            return left(limits.header, header - 1).map_or(Verdict::Stuck, Verdict::Keep);
        }
        if self.open.load(Ordering::Relaxed) > 0 {
            return Verdict::Keep(limits.idle);
        }
        let last = self.last.load(Ordering::Relaxed);
        match self.seen.load(Ordering::Relaxed) {
            0 => left(limits.header, last).map_or(Verdict::Stuck, Verdict::Keep),
            _ => left(limits.idle, last).map_or(Verdict::Idle, Verdict::Keep),
        }
    }

    fn heard(&self) {
        if self.open.load(Ordering::Relaxed) == 0 {
            let _ = self.header.compare_exchange(0, millis() + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// What is left of `limit` since `from`; `None`: nothing. Not less than 20 ms, lest it be looked at all the time.
fn left(limit: Duration, from: u64) -> Option<Duration> {
    let passed = Duration::from_millis(millis().saturating_sub(from));
    (passed < limit).then(|| (limit - passed).max(Duration::from_millis(20)))
}

// === impl InHand ===

impl InHand {
    /// A header is whole.
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::Relaxed);
        activity.seen.fetch_add(1, Ordering::Relaxed);
        activity.header.store(0, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.touch();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Heard ===

impl<S> Heard<S> {
    /// Times the headers that come by this stream.
    pub(super) fn new(stream: S, activity: &Arc<Activity>) -> Self {
        Self { stream, activity: Arc::clone(activity) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before {
            self.activity.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

fn millis() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}
