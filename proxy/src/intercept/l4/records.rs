//! What the kernel tells of connections that the proxy never sees: what came of them, and who uses what.

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use nodeway_ebpf::{Ended, Use};

/// The kernel's records, read from time to time: nobody is woken by them.
pub struct Records {
    ended: RingBuf<MapData>,
    untold: PerCpuArray<MapData, u64>,
    uses: HashMap<MapData, Use, u64>,
}

/// A client's use of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedBy {
    /// Cookie of the client's network namespace.
    pub netns: u64,
    /// What it has used.
    pub series: u32,
}

// === impl Records ===

impl Records {
    pub(in crate::intercept) fn new(
        ended: RingBuf<MapData>,
        untold: PerCpuArray<MapData, u64>,
        uses: HashMap<MapData, Use, u64>,
    ) -> Self {
        Self { ended, untold, uses }
    }

    /// The next connection that has ended, if another one has.
    pub fn ended(&mut self) -> Option<Ended> {
        loop {
            let record = self.ended.next()?;
            // Whatever else it is, it is not of this version.
            if let Some(ended) = read(&record) {
                return Some(ended);
            }
        }
    }

    /// How many have ended of which there is no record, for want of room.
    pub fn untold(&self) -> u64 {
        self.untold.get(&0, 0).map_or(0, |cpus| cpus.iter().sum())
    }

    /// Who has used what since this was asked last.
    pub fn uses(&mut self) -> Vec<UsedBy> {
        let all: Vec<Use> = self.uses.keys().flatten().collect();
        for one in &all {
            // Gone already is as good.
            let _ = self.uses.remove(one);
        }
        all.iter().map(|one| UsedBy { netns: one.netns, series: one.series }).collect()
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

fn read(record: &[u8]) -> Option<Ended> {
    if record.len() < size_of::<Ended>() {
        return None;
    }
    // SAFETY: there are as many octets, any of which are a valid Ended; it is copied, so nothing has to be
    // aligned.
    Some(unsafe { record.as_ptr().cast::<Ended>().read_unaligned() })
}
