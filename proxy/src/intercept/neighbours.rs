//! Others who decide about connects in the same cgroup.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use aya::programs::loaded_programs;

use super::{bpf, programs};

/// The names (15 octets at most) of other people's programs that see connects of this cgroup. A load
/// balancer among them that runs before ours leaves nothing to catch: Services' addresses have become
/// pods' (cilium#16583). None where the kernel does not tell.
pub fn neighbours(cgroup: &Path) -> Vec<String> {
    let ids = File::open(cgroup).and_then(|file| bpf::connect4_programs(file.as_fd()));
    let ids = ids.unwrap_or_default();
    let there = loaded_programs().flatten().filter(|program| ids.contains(&program.id()));
    let names = there.filter_map(|program| program.name_as_str().map(str::to_owned));
    names.filter(|name| !programs::DECIDING.contains(&&**name)).collect()
}

/// Says so if there are any.
pub(super) fn warn_of_neighbours(cgroup: &Path) {
    let programs = neighbours(cgroup);
    if !programs.is_empty() {
        tracing::warn!(
            ?programs,
            "somebody else's programs see connects too; if they balance Services (Cilium without \
             kube-proxy), connects reach Nodeway with pods' addresses and are left alone: have them \
             spare pods' namespaces (Cilium: socketLB.hostNamespaceOnly=true)"
        );
    }
}
