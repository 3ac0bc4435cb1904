//! The watch against a reading of the whole stream at once, however it is cut.

use proptest::prelude::*;

use super::{Fault, HeadWatch};

fn watch(bytes: &[u8]) -> HeadWatch {
    let mut watch = HeadWatch::new();
    watch.feed(bytes);
    watch
}

/// What the watch should say of all of these bytes: complete heads, first fault, partial head.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    heads: u64,
    faulty: Option<u64>,
    partial: bool,
}

/// Reads a stream of requests from front to back, with the whole of it at hand.
fn read(mut rest: &str) -> Reading {
    let mut reading = Reading { heads: 0, faulty: None, partial: false };
    loop {
        while let Some(after) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
            rest = after;
        }
        let ends = |end: &str| rest.find(end).map(|at| at + end.len());
        let end = ends("\n\r\n").into_iter().chain(ends("\n\n")).min();
        let head = &rest[..end.unwrap_or(rest.len())];
        // A line counts from its end on.
        let lines: Vec<&str> = head.split_inclusive('\n').filter(|l| l.ends_with('\n')).collect();
        let lines = lines.iter().map(|l| l.strip_suffix("\r\n").unwrap_or(&l[..l.len() - 1]));
        let lines: Vec<&str> = lines.collect();
        let named = |wanted: &'static str| {
            lines.iter().skip(1).filter_map(move |line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then_some(value.trim_matches([' ', '\t']))
            })
        };
        let lengths: Vec<&str> = named("content-length")
            .flat_map(|v| v.split(','))
            .map(|v| v.trim_matches(' '))
            .collect();
        let codings: Vec<&str> = named("transfer-encoding")
            .flat_map(|v| v.split(','))
            .map(|v| v.trim_matches(' '))
            .collect();
        let number =
            |v: &str| v.bytes().all(|b| b.is_ascii_digit()).then(|| v.parse::<u64>().ok())?;
        let chunked = |v: &&str| v.eq_ignore_ascii_case("chunked");
        let folded = |l: &&str| l.starts_with([' ', '\t']);
        let bad_line = lines.iter().any(|l| l.contains(['\r', '\0']))
            || lines.iter().skip(1).any(folded)
            || lines.iter().skip(1).any(|l| {
                let name = l.split(':').next().unwrap();
                name.len() < l.len()
                    && name.ends_with([' ', '\t'])
                    && name.starts_with(['c', 'C', 't', 'T', 'h', 'H'])
            })
            || lengths.iter().any(|l| number(l).is_none() || number(l) != number(lengths[0]))
            || codings.len() > 1
            || !codings.iter().all(chunked);
        let bad_head = (!lengths.is_empty() && !codings.is_empty())
            || (!codings.is_empty() && lines[0].ends_with("HTTP/1.0"))
            || named("host").count() > 1;
        if bad_line || (end.is_some() && bad_head) {
            reading.faulty.get_or_insert(reading.heads);
        }
        let Some(end) = end else {
            reading.partial = !rest.is_empty();
            return reading;
        };
        reading.heads += 1;
        rest = &rest[end..];
        if codings.is_empty() {
            let length = lengths.iter().find_map(|l| number(l)).unwrap_or(0);
            let Some(after) = usize::try_from(length).ok().and_then(|l| rest.get(l..)) else {
                return reading;
            };
            rest = after;
        } else {
            match skip_chunks(rest) {
                Ok(Some(after)) => rest = after,
                Ok(None) => return reading,
                Err(()) => {
                    reading.faulty.get_or_insert(reading.heads);
                    return reading;
                }
            }
        }
    }
}

/// What follows the last chunk and the trailers; `None` if they do not end.
fn skip_chunks(mut rest: &str) -> Result<Option<&str>, ()> {
    fn line(rest: &str) -> Result<Option<(&str, &str)>, ()> {
        let Some((line, after)) = rest.split_once('\n') else { return Ok(None) };
        let line = line.strip_suffix('\r').ok_or(())?;
        if line.contains(['\r', '\0']) { Err(()) } else { Ok(Some((line, after))) }
    }
    loop {
        let Some((size, after)) = line(rest)? else { return Ok(None) };
        let size = size.split(';').next().unwrap().trim_end_matches([' ', '\t']);
        if size.starts_with('+') {
            return Err(());
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| ())?;
        rest = after;
        if size == 0 {
            break;
        }
        let Some(after) = rest.get(size..) else { return Ok(None) };
        let Some((end, after)) = line(after)? else { return Ok(None) };
        if !end.is_empty() {
            return Err(());
        }
        rest = after;
    }
    loop {
        let Some((trailer, after)) = line(rest)? else { return Ok(None) };
        rest = after;
        if trailer.is_empty() {
            return Ok(Some(rest));
        }
    }
}

#[test]
fn what_two_readers_could_read_differently_is_a_fault() {
    for (fields, fault) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", Fault::TwoFramings),
        ("TRANSFER-ENCODING: chunked\r\ncontent-length: 3\r\n", Fault::TwoFramings),
        ("transfer-encoding : chunked\r\n", Fault::Whitespace),
        ("transfer-encoding:\r\n chunked\r\n", Fault::TransferEncoding),
        ("content-length\t: 3\r\n", Fault::Whitespace),
        ("content-length: 3\r\ncontent-length: 4\r\n", Fault::ContentLength),
        ("content-length: 3, 4\r\n", Fault::ContentLength),
        ("content-length: +3\r\n", Fault::ContentLength),
        ("content-length: 0x3\r\n", Fault::ContentLength),
        ("content-length: \r\n", Fault::ContentLength),
        ("content-length: 99999999999999999999\r\n", Fault::ContentLength),
        ("transfer-encoding: chunked, identity\r\n", Fault::TransferEncoding),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Fault::TransferEncoding),
        ("transfer-encoding: gzip\r\n", Fault::TransferEncoding),
        ("transfer-encoding: gzip, chunked\r\n", Fault::TransferEncoding),
        ("transfer-encoding: , chunked\r\n", Fault::TransferEncoding),
        ("transfer-encoding: xchunked\r\n", Fault::TransferEncoding),
        ("host: a\r\nHost: b\r\n", Fault::TwoHosts),
        ("x: a\rb\r\n", Fault::ControlCharacter),
        ("x: a\r\r\n", Fault::ControlCharacter),
        ("x: a\0\r\n", Fault::ControlCharacter),
    ] {
        let watch = watch(format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes());
        assert_eq!((watch.faulty_request(), watch.fault()), (Some(0), Some(fault)), "{fields:?}");
    }
    let old = watch(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(old.fault(), Some(Fault::TransferEncoding));
}

#[test]
fn what_is_only_unusual_is_none() {
    for head in [
        "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\n\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\ncontent-length:0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding:\t Chunked \r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhosts: b\r\nx-host: c\r\n\r\n",
    ] {
        let watch = watch(head.as_bytes());
        assert_eq!((watch.heads(), watch.fault()), (1, None), "{head:?}");
        assert!(!watch.in_partial_head());
    }
}

#[test]
fn the_index_is_of_the_faulty_one_behind_bodies_of_all_kinds() {
    let stream = "GET / HTTP/1.1\r\nhost: a\r\n\r\n\
        POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nGET / \
        POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
        5;x=y\r\nhello\r\n0\r\nx-t: 1\r\n\r\n\
        POST / HTTP/1.1\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(watch(stream.as_bytes()).faulty_request(), Some(3));
}

#[test]
fn chunks_that_hyper_might_read_differently_spoil_the_next_request() {
    for body in [
        "0\r\nA: b\n\r\n",
        "0\n\r\n",
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3 3\r\nabc\r\n",
        "3;a\rb\r\nabc\r\n",
        "11111111111111111\r\n",
    ] {
        let watch = watch(
            format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{body}").as_bytes(),
        );
        assert_eq!(watch.fault(), Some(Fault::LostTrack), "{body:?}");
        assert_eq!(watch.faulty_request(), Some(1), "{body:?}");
    }
}

#[test]
fn a_head_is_partial_from_its_first_octet_to_its_last() {
    let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert!(!watch(b"").in_partial_head());
    for end in 1..head.len() {
        assert!(watch(&head[..end]).in_partial_head(), "{end}");
    }
    assert!(!watch(head).in_partial_head());
    assert!(!watch(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nGET").in_partial_head());
}

#[test]
fn a_line_beyond_reason_is_a_fault_and_is_not_kept() {
    let mut watch = HeadWatch::new();
    watch.feed(b"GET / HTTP/1.1\r\nx: ");
    for _ in 0..200 {
        watch.feed(&[b'a'; 1024]);
    }
    assert_eq!(watch.fault(), Some(Fault::TooLong));
    assert!(watch.in_partial_head());
}

#[test]
fn after_an_upgrade_nothing_is_looked_at() {
    let mut watch = watch(b"GET / HTTP/1.1\r\nupgrade: x\r\n\r\n");
    watch.off();
    watch.feed(b"host: a\0\r\n\r\nx");
    assert!(watch.fault().is_none() && !watch.in_partial_head());
}

fn field() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "host: a\r\n",
        "Host: b\r\n",
        "x: y\r\n",
        "c: y\n",
        "content-length: 0\r\n",
        "Content-Length: 5\r\n",
        "content-length: 5, 5\r\n",
        "content-length: x\r\n",
        "content-length : 5\r\n",
        "transfer-encoding: chunked\r\n",
        "Transfer-Encoding: gzip,chunked\r\n",
        "transfer-encoding: gzip\r\n",
        " folded\r\n",
        "x: a\rb\r\n",
        "tx: \0\r\n",
    ])
}

fn piece() -> impl Strategy<Value = String> {
    let head = (prop::sample::select(vec!["1.0", "1.1"]), prop::collection::vec(field(), 0..4))
        .prop_map(|(version, fields)| format!("POST /a HTTP/{version}\r\n{}\r\n", fields.concat()));
    let good = Just("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned());
    let chunked = "[a-z\r\n]{1,20}".prop_map(|body| {
        format!(
            "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{:x};e\r\n{body}\r\n0\r\nt: 1\r\n\r\n",
            body.len()
        )
    });
    let sized = "[a-z\r\n:]{0,20}"
        .prop_map(|body| format!("PUT / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let body = prop::sample::select(vec!["5\r\nhello\r\n0\r\n\r\n", "hello", "0\r\n\r\n", "\r\n"])
        .prop_map(str::to_owned);
    prop_oneof![3 => good, 2 => head, 2 => chunked, 2 => sized, 1 => body, 1 => "[ -~\r\n]{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn however_the_stream_is_cut_it_reads_as_a_whole(
        pieces in prop::collection::vec(piece(), 0..6),
        drop in 0usize..20,
        cuts in prop::collection::vec(1usize..40, 0..40),
    ) {
        let stream = pieces.concat();
        let stream = &stream[..stream.len().saturating_sub(drop)];
        let mut watch = HeadWatch::new();
        let mut rest = stream.as_bytes();
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            watch.feed(piece);
            rest = after;
        }
        watch.feed(rest);
        let reading = read(stream);
        prop_assert_eq!(watch.faulty_request(), reading.faulty, "{:?}", stream);
        // After a fault the connection is closed: what follows no longer matters.
        if reading.faulty.is_none() {
            prop_assert_eq!(watch.heads(), reading.heads, "{:?}", stream);
            prop_assert_eq!(watch.in_partial_head(), reading.partial, "{:?}", stream);
        }
    }

    #[test]
    fn nothing_makes_it_panic(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20),
    ) {
        let mut watch = HeadWatch::new();
        chunks.iter().for_each(|chunk| watch.feed(chunk));
    }
}
