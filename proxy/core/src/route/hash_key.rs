//! What a request goes by where its backend hashes: by the same key, to the same endpoint.
//!
//! Not which endpoint that is: that is `balance`'s. All nodes, and all versions of Nodeway, must come to the
//! same number.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

use super::session::cookies;
use crate::model::{HashCookie, HashOn};

/// A request's key.
#[derive(Debug, Clone, Copy)]
pub struct HashKey<'a> {
    /// The key's hash.
    pub hash: u64,
    /// The cookie that its client is given, for it has brought none.
    pub cookie: Option<NewCookie<'a>>,
}

/// A cookie that a client is given.
#[derive(Debug, Clone, Copy)]
pub struct NewCookie<'a> {
    cookie: &'a HashCookie,
    value: u64,
}

// === impl HashKey ===

impl<'a> HashKey<'a> {
    /// That of a request of this path and with these headers: by the first of `hash_on` that it has. Who has
    /// none goes by `source`, the hash of its client's address. `random` is uniform over all of `u64`.
    pub fn of(
        hash_on: &'a [HashOn],
        path: &str,
        headers: &HeaderMap,
        source: u64,
        random: impl FnOnce() -> u64,
    ) -> Self {
        let known = |hash| Self { hash, cookie: None };
        for on in hash_on {
            match on {
                HashOn::Header(name) => {
                    if let Some(value) = headers.get(name) {
                        return known(hash_of(value.as_bytes()));
                    }
                }
                HashOn::Cookie(cookie) => {
                    let brought = cookies(headers, &cookie.name).find(|value| !value.is_empty());
                    if let Some(value) = brought {
                        return known(hash_of(value));
                    }
                    let value = random();
                    let new = NewCookie { cookie, value };
                    // The client's next request goes by the text.
                    return Self { hash: hash_of(new.text().as_bytes()), cookie: Some(new) };
                }
                HashOn::SourceIp => return known(source),
                HashOn::Path => return known(hash_of(path.as_bytes())),
            }
        }
        known(source)
    }
}

// === impl NewCookie ===

impl NewCookie<'_> {
    /// `Set-Cookie`, as Envoy's router says it; none if the policy's words do not fit into a header.
    pub fn field(&self) -> Option<HeaderValue> {
        let HashCookie { name, path, ttl } = self.cookie;
        let age = ttl.map(|ttl| format!("; Max-Age={}", ttl.as_secs())).unwrap_or_default();
        HeaderValue::try_from(format!("{name}={}{age}; Path={path}; HttpOnly", self.text())).ok()
    }

    fn text(&self) -> String {
        format!("{:016x}", self.value)
    }
}

/// The hash of a client's address.
pub fn hash_of_source(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => hash_of(&address.octets()),
        IpAddr::V6(address) => hash_of(&address.octets()),
    }
}

/// FNV-1a (Fowler, Noll, Vo; RFC 9923), whose upper bits are stirred well only by what comes behind: so with
/// the finalizer of MurmurHash3 (Appleby).
fn hash_of(octets: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for octet in octets {
        hash = (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;
    use http::header::COOKIE;

    use super::*;

    const SOURCE: u64 = 7;

    fn cookie(ttl: Option<Duration>) -> HashOn {
        HashOn::Cookie(HashCookie { name: "way".into(), path: "/shop".into(), ttl })
    }

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect()
    }

    fn hash(on: &[HashOn], path: &str, headers: &HeaderMap) -> u64 {
        HashKey::of(on, path, headers, SOURCE, || 1).hash
    }

    #[test]
    fn the_first_that_a_request_has_decides() {
        let user = HeaderName::from_static("x-user");
        let on = [HashOn::Header(user.clone()), HashOn::Path];
        let (ann, none) = (headers(&[(user, "ann")]), headers(&[]));
        assert_eq!(hash(&on, "/a", &ann), hash(&on, "/b", &ann));
        assert_ne!(hash(&on, "/a", &none), hash(&on, "/b", &none));
        assert_eq!(hash(&on[1..], "/a", &ann), hash(&on, "/a", &none));
        assert_eq!(hash(&on[..1], "/a", &none), SOURCE);
        assert_eq!(hash(&[HashOn::SourceIp, HashOn::Path], "/a", &ann), SOURCE);
        assert_eq!(hash(&[], "/a", &ann), SOURCE);
    }

    #[test]
    fn who_has_no_cookie_is_given_one_that_leads_him_back() {
        let on = [cookie(Some(Duration::from_secs(60)))];
        let first = HashKey::of(&on, "/", &headers(&[]), SOURCE, || 0xabc);
        let field = first.cookie.unwrap().field().unwrap();
        assert_eq!(field, "way=0000000000000abc; Max-Age=60; Path=/shop; HttpOnly");
        let next = headers(&[(COOKIE, "a=1; way=0000000000000abc")]);
        let next = HashKey::of(&on, "/", &next, SOURCE, || 0xdef);
        assert!(next.cookie.is_none() && next.hash == first.hash);
        let on = [cookie(None)];
        let session = HashKey::of(&on, "/", &headers(&[]), SOURCE, || 1).cookie;
        assert!(!session.unwrap().field().unwrap().to_str().unwrap().contains("Max-Age"));
    }

    #[test]
    fn an_address_has_one_hash_however_it_is_written() {
        let [v4, mapped] = ["10.0.0.1", "::ffff:10.0.0.1"].map(|ip| ip.parse().unwrap());
        assert_eq!(hash_of_source(v4), hash_of_source(mapped));
    }

    #[test]
    fn hashes_never_change() {
        // Nodes of two versions serve the same clients while they are updated.
        assert_eq!(hash_of(b""), 0xefd0_1f60_ba99_2926);
    }

    #[test]
    fn keys_that_differ_little_are_spread_evenly() {
        let mut places = [0_u32; 16];
        for key in 0..16_000 {
            let hash = hash_of(format!("user-{key}").as_bytes());
            places[(hash >> 60) as usize] += 1;
            places[(hash & 15) as usize] += 1;
        }
        assert!(places.iter().all(|n| (1_850..=2_150).contains(n)), "{places:?}");
    }
}
