//! What a client carries so that its next request finds the same endpoint.
//!
//! A token says where the endpoint is, who it is and when the session began and was last used, and is
//! sealed by the rule's own key: nobody can read it, change it, make one up or use it with another rule.
//! Nothing is remembered of it here. The key is made of what every node knows of the rule and nobody
//! else does (the route's uid), so any node's proxy opens what any other has sealed, also after a
//! restart.
//!
//! The seal is ChaCha20-Poly1305; its nonce is a keyed hash of what is sealed, so that no two different
//! texts can ever meet under one nonce (the idea of RFC 5297), and no chance is needed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{digest, hmac};

/// Address, port, fingerprint, two times.
const PLAIN: usize = 16 + 2 + 8 + 6 + 6;
const TAG: usize = 16;
const RAW: usize = NONCE_LEN + PLAIN + TAG;
/// A token's length, characters.
pub(super) const LENGTH: usize = RAW / 3 * 4;
const _: () =
    assert!(RAW.is_multiple_of(3), "no padding, no spare bits: a token is said in one way");

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claims {
    /// Where the endpoint is.
    pub(super) address: SocketAddr,
    /// Who it is: addresses are used again.
    pub(super) fingerprint: Fingerprint,
    /// Milliseconds since the epoch.
    pub(super) began: u64,
    /// Milliseconds since the epoch.
    pub(super) used: u64,
}

/// Tells the pods that had one address from each other, and the Services that lead to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 8]);

/// A rule's key.
pub(super) struct Key {
    seal: LessSafeKey,
    nonces: hmac::Key,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Of the thing with these names, in this order.
    pub(super) fn of(names: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for name in names {
            context.update(&(name.len() as u64).to_be_bytes());
            context.update(name.as_bytes());
        }
        let mut octets = [0; 8];
        octets.copy_from_slice(&context.finish().as_ref()[..8]);
        Self(octets)
    }

    /// For people: eight characters.
    pub(super) fn short(self) -> String {
        self.0[..4].iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

// === impl Key ===

impl Key {
    /// The key of the thing with these names, for whoever knows `secret`.
    pub(super) fn new(secret: &str, names: &[&str]) -> Option<Self> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let derived = |purpose: &str| {
            let mut context = hmac::Context::with_key(&root);
            for name in [purpose].iter().chain(names) {
                context.update(&(name.len() as u64).to_be_bytes());
                context.update(name.as_bytes());
            }
            context.sign()
        };
        let seal = UnboundKey::new(&CHACHA20_POLY1305, derived("session").as_ref()).ok()?;
        let nonces = hmac::Key::new(hmac::HMAC_SHA256, derived("nonce of session").as_ref());
        Some(Self { seal: LessSafeKey::new(seal), nonces })
    }

    /// The token that says this: the same for the same claims.
    pub(super) fn seal(&self, claims: &Claims) -> Option<String> {
        let plain = claims.to_octets();
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&hmac::sign(&self.nonces, &plain).as_ref()[..NONCE_LEN]);
        let mut raw = [0; RAW];
        raw[..NONCE_LEN].copy_from_slice(&nonce);
        raw[NONCE_LEN..NONCE_LEN + PLAIN].copy_from_slice(&plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = &mut raw[NONCE_LEN..NONCE_LEN + PLAIN];
        let tag = self.seal.seal_in_place_separate_tag(nonce, Aad::empty(), sealed).ok()?;
        raw[NONCE_LEN + PLAIN..].copy_from_slice(tag.as_ref());
        Some(URL_SAFE_NO_PAD.encode(raw))
    }

    /// What `token` says, if it is one of this key's.
    pub(super) fn open(&self, token: &[u8]) -> Option<Claims> {
        if token.len() != LENGTH {
            return None;
        }
        let mut raw = [0; RAW];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut raw).ok()?;
        let (nonce, sealed) = raw.get_mut(..length)?.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.seal.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        Claims::from_octets(plain)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

// === impl Claims ===

impl Claims {
    fn to_octets(self) -> [u8; PLAIN] {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut octets = [0; PLAIN];
        octets[..16].copy_from_slice(&ip.octets());
        octets[16..18].copy_from_slice(&self.address.port().to_be_bytes());
        octets[18..26].copy_from_slice(&self.fingerprint.0);
        octets[26..32].copy_from_slice(&self.began.to_be_bytes()[2..]);
        octets[32..].copy_from_slice(&self.used.to_be_bytes()[2..]);
        octets
    }

    fn from_octets(octets: &[u8]) -> Option<Self> {
        let (ip, rest) = octets.split_first_chunk::<16>()?;
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let (fingerprint, rest) = rest.split_first_chunk::<8>()?;
        let (began, rest) = rest.split_first_chunk::<6>()?;
        let time =
            |octets: &[u8]| octets.iter().fold(0, |time, octet| time << 8 | u64::from(*octet));
        let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
        Some(Self {
            address: SocketAddr::new(ip, u16::from_be_bytes(*port)),
            fingerprint: Fingerprint(*fingerprint),
            began: time(began),
            used: time(rest),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: &str, rule: &str) -> Key {
        Key::new(secret, &["HTTPRoute", "shop", "web", rule]).unwrap()
    }

    fn claims() -> impl Strategy<Value = Claims> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ];
        (ip, any::<u16>(), any::<[u8; 8]>(), 0..1_u64 << 48, 0..1_u64 << 48).prop_map(
            |(ip, port, fingerprint, began, used)| Claims {
                address: SocketAddr::new(ip.to_canonical(), port),
                fingerprint: Fingerprint(fingerprint),
                began,
                used,
            },
        )
    }

    #[test]
    fn names_are_told_apart_where_they_end() {
        assert_ne!(Fingerprint::of(&["ab", "c"]), Fingerprint::of(&["a", "bc"]));
        assert_ne!(Fingerprint::of(&["a", ""]), Fingerprint::of(&["a"]));
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_by_the_same_key_and_no_other(claims in claims()) {
            let token = key("uid", "0").seal(&claims).unwrap();
            prop_assert_eq!(token.len(), LENGTH);
            // Another process's, made of the same words.
            prop_assert_eq!(key("uid", "0").open(token.as_bytes()), Some(claims));
            prop_assert_eq!(key("uid", "0").seal(&claims), Some(token.clone()), "a token is stable");
            prop_assert_eq!(key("uid", "1").open(token.as_bytes()), None, "another rule's");
            prop_assert_eq!(key("other", "0").open(token.as_bytes()), None, "another route's");
        }

        #[test]
        fn a_token_that_is_changed_is_none(claims in claims(), at in 0..LENGTH, with in "[A-Za-z0-9_-]") {
            let mut token = key("uid", "0").seal(&claims).unwrap();
            prop_assume!(token[at..=at] != with);
            token.replace_range(at..=at, &with);
            prop_assert_eq!(key("uid", "0").open(token.as_bytes()), None);
        }

        #[test]
        fn a_token_does_not_show_the_address(mut claims in claims(), other in any::<[u8; 16]>()) {
            let one = key("uid", "0").seal(&claims).unwrap();
            claims.address.set_ip(IpAddr::from(other));
            let two = key("uid", "0").seal(&claims).unwrap();
            // Nothing in common, also where all else is the same.
            let same = one.bytes().zip(two.bytes()).filter(|(a, b)| a == b).count();
            prop_assert!(one == two || same < LENGTH / 4, "{} {}", one, two);
        }

        #[test]
        fn no_text_makes_it_panic(token in prop::collection::vec(any::<u8>(), 0..2 * LENGTH)) {
            prop_assert_eq!(key("uid", "0").open(&token), None);
        }
    }
}
