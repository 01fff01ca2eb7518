//! What sidecar and exec agent say to each other over their unix socket. A frame is its length (4 bytes, little
//! endian), a kind (1 byte) and its fields: numbers little endian, byte strings with a length of 2 bytes. Pure, and
//! without allocation beyond the frame's own limit, since both ends take the other for hostile (threat T6).

/// Most bytes of a frame, its length not counted.
pub const FRAME: usize = 16 * 1024;
/// Version that a hello carries.
pub const VERSION: u8 = 1;
/// Most bytes of each output that are sent along: a little more than a message may have, so that it can be cut between
/// characters. The agent reads on to the end, so that no command blocks.
pub const OUTPUT: usize = 1028;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// From the agent, first and once.
    Hello {
        /// [`VERSION`].
        version: u8,
        /// The container that the agent is in.
        container: String,
        /// What proves it.
        key: String,
    },
    /// From the sidecar.
    Run {
        /// Chosen by the sidecar; the result carries it.
        id: u32,
        /// Milliseconds until the process group is killed.
        timeout: u32,
        /// Program and arguments, before `$(VAR)` expansion.
        command: Vec<String>,
    },
    /// From the agent, once per run.
    Result {
        /// The run's.
        id: u32,
        /// How it ended.
        ending: Ending,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited {
        /// Exit code.
        code: u8,
        /// Start of standard output.
        stdout: Vec<u8>,
        /// Start of standard error.
        stderr: Vec<u8>,
    },
    /// By a signal that was not the agent's.
    Killed {
        /// Signal number.
        signal: u8,
        /// Start of standard error.
        stderr: Vec<u8>,
    },
    /// Killed by the agent, with its group.
    TimedOut,
    /// Never started; why.
    CannotStart(String),
}

/// Why bytes are no frame; the connection is of no use after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than [`FRAME`], or empty.
    Length(u32),
    /// A kind that does not exist.
    Kind(u8),
    /// Fields end too early or too late, or are no UTF-8.
    Malformed,
}

// === impl FrameError ===

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length(length) => write!(f, "frame of {length} bytes, between 1 and {FRAME} are allowed"),
            Self::Kind(kind) => write!(f, "unknown frame kind {kind}"),
            Self::Malformed => f.write_str("malformed frame"),
        }
    }
}

impl std::error::Error for FrameError {}

// === impl Frame ===

impl Frame {
    /// The frame's bytes, its length first. Strings beyond 65535 bytes and frames beyond [`FRAME`] cannot be sent;
    /// [`probelet_protocol::limit`] keeps commands below both.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(vec![0; 4]);
        match self {
            Self::Hello { version, container, key } => {
                out.0.extend([1, *version]);
                out.string(container.as_bytes());
                out.string(key.as_bytes());
            }
            Self::Run { id, timeout, command } => {
                out.0.push(2);
                out.0.extend(id.to_le_bytes());
                out.0.extend(timeout.to_le_bytes());
                for argument in command {
                    out.string(argument.as_bytes());
                }
            }
            Self::Result { id, ending } => {
                out.0.push(3);
                out.0.extend(id.to_le_bytes());
                out.ending(ending);
            }
        }
        let length = u32::try_from(out.0.len() - 4).unwrap_or(u32::MAX);
        out.0[..4].copy_from_slice(&length.to_le_bytes());
        out.0
    }

    /// Takes the first frame off `buffer`; `None` where it is not whole yet.
    ///
    /// # Errors
    /// [`FrameError`], as soon as it is certain.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, FrameError> {
        let Some((length, rest)) = buffer.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        let size = length as usize;
        if size == 0 || size > FRAME {
            return Err(FrameError::Length(length));
        }
        if rest.len() < size {
            return Ok(None);
        }
        let frame = Self::decode(&rest[..size])?;
        buffer.drain(..4 + size);
        Ok(Some(frame))
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Reader(bytes);
        let frame = match fields.byte()? {
            1 => Self::Hello { version: fields.byte()?, container: fields.text()?, key: fields.text()? },
            2 => {
                let (id, timeout) = (fields.number()?, fields.number()?);
                let mut command = Vec::new();
                while !fields.0.is_empty() {
                    command.push(fields.text()?);
                }
                Self::Run { id, timeout, command }
            }
            3 => Self::Result { id: fields.number()?, ending: fields.ending()? },
            kind => return Err(FrameError::Kind(kind)),
        };
        if fields.0.is_empty() { Ok(frame) } else { Err(FrameError::Malformed) }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn string(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
        self.0.extend((bytes.len() as u16).to_le_bytes());
        self.0.extend(bytes);
    }

    fn ending(&mut self, ending: &Ending) {
        match ending {
            Ending::Exited { code, stdout, stderr } => {
                self.0.extend([0, *code]);
                self.string(stdout);
                self.string(stderr);
            }
            Ending::Killed { signal, stderr } => {
                self.0.extend([1, *signal]);
                self.string(stderr);
            }
            Ending::TimedOut => self.0.push(2),
            Ending::CannotStart(why) => {
                self.0.push(3);
                self.string(why.as_bytes());
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, FrameError> {
        let (byte, rest) = self.0.split_first().ok_or(FrameError::Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u32, FrameError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(FrameError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn string(&mut self) -> Result<Vec<u8>, FrameError> {
        let (length, rest) = self.0.split_first_chunk().ok_or(FrameError::Malformed)?;
        let (bytes, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or(FrameError::Malformed)?;
        self.0 = rest;
        Ok(bytes.to_vec())
    }

    fn text(&mut self) -> Result<String, FrameError> {
        String::from_utf8(self.string()?).map_err(|_| FrameError::Malformed)
    }

    fn ending(&mut self) -> Result<Ending, FrameError> {
        Ok(match self.byte()? {
            0 => Ending::Exited { code: self.byte()?, stdout: self.string()?, stderr: self.string()? },
            1 => Ending::Killed { signal: self.byte()?, stderr: self.string()? },
            2 => Ending::TimedOut,
            3 => Ending::CannotStart(self.text()?),
            _ => return Err(FrameError::Malformed),
        })
    }
}

#[cfg(test)]
mod tests;
