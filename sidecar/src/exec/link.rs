//! One connection from something that says it is an agent. It knows nothing of others; what it reads goes to the
//! listener, which decides.

use crate::frame::{Ending, Frame, VERSION};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How soon a connection must say who it is.
const HELLO: Duration = Duration::from_secs(5);

/// What a connection has to say; the number is the connection's own.
#[derive(Debug)]
pub(super) enum Event {
    /// It says that it is the agent of this container.
    Hello { link: u64, container: String, key: String },
    /// A run has ended.
    Result { link: u64, id: u32, ending: Ending },
    /// It is over; why, unless the other end just went away.
    Closed { link: u64, fault: Option<String> },
}

/// Serves a connection until either end closes it. Dropping the sender of `frames` closes it here.
pub(super) async fn serve(
    mut stream: UnixStream,
    link: u64,
    events: mpsc::Sender<Event>,
    mut frames: mpsc::Receiver<Vec<u8>>,
) {
    let fault = match converse(&mut stream, link, &events, &mut frames).await {
        Ok(()) => None,
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => None,
        Err(error) => Some(error.to_string()),
    };
    // The listener outlives its connections but at the very end.
    let _ = events.send(Event::Closed { link, fault }).await;
}

async fn converse(
    stream: &mut UnixStream,
    link: u64,
    events: &mpsc::Sender<Event>,
    frames: &mut mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let mut buffer = Vec::new();
    let hello = tokio::select! {
        hello = timeout(HELLO, next(&mut reader, &mut buffer)) => hello,
        // Closed here: nothing is sent before.
        _ = frames.recv() => return Ok(()),
    };
    match hello.map_err(|_| io::Error::other("no hello in time"))?? {
        Some(Frame::Hello { version: VERSION, container, key }) => {
            tell(events, Event::Hello { link, container, key }).await?
        }
        Some(Frame::Hello { version, .. }) => {
            return Err(io::Error::other(format!("agent speaks version {version}, this is {VERSION}")));
        }
        Some(_) => return Err(io::Error::other("first frame is no hello")),
        None => return Ok(()),
    }
    loop {
        tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => writer.write_all(&frame).await?,
                None => return Ok(()),
            },
            frame = next(&mut reader, &mut buffer) => match frame? {
                Some(Frame::Result { id, ending }) => tell(events, Event::Result { link, id, ending }).await?,
                // The agent takes commands, it never sends any.
                Some(_) => return Err(io::Error::other("frame is no result")),
                None => return Ok(()),
            },
        }
    }
}

async fn tell(events: &mpsc::Sender<Event>, event: Event) -> io::Result<()> {
    events.send(event).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// The next frame; `None` at the end. May be cancelled: what was read stays in `buffer`.
async fn next<R: AsyncReadExt + Unpin>(reader: &mut R, buffer: &mut Vec<u8>) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) = Frame::take(buffer).map_err(io::Error::other)? {
            return Ok(Some(frame));
        }
        if reader.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::Error::other("connection ends in a frame")) };
        }
    }
}
