//! Which addresses are sent by which table, and when a table is made anew.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use nodeway_core::balance::{Family, Millis, Part, Table};
use nodeway_core::model::ObjectName;
use nodeway_core::snapshot::{Alone, Backend, Frontend};
use nodeway_ebpf as abi;

use super::resets::{Gone, Resets};
use super::{Cut, Labels, Series, Tables};

/// What an address is from now on; none if it is no frontend any more.
type Change = (SocketAddr, Option<abi::Frontend>);
/// A frontend's number, and whether IPv4 is dialled.
type Key = (u64, bool);

/// See the module.
#[derive(Debug)]
pub struct Carrying {
    tables: Tables,
    series: Series,
    kept: HashMap<Key, Kept>,
    keys: HashMap<SocketAddr, Key>,
    resets: Resets,
}

/// A frontend that goes without the proxy.
#[derive(Debug)]
struct Kept {
    frontend: Arc<Frontend>,
    alone: Alone,
    parts: Vec<Part>,
    value: abi::Frontend,
    addresses: BTreeSet<SocketAddr>,
}

// === impl Carrying ===

impl Carrying {
    pub(in crate::intercept) fn new(tables: Tables) -> Self {
        Self {
            tables,
            series: Series::default(),
            kept: HashMap::new(),
            keys: HashMap::new(),
            resets: Resets::default(),
        }
    }

    /// What these addresses are from now on, and others that go with them; `frontends` says what is dialled
    /// there. `time`: of day and the clock's.
    pub fn update<'a>(
        &mut self,
        frontends: impl Iterator<Item = (SocketAddr, Option<&'a Arc<Frontend>>)>,
        time: (Instant, Millis),
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (address, frontend) in frontends {
            let family = Family::of(address.ip());
            let key = frontend.map(|frontend| (frontend.id, family == Family::V4));
            if self.keys.get(&address).is_some_and(|known| Some(*known) != key) {
                self.release(address, time.0);
            }
            let (Some(frontend), Some(key)) = (frontend, key) else {
                changes.push((address, None));
                continue;
            };
            let known = self.kept.get(&key).is_some_and(|k| Arc::ptr_eq(&k.frontend, frontend));
            if known || self.keep(key, frontend, family, time, &mut changes) {
                let Some(kept) = self.kept.get_mut(&key) else { continue };
                kept.addresses.insert(address);
                self.keys.insert(address, key);
                changes.push((address, Some(kept.value)));
            } else {
                self.release(address, time.0);
                changes.push((address, Some(abi::Frontend::L7)));
            }
        }
        changes
    }

    /// The addresses whose tables are to be others than they are, for what has become of their endpoints.
    pub fn refresh(&mut self, time: (Instant, Millis)) -> Vec<Change> {
        self.tables.sweep(time.0);
        let mut changes = Vec::new();
        let Self { tables, series, kept, .. } = self;
        for kept in kept.values_mut() {
            let parts = kept.alone.parts(time.1);
            if parts == kept.parts {
                continue;
            }
            match write(tables, series, &kept.frontend, &kept.alone, &parts) {
                Ok(value) => {
                    let former = std::mem::replace(&mut kept.value, value);
                    tables.retire(former.table, former.slots, time.0);
                    kept.parts = parts;
                    changes.extend(kept.addresses.iter().map(|a| (*a, Some(kept.value))));
                }
                Err(error) => {
                    tracing::error!(%error, service = %kept.frontend.service,
                        "the kernel goes on with an old table");
                }
            }
        }
        changes
    }

    /// Whether there are any such frontends, or tables of former ones.
    pub fn is_idle(&self) -> bool {
        self.kept.is_empty() && self.resets.is_empty()
    }

    /// How many frontends go without the proxy.
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// What numbers of series mean.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// The connections that are to be reset now, for their endpoints are gone for longer than the policy lets
    /// them be.
    pub fn due(&mut self, now: Instant) -> Vec<Cut> {
        let kept = &self.kept;
        let is_back = |gone: &Gone| {
            let backends = kept.values().flat_map(|kept| backends(&kept.alone));
            let mut same = backends.filter(|b| (&b.service, b.port) == (&gone.service, gone.port));
            same.any(|backend| backend.at(gone.endpoint.address).is_some())
        };
        let due = self.resets.due(now, is_back);
        due.into_iter()
            .map(|gone| Cut {
                endpoint: gone.endpoint.address,
                series: self.series.answered_by(&gone.service, gone.port),
            })
            .collect()
    }

    /// Brings a frontend's table in line; whether it has one.
    fn keep(
        &mut self,
        key: Key,
        frontend: &Arc<Frontend>,
        family: Family,
        (now, at): (Instant, Millis),
        changes: &mut Vec<Change>,
    ) -> bool {
        let alone = frontend.alone(family);
        if let Some(former) = self.kept.get(&key) {
            self.resets.note(&backends(&former.alone), now);
        }
        let Ok(alone) = alone else { return false };
        let parts = alone.parts(at);
        let Self { tables, series, kept, .. } = self;
        let value = match write(tables, series, frontend, &alone, &parts) {
            Ok(value) => value,
            Err(error) => {
                tracing::error!(%error, service = %frontend.service, "relayed by the proxy");
                return false;
            }
        };
        let addresses = match kept.remove(&key) {
            Some(former) => {
                tables.retire(former.value.table, former.value.slots, now);
                former.addresses
            }
            None => BTreeSet::new(),
        };
        changes.extend(addresses.iter().map(|address| (*address, Some(value))));
        let frontend = Arc::clone(frontend);
        kept.insert(key, Kept { frontend, alone, parts, value, addresses });
        true
    }

    /// The address is sent by no table any more.
    fn release(&mut self, address: SocketAddr, now: Instant) {
        let Some(key) = self.keys.remove(&address) else { return };
        let Some(kept) = self.kept.get_mut(&key) else { return };
        kept.addresses.remove(&address);
        if kept.addresses.is_empty()
            && let Some(former) = self.kept.remove(&key)
        {
            self.tables.retire(former.value.table, former.value.slots, now);
            self.resets.note(&backends(&former.alone), now);
        }
    }
}

fn backends(alone: &Alone) -> Vec<Arc<Backend>> {
    alone.shares.iter().filter_map(|share| share.backend.clone()).collect()
}

/// Writes the table of these parts.
fn write(
    tables: &mut Tables,
    series: &mut Series,
    frontend: &Frontend,
    alone: &Alone,
    parts: &[Part],
) -> Result<abi::Frontend, crate::intercept::InterceptError> {
    let Table { by_client, slots } = alone.table(parts);
    let share = |place: usize| alone.shares.get(place);
    let numbers: Vec<u32> = (alone.shares.iter())
        .map(|share| {
            let number = series.number(&Labels {
                parent: frontend.service.clone(),
                port: frontend.port,
                route: share.rule.as_ref().map(|rule| rule.route.clone()),
                backend: share.backend.as_ref().map(|backend| named(backend)),
            });
            series.is_of(number, share.backend.as_ref().map(|backend| backend.id));
            number
        })
        .collect();
    let target = |part: usize| {
        let part = parts.get(part);
        let address = part.and_then(|part| part.endpoint.as_ref()).map(|e| e.address);
        abi::Target {
            address: address.map_or(abi::Address::NONE, abi::Address::from),
            series: part.and_then(|part| numbers.get(part.share)).copied().unwrap_or(0),
        }
    };
    let watched = |part: usize| {
        let backend = parts.get(part).and_then(|part| share(part.share)?.backend.as_ref());
        backend.is_some_and(|backend| backend.settings().health_check.is_some())
    };
    let slots: Vec<abi::Slot> = (slots.iter())
        .map(|slot| abi::Slot {
            own: target(slot.own),
            other: target(slot.other),
            part: slot.part,
            watched: u32::from(watched(slot.own) || watched(slot.other)),
        })
        .collect();
    let table = tables.add(&slots)?;
    let draw = if by_client { abi::Draw::Client } else { abi::Draw::Chance };
    Ok(abi::Frontend {
        mode: abi::Mode::L4 as u32,
        table,
        slots: u32::try_from(slots.len()).unwrap_or(u32::MAX),
        draw: draw as u32,
    })
}

fn named(backend: &Backend) -> (ObjectName, u16) {
    (backend.service.clone(), backend.port)
}
