//! The kernel side, as this process owns it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use nodeway_ebpf::{Exit, Frontend, Netns};

use super::accelerate::{self, Accelerate, Accelerated, Acceleration, Attached};
use super::cgroup::warn_if_private;
use super::frontends::Frontends;
use super::l4::{Carrying, Records, Resetter, Tables};
use super::log::KernelLog;
use super::neighbours::warn_of_neighbours;
use super::owner::Owner;
use super::programs;
use super::{InterceptError, OriginalDestinations, PodNetns, bpf, probe};
use crate::errors::chain;

/// What becomes of a connect to a Service while the proxy is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPolicy {
    /// It is left alone, as if there were no mesh.
    Open,
    /// It is refused.
    Closed,
}

/// Where and how to intercept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cgroup below which connects are caught.
    pub cgroup: PathBuf,
    /// Where links are pinned; a BPF file system is mounted there if there is none.
    pub bpffs: PathBuf,
    /// What becomes of connects while the proxy is away.
    pub fail_policy: FailPolicy,
    /// Whether another process that serves the cgroup is to be taken over from.
    pub takeover: bool,
    /// Whether payload between apps and the proxy is to skip the loopback stack.
    pub accelerate: Accelerate,
}

/// Programs and maps in the kernel, owned by this process. Dropped, they are gone.
#[derive(Debug)]
pub struct Interceptor {
    frontends: Frontends,
    netns: HashMap<MapData, u64, Netns>,
    destinations: OriginalDestinations,
    listener_mark: u32,
    acceleration: Acceleration,
    /// What accelerates, if anything does.
    _accelerating: Option<Attached>,
    ebpf: Ebpf,
    cgroup: PathBuf,
    /// The pins of the process that is taken over from, until it has gone.
    predecessor: Option<PathBuf>,
    /// Whether connects are to come here.
    serving: bool,
    /// Last: what it unpins on drop is held by the fields above until then.
    owner: Owner,
}

/// What the programs have counted.
pub struct Exits {
    map: PerCpuArray<MapData, u64>,
}

// === impl Interceptor ===

impl Interceptor {
    /// Loads and attaches. Nobody is enrolled yet: every connect is left alone.
    ///
    /// # Errors
    /// The kernel or the cgroup refuses, or another process owns the cgroup. Nothing is left behind.
    pub fn start(options: &Options) -> Result<Self, InterceptError> {
        warn_if_private(&options.cgroup);
        warn_of_neighbours(&options.cgroup);
        let (owner, predecessor) = Owner::take(&options.cgroup, &options.bpffs, options.takeover)?;
        // Any number but 0, which is what sockets without a mark have.
        let listener_mark = fastrand::u32(1..);
        let mut acceleration = accelerate::decide(options.accelerate);
        let (fail, pins) = (options.fail_policy, Some(owner.pins()));
        let mut ebpf = programs::load(listener_mark, fail, acceleration.on, pins)?;
        let frontends = Frontends::new(take(&mut ebpf, "FRONTENDS")?);
        let netns = take(&mut ebpf, "NETNS")?;
        let mut proxy: Array<MapData, _> = take(&mut ebpf, "PROXY")?;
        let destinations = OriginalDestinations::new(take_data(&mut ebpf, "FLOWS")?)?;
        let (cgroup, pins) = (options.cgroup.clone(), owner.pins());
        let accelerating =
            acceleration.on.then(|| accelerate::attach(&mut ebpf, &cgroup)).transpose()?;
        programs::attach(&mut ebpf, &programs::ALL, &cgroup, pins)?;
        // Attached first, then what a crash has left: no connect in between goes uncaught for want
        // of programs, and the old ones leave connects alone because their listeners are gone. Those
        // that refuse them for that stay until there is somebody to take their place.
        if options.fail_policy == FailPolicy::Open {
            owner.remove_stale();
        }
        owner.remove_orphans();
        let tgid = probe::introduce(&mut proxy)?;
        acceleration.proxy_is(tgid.is_some());
        acceleration.log(options.accelerate);
        tracing::info!(cgroup = %cgroup.display(), pins = %pins.display(), ?tgid,
            predecessor = predecessor.as_ref().map(|pins| tracing::field::display(pins.display())),
            "eBPF programs attached");
        Ok(Self {
            frontends,
            netns,
            destinations,
            listener_mark,
            acceleration,
            _accelerating: accelerating,
            ebpf,
            cgroup,
            predecessor,
            serving: false,
            owner,
        })
    }

    /// The first full state is in force, in the maps too: connects are ours from now on. A predecessor's
    /// programs ran too so far, and were first; those that decide are detached. The others stay until it
    /// ends, for the connections that it has begun; it serves these to their end.
    pub fn take_over(&mut self) {
        self.serving = true;
        self.owner.serves(true);
        self.owner.remove_stale();
        let Some(pins) = &self.predecessor else { return };
        for program in programs::DECIDING {
            match bpf::detach(&pins.join(program)) {
                Ok(()) => tracing::info!(program, pins = %pins.display(), "taken over"),
                // It has ended meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::error!(program, %error, "cannot detach the predecessor's program");
                }
            }
        }
    }

    /// Connects are no longer to come here: a predecessor that still runs may have them back.
    pub fn give_back(&mut self) {
        self.serving = false;
        self.owner.serves(false);
    }

    /// Looks after the programs, from time to time. What a predecessor has left that was killed is removed.
    /// Programs that are attached no longer are attached again: somebody has removed their pins, or a
    /// successor took over and has gone, or drains, or has not begun to serve after a crash.
    ///
    /// # Errors
    /// The kernel refuses; it is tried again the next time.
    pub fn look_after(&mut self) -> Result<(), InterceptError> {
        if self.predecessor.is_some() && self.owner.remove_stale() {
            self.predecessor = None;
        }
        let pins = self.owner.pins();
        let missing = |program: &&str| match bpf::is_detached(&pins.join(program)) {
            Ok(detached) => detached,
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        let missing: Vec<&str> = programs::ALL.into_iter().filter(missing).collect();
        if missing.is_empty() || self.owner.is_succeeded().unwrap_or(true) {
            return Ok(());
        }
        self.owner.mend()?;
        let pins = self.owner.pins();
        for program in &missing {
            match std::fs::remove_file(pins.join(program)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(InterceptError::Bpffs { path: pins.join(program), error });
                }
                _ => {}
            }
        }
        programs::attach(&mut self.ebpf, &missing, &self.cgroup, pins)?;
        // A successor that has died may refuse connects (`--fail-policy closed`).
        self.owner.remove_stale();
        if self.serving {
            self.owner.serves(true);
        }
        tracing::warn!(programs = ?missing, "attached again: connects are caught here");
        Ok(())
    }

    /// Changes the kernel's frontends: what each address is now, none if it is no frontend any more.
    /// One that cannot be written costs the others nothing, and is tried again at the next call.
    ///
    /// # Errors
    /// How many could not be written, and why the first; what could be done is done.
    pub fn change_frontends(
        &mut self,
        changes: impl Iterator<Item = (SocketAddr, Option<Frontend>)>,
    ) -> Result<(), InterceptError> {
        self.frontends.change(changes)
    }

    /// How many frontends the kernel knows.
    pub fn frontends(&self) -> usize {
        self.frontends.len()
    }

    /// Redirects the connects of a namespace to its listeners from now on.
    ///
    /// # Errors
    /// The map is full or gone.
    pub fn enroll(
        &mut self,
        netns: &PodNetns,
        port4: u16,
        port6: u16,
    ) -> Result<(), InterceptError> {
        self.netns
            .insert(netns.cookie(), Netns { port4, port6 }, 0)
            .map_err(|error| InterceptError::map("NETNS", &error))
    }

    /// Leaves the connects of a namespace alone from now on.
    ///
    /// # Errors
    /// The map is gone.
    pub fn unenroll(&mut self, cookie: u64) -> Result<(), InterceptError> {
        self.netns.remove(&cookie).map_err(|error| InterceptError::map("NETNS", &error))
    }

    /// The mark by which the kernel side knows our listeners.
    pub fn listener_mark(&self) -> u32 {
        self.listener_mark
    }

    /// For workers: whom their connections are for.
    pub fn original_destinations(&self) -> OriginalDestinations {
        self.destinations.clone()
    }

    /// What the programs have counted. Once.
    ///
    /// # Errors
    /// The object lacks the map.
    pub fn take_exits(&mut self) -> Result<Exits, InterceptError> {
        Ok(Exits { map: take(&mut self.ebpf, "EXITS")? })
    }

    /// The tables of frontends that go without the proxy, and what the kernel tells of their connections. Once.
    ///
    /// # Errors
    /// The object lacks the maps, or the kernel refuses.
    pub fn take_l4(&mut self) -> Result<(Carrying, Records, Resetter), InterceptError> {
        let ebpf = &mut self.ebpf;
        let carrying = Carrying::new(Tables::new(take(ebpf, "SLOTS")?));
        let records =
            Records::new(take(ebpf, "ENDED")?, take(ebpf, "UNTOLD")?, take(ebpf, "USES")?);
        Ok((carrying, records, Resetter::new(take(ebpf, "CARRIED")?)))
    }

    /// Whether connections are accelerated, and why.
    pub fn acceleration(&self) -> &Acceleration {
        &self.acceleration
    }

    /// What has been accelerated. Once.
    ///
    /// # Errors
    /// The object lacks the map.
    pub fn take_accelerated(&mut self) -> Result<Accelerated, InterceptError> {
        Ok(Accelerated::new(take(&mut self.ebpf, "ACCELERATED")?))
    }

    /// The programs' log records.
    ///
    /// # Errors
    /// The object lacks the map, or the kernel refuses.
    pub fn logger(&mut self) -> Result<KernelLog, InterceptError> {
        KernelLog::open(&mut self.ebpf)
    }
}

// === impl Exits ===

impl Exits {
    /// How many connects left by each exit, all CPUs together.
    pub fn read(&self) -> [(Exit, u64); Exit::ALL.len()] {
        Exit::ALL.map(|exit| {
            let sum = self.map.get(&(exit as u32), 0).map_or(0, |cpus| cpus.iter().sum());
            (exit, sum)
        })
    }
}

fn take<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, InterceptError>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let failed = |message: String| InterceptError::Map { map: name, message };
    let map = ebpf.take_map(name).ok_or_else(|| failed("the object has no such map".to_owned()))?;
    T::try_from(map).map_err(|error| failed(chain(&error)))
}

fn take_data(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, InterceptError> {
    match ebpf.take_map(name) {
        Some(aya::maps::Map::LruHashMap(data)) => Ok(data),
        _ => Err(InterceptError::Map { map: name, message: "not an LRU hash".to_owned() }),
    }
}
