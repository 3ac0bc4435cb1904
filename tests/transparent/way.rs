//! What may stand between a pod and a Service's pods.

use std::process::Command;

use nodeway_tests::binaries;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing: the client dials the server's own address.
    Pod,
    /// The Service's address, and a rule that stands for kube-proxy's: the kernel translates it.
    ServiceAddress,
    /// Nodeway, HTTP, as it comes.
    L7,
    /// Nodeway, HTTP, with payload past the loopback stack.
    Accelerated,
    /// Nodeway, HTTP, without.
    Plain,
    /// Nodeway, a port that is declared to be opaque: the kernel balances.
    L4,
    /// An Envoy beside the client and one beside the server.
    Sidecars,
}

// === impl Way ===

impl Way {
    /// Those that there are here.
    pub(crate) fn all(fewer: bool) -> Vec<Self> {
        let mut ways = vec![Self::Pod, Self::ServiceAddress, Self::L7];
        if !fewer && nodeway_takes("--accelerate") {
            ways.extend([Self::Accelerated, Self::Plain]);
        }
        ways.push(Self::L4);
        if std::env::var_os(crate::sidecars::BINARY).is_some() {
            ways.push(Self::Sidecars);
        }
        ways
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Pod => "pod's own address",
            Self::ServiceAddress => "Service's address, DNAT",
            Self::L7 => "Nodeway, L7",
            Self::Accelerated => "Nodeway, L7, accelerated",
            Self::Plain => "Nodeway, L7, not accelerated",
            Self::L4 => "Nodeway, l4",
            Self::Sidecars => "pair of Envoy sidecars",
        }
    }

    /// How Nodeway is told, if it is told anything; none where there is no Nodeway.
    pub(crate) fn nodeway(self) -> Option<&'static [&'static str]> {
        match self {
            Self::L7 | Self::L4 => Some(&[]),
            Self::Accelerated => Some(&["--accelerate", "on"]),
            Self::Plain => Some(&["--accelerate", "off"]),
            Self::Pod | Self::ServiceAddress | Self::Sidecars => None,
        }
    }
}

fn nodeway_takes(flag: &str) -> bool {
    let help = Command::new(binaries::nodeway()).args(["run", "--help"]).output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains(flag))
}
