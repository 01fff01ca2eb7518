//! The Huffman code of HPACK (RFC 7541, appendix B). It is canonical, so the lengths say everything.

/// Bits of each byte's code. The end-of-string symbol, of 30 ones, must not occur.
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
];
const LONGEST: usize = 30;

/// How many codes there are of each length.
const COUNTS: [u8; LONGEST + 1] = {
    let mut counts = [0; LONGEST + 1];
    let mut byte = 0;
    while byte < 256 {
        counts[BITS[byte] as usize] += 1;
        byte += 1;
    }
    counts
};

/// The bytes in the order of their codes.
const ORDER: [u8; 256] = {
    let mut order = [0; 256];
    let (mut at, mut bits) = (0, 0);
    while bits <= LONGEST {
        let mut byte = 0;
        while byte < 256 {
            if BITS[byte] as usize == bits {
                order[at] = byte as u8;
                at += 1;
            }
            byte += 1;
        }
        bits += 1;
    }
    order
};

/// The text behind these bytes; `None` where they are no such code.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len() * 8 / 5);
    // `code` is compared with the codes of the current length: `first` is the lowest of them, at `start` in the order.
    let (mut code, mut first, mut start, mut bits) = (0_u32, 0_u32, 0_usize, 0_usize);
    for byte in bytes {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            first <<= 1;
            bits += 1;
            if bits > LONGEST {
                return None;
            }
            let count = u32::from(COUNTS[bits]);
            if code < first + count {
                text.push(ORDER[start + (code - first) as usize]);
                (code, first, start, bits) = (0, 0, 0, 0);
            } else {
                first += count;
                start += count as usize;
            }
        }
    }
    // What is left pads the last byte: fewer than 8 bits, all ones.
    (bits < 8 && code == (1 << bits) - 1).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, appendix C.
    #[test]
    fn the_standards_examples_decode() {
        for (hex, expected) in [
            ("", ""),
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com"),
        ] {
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|index| u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).expect("hex"))
                .collect();
            assert_eq!(decode(&bytes).as_deref(), Some(expected.as_bytes()));
        }
    }

    #[test]
    fn wrong_padding_and_the_end_symbol_are_refused() {
        for bytes in [&[0xff_u8][..], &[0xff; 4], &[0xff; 9], &[0b0000_0000]] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }
}
