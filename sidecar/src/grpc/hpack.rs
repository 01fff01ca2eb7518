//! HPACK (RFC 7541), as far as one request needs it. The settings that go ahead of the request ask for no dynamic table; a server
//! that uses one all the same is understood.

use super::huffman;

/// The headers of an answer that decide something. Others are passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) status: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) grpc_status: Option<String>,
    pub(crate) grpc_message: Option<String>,
}

/// The dynamic table of a connection, the newest entry last. Other fields' values are left out, and so are changes of its size: the
/// server drops from the old end, and refers to nothing that it has dropped.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<(Name, Vec<u8>)>,
}

/// A field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Status,
    ContentType,
    GrpcStatus,
    GrpcMessage,
    Other,
}

/// A block that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HpackError;

/// Indexes of the static table that matter.
const STATUS: std::ops::RangeInclusive<usize> = 8..=14;
const STATUSES: [&str; 7] = ["200", "204", "206", "304", "400", "404", "500"];
const CONTENT_TYPE: usize = 31;
const STATIC: usize = 61;
/// Size of the dynamic table where nothing else is agreed on, and what each entry takes of it beyond its text.
const TABLE: usize = 4096;
const ENTRY: usize = 32;

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

// === impl Fields ===

impl Fields {
    fn set(&mut self, name: Name, value: &[u8]) {
        let field = match name {
            Name::Status => &mut self.status,
            Name::ContentType => &mut self.content_type,
            Name::GrpcStatus => &mut self.grpc_status,
            Name::GrpcMessage => &mut self.grpc_message,
            Name::Other => return,
        };
        *field = Some(String::from_utf8_lossy(value).into_owned());
    }
}

// === impl Table ===

impl Table {
    /// Reads the connection's next header block, which is whole.
    ///
    /// # Errors
    /// [`HpackError`].
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Fields, HpackError> {
        let mut fields = Fields::default();
        let mut rest = Reader(block);
        while let Some(first) = rest.0.first().copied() {
            match first {
                // Indexed.
                128.. => match rest.number(7)? {
                    index if STATUS.contains(&index) => fields.set(Name::Status, STATUSES[index - 8].as_bytes()),
                    1..=STATIC => {}
                    index => {
                        let (name, value) = self.entry(index)?;
                        fields.set(*name, value);
                    }
                },
                // Literal, to be indexed.
                64.. => {
                    let (name, value) = self.literal(6, &mut rest)?;
                    fields.set(name, &value);
                    self.add(name, value);
                }
                // A new size of the table.
                32.. => drop(rest.number(5)?),
                // Literal.
                _ => {
                    let (name, value) = self.literal(4, &mut rest)?;
                    fields.set(name, &value);
                }
            }
        }
        Ok(fields)
    }

    fn literal(&self, prefix: u32, rest: &mut Reader<'_>) -> Result<(Name, Vec<u8>), HpackError> {
        let name = match rest.number(prefix)? {
            0 => match rest.string()?.as_slice() {
                b":status" => Name::Status,
                b"content-type" => Name::ContentType,
                b"grpc-status" => Name::GrpcStatus,
                b"grpc-message" => Name::GrpcMessage,
                _ => Name::Other,
            },
            index if STATUS.contains(&index) => Name::Status,
            CONTENT_TYPE => Name::ContentType,
            1..=STATIC => Name::Other,
            index => self.entry(index)?.0,
        };
        Ok((name, rest.string()?))
    }

    fn add(&mut self, name: Name, value: Vec<u8>) {
        self.entries.push((name, if name == Name::Other { Vec::new() } else { value }));
        while self.entries.iter().map(|(_, value)| ENTRY + value.len()).sum::<usize>() > TABLE {
            self.entries.remove(0);
        }
    }

    fn entry(&self, index: usize) -> Result<&(Name, Vec<u8>), HpackError> {
        let place = index.checked_sub(STATIC).and_then(|back| self.entries.len().checked_sub(back));
        place.and_then(|place| self.entries.get(place)).ok_or(HpackError)
    }
}

// === impl Reader ===

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let long = "x".repeat(1000);
        let block = encode(&[(":status", "200"), ("content-type", &long), ("a", ""), ("grpc-status", "5")]);
        let fields = Table::default().decode(&block).expect("block");
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
            assert_eq!(Table::default().decode(block).expect("block").status.as_deref(), status, "{block:x?}");
        }
    }

    #[test]
    fn a_dynamic_table_is_read_although_it_was_not_asked_for() {
        let text = |first: u8, name: &str, value: &str| {
            let mut block = vec![first];
            for text in [name, value].into_iter().filter(|text| !text.is_empty()) {
                number(&mut block, text.len());
                block.extend(text.as_bytes());
            }
            block
        };
        let mut table = Table::default();
        let kind = text(0x5f, "", "application/grpc");
        let headers = [vec![0x88], kind, text(0x40, "x-other", "y"), text(0x40, "grpc-status", "5")].concat();
        assert_eq!(table.decode(&headers).expect("block").grpc_status.as_deref(), Some("5"));
        for (block, status, kind) in [
            (vec![0xbe, 0xbf], Some("5"), None),
            (vec![0xc0], None, Some("application/grpc")),
            // A name of the table, with a value that goes into it; it is the first one then.
            (text(0x7e, "", "7"), Some("7"), None),
            (vec![0xbe], Some("7"), None),
            (vec![0xbf], Some("5"), None),
        ] {
            let fields = table.decode(&block).expect("block");
            assert_eq!((fields.grpc_status.as_deref(), fields.content_type.as_deref()), (status, kind), "{block:x?}");
        }
        assert_eq!(table.decode(&[0xc2]), Err(HpackError), "four are there");
        for _ in 0..1000 {
            table.decode(&text(0x40, "grpc-message", &"x".repeat(100))).expect("block");
        }
        assert_eq!(table.entries.len(), TABLE / (ENTRY + 100));
        table.decode(&text(0x40, "grpc-message", &"x".repeat(TABLE))).expect("block");
        assert!(table.entries.is_empty());
    }

    #[test]
    fn broken_blocks_are_refused() {
        for block in [
            &[0xbe][..],
            &[0x80],
            &[0x7e, 0],
            &[0x48, 0x05, 0],
            &[0x48],
            &[0x00, 0x81, 0x00, 0],
            &[0xff, 255, 255, 255, 255],
        ] {
            assert_eq!(Table::default().decode(block), Err(HpackError), "{block:x?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut table = Table::default();
            let _ = table.decode(&block);
            let _ = table.decode(&block);
        }
    }
}
