use super::*;
use probelet_protocol::limit;
use proptest::prelude::*;

fn ending() -> impl Strategy<Value = Ending> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..OUTPUT);
    prop_oneof![
        (any::<u8>(), bytes(), bytes()).prop_map(|(code, stdout, stderr)| Ending::Exited { code, stdout, stderr }),
        (any::<u8>(), bytes()).prop_map(|(signal, stderr)| Ending::Killed { signal, stderr }),
        Just(Ending::TimedOut),
        ".{0,100}".prop_map(Ending::CannotStart),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (any::<u8>(), ".{0,63}", ".{0,64}").prop_map(|(version, container, key)| Frame::Hello {
            version,
            container,
            key
        }),
        (any::<u32>(), any::<u32>(), proptest::collection::vec(".{0,20}", 0..9))
            .prop_map(|(id, timeout, command)| Frame::Run { id, timeout, command }),
        (any::<u32>(), ending()).prop_map(|(id, ending)| Frame::Result { id, ending }),
    ]
}

proptest! {
    #[test]
    fn frames_are_read_back_in_pieces(frames in proptest::collection::vec(frame(), 1..4), piece in 1_usize..2000) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        let (mut buffer, mut read) = (Vec::new(), Vec::new());
        for part in bytes.chunks(piece) {
            buffer.extend(part);
            while let Some(frame) = Frame::take(&mut buffer).expect("frame") {
                read.push(frame);
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn garbage_never_panics(mut buffer in proptest::collection::vec(any::<u8>(), 0..200)) {
        while let Ok(Some(_)) = Frame::take(&mut buffer) {}
    }

    #[test]
    fn garbage_of_the_right_length_never_panics(kind in 0_u8..5, rest in proptest::collection::vec(any::<u8>(), 0..99)) {
        let mut buffer = u32::try_from(rest.len() + 1).expect("short").to_le_bytes().to_vec();
        buffer.push(kind);
        buffer.extend(&rest);
        let _ = Frame::take(&mut buffer);
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_it_is_read() {
    for length in [0, FRAME as u32 + 1, u32::MAX] {
        assert_eq!(Frame::take(&mut length.to_le_bytes().to_vec()), Err(FrameError::Length(length)));
    }
}

#[test]
fn the_longest_command_fits() {
    let mut command = vec![String::new(); limit::COMMAND_ARGUMENTS];
    command[0] = "x".repeat(limit::COMMAND_BYTES);
    assert!(Frame::Run { id: 1, timeout: 1, command }.encode().len() <= FRAME);
}
