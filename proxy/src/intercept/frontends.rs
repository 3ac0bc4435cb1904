//! The kernel's frontends, kept equal to a wanted set by writing only what differs.

use std::collections::HashMap as StdHashMap;
use std::io;
use std::net::SocketAddr;

use aya::maps::{HashMap, MapData, MapError};
use nodeway_ebpf::{Address, Frontend, Mode};

use super::InterceptError;

const MAP: &str = "FRONTENDS";

/// The map, and what this process has written into it: nobody else writes there.
#[derive(Debug)]
pub(super) struct Frontends {
    map: HashMap<MapData, Address, Frontend>,
    /// By the kernel's form of the address, in which `1.2.3.4` and `::ffff:1.2.3.4` are one.
    written: StdHashMap<Address, Mode>,
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
        Self { map, written: StdHashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.written.len()
    }

    /// Makes the map equal to `wanted`. One that cannot be written costs the others nothing, and is
    /// tried again at the next call. Removes first, so that a full map has room again.
    pub(super) fn set(
        &mut self,
        wanted: impl Iterator<Item = (SocketAddr, Mode)>,
    ) -> Result<(), InterceptError> {
        let wanted: StdHashMap<Address, Mode> =
            wanted.map(|(address, mode)| (Address::from(address), mode)).collect();
        let mut failures = Failures::default();
        let map = &mut self.map;
        self.written.retain(|address, _| {
            wanted.contains_key(address) || !failures.note(remove(map, address))
        });
        for (address, mode) in wanted {
            if self.written.get(&address) == Some(&mode) {
                continue;
            }
            let frontend = Frontend { mode: mode as u32 };
            if failures.note(self.map.insert(address, frontend, 0)) {
                self.written.insert(address, mode);
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
