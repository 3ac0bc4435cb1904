use proptest::prelude::*;

use super::*;

/// A handshake message's header: type, length.
const MESSAGE_HEADER: usize = 4;

fn with_length(octets: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - octets..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_length(2, content)].concat()
}

fn name(name: &[u8]) -> Vec<u8> {
    let entry = [&[HOST_NAME][..], &with_length(2, name)].concat();
    extension(SERVER_NAME, &with_length(2, &entry))
}

/// A ClientHello with these extensions, as a handshake message.
fn message(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(with_length(1, &[8; 32]));
    body.extend(with_length(2, &[0x13, 1, 0x13, 2]));
    body.extend(with_length(1, &[0]));
    if let Some(extensions) = extensions {
        body.extend(with_length(2, extensions));
    }
    [&[CLIENT_HELLO][..], &with_length(3, &body)].concat()
}

/// In records of this size.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &with_length(2, part)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn said(extensions: &[&[u8]]) -> Vec<u8> {
    records(&message(Some(&extensions.concat())), MOST_RECORD)
}

fn named(name: &str) -> Hello {
    Named(name.into())
}

fn samples() -> Vec<(&'static str, Vec<u8>, Hello)> {
    let good = name(b"a.example.com");
    let versions = extension(43, &[2, 3, 4]);
    let other = [&[1][..], &with_length(2, b"a.test")].concat();
    let two = [&[0][..], &with_length(2, b"a.test"), &[0], &with_length(2, b"b.test")].concat();
    let long = [&b"a."[..], &[b'b'; 252]].concat();
    let mut cut = message(Some(&good));
    cut.truncate(cut.len() - 3);
    let whole = cut.len() - MESSAGE_HEADER;
    cut[1..4].copy_from_slice(&whole.to_be_bytes()[5..]);
    let trailing = [&message(Some(&good))[..], b"and more"].concat();
    let mut behind = message(Some(&good));
    behind.push(0);
    let length = behind.len() - MESSAGE_HEADER;
    behind[1..4].copy_from_slice(&length.to_be_bytes()[5..]);
    let huge = [&[CLIENT_HELLO, 0, 0x40, 1][..], &[0; 64]].concat();
    vec![
        ("a name", said(&[&good]), named("a.example.com")),
        ("in capitals", said(&[&name(b"A.Example.COM")]), named("a.example.com")),
        ("behind others", said(&[&versions, &good, &versions]), named("a.example.com")),
        ("an underscore", said(&[&name(b"_x.test")]), named("_x.test")),
        ("in small records", records(&message(Some(&good)), 7), named("a.example.com")),
        ("in records of one octet", records(&message(Some(&good)), 1), named("a.example.com")),
        ("with another message behind", records(&trailing, 90), named("a.example.com")),
        ("no name", said(&[&versions]), Nameless),
        ("no extensions", records(&message(None), 99), Nameless),
        ("an empty list of extensions", said(&[]), Nameless),
        ("two server_name extensions", said(&[&good, &good]), Bad),
        ("two names", said(&[&extension(0, &with_length(2, &two))]), Bad),
        ("a name of another type", said(&[&extension(0, &with_length(2, &other))]), Bad),
        ("an empty extension", said(&[&extension(0, b"")]), Bad),
        ("an empty list", said(&[&extension(0, &[0, 0])]), Bad),
        ("an empty name", said(&[&name(b"")]), Bad),
        ("a dot at the end", said(&[&name(b"a.test.")]), Bad),
        ("an odd octet", said(&[&name(b"a\0.test")]), Bad),
        ("not UTF-8", said(&[&name(b"a\xff.test")]), Bad),
        ("too long a name", said(&[&name(&long)]), Bad),
        ("cut short within", records(&cut, 99), Bad),
        ("more behind the extensions", records(&behind, 99), Bad),
        ("too long a message", records(&huge, 99), Bad),
        ("a ServerHello", records(&[2, 0, 0, 1, 0], 99), Bad),
        ("an alert", vec![21, 3, 1, 0, 2, 2, 40], Bad),
        ("an empty record", [&[22, 3, 1, 0, 0][..], &said(&[&good])].concat(), Bad),
        ("too long a record", vec![22, 3, 1, 0x40, 1, 1], Bad),
        ("SSL 2", vec![0x80, 0x2e, 1, 0, 2], Bad),
        ("HTTP", b"GET / HTTP/1.1\r\n".to_vec(), Bad),
    ]
}

#[test]
fn every_prefix_of_every_sample_is_open_or_right() {
    for (what, sample, wanted) in samples() {
        assert_eq!(server_name(&sample), wanted, "{what}");
        let mut decided = false;
        for end in 0..=sample.len() {
            let now = server_name(&sample[..end]);
            assert!(now == wanted || (now == NeedMore && !decided), "{what}: {end}: {now:?}");
            decided |= now != NeedMore;
        }
    }
}

#[test]
fn a_hello_that_is_too_long_is_not_waited_for() {
    let start = records(&[CLIENT_HELLO, 1, 0, 0], 99);
    assert_eq!(server_name(&start), Bad);
    // Its length is known before its first record is whole.
    assert_eq!(server_name(&[22, 3, 1, 0x40, 0, CLIENT_HELLO, 1, 0, 0]), Bad);
    let longest = [&[CLIENT_HELLO, 0, 0x40, 0][..], &[0; MOST_HELLO]].concat();
    let octets = records(&longest, MOST_RECORD);
    assert_eq!(server_name(&octets[..octets.len() - 1]), NeedMore);
    assert_eq!(server_name(&octets), Bad);
    // Nor one that is cut up to be long.
    let cut = records(&message(Some(&extension(21, &[0; 10_000]))), 1);
    assert_eq!(server_name(&cut[..MOST_OCTETS - 1]), NeedMore);
    assert_eq!(server_name(&cut[..MOST_OCTETS]), Bad);
    assert_eq!(server_name(&cut), Bad);
}

proptest! {
    #[test]
    fn however_it_is_cut_it_says_the_same(
        label in "[a-zA-Z0-9_-]{1,20}",
        size in 1usize..300,
        padding in 0usize..1000,
        cut in 0usize..4000,
    ) {
        let asked = format!("{label}.test");
        let extensions = [extension(21, &vec![0; padding]), name(asked.as_bytes())].concat();
        let octets = records(&message(Some(&extensions)), size);
        prop_assert_eq!(server_name(&octets), named(&asked.to_ascii_lowercase()));
        if cut < octets.len() {
            prop_assert_eq!(server_name(&octets[..cut]), NeedMore);
        }
    }

    #[test]
    fn an_answer_stays_whatever_follows(
        which in 0usize..29,
        at in 0usize..200,
        octet in any::<u8>(),
        tail in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut octets = samples()[which].1.clone();
        let at = at % octets.len();
        octets[at] = octet;
        octets.extend(tail);
        let mut decided = NeedMore;
        for end in 0..=octets.len() {
            let now = server_name(&octets[..end]);
            if decided != NeedMore {
                prop_assert_eq!(&now, &decided);
            }
            decided = now;
        }
    }
}
