//! What an endpoint says over HTTP/1, message by message, out of the octets that have come.
//!
//! Not how they come: that is `connection`'s.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::head::{self, Asked, Framing, Head, MOST_OCTETS};
use crate::http1::{Content, Heads, Piece};
use crate::streams::Malformed;
use crate::upstream::interim::MOST_INTERIM;

/// How far the response is.
#[derive(Debug)]
pub struct Reading {
    at: At,
    asked: Asked,
    heads: Heads,
    interim: u32,
}

#[derive(Debug)]
enum At {
    Head,
    Content(Content),
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// An interim response.
    Interim(Head),
    /// The response's head.
    Head(Head),
    /// Octets of its body.
    Data(Bytes),
    /// It has ended, with these trailers.
    End(Option<HeaderMap>),
    /// It does not show yet.
    Short,
}

// === impl Reading ===

impl Default for Reading {
    fn default() -> Self {
        let heads = Heads::new(MOST_OCTETS);
        Self { at: At::Content(Content::End), asked: Asked::default(), heads, interim: 0 }
    }
}

impl Reading {
    /// The response to a request that has asked for this comes next.
    pub fn begin(&mut self, asked: Asked) {
        (self.at, self.asked, self.interim) = (At::Head, asked, 0);
    }

    /// Takes what comes next out of `read`; a head's fields go into `map`, which is empty.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next(&mut self, read: &mut BytesMut, map: &mut HeaderMap) -> Result<Step, Malformed> {
        if let At::Content(content) = &mut self.at {
            return Ok(match content.next(read)? {
                Piece::Data(data) => Step::Data(data),
                Piece::End(trailers) => Step::End(trailers),
                Piece::Short => Step::Short,
            });
        }
        let Some(head) = head::next(&mut self.heads, read, self.asked, map)? else {
            return Ok(Step::Short);
        };
        if head.framing == Framing::None && head.status.is_informational() {
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                return Err(Malformed("interim responses without end"));
            }
            return Ok(Step::Interim(head));
        }
        self.at = At::Content(match head.framing {
            Framing::None | Framing::Upgrade => Content::End,
            Framing::Length(length) => Content::of_length(length),
            Framing::Chunked => Content::chunked(),
            Framing::Close => Content::Close,
        });
        Ok(Step::Head(head))
    }

    /// The connection has ended: whether the response has, too.
    pub fn close(&mut self) -> bool {
        match &mut self.at {
            At::Head => false,
            At::Content(content) => content.close(),
        }
    }

    /// Whether all of the response has been taken out.
    pub fn has_ended(&self) -> bool {
        matches!(self.at, At::Content(Content::End))
    }

    /// Octets that are still to come, if that is known.
    pub fn left(&self) -> Option<u64> {
        match &self.at {
            At::Head => None,
            At::Content(content) => content.left(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// All that is said in `parts`, in words that do not tell where the reads ended; whether the connection
    /// could be used again.
    fn told(parts: &[&[u8]], asked: Asked, ends: bool) -> Result<(String, bool), Malformed> {
        use std::fmt::Write as _;
        let (mut reading, mut read, mut body) = (Reading::default(), BytesMut::new(), Vec::new());
        let (mut said, mut keep) = (String::new(), false);
        reading.begin(asked);
        let mut parts = parts.iter();
        loop {
            match reading.next(&mut read, &mut HeaderMap::new())? {
                Step::Interim(head) => write!(said, "{} ", head.status.as_u16()).unwrap(),
                Step::Head(head) => {
                    let (status, fields) = (head.status.as_u16(), head.headers);
                    write!(said, "{status} {fields:?} {:?} ", head.framing).unwrap();
                    keep = head.keep_alive;
                    if reading.has_ended() {
                        break;
                    }
                }
                Step::Data(data) => body.extend_from_slice(&data),
                Step::End(trailers) => {
                    write!(said, "{trailers:?} ").unwrap();
                    break;
                }
                Step::Short => match parts.next() {
                    Some(part) => read.extend_from_slice(part),
                    None if ends && reading.close() => break,
                    None => return Err(Malformed("cut")),
                },
            }
            if reading.has_ended() {
                break;
            }
        }
        let rest: usize = parts.map(|part| part.len()).sum();
        write!(said, "{:?} +{}", String::from_utf8_lossy(&body), rest + read.len()).unwrap();
        Ok((said, keep))
    }

    const SAMPLES: [&str; 7] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
        "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "\r\nHTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 404 Gone Fishing\r\nX: \r\nX: \t a b \t\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
    ];

    #[test]
    fn a_response_is_read_the_same_wherever_reads_end() {
        for sample in SAMPLES {
            let said = [sample, "HTTP/1.1 999 next"].concat();
            let said = said.as_bytes();
            let whole = told(&[said], Asked::default(), false).unwrap();
            assert!(whole.0.ends_with("+17"), "{}", whole.0);
            for cut in 0..said.len() {
                if cut < sample.len() {
                    assert!(told(&[&said[..cut]], Asked::default(), true).is_err(), "{cut}");
                }
                for other in cut..said.len() {
                    let parts = [&said[..cut], &said[cut..other], &said[other..]];
                    let told = told(&parts, Asked::default(), false);
                    assert_eq!(told.as_ref(), Ok(&whole), "{sample:?}: {cut}, {other}");
                }
            }
            let each: Vec<&[u8]> = said.chunks(1).collect();
            assert_eq!(told(&each, Asked::default(), false), Ok(whole));
        }
    }

    #[test]
    fn a_body_without_length_ends_with_the_connection_and_no_other_one_does() {
        let close = b"HTTP/1.1 200 OK\r\n\r\nhello";
        let (said, keep) = told(&[close], Asked::default(), true).unwrap();
        assert!(said.ends_with("\"hello\" +0") && !keep, "{said}");
        let short = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello";
        assert!(told(&[short], Asked::default(), true).is_err());
    }

    #[test]
    fn interim_responses_without_end_are_an_error() {
        let hint = "HTTP/1.1 103 Early Hints\r\n\r\n";
        let end = "HTTP/1.1 204 No Content\r\n\r\n";
        let most = [hint.repeat(100), end.to_owned()].concat();
        assert!(told(&[most.as_bytes()], Asked::default(), false).is_ok());
        let more = [hint.repeat(101), end.to_owned()].concat();
        assert!(told(&[more.as_bytes()], Asked::default(), false).is_err());
    }

    /// What hyper makes of the response, in the same words.
    async fn hypers(said: Vec<u8>, cut: usize) -> Option<String> {
        let (mut server, client) = tokio::io::duplex(1 << 16);
        let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
        let driving = tokio::spawn(connection);
        let request = http::Request::get("/").body(http_body_util::Empty::<Bytes>::new()).unwrap();
        let answering = async {
            let cut = cut.min(said.len());
            assert!(server.read(&mut [0; 1024]).await.unwrap() > 0);
            // Who has heard enough closes.
            let _ = server.write_all(&said[..cut]).await;
            tokio::task::yield_now().await;
            let _ = server.write_all(&said[cut..]).await;
            drop(server);
        };
        let (response, ()) = tokio::join!(sender.send_request(request), answering);
        let (head, body) = response.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        let trailers = body.trailers().cloned();
        let body = body.to_bytes();
        driving.abort();
        let (status, fields) = (head.status.as_u16(), head.headers);
        Some(format!("{status} {fields:?} {trailers:?} {:?}", String::from_utf8_lossy(&body)))
    }

    fn ours(said: &[u8], cut: usize) -> Option<String> {
        let (mut reading, mut read, mut body) = (Reading::default(), BytesMut::new(), Vec::new());
        reading.begin(Asked::default());
        let (mut line, mut trailers) = (String::new(), None);
        let mut parts = [&said[..cut.min(said.len())], &said[cut.min(said.len())..]].into_iter();
        while !reading.has_ended() {
            match reading.next(&mut read, &mut HeaderMap::new()).ok()? {
                Step::Interim(_) => {}
                Step::Head(head) => line = format!("{} {:?}", head.status.as_u16(), head.headers),
                Step::Data(data) => body.extend_from_slice(&data),
                Step::End(fields) => trailers = fields,
                Step::Short => match parts.next() {
                    Some(part) => read.extend_from_slice(part),
                    None if reading.close() => {}
                    None => return None,
                },
            }
        }
        Some(format!("{line} {trailers:?} {:?}", String::from_utf8_lossy(&body)))
    }

    fn framed(body: &str, kind: u8, sizes: &[usize]) -> String {
        match kind % 3 {
            0 => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            1 => format!("Connection: close\r\n\r\n{body}"),
            _ => {
                let (mut said, mut rest) = ("Transfer-Encoding: chunked\r\n\r\n".to_owned(), body);
                for size in sizes {
                    let (chunk, after) = rest.split_at((*size).min(rest.len()));
                    if !chunk.is_empty() {
                        said.push_str(&format!("{:x};e=1\r\n{chunk}\r\n", chunk.len()));
                    }
                    rest = after;
                }
                if !rest.is_empty() {
                    said.push_str(&format!("{:X}\r\n{rest}\r\n", rest.len()));
                }
                said + "0\r\nX-Sum: 5\r\n\r\n"
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn valid_responses_are_read_as_hyper_reads_them(
            status in prop::sample::select(vec![200_u16, 201, 206, 302, 404, 500, 503, 599]),
            names in prop::collection::vec("[A-Za-z!#$%&'*+.^_`|~0-9-]{1,20}", 0..8),
            values in prop::collection::vec("[!-~\u{e4}][ -~\t]{0,40}", 8),
            body in "[a-z\r\n]{0,80}",
            kind in any::<u8>(),
            sizes in prop::collection::vec(0..40_usize, 0..6),
            interim in 0..3_usize,
            cut in 0..400_usize,
        ) {
            let mut said = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n".repeat(interim);
            said.push_str(&format!("HTTP/1.1 {status} Some Reason\r\n"));
            for (name, value) in names.iter().zip(&values) {
                let framing = ["content-length", "transfer-encoding", "connection"];
                if !framing.contains(&name.to_ascii_lowercase().as_str()) {
                    said.push_str(&format!("{name}: {value}\r\n"));
                }
            }
            said.push_str(&framed(&body, kind, &sizes));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let expected = runtime.block_on(hypers(said.clone().into_bytes(), cut));
            prop_assert!(expected.is_some(), "{:?}", said);
            prop_assert_eq!(ours(said.as_bytes(), cut), expected);
        }

        #[test]
        fn what_hyper_refuses_is_refused_and_nothing_panics(
            sample in 0..SAMPLES.len(),
            changes in prop::collection::vec((0..200_usize, any::<u8>()), 1..4),
            cut in 0..200_usize,
        ) {
            let mut said = SAMPLES[sample].as_bytes().to_vec();
            for (at, octet) in changes {
                let at = at % said.len();
                said[at] = octet;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let expected = runtime.block_on(hypers(said.clone(), cut));
            // We may be stricter; we do not read anything else, nor what hyper does not.
            if let Some(ours) = ours(&said, cut) {
                prop_assert_eq!(Some(ours), expected, "{:?}", String::from_utf8_lossy(&said));
            }
        }
    }
}
