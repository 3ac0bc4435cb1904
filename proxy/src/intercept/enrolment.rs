//! Which pods of this node are caught: their namespaces found, their listeners made, their connects
//! redirected.
//!
//! Not which should be: the snapshot says that.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeway_core::model::{ObjectName, Pod};

use super::kubepods::Kubepods;
use super::netns::{Identity, hosts};
use super::processes::{self, NoProcess};
use super::waiting::{Reason, Waiting};
use super::{InterceptError, Interceptor, PodListeners, PodNetns, WorkerListeners};

/// How often it is looked whether enrolled pods' namespaces are still where they were.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where a newly enrolled pod's listeners go, and a leaving pod's cookie.
pub trait Attach {
    /// Serve `pod`: one set of listeners for each worker.
    fn attach(&mut self, pod: &Arc<Pod>, netns: &Arc<PodNetns>, listeners: Vec<WorkerListeners>);
    /// Serve the pod with this namespace cookie no longer.
    fn detach(&mut self, cookie: u64);
    /// A pod is caught. How long it was not, since its first process began or since it was known to be
    /// one of ours, whichever came later; none of a pod whose namespace has a name.
    fn caught(&mut self, pod: &Pod, after: Option<Duration>);
    /// A pod that should be caught is not, for this reason; told once for each.
    fn missed(&mut self, pod: &Pod, reason: &str);
}

/// The pods that are enrolled now, and those that wait for it.
#[derive(Debug)]
pub struct Enrolment {
    kubepods: Kubepods,
    /// Namespaces that are no pod's.
    hosts: Vec<Identity>,
    enrolled: HashMap<ObjectName, Enrolled>,
    waiting: Waiting,
    /// When enrolled pods are looked at again.
    look: Instant,
}

#[derive(Debug)]
struct Enrolled {
    pod: Arc<Pod>,
    netns: Arc<PodNetns>,
    place: Place,
}

/// Where a pod's namespace was found.
#[derive(Debug)]
enum Place {
    /// Where its manifest says.
    Path(PathBuf),
    /// In this process of this cgroup.
    Process { cgroup: PathBuf, pid: u32 },
}

/// A pod's namespace.
struct Found {
    netns: Arc<PodNetns>,
    place: Place,
    /// How long it has had processes, if that is known.
    age: Option<Duration>,
}

// === impl Enrolment ===

impl Enrolment {
    /// Nobody is enrolled. `cgroup`: below which the kubelet's pods are looked for.
    pub fn new(cgroup: &Path, now: Instant) -> Self {
        Self {
            kubepods: Kubepods::below(cgroup),
            hosts: hosts(),
            enrolled: HashMap::new(),
            waiting: Waiting::default(),
            look: now,
        }
    }

    /// From now on `pods` are to be enrolled, and nobody else: who is not among them is let go at once;
    /// who is new is due.
    pub fn want(
        &mut self,
        pods: &[Arc<Pod>],
        now: Instant,
        interceptor: &mut Interceptor,
        attach: &mut impl Attach,
    ) {
        let wanted: HashMap<&ObjectName, &Arc<Pod>> = pods.iter().map(|p| (&p.name, p)).collect();
        self.waiting.retain(|name| wanted.contains_key(name));
        let leaving = self
            .enrolled
            .iter()
            .filter(|(name, enrolled)| !wanted.get(name).is_some_and(|pod| enrolled.is_of(pod)));
        for name in leaving.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.leave(&name, interceptor, attach);
        }
        for pod in pods {
            if let Some(enrolled) = self.enrolled.get_mut(&pod.name) {
                if enrolled.pod.ips != pod.ips {
                    // Another sandbox, perhaps.
                    self.look = now;
                }
                enrolled.pod = Arc::clone(pod);
            } else if self.waiting.get(&pod.name).is_none_or(|known| known != pod) {
                self.waiting.add(pod, now);
            }
        }
    }

    /// Enrols who is due. A pod that cannot be enrolled costs no other pod anything: its traffic flows
    /// as before, and it is tried again.
    pub fn proceed(
        &mut self,
        now: Instant,
        workers: usize,
        interceptor: &mut Interceptor,
        attach: &mut impl Attach,
    ) {
        if self.look <= now {
            self.look = now + LOOK_AGAIN;
            self.look_again(now, interceptor, attach);
        }
        let due = self.waiting.due(now);
        let by_uid = || due.iter().filter(|pod| pod.netns.is_none()).map(|pod| &*pod.uid);
        let cgroups = match by_uid().next() {
            Some(_) => self.kubepods.pods(by_uid(), now),
            None => HashMap::new(),
        };
        let mut cookies: HashSet<u64> = self.enrolled.values().map(|e| e.netns.cookie()).collect();
        for pod in due {
            let found = self.find(&pod, &cgroups).and_then(|found| {
                enrol(&pod, &found.netns, &cookies, workers, interceptor, attach)?;
                Ok(found)
            });
            match found {
                Ok(Found { netns, place, age }) => {
                    tracing::info!(pod = %pod.name, place = %place, "enrolled");
                    let since = self.waiting.remove(&pod.name);
                    let waited = since.map_or(Duration::ZERO, |since| now.duration_since(since));
                    attach.caught(&pod, age.map(|age| age.min(waited)));
                    cookies.insert(netns.cookie());
                    self.enrolled.insert(pod.name.clone(), Enrolled { pod, netns, place });
                }
                Err(reason) => {
                    if let Some(reason) = self.waiting.again(&pod.name, reason, now) {
                        tracing::warn!(pod = %pod.name, reason, "not enrolled; its traffic flows as before");
                        attach.missed(&pod, reason);
                    }
                }
            }
        }
    }

    /// When there is something to proceed with again.
    pub fn next(&self) -> Option<Instant> {
        let look = (!self.enrolled.is_empty()).then_some(self.look);
        look.into_iter().chain(self.waiting.next()).min()
    }

    /// How many pods are enrolled, have not started yet, and could not be enrolled.
    pub fn count(&self) -> (usize, usize, usize) {
        let (starting, failed) = self.waiting.count();
        (self.enrolled.len(), starting, failed)
    }

    /// The pods that are enrolled, and their namespaces.
    pub fn pods(&self) -> impl Iterator<Item = (&Arc<Pod>, &Arc<PodNetns>)> {
        self.enrolled.values().map(|enrolled| (&enrolled.pod, &enrolled.netns))
    }

    /// Enrols nobody any more: the kernel leaves their connects alone from now on.
    pub fn clear(&mut self, interceptor: &mut Interceptor, attach: &mut impl Attach) {
        self.waiting.retain(|_| false);
        for name in self.enrolled.keys().cloned().collect::<Vec<_>>() {
            self.leave(&name, interceptor, attach);
        }
    }

    /// Lets go of namespaces whose pods have gone, or have got another sandbox.
    fn look_again(
        &mut self,
        now: Instant,
        interceptor: &mut Interceptor,
        attach: &mut impl Attach,
    ) {
        let gone = self.enrolled.iter_mut().filter_map(|(name, e)| (!e.is_there()).then_some(name));
        for name in gone.cloned().collect::<Vec<_>>() {
            if let Some(pod) = self.leave(&name, interceptor, attach) {
                self.waiting.add(&pod, now);
            }
        }
    }

    fn leave(
        &mut self,
        name: &ObjectName,
        interceptor: &mut Interceptor,
        attach: &mut impl Attach,
    ) -> Option<Arc<Pod>> {
        let Enrolled { pod, netns, .. } = self.enrolled.remove(name)?;
        let cookie = netns.cookie();
        // First the kernel stops redirecting, then the listeners go: nobody is sent to a closed door.
        if let Err(error) = interceptor.unenroll(cookie) {
            tracing::error!(pod = %name, %error, "cannot take the pod out of the kernel's map");
        }
        attach.detach(cookie);
        tracing::info!(pod = %name, "no longer enrolled");
        Some(pod)
    }

    /// The pod's namespace. `cgroups`: those of this node's pods, by UID.
    fn find(&self, pod: &Pod, cgroups: &HashMap<String, PathBuf>) -> Result<Found, Reason> {
        if let Some(path) = &pod.netns {
            let netns = Arc::new(PodNetns::open(path).map_err(failed)?);
            return Ok(Found { netns, place: Place::Path(path.clone()), age: None });
        }
        if pod.uid.is_empty() {
            let message = "it has neither metadata.uid nor annotation nodeway.dev/netns";
            return Err(Reason::Failed(message.to_owned()));
        }
        let Some(cgroup) = cgroups.get(&*pod.uid) else {
            return Err(Reason::NotYet(self.kubepods.why_missing()));
        };
        let first = processes::first(cgroup, &self.hosts).map_err(|why| match why {
            NoProcess::None => {
                Reason::NotYet(format!("no process runs below {} yet", cgroup.display()))
            }
            NoProcess::Denied(error) => Reason::Failed(format!(
                "the namespaces of its processes cannot be seen: {error} (CAP_SYS_PTRACE)"
            )),
        })?;
        let netns = PodNetns::open(&processes::netns_path(first.pid)).map_err(failed)?;
        // The process may have ended meanwhile, and its number be another's.
        if netns.identity() != first.netns || !first.is_there() {
            return Err(Reason::NotYet("its first process has just ended".to_owned()));
        }
        Ok(Found {
            netns: Arc::new(netns),
            place: Place::Process { cgroup: cgroup.clone(), pid: first.pid },
            age: Some(processes::age(first.started)),
        })
    }
}

fn enrol(
    pod: &Arc<Pod>,
    netns: &Arc<PodNetns>,
    taken: &HashSet<u64>,
    workers: usize,
    interceptor: &mut Interceptor,
    attach: &mut impl Attach,
) -> Result<(), Reason> {
    if taken.contains(&netns.cookie()) {
        let message = "its network namespace is that of another pod, which is enrolled";
        return Err(Reason::Failed(message.to_owned()));
    }
    let listeners =
        PodListeners::open(netns, workers, interceptor.listener_mark()).map_err(failed)?;
    let (port4, port6) = (listeners.port4, listeners.port6);
    // First somebody listens, then the kernel redirects.
    attach.attach(pod, netns, listeners.workers);
    if let Err(error) = interceptor.enroll(netns, port4, port6) {
        attach.detach(netns.cookie());
        return Err(failed(error));
    }
    Ok(())
}

fn failed(error: InterceptError) -> Reason {
    Reason::Failed(error.to_string())
}

// === impl Enrolled ===

impl Enrolled {
    /// Whether it is this pod's: one that is made anew under its old name is another.
    fn is_of(&self, pod: &Pod) -> bool {
        self.pod.uid == pod.uid && self.pod.netns == pod.netns
    }

    /// Whether the pod still has this namespace.
    fn is_there(&mut self) -> bool {
        match &mut self.place {
            Place::Path(path) => self.netns.is_at(path),
            Place::Process { cgroup, pid } => {
                let netns = self.netns.identity();
                if processes::is_in(*pid, netns) {
                    return true;
                }
                // The process has ended; another one in the same sandbox will do.
                let another = processes::any_in(cgroup, netns);
                *pid = another.unwrap_or(*pid);
                another.is_some()
            }
        }
    }
}

// === impl Place ===

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Process { cgroup, pid } => write!(f, "process {pid} of {}", cgroup.display()),
        }
    }
}
