//! The kernel's door: programs loaded and attached, maps kept in line, pods' namespaces entered.
//!
//! Not what is in the snapshot, nor what is done with a connection. All of it is on the
//! control thread, but for [`PodNetns::run`] and [`OriginalDestinations`], which workers use.

mod accelerate;
mod bpf;
mod cgroup;
mod enrolment;
mod error;
mod frontends;
mod interceptor;
mod kubepods;
mod l4;
mod listeners;
mod log;
mod neighbours;
mod netns;
mod object;
mod original;
mod owner;
mod probe;
mod processes;
mod programs;
mod trial;
mod waiting;

pub use accelerate::{Accelerate, Accelerated, Acceleration, Failure, judge, try_out};
pub use cgroup::{cgroup2_at, find_cgroup2, kernel_has_bpffs};
pub use enrolment::{Attach, Enrolment};
pub use error::InterceptError;
pub use interceptor::{Exits, FailPolicy, Interceptor, Options};
pub use kubepods::find_kubepods;
pub use l4::{Carrying, Cut, Labels, Records, Resetter, Series, UsedBy, Victims, can_reset, reset};
pub use listeners::{PodListeners, WorkerListeners};
pub use log::KernelLog;
pub use neighbours::neighbours;
pub use netns::PodNetns;
pub use object::object;
pub use original::OriginalDestinations;
pub use trial::{locks_memory, try_programs};
