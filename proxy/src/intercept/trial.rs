//! Whether this kernel takes the programs, asked of the kernel itself: distributions carry features back to older
//! versions and leave others out, so a version tells little.
//!
//! Not whether they could be attached to a cgroup. Nothing of it stays in the kernel.

use aya::programs::{Program, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported};

use super::{FailPolicy, InterceptError, programs};
use crate::errors::chain;

/// Has the kernel make the maps and verify every program that Nodeway cannot do without.
///
/// # Errors
/// The object is missing, or the kernel refuses a map or a program.
pub fn try_programs() -> Result<(), InterceptError> {
    let mut ebpf = programs::load(0, FailPolicy::Open, false, None)?;
    for program in programs::ALL {
        let verified = match ebpf.program_mut(program) {
            Some(Program::CgroupSock(program)) => program.load(),
            Some(Program::CgroupSockAddr(program)) => program.load(),
            Some(Program::SockOps(program)) => program.load(),
            // What else there may be has its own way of being tried.
            _ => Ok(()),
        };
        verified.map_err(|error| InterceptError::Verify { program, message: chain(&error) })?;
    }
    Ok(())
}

/// Whether maps and programs count as memory that this process locks (RLIMIT_MEMLOCK). Where they are charged to its
/// cgroup, the kernel also has a helper that came at the same time (5.11), as libbpf asks it too; none if the kernel
/// does not tell us.
#[must_use]
pub fn locks_memory() -> Option<bool> {
    let charged =
        is_helper_supported(ProgramType::SocketFilter, BpfHelper::BPF_FUNC_ktime_get_coarse_ns);
    charged.ok().map(|charged| !charged)
}
