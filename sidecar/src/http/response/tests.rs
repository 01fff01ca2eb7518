use super::*;
use proptest::prelude::*;

/// An answer that comes in pieces of this many bytes.
async fn read(answer: &[u8], piece: usize) -> Result<(u16, String), ReadError> {
    let mut reader = Reader::new(Pieces(answer, piece));
    let head = reader.head().await?;
    let body = reader.body(&head).await?;
    Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
}

struct Pieces<'a>(&'a [u8], usize);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let count = self.1.min(self.0.len()).min(buffer.remaining());
        let (now, later) = self.0.split_at(count);
        buffer.put_slice(now);
        self.0 = later;
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn answers_are_read_as_go_reads_them() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokMORE", (200, "ok")),
        ("HTTP/1.1 200 OK\nContent-Length:2\n\nok", (200, "ok")),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", (200, "to the end")),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nto the end", (200, "to the end")),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", (200, "")),
        ("HTTP/1.1 204 No Content\r\n\r\nnever read", (204, "")),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", (304, "")),
        (
            "HTTP/1.1 299 x\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n02\r\nde\r\n0\r\nT: r\r\n\r\n",
            (299, "abcde"),
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            (200, "x"),
        ),
        ("HTTP/1.1 101 Switching\r\n\r\n", (101, "")),
        ("HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", (999, "")),
        ("HTTP/1.1 200 OK\r\nA: 1\r\n folded: 2\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", (200, "x")),
        ("HTTP/1.9 200 OK\r\nContent-Length: 1\r\n\r\nx", (200, "x")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", (200, "x")),
    ] {
        for piece in [1, 2, 7, 4096] {
            let got = read(answer.as_bytes(), piece).await.expect(answer);
            assert_eq!((got.0, got.1.as_str()), expected, "{answer:?} by {piece}");
        }
    }
}

#[tokio::test]
async fn broken_answers_are_told_in_gos_words() {
    const BROKEN: &str = "net/http: HTTP/1.x transport connection broken: ";
    for (answer, expected) in [
        ("", "EOF".to_owned()),
        ("HTTP/1.1 200 OK\r\nA: b", format!("{BROKEN}unexpected EOF")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "unexpected EOF".into()),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "unexpected EOF".into()),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "invalid byte in chunk length".into()),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "malformed chunked encoding".into()),
        ("garbage", format!("{BROKEN}malformed HTTP response \"garbage\"")),
        (
            "\x15\x03\x01\x00\x02\x02\x16",
            format!("{BROKEN}malformed HTTP response {:?}", "\x15\x03\x01\x00\x02\x02\x16"),
        ),
        ("SSH-2.0-x y\r\n", format!("{BROKEN}malformed HTTP status code \"y\"")),
        ("HTTP/1.1 20 OK\r\n\r\n", format!("{BROKEN}malformed HTTP status code \"20\"")),
        ("HTTP/1.1 +20 OK\r\n\r\n", format!("{BROKEN}malformed HTTP status code \"+20\"")),
        ("HTTP/11 200 OK\r\n\r\n", format!("{BROKEN}malformed HTTP version \"HTTP/11\"")),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", format!("{BROKEN}malformed MIME header: missing colon: \"no colon\"")),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", format!("{BROKEN}bad Content-Length \"-1\"")),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            format!("{BROKEN}http: message cannot contain multiple Content-Length headers; got [\"1\" \"2\"]"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            format!("{BROKEN}unsupported transfer encoding: \"gzip\""),
        ),
    ] {
        for piece in [1, 4096] {
            assert_eq!(read(answer.as_bytes(), piece).await.expect_err(answer).to_string(), expected, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_body_is_read_to_its_limit_and_no_further() {
    for head in ["Content-Length: 20000", "X: y"] {
        let answer = [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").into_bytes(), vec![b'a'; 20_000]].concat();
        let mut reader = Reader::new(Pieces(&answer, 1000));
        let head = reader.head().await.expect("head");
        let body = reader.body(&head).await.expect("body");
        assert_eq!(body, vec![b'a'; KEPT]);
        let read = 20_000 - reader.stream.0.len();
        assert!((BODY..BODY + 2048).contains(&read), "{read}");
    }
    // A break after the limit is never seen.
    let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n".to_vec(), vec![b'a'; BODY]].concat();
    assert!(read(&answer, 512).await.is_ok());
}

#[tokio::test]
async fn an_endless_head_ends() {
    for (first, cycle) in [
        ("HTTP/1.1 200 OK\r\n", "A: header\r\n"),
        ("HTTP/1.1 200 OK\r\nA: ", "no end to this line "),
        ("", "HTTP/1.1 100 Go\r\n\r\n"),
    ] {
        let mut reader = Reader::new(Flood { rest: first.as_bytes(), cycle: cycle.as_bytes() });
        let error = reader.head().await.expect_err("endless");
        assert!(matches!(error, ReadError::Endless), "{error}");
        assert!(reader.buffer.capacity() < 16 * 1024);
    }
}

struct Flood {
    rest: &'static [u8],
    cycle: &'static [u8],
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        while buffer.remaining() > 0 {
            if self.rest.is_empty() {
                self.rest = self.cycle;
            }
            buffer.put_slice(&self.rest[..1]);
            self.rest = &self.rest[1..];
        }
        std::task::Poll::Ready(Ok(()))
    }
}

proptest! {
    #[test]
    fn no_answer_panics(answer in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let _ = runtime.block_on(read(&answer, piece));
        let headed = [b"HTTP/1.1 200 OK\r\n".as_slice(), &answer].concat();
        let _ = runtime.block_on(read(&headed, piece));
    }
}
