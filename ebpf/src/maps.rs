//! The maps: key, value, who writes. All are keyed by or belong to network namespaces, because
//! 127.0.0.1 means another place in every pod.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use nodeway_ebpf::{Address, Exit, FlowKey, Frontend, FrontendKey, Netns, Proxy, Redirect};

/// Entries are allocated when used (BPF_F_NO_PREALLOC); a bound itself costs its 16 octets a bucket.
/// LRU hashes have no such choice: `ORIGINAL` takes 12 MiB of the kernel's memory, `FLOWS` 6.5 MiB.
const NO_PREALLOC: u32 = 1;

/// What clients dial -> what happens. Written by the proxy. 26 addresses for each of the 10 000 Services
/// that Kubernetes is tested with, for 4 MiB; a full one is an error that names it.
#[map]
pub(crate) static FRONTENDS: HashMap<FrontendKey, Frontend> =
    HashMap::with_max_entries(1 << 18, NO_PREALLOC);

/// Network-namespace cookie -> its listeners: the enrolled pods. Written by the proxy.
#[map]
pub(crate) static NETNS: HashMap<u64, Netns> = HashMap::with_max_entries(1 << 16, NO_PREALLOC);

/// Socket cookie -> what it dialled and where it was sent. Written by connect, removed by
/// sock_release; the least recently used entry makes room as a safety net only.
#[map]
pub(crate) static ORIGINAL: LruHashMap<u64, Redirect> = LruHashMap::with_max_entries(1 << 17, 0);

/// Established connection -> what was dialled. Written by sock_ops, taken out by the proxy when it
/// accepts. Not removed when the client closes: it may have sent all it wanted before we accept.
#[map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Address> = LruHashMap::with_max_entries(1 << 16, 0);

/// Who the proxy is. Written by the proxy, completed by connect.
#[map]
pub(crate) static PROXY: Array<Proxy> = Array::with_max_entries(1, 0);

/// How many connects ended how; see [`Exit`].
#[map]
pub(crate) static EXITS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(Exit::ALL.len() as u32, 0);
