//! Acceleration: payload between apps and the proxy handed over past the loopback stack, where this
//! kernel does that without a difference that an app could notice.
//!
//! Not the handing over itself (ebpf/src/accelerate.rs). Which kernels are fit is not known by version but
//! tried, by `trials`, each time the proxy starts.

mod rig;
mod trials;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, SockHash};
use aya::programs::cgroup_sockopt::CgroupSockoptLink;
use aya::programs::sk_msg::SkMsgLink;
use aya::programs::{CgroupAttachMode, CgroupSockopt, SkMsg};
use nodeway_ebpf::FlowKey;

use self::rig::Rig;
use self::trials::ALL;
use super::InterceptError;
use crate::errors::chain;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerate {
    /// On a kernel on which every trial is passed.
    Auto,
    /// On a kernel on which octets arrive whole, in order and in time: what else differs is put up with.
    On,
    /// Never.
    Off,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceleration {
    /// Whether connections are accelerated.
    pub on: bool,
    /// Why, in a word: `asked`, `fit`, or the first trial that decided against it.
    pub reason: &'static str,
    /// The same for people.
    pub told: String,
}

/// A trial that was not passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub trial: &'static str,
    /// Whether payload is at stake.
    pub vital: bool,
    /// What was found.
    pub found: String,
}

/// Octets handed over so far.
pub struct Accelerated {
    octets: PerCpuArray<MapData, u64>,
}

/// The programs, attached as long as this is there. They are not pinned: pairs end with the proxy's sockets.
#[derive(Debug)]
pub(super) struct Attached {
    _message: SkMsgLink,
    _options: CgroupSockoptLink,
}

/// No trial is begun after this. All together they take a fifth of a second.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Decides by what is asked for and what this kernel does.
pub(super) fn decide(asked: Accelerate) -> Acceleration {
    if asked == Accelerate::Off {
        return Acceleration { on: false, reason: "asked", told: "off, as asked".to_owned() };
    }
    // A start waits for no trial that can change nothing any more.
    match try_until(|failure| failure.vital || asked == Accelerate::Auto) {
        Ok(failures) => judge(asked, &failures),
        Err(error) => Acceleration {
            on: false,
            reason: "not_tried",
            told: format!("cannot be tried: {error}"),
        },
    }
}

/// All that acceleration gets wrong on this kernel.
///
/// # Errors
/// It cannot be tried at all: no privileges, no loopback, no such maps.
pub fn try_out() -> Result<Vec<Failure>, InterceptError> {
    try_until(|_| false)
}

/// What it gets wrong up to the first failure that is `enough`.
fn try_until(enough: impl Fn(&Failure) -> bool) -> Result<Vec<Failure>, InterceptError> {
    let mut rig = Rig::make()?;
    let end = Instant::now() + PATIENCE;
    let mut failures = Vec::new();
    for trial in &ALL {
        let Some(failure) = trial.fails(&mut rig, end) else { continue };
        let decided = enough(&failure);
        failures.push(failure);
        if decided {
            break;
        }
    }
    Ok(failures)
}

/// What is made of that.
pub fn judge(asked: Accelerate, failures: &[Failure]) -> Acceleration {
    let list = |failures: &mut dyn Iterator<Item = &Failure>| {
        let each = failures.map(|Failure { trial, found, .. }| format!("{trial} ({found})"));
        each.collect::<Vec<_>>().join("; ")
    };
    let vital = failures.iter().find(|failure| failure.vital);
    let decisive = if asked == Accelerate::Auto { failures.first() } else { None };
    if let Some(failure) = vital.or(decisive) {
        let told = format!("this kernel does not pass: {}", list(&mut failures.iter()));
        return Acceleration { on: false, reason: failure.trial, told };
    }
    if failures.is_empty() {
        let told = "this kernel passes all trials".to_owned();
        return Acceleration { on: true, reason: "fit", told };
    }
    let told = format!("on as asked, though apps may notice: {}", list(&mut failures.iter()));
    Acceleration { on: true, reason: "asked", told }
}

/// Attaches the programs that hand over; before those that enrol.
pub(super) fn attach(ebpf: &mut Ebpf, cgroup: &Path) -> Result<Attached, InterceptError> {
    let message = attach_message(ebpf)?;
    let file = File::open(cgroup)
        .map_err(|error| InterceptError::Cgroup { path: cgroup.to_owned(), error })?;
    let failed = |error: &dyn std::error::Error| InterceptError::Attach {
        program: OPTIONS,
        message: chain(error),
    };
    let missing = || InterceptError::Attach { program: OPTIONS, message: MISSING.to_owned() };
    let program: &mut CgroupSockopt =
        ebpf.program_mut(OPTIONS).ok_or_else(missing)?.try_into().map_err(|e| failed(&e))?;
    program.load().map_err(|e| failed(&e))?;
    let link = program.attach(file, CgroupAttachMode::Single).map_err(|e| failed(&e))?;
    let options = program.take_link(link).map_err(|e| failed(&e))?;
    Ok(Attached { _message: message, _options: options })
}

fn attach_message(ebpf: &mut Ebpf) -> Result<SkMsgLink, InterceptError> {
    let failed = |error: &dyn std::error::Error| InterceptError::Attach {
        program: MESSAGE,
        message: chain(error),
    };
    let missing = || InterceptError::Attach { program: MESSAGE, message: MISSING.to_owned() };
    let sockets = ebpf.map(SOCKETS).ok_or_else(missing)?;
    let sockets: SockHash<_, FlowKey> = sockets.try_into().map_err(|e| failed(&e))?;
    let sockets = sockets.fd().try_clone().map_err(|e| failed(&e))?;
    let program: &mut SkMsg =
        ebpf.program_mut(MESSAGE).ok_or_else(missing)?.try_into().map_err(|e| failed(&e))?;
    program.load().map_err(|e| failed(&e))?;
    let link = program.attach(&sockets).map_err(|e| failed(&e))?;
    program.take_link(link).map_err(|e| failed(&e))
}

const SOCKETS: &str = "SOCKETS";
const PAIRS: &str = "PAIRS";
/// sk_msg.
const MESSAGE: &str = "skip_loopback";
/// cgroup/setsockopt.
const OPTIONS: &str = "refuse_options";
const MISSING: &str = "the object has no such program";

// === impl Acceleration ===

impl Acceleration {
    /// Whether the proxy's own sockets are below the cgroup: sock_ops enrols nobody if not.
    pub(super) fn proxy_is(&mut self, below: bool) {
        if self.on && !below {
            let told = "the proxy is not below the cgroup that it attaches to".to_owned();
            *self = Self { on: false, reason: "outside", told };
        }
    }

    /// Says it in the log. What somebody has asked for and does not get whole is a warning.
    pub(super) fn log(&self, asked: Accelerate) {
        if asked == Accelerate::On && self.reason != "fit" {
            tracing::warn!(on = self.on, "acceleration: {}", self.told);
        } else {
            tracing::info!(on = self.on, "acceleration: {}", self.told);
        }
    }
}

// === impl Accelerated ===

impl Accelerated {
    pub(super) fn new(octets: PerCpuArray<MapData, u64>) -> Self {
        Self { octets }
    }

    /// Their number, all CPUs together.
    pub fn read(&self) -> u64 {
        self.octets.get(&0, 0).map_or(0, |cpus| cpus.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(trial: &'static str, vital: bool) -> Failure {
        Failure { trial, vital, found: "0 of 7 octets".to_owned() }
    }

    #[test]
    fn nothing_amiss_is_on_and_anything_amiss_is_off_unless_asked_for() {
        let good = judge(Accelerate::Auto, &[]);
        assert_eq!((good.on, good.reason), (true, "fit"));
        let splice = [failure("splice", false)];
        let off = judge(Accelerate::Auto, &splice);
        assert_eq!((off.on, off.reason), (false, "splice"));
        assert!(off.told.contains("splice (0 of 7 octets)"), "{}", off.told);
        let on = judge(Accelerate::On, &splice);
        assert_eq!((on.on, on.reason), (true, "asked"));
        assert!(on.told.contains("splice"), "{}", on.told);
    }

    #[test]
    fn nobody_gets_what_would_harm_payload_whoever_asks() {
        let failures = [failure("splice", false), failure("wake-ups", true)];
        let refused = judge(Accelerate::On, &failures);
        assert_eq!((refused.on, refused.reason), (false, "wake-ups"));
    }
}
