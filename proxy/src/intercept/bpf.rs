//! The commands of bpf(2) that aya has no word for.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Pod;

// Of enum bpf_cmd (linux/bpf.h).
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
/// For LRU hashes since kernel 5.14.
const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
/// Since kernel 5.9.
const LINK_DETACH: libc::c_long = 34;

/// The part of `union bpf_attr` that commands on map elements read.
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` that BPF_OBJ_GET and BPF_OBJ_PIN read.
#[repr(C)]
struct PathAttr {
    path: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// The part of `union bpf_attr` that BPF_LINK_DETACH reads.
#[repr(C)]
struct LinkAttr {
    link_fd: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_QUERY reads, and its count of programs, which it writes.
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
}

/// The part of `union bpf_attr` that BPF_OBJ_GET_INFO_BY_FD reads.
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info`, as it is for links to cgroups.
#[repr(C)]
#[derive(Default)]
struct CgroupLinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    /// 0 when the cgroup is gone.
    cgroup_id: u64,
}

/// Takes the entry of `key` out of a hash, in one step.
///
/// # Safety
/// The map was made with keys of the size of `K` and values of the size of `V`.
pub(super) unsafe fn take<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    key: &K,
    mut value: V,
) -> io::Result<Option<V>> {
    let attr = ElementAttr {
        map_fd: number(map),
        pad: 0,
        key: std::ptr::from_ref(key) as u64,
        value: &raw mut value as u64,
        flags: 0,
    };
    // SAFETY: key and value live through the call and have the sizes of the map's: the caller's
    // promise. Any bytes are a valid V.
    match unsafe { bpf(MAP_LOOKUP_AND_DELETE_ELEM, &attr) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Detaches the program of the link that is pinned at `pin`, at once. To remove the pin is not enough:
/// the file system lets go of the link a while later (an RCU grace period), and until then the
/// program decides about connects.
pub(super) fn detach(pin: &Path) -> io::Result<()> {
    let link = pinned(pin)?;
    // SAFETY: the attribute points to nothing.
    unsafe { bpf(LINK_DETACH, &LinkAttr { link_fd: number(link.as_fd()) }) }?;
    Ok(())
}

/// Whether the program of the link that is pinned at `pin` is attached no longer: its cgroup is gone, or
/// somebody has detached it.
pub(super) fn is_detached(pin: &Path) -> io::Result<bool> {
    let link = pinned(pin)?;
    let mut info = CgroupLinkInfo::default();
    let attr = InfoAttr {
        bpf_fd: number(link.as_fd()),
        info_len: CgroupLinkInfo::SIZE,
        info: &raw mut info as u64,
    };
    // SAFETY: the kernel writes at most as many octets as it is told, which is what there is.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &attr) }?;
    Ok(info.cgroup_id == 0)
}

/// Of enum bpf_attach_type: `connect` of IPv4 sockets.
const CGROUP_INET4_CONNECT: u32 = 10;
/// Those that take part at this cgroup, attached here or above.
const QUERY_EFFECTIVE: u32 = 1;
const MOST_PROGRAMS: usize = 64;

/// The ids of the programs that decide about IPv4 connects in this cgroup.
pub(super) fn connect4_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attr = QueryAttr {
        target_fd: number(cgroup),
        attach_type: CGROUP_INET4_CONNECT,
        query_flags: QUERY_EFFECTIVE,
        attach_flags: 0,
        prog_ids: &raw mut ids as u64,
        prog_cnt: 64,
        pad: 0,
    };
    // SAFETY: the kernel writes as many ids as it is told there is room for, and their count.
    unsafe { bpf_mut(PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.prog_cnt).map_or(0, |count| count.min(MOST_PROGRAMS));
    Ok(ids[..count].to_vec())
}

/// Pins what is pinned at `from` at `to` too.
pub(super) fn pin_again(from: &Path, to: &Path) -> io::Result<()> {
    let object = pinned(from)?;
    let to = CString::new(to.as_os_str().as_bytes())?;
    let attr = PathAttr { path: to.as_ptr() as u64, bpf_fd: number(object.as_fd()), file_flags: 0 };
    // SAFETY: the path ends with NUL and lives through the call.
    unsafe { bpf(OBJ_PIN, &attr) }?;
    Ok(())
}

fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = PathAttr { path: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the path ends with NUL and lives through the call.
    let fd = unsafe { bpf(OBJ_GET, &attr) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// === impl CgroupLinkInfo ===

impl CgroupLinkInfo {
    const SIZE: u32 = 24;
}

const _: () = assert!(size_of::<CgroupLinkInfo>() == CgroupLinkInfo::SIZE as usize);

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// # Safety
/// `A` is the beginning of `union bpf_attr` as `command` reads it, and what it points to is fit for
/// that command.
unsafe fn bpf<A>(command: libc::c_long, attr: &A) -> io::Result<libc::c_long> {
    // SAFETY: bpf(2) reads the attribute and what it points to: the caller's promise.
    unsafe { call(command, std::ptr::from_ref(attr).cast_mut()) }
}

/// # Safety
/// As [`bpf`], and the command may write to the attribute.
unsafe fn bpf_mut<A>(command: libc::c_long, attr: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise.
    unsafe { call(command, attr) }
}

/// # Safety
/// As [`bpf_mut`].
unsafe fn call<A>(command: libc::c_long, attr: *mut A) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
