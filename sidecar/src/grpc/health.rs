//! The two messages of grpc.health.v1 `Health/Check` (grpc/grpc-proto:grpc/health/v1/health.proto).

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServingStatus(pub(crate) u64);

impl ServingStatus {
    pub(crate) const SERVING: Self = Self(1);
}

impl std::fmt::Display for ServingStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("UNKNOWN"),
            1 => f.write_str("SERVING"),
            2 => f.write_str("NOT_SERVING"),
            3 => f.write_str("SERVICE_UNKNOWN"),
            // An enum is an int32.
            other => write!(f, "{}", other as i32),
        }
    }
}

/// `HealthCheckRequest`: field 1, the service's name.
pub(crate) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 128 {
            message.push(length as u8 | 128);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(service.as_bytes());
    }
    message
}

/// `HealthCheckResponse`: field 1, the status; other fields are passed over. `None` where it is no message.
pub(crate) fn response(mut message: &[u8]) -> Option<ServingStatus> {
    let mut status = ServingStatus(0);
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => status = ServingStatus(varint(&mut message)?),
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_have_their_wire_form() {
        assert_eq!(request(""), b"");
        assert_eq!(request("ab"), b"\x0a\x02ab");
        assert_eq!(&request(&"x".repeat(200))[..3], b"\x0a\xc8\x01");
        for (message, expected) in [
            (&b""[..], Some("UNKNOWN")),
            (b"\x08\x01", Some("SERVING")),
            (b"\x08\x02", Some("NOT_SERVING")),
            (b"\x12\x03abc\x08\x01\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0", Some("SERVING")),
            (b"\x08\x07", Some("7")),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some("-1")),
            (b"\x08", None),
            (b"\x0a\x05ab", None),
            (b"\x0b", None),
        ] {
            assert_eq!(response(message).map(|status| status.to_string()).as_deref(), expected, "{message:x?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(message in proptest::collection::vec(any::<u8>(), 0..99)) {
            let _ = response(&message);
        }
    }
}
