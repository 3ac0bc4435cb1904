//! What the kernel holds for a cgroup: attached programs and their maps, asked with bpf(2) itself,
//! so that clean-up is proved by the kernel and not by the tool that cleaned up.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

const MAP_GET_NEXT_KEY: i64 = 4;
const PROG_GET_FD_BY_ID: i64 = 13;
const MAP_GET_FD_BY_ID: i64 = 14;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const PROG_QUERY: i64 = 16;
/// Beyond the last attach type of any kernel so far.
const ATTACH_TYPES: u32 = 64;

/// Ids of what is in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// Programs attached to the cgroup.
    pub programs: Vec<u32>,
    /// The maps those programs use.
    pub maps: Vec<u32>,
}

/// What is attached to `cgroup` itself, and the maps behind it.
///
/// # Panics
/// When there is no such cgroup.
#[must_use]
pub fn attached(cgroup: &Path) -> Objects {
    let cgroup = File::open(cgroup).expect("a cgroup");
    let mut objects = Objects::default();
    for attach_type in 0..ATTACH_TYPES {
        objects.programs.extend(query(&cgroup, attach_type));
    }
    for program in &objects.programs {
        objects.maps.extend(maps_of(*program));
    }
    objects.maps.sort_unstable();
    objects.maps.dedup();
    objects
}

/// Those of `objects` that are still in the kernel.
#[must_use]
pub fn alive(objects: &Objects) -> Objects {
    let lives = |command: i64| move |id: &&u32| by_id(command, **id).is_some();
    Objects {
        programs: objects.programs.iter().filter(lives(PROG_GET_FD_BY_ID)).copied().collect(),
        maps: objects.maps.iter().filter(lives(MAP_GET_FD_BY_ID)).copied().collect(),
    }
}

/// How many entries the map of this name has, of those that programs on `cgroup` use.
///
/// # Panics
/// When there is no such cgroup, or no such map.
#[must_use]
pub fn entries(cgroup: &Path, map: &str) -> usize {
    let maps = attached(cgroup).maps;
    let fd =
        maps.iter().filter_map(|id| by_id(MAP_GET_FD_BY_ID, *id)).find(|fd| name_of(fd) == map);
    let fd = fd.unwrap_or_else(|| panic!("no map {map}"));
    // Keys of ours have at most 64 octets. The kernel reads the former one and writes the next.
    let (mut key, mut count) = ([0_u64; 8], 0);
    let mut attr = [0_u64; 16];
    attr[0] = u64::try_from(fd.as_raw_fd()).expect("an open descriptor");
    // No former key asks for the first one.
    attr[2] = key.as_mut_ptr() as u64;
    while bpf(MAP_GET_NEXT_KEY, &mut attr).is_ok() {
        count += 1;
        attr[1] = attr[2];
    }
    count
}

fn name_of(map: &OwnedFd) -> String {
    // struct bpf_map_info: six words of 32 bits, then the name in 16 octets.
    let mut info = [0_u64; 12];
    let mut attr = [0_u64; 16];
    attr[0] = u64::try_from(map.as_raw_fd()).expect("an open descriptor")
        | (size_of_val(&info) as u64) << 32;
    attr[1] = info.as_mut_ptr() as u64;
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).expect("a map tells about itself");
    let name = [info[3].to_ne_bytes(), info[4].to_ne_bytes()].concat();
    String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()
}

fn query(cgroup: &File, attach_type: u32) -> Vec<u32> {
    let mut ids = [0_u32; 64];
    let fd = u64::try_from(cgroup.as_raw_fd()).expect("an open descriptor");
    // target_fd, attach_type | query_flags, attach_flags | prog_ids | prog_cnt, padding | ...
    let mut attr = [0_u64; 16];
    attr[0] = fd | (u64::from(attach_type) << 32);
    attr[2] = ids.as_mut_ptr() as u64;
    attr[3] = ids.len() as u64;
    match bpf(PROG_QUERY, &mut attr) {
        Ok(_) => ids[..usize::try_from(attr[3] & 0xffff).expect("a count")].to_vec(),
        // An attach type that this kernel, or a cgroup, does not know.
        Err(_) => Vec::new(),
    }
}

fn maps_of(program: u32) -> Vec<u32> {
    let Some(program) = by_id(PROG_GET_FD_BY_ID, program) else { return Vec::new() };
    let mut ids = [0_u32; 64];
    // struct bpf_prog_info: nr_map_ids is the second half of word 6, map_ids is word 7.
    let mut info = [0_u64; 40];
    info[6] = (ids.len() as u64) << 32;
    info[7] = ids.as_mut_ptr() as u64;
    let mut attr = [0_u64; 16];
    attr[0] = u64::try_from(program.as_raw_fd()).expect("an open descriptor")
        | (size_of_val(&info) as u64) << 32;
    attr[1] = info.as_mut_ptr() as u64;
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).expect("a program tells about itself");
    ids[..usize::try_from(info[6] >> 32).expect("a count").min(ids.len())].to_vec()
}

fn by_id(command: i64, id: u32) -> Option<OwnedFd> {
    let mut attr = [0_u64; 16];
    attr[0] = u64::from(id);
    let fd = bpf(command, &mut attr).ok()?;
    // SAFETY: the kernel just gave us this descriptor.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf(command: i64, attr: &mut [u64; 16]) -> io::Result<i32> {
    // SAFETY: `attr` is a zeroed buffer as large as any bpf_attr of these commands, and the
    // pointers in it lead to live arrays of the sizes it states.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}
