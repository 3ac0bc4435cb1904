//! `spec.loadBalancing`: which endpoint a request goes to.
//!
//! Not when an endpoint is left out: that is `outliers` and `health`.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use http::HeaderName;
use nodeway_core::model::{
    Balancing, BalancingAlgorithm, EndpointWeight, HashCookie, HashOn, SlowStart, WeightOf,
};

use super::super::fields::Fields;
use super::{HOUR, SECOND, milliseconds};

pub(super) fn balancing(fields: &mut Fields<'_>) -> Balancing {
    let default = Balancing::default();
    let algorithm = fields.choice(
        "algorithm",
        &[
            ("PeakEwma", BalancingAlgorithm::PeakEwma),
            ("LeastRequest", BalancingAlgorithm::LeastRequest),
            ("RoundRobin", BalancingAlgorithm::RoundRobin),
            ("Random", BalancingAlgorithm::Random),
            ("RingHash", BalancingAlgorithm::RingHash),
            ("Maglev", BalancingAlgorithm::Maglev),
        ],
    );
    let hashes =
        matches!(algorithm, Some(BalancingAlgorithm::RingHash | BalancingAlgorithm::Maglev));
    let hash_on = fields.objects("hashOn", 4, hash_on);
    if !hashes && !hash_on.is_empty() {
        fields.fault("hashOn", "only with algorithm RingHash or Maglev");
    }
    let zones = &[("Prefer", true), ("Disabled", false)];
    Balancing {
        algorithm,
        hash_on: hash_on.into(),
        weights: fields.objects("weights", 64, weight).into(),
        slow_start: fields.object("slowStart", slow_start).or(default.slow_start),
        zone_aware: fields.choice("zoneAware", zones).unwrap_or(default.zone_aware),
        panic_threshold: fields
            .integer("panicThresholdPercent", 0..=100)
            .unwrap_or(default.panic_threshold),
    }
}

fn hash_on(fields: &mut Fields<'_>) -> Option<HashOn> {
    #[derive(Clone, Copy, PartialEq)]
    enum Of {
        Header,
        Cookie,
        SourceIp,
        Path,
    }
    fields.require("type");
    let of = fields.choice(
        "type",
        &[
            ("Header", Of::Header),
            ("Cookie", Of::Cookie),
            ("SourceIP", Of::SourceIp),
            ("Path", Of::Path),
        ],
    );
    for (field, with) in [("header", Of::Header), ("cookie", Of::Cookie)] {
        if of == Some(with) {
            fields.require(field);
        } else if of.is_some() && fields.has(field) {
            fields.fault(field, "must not stand beside this type");
        }
    }
    let header = fields.object("header", |header| {
        header.require("name");
        header.parsed("name", 256, |name| name.parse::<HeaderName>())
    });
    let cookie = fields.object("cookie", |cookie| {
        cookie.require("name");
        let ttl = cookie.duration("ttl", milliseconds(SECOND, 8760 * HOUR));
        let path = cookie.parsed("path", 1024, cookie_path);
        let name = cookie.parsed("name", 128, cookie_name)?;
        Some(HashCookie { name, path: path.unwrap_or_else(|| "/".into()), ttl })
    });
    match of? {
        Of::Header => header.flatten().map(HashOn::Header),
        Of::Cookie => cookie.flatten().map(HashOn::Cookie),
        Of::SourceIp => Some(HashOn::SourceIp),
        Of::Path => Some(HashOn::Path),
    }
}

/// A token, as a header's name is (RFC 6265, 4.1.1).
fn cookie_name(name: &str) -> Result<Arc<str>, &'static str> {
    HeaderName::from_bytes(name.as_bytes())
        .map(|_| name.into())
        .map_err(|_| "must have the characters of a token only")
}

/// RFC 6265, 4.1.1 (`path-value`).
fn cookie_path(path: &str) -> Result<Arc<str>, &'static str> {
    let good =
        path.starts_with('/') && path.bytes().all(|b| (b' '..0x7f).contains(&b) && b != b';');
    if good { Ok(path.into()) } else { Err("must begin with / and be of ASCII, without ;") }
}

fn weight(fields: &mut Fields<'_>) -> Option<EndpointWeight> {
    if fields.count(&["node", "zone", "cidr"]) != 1 {
        fields.fault("", "must have one of node, zone and cidr");
    }
    fields.require("weight");
    let node = fields.text("node", 253).map(|node| WeightOf::Node(node.into()));
    let zone = fields.text("zone", 63).map(|zone| WeightOf::Zone(zone.into()));
    let cidr = fields.parsed("cidr", 43, network);
    let weight = fields.integer("weight", 1_u16..=128).and_then(NonZeroU16::new)?;
    Some(EndpointWeight { of: node.or(zone).or(cidr)?, weight })
}

fn network(text: &str) -> Result<WeightOf, &'static str> {
    const MUST: &str = "must be a network, such as 10.0.0.0/8";
    let (address, length) = text.split_once('/').ok_or(MUST)?;
    let address: IpAddr = address.parse().map_err(|_| MUST)?;
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length: u8 = length.parse().ok().filter(|_| digits).ok_or(MUST)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if length > most { Err(MUST) } else { Ok(WeightOf::Cidr(address, length)) }
}

fn slow_start(fields: &mut Fields<'_>) -> SlowStart {
    fields.require("window");
    let aggression = fields.thousandths("aggression", 100..=10_000).and_then(NonZeroU32::new);
    SlowStart {
        window: fields.duration("window", milliseconds(100, HOUR)).unwrap_or_default(),
        aggression: aggression.unwrap_or(NonZeroU32::MIN.saturating_add(999)),
        least: fields.integer("minWeightPercent", 1..=100).unwrap_or(10),
    }
}
