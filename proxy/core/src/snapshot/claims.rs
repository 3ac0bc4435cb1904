//! Who answers at an address: of Services that claim one address and port, one has it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use foldhash::fast::RandomState;

use crate::model::ObjectName;

/// An address and a port.
pub(super) type Place = (IpAddr, u16);

/// A claim: by an external address or by a cluster IP, and whose. A cluster IP, which the API server
/// gives to one Service only, comes before an external address, which whoever may write a Service may
/// claim (CVE-2020-8554); among equals the first by name has it.
pub(super) type Claim = (bool, ObjectName);

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    places: HashMap<Place, BTreeSet<Claim>, RandomState>,
}

// === impl Claims ===

impl Claims {
    pub(super) fn add(&mut self, place: Place, claim: Claim) {
        self.places.entry(place).or_default().insert(claim);
    }

    pub(super) fn remove(&mut self, place: &Place, claim: &Claim) {
        if let Some(claims) = self.places.get_mut(place) {
            claims.remove(claim);
            if claims.is_empty() {
                self.places.remove(place);
            }
        }
    }

    /// Who has the place.
    pub(super) fn holder(&self, place: &Place) -> Option<&Claim> {
        self.places.get(place)?.first()
    }

    /// Who wants it and does not have it.
    pub(super) fn losers(&self, place: &Place) -> impl Iterator<Item = &Claim> {
        self.places.get(place).into_iter().flatten().skip(1)
    }
}
