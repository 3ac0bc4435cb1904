//! The kernel's frontends, kept equal to a wanted set by writing only what differs.

use std::collections::HashMap as StdHashMap;
use std::io;
use std::net::SocketAddr;

use aya::maps::{HashMap, MapData, MapError};
use nodeway_ebpf::{Address, Frontend};

use super::InterceptError;

const MAP: &str = "FRONTENDS";

/// The map, and what this process has written into it: nobody else writes there.
#[derive(Debug)]
pub(super) struct Frontends {
    map: HashMap<MapData, Address, Frontend>,
    /// By the kernel's form of the address, in which `1.2.3.4` and `::ffff:1.2.3.4` are one.
    written: StdHashMap<Address, Frontend>,
    /// What could not be written or removed last time: tried again at the next change.
    left: StdHashMap<Address, Option<Frontend>>,
}

/// What could not be written, so far.
#[derive(Debug, Default)]
struct Failures {
    count: usize,
    first: Option<InterceptError>,
}

// === impl Frontends ===

impl Frontends {
    pub(super) fn new(map: HashMap<MapData, Address, Frontend>) -> Self {
        Self { map, written: StdHashMap::new(), left: StdHashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.written.len()
    }

    /// Brings `changes` into the map: what each address is now, none if it is no frontend any more. One
    /// that cannot be written costs the others nothing, and is tried again at the next call. Removes
    /// first, so that a full map has room again.
    pub(super) fn change(
        &mut self,
        changes: impl Iterator<Item = (SocketAddr, Option<Frontend>)>,
    ) -> Result<(), InterceptError> {
        // Of one address, what is said last counts.
        let mut wanted = std::mem::take(&mut self.left);
        wanted.extend(changes.map(|(address, value)| (Address::from(address), value)));
        let mut changes: Vec<_> = wanted.into_iter().collect();
        changes.sort_by_key(|(_, value)| value.is_some());
        let mut failures = Failures::default();
        for (address, value) in changes {
            if self.written.get(&address) == value.as_ref() {
                continue;
            }
            let result = match value {
                Some(value) => self.map.insert(address, value, 0),
                None => remove(&mut self.map, &address),
            };
            if !failures.note(result) {
                self.left.insert(address, value);
            } else if let Some(value) = value {
                self.written.insert(address, value);
            } else {
                self.written.remove(&address);
            }
        }
        failures.into_result()
    }
}

/// Gone already is as good as removed.
fn remove(
    map: &mut HashMap<MapData, Address, Frontend>,
    address: &Address,
) -> Result<(), MapError> {
    match map.remove(address) {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        result => result,
    }
}

// === impl Failures ===

impl Failures {
    /// Whether it went well.
    fn note(&mut self, result: Result<(), MapError>) -> bool {
        let Err(error) = result else { return true };
        self.count += 1;
        self.first.get_or_insert_with(|| InterceptError::map(MAP, &error));
        false
    }

    fn into_result(self) -> Result<(), InterceptError> {
        let Self { count, first } = self;
        first.map_or(Ok(()), |first| {
            Err(InterceptError::Frontends { count, first: Box::new(first) })
        })
    }
}
