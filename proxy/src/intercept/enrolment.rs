//! Which pods of this node are caught: their listeners made, their namespaces enrolled.
//!
//! Not which should be: the snapshot says that.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use nodeway_core::model::{ObjectName, Pod};

use super::{InterceptError, Interceptor, PodListeners, PodNetns, WorkerListeners};

/// Where a newly enrolled pod's listeners go, and a leaving pod's cookie.
pub trait Attach {
    /// Serve `pod`: one set of listeners for each worker.
    fn attach(&mut self, pod: &Arc<Pod>, netns: &Arc<PodNetns>, listeners: Vec<WorkerListeners>);
    /// Serve the pod with this namespace cookie no longer.
    fn detach(&mut self, cookie: u64);
}

/// The pods that are enrolled now.
#[derive(Debug, Default)]
pub struct Enrolment {
    enrolled: HashMap<ObjectName, Enrolled>,
    /// Pods that could not be enrolled, and why: told once per reason.
    failed: HashMap<ObjectName, String>,
}

#[derive(Debug)]
struct Enrolled {
    path: PathBuf,
    netns: Arc<PodNetns>,
}

// === impl Enrolment ===

impl Enrolment {
    /// Makes what is enrolled equal to `wanted`. A pod that cannot be enrolled costs no other pod
    /// anything: its traffic flows as before, and it is tried again at the next call.
    pub fn reconcile(
        &mut self,
        wanted: &[Arc<Pod>],
        workers: usize,
        interceptor: &mut Interceptor,
        attach: &mut impl Attach,
    ) {
        let leaving: Vec<ObjectName> = self
            .enrolled
            .iter()
            .filter(|(name, enrolled)| {
                !enrolled.netns.is_at(&enrolled.path)
                    || !wanted
                        .iter()
                        .any(|pod| pod.name == **name && pod.netns.as_ref() == Some(&enrolled.path))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in leaving {
            self.leave(&name, interceptor, attach);
        }
        self.failed.retain(|name, _| wanted.iter().any(|pod| pod.name == *name));
        for pod in wanted {
            if self.enrolled.contains_key(&pod.name) {
                continue;
            }
            match enrol(pod, workers, interceptor, attach) {
                Ok(enrolled) => {
                    tracing::info!(pod = %pod.name, netns = %enrolled.path.display(), "enrolled");
                    self.failed.remove(&pod.name);
                    self.enrolled.insert(pod.name.clone(), enrolled);
                }
                Err(reason) => {
                    let known = self.failed.insert(pod.name.clone(), reason.clone());
                    if known.as_ref() != Some(&reason) {
                        tracing::warn!(pod = %pod.name, reason, "not enrolled; its traffic flows as before");
                    }
                }
            }
        }
    }

    /// How many pods are enrolled, and how many could not be.
    pub fn count(&self) -> (usize, usize) {
        (self.enrolled.len(), self.failed.len())
    }

    /// Enrols nobody any more: the kernel leaves their connects alone from now on.
    pub fn clear(&mut self, interceptor: &mut Interceptor, attach: &mut impl Attach) {
        for name in self.enrolled.keys().cloned().collect::<Vec<_>>() {
            self.leave(&name, interceptor, attach);
        }
    }

    fn leave(
        &mut self,
        name: &ObjectName,
        interceptor: &mut Interceptor,
        attach: &mut impl Attach,
    ) {
        let Some(enrolled) = self.enrolled.remove(name) else { return };
        let cookie = enrolled.netns.cookie();
        // First the kernel stops redirecting, then the listeners go: nobody is sent to a closed door.
        if let Err(error) = interceptor.unenroll(cookie) {
            tracing::error!(pod = %name, %error, "cannot take the pod out of the kernel's map");
        }
        attach.detach(cookie);
        tracing::info!(pod = %name, "no longer enrolled");
    }
}

fn enrol(
    pod: &Arc<Pod>,
    workers: usize,
    interceptor: &mut Interceptor,
    attach: &mut impl Attach,
) -> Result<Enrolled, String> {
    let Some(path) = &pod.netns else {
        return Err("annotation nodeway.dev/netns is missing".to_owned());
    };
    let told = |error: InterceptError| error.to_string();
    let netns = Arc::new(PodNetns::open(path).map_err(told)?);
    let listeners =
        PodListeners::open(&netns, workers, interceptor.listener_mark()).map_err(told)?;
    let (port4, port6) = (listeners.port4, listeners.port6);
    // First somebody listens, then the kernel redirects.
    attach.attach(pod, &netns, listeners.workers);
    if let Err(error) = interceptor.enroll(&netns, port4, port6) {
        attach.detach(netns.cookie());
        return Err(told(error));
    }
    Ok(Enrolled { path: path.clone(), netns })
}
