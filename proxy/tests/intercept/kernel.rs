//! What the kernel holds, asked of the kernel.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::maps::MapInfo;
use aya::programs::loaded_programs;

// Of enum bpf_cmd.
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_QUERY: libc::c_long = 16;
/// enum bpf_attach_type: sock_ops, connect4, connect6, getpeername4, getpeername6, sock_release.
const HOOKS: [u32; 6] = [3, 10, 11, 29, 30, 34];

/// The part of `union bpf_attr` that BPF_PROG_QUERY uses.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log: [u64; 2],
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// Attaches a program of somebody else's to `cgroup` that sees connects and lets them be; it goes with the
/// cgroup.
pub(crate) fn attach_a_neighbour(cgroup: &Path, name: &[u8]) {
    // r0 = 1; exit (linux/bpf.h, struct bpf_insn).
    let instructions: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];
    let mut attr = LoadAttr {
        prog_type: 18,
        insn_cnt: 2,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type: 10,
        ..LoadAttr::default()
    };
    attr.prog_name[..name.len()].copy_from_slice(name);
    // SAFETY: bpf(2): the attribute and what it points to live through the call.
    let program =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
    assert!(program >= 0, "{}", std::io::Error::last_os_error());
    let cgroup = File::open(cgroup).unwrap();
    // target_fd, attach_bpf_fd, attach_type, BPF_F_ALLOW_MULTI
    let attr = [cgroup.as_raw_fd().cast_unsigned(), u32::try_from(program).unwrap(), 10, 2];
    // SAFETY: as above.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attr, size_of_val(&attr)) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// The ids of the programs that are attached to `cgroup` itself, over all hooks.
pub(crate) fn attached(cgroup: &Path) -> Vec<u32> {
    let file = File::open(cgroup).unwrap();
    let mut all = Vec::new();
    for attach_type in HOOKS {
        let mut ids = [0_u32; 16];
        let mut attr = QueryAttr {
            target_fd: file.as_raw_fd().cast_unsigned(),
            attach_type,
            prog_ids: ids.as_mut_ptr() as u64,
            prog_cnt: 16,
            ..QueryAttr::default()
        };
        // SAFETY: bpf(2): the attribute and the array, of the length it says, live through the call.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut attr, size_of::<QueryAttr>())
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        all.extend(&ids[..usize::try_from(attr.prog_cnt).unwrap()]);
    }
    all
}

/// The ids of the maps that these programs use.
pub(crate) fn maps_of(programs: &[u32]) -> Vec<u32> {
    let mut maps: Vec<u32> = loaded_programs()
        .flatten()
        .filter(|program| programs.contains(&program.id()))
        .flat_map(|program| program.map_ids().unwrap().unwrap_or_default())
        .collect();
    maps.sort_unstable();
    maps.dedup();
    maps
}

/// Asserts that neither these programs nor these maps are in the kernel any more. They go soon after
/// their last user, not with it.
pub(crate) fn assert_gone(programs: &[u32], maps: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let programs_left =
            loaded_programs().flatten().filter(|p| programs.contains(&p.id())).count();
        let maps_left = maps.iter().filter(|id| MapInfo::from_id(**id).is_ok()).count();
        if programs_left == 0 && maps_left == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{programs_left} programs, {maps_left} maps left");
        std::thread::sleep(Duration::from_millis(20));
    }
}
