//! The maps: key, value, who writes. All are keyed by or belong to network namespaces, because
//! 127.0.0.1 means another place in every pod.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SockHash};
use nodeway_ebpf::{
    Address, Carried, Exit, FlowKey, Frontend, FrontendKey, Netns, Pair, Proxy, Redirect, Slot,
    SlotKey, Use,
};

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

/// The tables by which connections go to endpoints without the proxy, slot by slot. Written by the proxy:
/// a new table first, then the frontends that name it, and the old one goes some time later.
#[map]
pub(crate) static SLOTS: HashMap<SlotKey, Slot> = HashMap::with_max_entries(1 << 18, NO_PREALLOC);

/// Socket cookie -> where its connect was sent without the proxy. Written by connect; removed by sock_ops when
/// the connection has ended, or by sock_release if it never was one. The least recently used entry makes
/// room as a safety net only.
#[map]
pub(crate) static CARRIED: LruHashMap<u64, Carried> = LruHashMap::with_max_entries(1 << 16, 0);

/// Who uses what without the proxy -> when last, nanoseconds of the monotonic clock. Written by connect, where
/// somebody has to know; read and removed by the proxy.
#[map]
pub(crate) static USES: LruHashMap<Use, u64> = LruHashMap::with_max_entries(1 << 14, 0);

/// What came of such connections: records of type `Ended`. The proxy looks for them from time to time, so
/// nobody is woken; it holds 20 000.
#[map]
pub(crate) static ENDED: RingBuf = RingBuf::with_byte_size(1 << 21, 0);

/// How many records there was no room for.
#[map]
pub(crate) static UNTOLD: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Either end of an accelerated connection -> its socket. Written by sock_ops; a socket that closes leaves
/// by itself. One entry, without acceleration.
#[map]
pub(crate) static SOCKETS: SockHash<FlowKey> = SockHash::with_max_entries(1 << 17, 0);

/// Accelerated connection -> how it goes. Written by sock_ops, which removes it too, and sk_msg. A
/// full one leaves new connections to TCP. One entry, without acceleration.
#[map]
pub(crate) static PAIRS: HashMap<FlowKey, Pair> = HashMap::with_max_entries(1 << 16, NO_PREALLOC);

/// Octets that have been handed over.
#[map]
pub(crate) static ACCELERATED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
