//! The kernel's tables: a new one whole before anybody is sent by it, an old one gone when nobody is any more.

use std::time::{Duration, Instant};

use aya::maps::{HashMap, MapData};
use nodeway_ebpf::{Slot, SlotKey};

use crate::intercept::InterceptError;

const MAP: &str = "SLOTS";
/// A connect that has read a frontend needs the table for microseconds.
const GRACE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(in crate::intercept) struct Tables {
    map: HashMap<MapData, SlotKey, Slot>,
    /// The number that was given last.
    last: u32,
    /// Tables that nobody is sent by any more, oldest first, with their slots and since when.
    retired: Vec<(u32, u32, Instant)>,
}

// === impl Tables ===

impl Tables {
    pub(in crate::intercept) fn new(map: HashMap<MapData, SlotKey, Slot>) -> Self {
        Self { map, last: 0, retired: Vec::new() }
    }

    /// Writes a table; its number.
    ///
    /// # Errors
    /// The map is full or gone; nothing is left of the table.
    pub(super) fn add(&mut self, slots: &[Slot]) -> Result<u32, InterceptError> {
        // 0 is nobody's; in 50 years, at three a second, the first number comes again.
        self.last = self.last.checked_add(1).unwrap_or(1);
        let table = self.last;
        for (slot, value) in (0_u32..).zip(slots) {
            if let Err(error) = self.map.insert(SlotKey { table, slot }, value, 0) {
                self.remove(table, slot);
                return Err(InterceptError::map(MAP, &error));
            }
        }
        Ok(table)
    }

    /// No frontend names this table any more.
    pub(super) fn retire(&mut self, table: u32, slots: u32, now: Instant) {
        if slots > 0 {
            self.retired.push((table, slots, now));
        }
    }

    /// Removes what nobody can still need.
    pub(super) fn sweep(&mut self, now: Instant) {
        let over = |(.., since): &(u32, u32, Instant)| now.duration_since(*since) >= GRACE;
        let count = self.retired.iter().take_while(|retired| over(retired)).count();
        for (table, slots, _) in self.retired.drain(..count).collect::<Vec<_>>() {
            self.remove(table, slots);
        }
    }

    fn remove(&mut self, table: u32, slots: u32) {
        for slot in 0..slots {
            // Gone already is as good.
            let _ = self.map.remove(&SlotKey { table, slot });
        }
    }
}
