//! The gRPC health checking protocol's messages (`grpc.health.v1`, doc/health-checking.md of the gRPC
//! project) in gRPC's frames (PROTOCOL-HTTP2.md), and what an answer means.
//!
//! Not how they travel: that is `http`. Both messages have one field, so that no library for protocol buffers
//! is needed.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::Outcome;

/// The method.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";
/// What requests and responses are made of.
pub(super) const GRPC: &str = "application/grpc";

/// A frame's flag and length.
const FRAME: usize = 5;
/// `HealthCheckRequest.service`: field 1, of known length.
const SERVICE: u8 = 0x0a;
/// `HealthCheckResponse.status`.
const STATUS: u64 = 1;

/// Statuses of gRPC that are told apart here.
const OK: u32 = 0;
const UNIMPLEMENTED: u32 = 12;

/// What an endpoint says of the service (`HealthCheckResponse.ServingStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// 0, and what later versions of the protocol may add.
    Unknown(u64),
    /// 1.
    Serving,
    /// 2.
    NotServing,
    /// 3; of a `Watch` only.
    ServiceUnknown,
}

/// Why an answer makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// There is less of it than it says.
    #[error("the response is cut short")]
    Short,
    /// Something follows the message.
    #[error("more than one message in the response")]
    Long,
    /// Nobody has said that it may be.
    #[error("the response is compressed")]
    Compressed,
    /// It is no protocol buffer.
    #[error("the response is no HealthCheckResponse")]
    Malformed,
}

/// The request about `service`, in its frame.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(FRAME + message.len());
    frame.put_u8(0);
    // Names are bounded by what a manifest may hold.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

/// What a response's octets say: one frame with one message.
///
/// # Errors
/// They are something else.
pub fn serving(octets: &[u8]) -> Result<Serving, Nonsense> {
    let (head, rest) = octets.split_first_chunk::<FRAME>().ok_or(Nonsense::Short)?;
    let [compressed, length @ ..] = *head;
    if compressed != 0 {
        return Err(Nonsense::Compressed);
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| Nonsense::Short)?;
    match rest.len() {
        have if have < length => return Err(Nonsense::Short),
        have if have > length => return Err(Nonsense::Long),
        _ => {}
    }
    let status = status(rest).ok_or(Nonsense::Malformed)?;
    Ok(match status {
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        other => Serving::Unknown(other),
    })
}

/// What an answer means: its head, its message's octets, its trailers if it has any.
pub(super) fn outcome(
    status: StatusCode,
    head: &HeaderMap,
    octets: &[u8],
    trailers: Option<&HeaderMap>,
) -> Outcome {
    if status != StatusCode::OK {
        return Outcome::Ill(format!("HTTP status {} in place of gRPC's", status.as_u16()));
    }
    let is_grpc = |head: &HeaderMap| {
        head.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(GRPC.as_bytes()))
    };
    if !is_grpc(head) {
        return Outcome::Ill("the response is not gRPC".to_owned());
    }
    // An answer without a message may have its status in the head ("Trailers-Only").
    let fields = trailers.unwrap_or(head);
    let code =
        fields.get("grpc-status").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u32>().ok());
    match code {
        Some(OK) => {}
        // gRFC A17: who does not know the protocol is taken to be well, and somebody is told.
        Some(UNIMPLEMENTED) => {
            return Outcome::Unfit("it does not implement grpc.health.v1.Health".to_owned());
        }
        Some(code) => {
            let said = fields.get("grpc-message").and_then(|v| v.to_str().ok()).unwrap_or_default();
            let said: String = said.chars().take(200).collect();
            return Outcome::Ill(format!("gRPC status {code} {said}").trim_end().to_owned());
        }
        None => return Outcome::Ill("the response has no gRPC status".to_owned()),
    }
    match serving(octets) {
        Ok(Serving::Serving) => Outcome::Well,
        Ok(Serving::NotServing) => Outcome::Ill("it says NOT_SERVING".to_owned()),
        Ok(Serving::ServiceUnknown) => Outcome::Ill("it says SERVICE_UNKNOWN".to_owned()),
        Ok(Serving::Unknown(status)) => Outcome::Ill(format!("it says it is in status {status}")),
        Err(nonsense) => Outcome::Ill(nonsense.to_string()),
    }
}

/// The field `status` of a message; what it does not know it skips, and of several the last one counts, as
/// protocol buffers have it. None if it is malformed.
fn status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let (field, kind) = (tag >> 3, tag & 7);
        // 29 bits, and not 0.
        if field == 0 || field >= 1 << 29 {
            return None;
        }
        match kind {
            0 => {
                let value = varint(&mut message)?;
                if field == STATUS {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            // Groups are of proto2; nobody has them here.
            _ => return None,
        }
    }
    Some(status)
}

/// Takes a varint off: at most ten octets, 64 bits.
fn varint(octets: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let (&octet, rest) = octets.split_first()?;
        *octets = rest;
        let bits = u64::from(octet & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(to: &mut BytesMut, mut value: u64) {
    loop {
        let [lowest, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return to.put_u8(lowest & 0x7f);
        }
        to.put_u8(lowest | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn frame(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0][..], &length, message].concat()
    }

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn requests_are_as_protoc_makes_them() {
        assert_eq!(&request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request("a.B")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = "x".repeat(300);
        let octets = request(&long);
        assert_eq!(&octets[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
        assert_eq!(octets.len(), 5 + 3 + 300);
    }

    #[test]
    fn each_status_is_told_from_the_others() {
        for (message, status) in [
            (&[][..], Serving::Unknown(0)),
            (&[8, 0], Serving::Unknown(0)),
            (&[8, 1], Serving::Serving),
            (&[8, 2], Serving::NotServing),
            (&[8, 3], Serving::ServiceUnknown),
            (&[8, 0xac, 2], Serving::Unknown(300)),
            // The last one counts.
            (&[8, 2, 8, 1], Serving::Serving),
            // Unknown fields of each kind: 2 varint, 3 fixed64, 4 text, 5 fixed32.
            (
                &[16, 0x96, 1, 25, 1, 2, 3, 4, 5, 6, 7, 8, 34, 2, 8, 2, 45, 1, 2, 3, 4, 8, 1],
                Serving::Serving,
            ),
        ] {
            assert_eq!(serving(&frame(message)), Ok(status), "{message:?}");
        }
    }

    #[test]
    fn no_prefix_of_an_answer_is_an_answer() {
        let whole = frame(&[16, 0x96, 1, 25, 1, 2, 3, 4, 5, 6, 7, 8, 34, 2, 8, 2, 8, 1]);
        for length in 0..whole.len() {
            assert_eq!(serving(&whole[..length]), Err(Nonsense::Short), "{length}");
        }
        // Of the message alone, in a frame that says so: no prefix says that it serves.
        let message = &whole[FRAME..];
        for length in 0..message.len() {
            assert_ne!(serving(&frame(&message[..length])), Ok(Serving::Serving), "{length}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let long = [frame(&[8, 1]), vec![0]].concat();
        assert_eq!(serving(&long), Err(Nonsense::Long));
        assert_eq!(serving(&[1, 0, 0, 0, 2, 8, 1]), Err(Nonsense::Compressed));
        assert_eq!(serving(&[0, 255, 255, 255, 255, 8, 1]), Err(Nonsense::Short));
        for message in [
            // Field 0, a group, a varint without an end, of eleven octets, of 65 bits, a text too long.
            &[0, 1][..],
            &[11, 12],
            &[8, 0x81],
            &[8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
            &[8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
            &[18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(serving(&frame(message)), Err(Nonsense::Malformed), "{message:?}");
        }
    }

    #[test]
    fn an_answer_counts_by_its_status_and_its_message() {
        let well = frame(&[8, 1]);
        let grpc = || head(&[("content-type", "application/grpc+proto")]);
        let ok = head(&[("grpc-status", "0")]);
        assert_eq!(outcome(StatusCode::OK, &grpc(), &well, Some(&ok)), Outcome::Well);
        let ill =
            |status, head: &HeaderMap, octets: &[u8], trailers: Option<&HeaderMap>| match outcome(
                status, head, octets, trailers,
            ) {
                Outcome::Ill(why) => why,
                other => panic!("{other:?}"),
            };
        let why = ill(StatusCode::OK, &grpc(), &frame(&[8, 2]), Some(&ok));
        assert!(why.contains("NOT_SERVING"), "{why}");
        let why = ill(StatusCode::BAD_GATEWAY, &grpc(), &well, Some(&ok));
        assert!(why.contains("502"), "{why}");
        let why = ill(StatusCode::OK, &head(&[("content-type", "text/html")]), &well, Some(&ok));
        assert!(why.contains("not gRPC"), "{why}");
        let why = ill(StatusCode::OK, &grpc(), &well, None);
        assert!(why.contains("no gRPC status"), "{why}");
        let missing = head(&[("grpc-status", "5"), ("grpc-message", "unknown service")]);
        let why = ill(StatusCode::OK, &grpc(), &[], Some(&missing));
        assert_eq!(why, "gRPC status 5 unknown service");
    }

    #[test]
    fn who_does_not_know_the_protocol_is_not_ill() {
        let said = head(&[("content-type", "application/grpc"), ("grpc-status", "12")]);
        let outcome = outcome(StatusCode::OK, &said, &[], None);
        assert!(matches!(outcome, Outcome::Unfit(_)), "{outcome:?}");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_judged(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = serving(&octets);
            let _ = serving(&frame(&octets));
        }

        #[test]
        fn a_request_is_read_as_it_was_meant(service in "[a-zA-Z.]{0,400}") {
            // Field 1 of a request is a text, of a response a number: skip the tag and read the rest.
            let octets = request(&service);
            let message = &octets[FRAME..];
            let read = match message.split_first() {
                None => String::new(),
                Some((tag, mut rest)) => {
                    prop_assert_eq!(*tag, SERVICE);
                    let length = varint(&mut rest).unwrap();
                    prop_assert_eq!(rest.len() as u64, length);
                    String::from_utf8(rest.to_vec()).unwrap()
                }
            };
            prop_assert_eq!(read, service);
        }
    }
}
