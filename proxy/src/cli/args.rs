//! Flags, as clap sees them; `config` checks what they mean together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nodeway_core::model::ObjectName;
use serde::Deserialize;

const RUN_EXAMPLES: &str = "\
Examples:
  Serve the enrolled pods of this node, whose Services and routes stand in a folder:
      nodeway run --manifests /etc/nodeway/manifests

  Try routes without privileges, cluster or eBPF:
      nodeway run --manifests docs/examples/shop --no-ebpf --listen 127.0.0.1:8080=shop/web:80

What is logged is set by RUST_LOG [default: info].";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  By a folder of manifests:
      nodeway explain --manifests docs/examples/shop --from shop/client \\
          GET http://web.shop/api -H 'x-canary: yes'

  By the node's own proxy, with what it knows of its endpoints now:
      nodeway explain --from shop/client http://web/api

Exits with 0 if such a request gets an answer that its author meant, with 1 if it or a share of it is
refused, and with 2 if that cannot be told.";

/// Service mesh without sidecars: the node's one proxy.
#[derive(Debug, Parser)]
#[command(name = "nodeway", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the node's proxy.
    ///
    /// Needs root, or CAP_SYS_ADMIN (which includes CAP_BPF and CAP_PERFMON), CAP_NET_ADMIN and
    /// CAP_SYS_PTRACE; with --no-ebpf and plain listeners only, no privileges at all.
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Read a folder of manifests and tell what is wrong with it.
    ///
    /// Exits with 0 if nothing is, with 1 if something is.
    Validate {
        /// The folder.
        folder: PathBuf,
    },
    /// Tell what would happen to a request, and why.
    ///
    /// Frontend, routes, the match that wins and why others lose, filters, backends with their shares, and
    /// endpoints with why each is in or out.
    #[command(
        after_long_help = EXPLAIN_EXAMPLES,
        override_usage = "nodeway explain [OPTIONS] --from <NAMESPACE/POD> [METHOD] <URL>"
    )]
    Explain(Box<ExplainArgs>),
    /// Tell whether this host can run the proxy, and what to do if not.
    ///
    /// Exits with 1 if something that is needed is missing.
    Check {
        /// Where the programs would be attached; by default the cgroup v2 mount.
        #[arg(long, value_name = "DIR")]
        cgroup: Option<PathBuf>,
        /// Where their links would be pinned.
        #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
        bpffs: PathBuf,
    },
}

/// The flags of `run`. Each may stand in the file of --config too, in camelCase without the dashes; the
/// flag wins.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RunArgs {
    /// A folder of Kubernetes manifests (Service, EndpointSlice, Pod, Namespace, Node, HTTPRoute,
    /// GRPCRoute, ReferenceGrant), watched for changes, instead of the Kubernetes API.
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// How to reach the Kubernetes API [default: as a pod in the cluster, else by KUBECONFIG].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// This node's name: pods of other nodes are left alone. Needed with the Kubernetes API.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where the eBPF programs are attached; by default the cgroup v2 mount.
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// Where their links are pinned; a BPF file system is mounted there if there is none
    /// [default: /sys/fs/bpf].
    #[arg(long, value_name = "DIR")]
    pub bpffs: Option<PathBuf>,
    /// Take over from a nodeway that serves the cgroup already, without a gap: its connections stay
    /// its own until it is stopped. Without this a second one is refused.
    #[arg(long)]
    pub takeover: bool,
    /// A plain listener that stands for a Service's port; may be given several times.
    #[arg(long, value_name = "ADDR=NAMESPACE/SERVICE:PORT")]
    pub listen: Vec<ListenArg>,
    /// Catch nobody: plain listeners only.
    #[arg(long)]
    pub no_ebpf: bool,
    /// Worker threads [default: one per CPU].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Which pods are enrolled [default: label].
    #[arg(long, value_enum)]
    pub enroll: Option<EnrollArg>,
    /// What becomes of a pod's connects to Services while the proxy is away [default: open].
    #[arg(long, value_enum)]
    pub fail_policy: Option<FailPolicyArg>,
    /// Whether payload between apps and the proxy skips the loopback stack: where a trial at the start
    /// finds that no app can notice; also where only seldom used calls differ (docs/acceleration.md);
    /// never [default: auto].
    #[arg(long, value_enum)]
    pub accelerate: Option<AccelerateArg>,
    /// Where operators on the node look in [default: 127.0.0.1:15000].
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Metrics, liveness and readiness [default: 0.0.0.0:15020].
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// How long connections may take to finish at the end [default: 30s].
    #[arg(long, value_name = "DURATION")]
    pub drain_timeout: Option<DurationArg>,
    /// Log each request and relayed connection when it has ended.
    #[arg(long)]
    pub access_log: bool,
    /// How logs look [default: text].
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// A YAML file with any of these.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// The flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A folder of Kubernetes manifests; all endpoints count as well. By default a running node is asked.
    #[arg(long, value_name = "DIR", conflicts_with = "admin")]
    pub manifests: Option<PathBuf>,
    /// The `--admin` address of the node that is asked.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,
    /// The pod that asks.
    #[arg(long, value_name = "NAMESPACE/POD")]
    pub from: String,
    /// A header of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// How it is told.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: OutputArg,
    /// The method (GET if there is none) and the URL: http://, https://, or tcp:// and a port. The host is
    /// a Service's name, as in the pod's DNS, or its address.
    #[arg(required = true, num_args = 1..=2, value_names = ["METHOD", "URL"])]
    pub request: Vec<String>,
}

/// How something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputArg {
    /// For people.
    Text,
    /// For programs: docs/explain.md says what stands there.
    Json,
}

/// Which pods are enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnrollArg {
    /// Those labelled `nodeway.dev/mesh: enabled`, or in a Namespace so labelled.
    Label,
    /// All but those labelled `disabled`.
    All,
}

/// What becomes of connects while the proxy is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailPolicyArg {
    /// They are left alone, as if there were no mesh.
    Open,
    /// They are refused.
    Closed,
}

/// When payload skips the loopback stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccelerateArg {
    /// Where this kernel passes every trial.
    Auto,
    /// Where it passes those that payload hangs on.
    On,
    /// Never.
    Off,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `ADDR=NAMESPACE/SERVICE:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ListenArg {
    /// Where to listen.
    pub address: SocketAddr,
    /// Whom to stand for.
    pub service: ObjectName,
    /// The Service's port.
    pub port: u16,
}

/// A duration with its unit: `500ms`, `30s`, `5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DurationArg(pub Duration);

// === impl ListenArg ===

impl FromStr for ListenArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?}: must be ADDR=NAMESPACE/SERVICE:PORT, 127.0.0.1:8080=shop/web:80");
        let (address, target) = text.split_once('=').ok_or_else(wrong)?;
        let (namespace, rest) = target.split_once('/').ok_or_else(wrong)?;
        let (service, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        if namespace.is_empty() || service.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            address: address.parse().map_err(|_| wrong())?,
            service: ObjectName::new(namespace, service),
            port: port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
        })
    }
}

impl TryFrom<String> for ListenArg {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

// === impl DurationArg ===

impl FromStr for DurationArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: must be a number with a unit: 500ms, 30s, 5m, 1h");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let millis = match &text[digits..] {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            _ => None,
        };
        millis.map(|millis| Self(Duration::from_millis(millis))).ok_or_else(wrong)
    }
}

impl TryFrom<String> for DurationArg {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_charts_config_is_understood() {
        use serde_json::{Value, json};
        let schema = include_str!("../../../deploy/chart/values.schema.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        let keys = schema["properties"]["config"]["properties"].as_object().unwrap();
        assert!(keys.len() > 3, "{keys:?}");
        for (key, schema) in keys {
            let values = match (schema["enum"].as_array(), schema["type"].as_str()) {
                (Some(values), _) => values.clone(),
                (None, Some("boolean")) => vec![json!(true)],
                (None, _) => vec![json!(1)],
            };
            for value in values {
                let file = json!({ key: value });
                if let Err(error) = serde_json::from_value::<RunArgs>(file.clone()) {
                    panic!("{file}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_daemon_sets_arguments_are_understood() {
        let set = include_str!("../../../deploy/kustomize/daemonset.yaml");
        let set: serde_json::Value = serde_saphyr::from_str(set).unwrap();
        let args = set["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
        let args = args.iter().map(|arg| arg.as_str().unwrap());
        if let Err(error) = Cli::try_parse_from(std::iter::once("nodeway").chain(args)) {
            panic!("{error}");
        }
    }

    #[test]
    fn listeners_and_durations_say_what_would_be_right() {
        let listen: ListenArg = "[::1]:8080=shop/web:80".parse().unwrap();
        assert_eq!((listen.service.to_string().as_str(), listen.port), ("shop/web", 80));
        for wrong in
            ["", "8080=shop/web:80", "127.0.0.1:1=web:80", "127.0.0.1:1=a/b:0", "127.0.0.1:1=a/b"]
        {
            assert!(wrong.parse::<ListenArg>().is_err(), "{wrong}");
        }
        assert_eq!("5m".parse(), Ok(DurationArg(Duration::from_secs(300))));
        for wrong in ["", "5", "s", "-5s", "5 s", "99999999999999999999s"] {
            assert!(wrong.parse::<DurationArg>().is_err(), "{wrong}");
        }
    }
}
