//! The programs: loaded, attached to the cgroup, their links pinned.

use std::fs::File;
use std::path::Path;

use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSock, CgroupSockAddr, ProgramError, SockOps};
use aya::{Ebpf, EbpfLoader};

use super::owner::CARRIED;
use super::{FailPolicy, InterceptError, object};
use crate::errors::chain;

/// In the order in which they are attached: who reads a record comes before who writes it, so that
/// none is ever left without its reader.
pub(super) const ALL: [&str; 6] =
    ["sock_release", "getpeername4", "getpeername6", "note_established", "connect6", "connect4"];
/// Those that decide where a connect goes. The others follow up what these have begun.
pub(super) const DECIDING: [&str; 2] = ["connect6", "connect4"];

/// Loads the object that this binary carries. Connections that go without the proxy outlive it: their notes are
/// pinned below `pins`, or are taken from there; without `pins` nothing is.
pub(super) fn load(
    listener_mark: u32,
    fail: FailPolicy,
    accelerate: bool,
    pins: Option<&Path>,
) -> Result<Ebpf, InterceptError> {
    let object = object().ok_or(InterceptError::NoObject)?;
    let fail_closed = u32::from(fail == FailPolicy::Closed);
    let on = u32::from(accelerate);
    let log_level = u8::from(tracing::enabled!(tracing::Level::DEBUG)) * LOG_DEBUG;
    let mut loader = EbpfLoader::new();
    if let Some(pins) = pins {
        loader.map_pin_path(CARRIED, pins.join(CARRIED));
    }
    if !accelerate {
        loader.map_max_entries("SOCKETS", 1).map_max_entries("PAIRS", 1);
    }
    loader
        .override_global("LISTENER_MARK", &listener_mark, true)
        .override_global("FAIL_CLOSED", &fail_closed, true)
        .override_global("ACCELERATE", &on, true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .load(object)
        .map_err(|error| InterceptError::Load(chain(&error)))
}

/// The same with hardly any room in its maps, and attached to nothing: for trying a program out.
pub(super) fn load_for_trial() -> Result<Ebpf, InterceptError> {
    let object = object().ok_or(InterceptError::NoObject)?;
    let mut loader = EbpfLoader::new();
    for map in ["FRONTENDS", "NETNS", "ORIGINAL", "FLOWS", "SLOTS", "USES", "SOCKETS", "PAIRS"] {
        loader.map_max_entries(map, 64);
    }
    loader.map_max_entries(CARRIED, 64);
    loader.load(object).map_err(|error| InterceptError::Load(chain(&error)))
}

/// aya-log's number for "debug and worse"; 0 is nothing, and costs the programs one load.
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;

/// Attaches these programs of `ebpf` to `cgroup` and pins their links below `pins`: they stay when this
/// process is killed, and go when the pins go.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    names: &[&'static str],
    cgroup: &Path,
    pins: &Path,
) -> Result<(), InterceptError> {
    let file = File::open(cgroup)
        .map_err(|error| InterceptError::Cgroup { path: cgroup.to_owned(), error })?;
    for &name in names {
        let failed = |message| InterceptError::Attach { program: name, message };
        let link = attach_one(ebpf, name, &file).map_err(|error| failed(chain(&error)))?;
        link.pin(pins.join(name)).map_err(|error| failed(chain(&error)))?;
    }
    Ok(())
}

fn attach_one(ebpf: &mut Ebpf, name: &'static str, cgroup: &File) -> Result<FdLink, AttachError> {
    let program = ebpf.program_mut(name).ok_or(AttachError::Missing)?;
    // "Single" is link flags 0: many links may live on a cgroup all the same (links are always
    // BPF_F_ALLOW_MULTI); the flag itself is refused for links.
    let mode = CgroupAttachMode::Single;
    Ok(match name {
        "note_established" => {
            let program: &mut SockOps = program.try_into()?;
            if program.fd().is_err() {
                program.load()?;
            }
            let link = program.attach(cgroup, mode)?;
            program.take_link(link)?.try_into()?
        }
        "sock_release" => {
            let program: &mut CgroupSock = program.try_into()?;
            if program.fd().is_err() {
                program.load()?;
            }
            let link = program.attach(cgroup, mode)?;
            program.take_link(link)?.try_into()?
        }
        _ => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            if program.fd().is_err() {
                program.load()?;
            }
            let link = program.attach(cgroup, mode)?;
            program.take_link(link)?.try_into()?
        }
    })
}

#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error("the object has no such program")]
    Missing,
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("the kernel has no links for this hook: {0}")]
    Link(#[from] aya::programs::links::LinkError),
}
