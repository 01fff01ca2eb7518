//! HPACK (RFC 7541), as far as one request needs it. The settings that go ahead of the request forbid a dynamic table,
//! so an answer that refers to one is an error.

use super::huffman;

/// The headers of an answer that decide something. Others are passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) status: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) grpc_status: Option<String>,
    pub(crate) grpc_message: Option<String>,
}

/// A block that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HpackError;

/// Indexes of the static table that matter.
const STATUS: std::ops::RangeInclusive<usize> = 8..=14;
const STATUSES: [&str; 7] = ["200", "204", "206", "304", "400", "404", "500"];
const CONTENT_TYPE: usize = 31;
const STATIC: usize = 61;

/// `:method POST` and `:scheme http` by index, the rest spelled out.
pub(crate) fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            number(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn number(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        block.push(value as u8);
        return;
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

impl Fields {
    /// Reads a whole header block.
    ///
    /// # Errors
    /// [`HpackError`].
    pub(crate) fn decode(block: &[u8]) -> Result<Self, HpackError> {
        let mut fields = Self::default();
        let mut rest = Reader(block);
        while let Some(first) = rest.0.first().copied() {
            match first {
                // Indexed.
                128.. => match rest.number(7)? {
                    index if STATUS.contains(&index) => fields.status = Some(STATUSES[index - 8].to_owned()),
                    1..=STATIC => {}
                    _ => return Err(HpackError),
                },
                // Literal, to be indexed.
                64.. => rest.literal(6, &mut fields)?,
                // A new size of the table, which stays without use.
                32.. => drop(rest.number(5)?),
                // Literal.
                _ => rest.literal(4, &mut fields)?,
            }
        }
        Ok(fields)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, HpackError> {
        let (byte, rest) = self.0.split_first().ok_or(HpackError)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self, prefix: u32) -> Result<usize, HpackError> {
        let mask = (1_usize << prefix) - 1;
        let mut value = usize::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in [0, 7, 14] {
            let byte = usize::from(self.byte()?);
            value += (byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(HpackError)
    }

    fn string(&mut self) -> Result<Vec<u8>, HpackError> {
        let is_huffman = self.0.first().is_some_and(|byte| byte & 128 != 0);
        let length = self.number(7)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(HpackError)?;
        self.0 = rest;
        if is_huffman { huffman::decode(bytes).ok_or(HpackError) } else { Ok(bytes.to_vec()) }
    }

    fn literal(&mut self, prefix: u32, fields: &mut Fields) -> Result<(), HpackError> {
        let index = self.number(prefix)?;
        let spelled;
        let name: &[u8] = match index {
            0 => {
                spelled = self.string()?;
                &spelled
            }
            index if STATUS.contains(&index) => b":status",
            CONTENT_TYPE => b"content-type",
            1..=STATIC => b"",
            _ => return Err(HpackError),
        };
        let value = self.string()?;
        let field = match name {
            b":status" => &mut fields.status,
            b"content-type" => &mut fields.content_type,
            b"grpc-status" => &mut fields.grpc_status,
            b"grpc-message" => &mut fields.grpc_message,
            _ => return Ok(()),
        };
        *field = Some(String::from_utf8_lossy(&value).into_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let long = "x".repeat(1000);
        let block = encode(&[(":status", "200"), ("content-type", &long), ("a", ""), ("grpc-status", "5")]);
        let fields = Fields::decode(&block).expect("block");
        assert_eq!((fields.status.as_deref(), fields.content_type.as_deref()), (Some("200"), Some(long.as_str())));
        assert_eq!((fields.grpc_status.as_deref(), fields.grpc_message), (Some("5"), None));
    }

    #[test]
    fn every_representation_is_read() {
        for (block, status) in [
            (&[0x88][..], Some("200")),
            (&[0x8d], Some("404")),
            (&[0x20, 0x88], Some("200")),
            (&[0x3f, 0xe1, 0x1f, 0x88], Some("200")),
            // 302 in Huffman's code: to be indexed, not, never.
            (&[0x48, 0x82, 0x64, 0x02], Some("302")),
            (&[0x08, 0x82, 0x64, 0x02], Some("302")),
            (&[0x18, 0x03, b'3', b'0', b'2'], Some("302")),
            (&[0xbd], None),
        ] {
            assert_eq!(Fields::decode(block).expect("block").status.as_deref(), status, "{block:x?}");
        }
    }

    #[test]
    fn a_dynamic_table_and_broken_blocks_are_refused() {
        for block in [
            &[0xbe][..],
            &[0x80],
            &[0x7e, 0],
            &[0x48, 0x05, 0],
            &[0x48],
            &[0x00, 0x81, 0x00, 0],
            &[0xff, 255, 255, 255, 255],
        ] {
            assert_eq!(Fields::decode(block), Err(HpackError), "{block:x?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fields::decode(&block);
        }
    }
}
