//! What `nodeway run` was asked to do, checked. Nothing else reads a flag, the file of --config or an
//! environment variable.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodeway_core::snapshot::Enroll;

use crate::cli::{AccelerateArg, EnrollArg, FailPolicyArg, ListenArg, LogFormat, RunArgs};
use crate::intercept::{Accelerate, FailPolicy, Options, cgroup2_at, find_cgroup2};

/// Everything `run` needs to know.
#[derive(Debug)]
pub struct Config {
    /// Where objects come from.
    pub source: SourceConfig,
    /// This node's name.
    pub node_name: Option<String>,
    /// How to intercept; none without eBPF.
    pub intercept: Option<Options>,
    /// Whether another nodeway may listen on the same addresses: it is taken over from.
    pub takeover: bool,
    /// Plain listeners.
    pub listen: Vec<ListenArg>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Which pods are enrolled.
    pub enroll: Enroll,
    /// Where operators look in.
    pub admin: SocketAddr,
    /// Where metrics are.
    pub metrics: SocketAddr,
    /// How long connections may take to finish.
    pub drain_timeout: Duration,
    /// Whether requests are logged.
    pub access_log: bool,
    /// How logs look.
    pub log_format: LogFormat,
}

/// Where objects come from.
#[derive(Debug)]
pub enum SourceConfig {
    /// A folder of manifests.
    Folder(PathBuf),
    /// The Kubernetes API: in-cluster, else by KUBECONFIG, if no file is named.
    Kubernetes(Option<PathBuf>),
}

/// Worker threads, at most.
const MAX_WORKERS: usize = 1024;

impl Config {
    /// Puts flags and the file that they name together and checks the whole.
    ///
    /// # Errors
    /// All faults, each for a person to read.
    pub fn load(flags: RunArgs) -> Result<Self, Vec<String>> {
        let file = match &flags.config {
            Some(path) => read(path).map_err(|fault| vec![fault])?,
            None => RunArgs::default(),
        };
        Self::check(merge(flags, file))
    }

    fn check(args: RunArgs) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let admin = args.admin.unwrap_or_else(|| ([127, 0, 0, 1], 15000).into());
        let metrics = args.metrics.unwrap_or_else(|| ([0, 0, 0, 0], 15020).into());
        let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = args.workers.unwrap_or_else(cpus);
        if !(1..=MAX_WORKERS).contains(&workers) {
            faults.push(format!("--workers {workers}: must be from 1 to {MAX_WORKERS}"));
        }
        let node_name = args.node_name.filter(|name| !name.is_empty());
        let source = match (args.manifests, args.kubeconfig) {
            (Some(folder), kubeconfig) => {
                if !folder.is_dir() {
                    faults.push(format!("--manifests {}: not a folder", folder.display()));
                }
                if kubeconfig.is_some() {
                    faults.push("--manifests and --kubeconfig: there is one source".to_owned());
                }
                SourceConfig::Folder(folder)
            }
            (None, kubeconfig) => {
                if node_name.is_none() && !args.no_ebpf {
                    faults.push(
                        "--node-name NAME (or NODE_NAME) is required: whose pods are to be asked for"
                            .to_owned(),
                    );
                }
                SourceConfig::Kubernetes(kubeconfig)
            }
        };
        if args.no_ebpf && args.listen.is_empty() {
            faults.push("--no-ebpf without --listen: there would be nothing to serve".to_owned());
        }
        for (i, listen) in args.listen.iter().enumerate() {
            let address = listen.address;
            if args.listen[..i].iter().any(|other| clash(other.address, address)) {
                faults.push(format!("--listen {address}: given twice"));
            }
            for (flag, other) in [("--admin", admin), ("--metrics", metrics)] {
                if clash(other, address) {
                    faults.push(format!("--listen {address}: {flag} listens there"));
                }
            }
        }
        if clash(admin, metrics) {
            faults.push(format!("--admin {admin}: --metrics {metrics} listens there"));
        }
        let intercept = (!args.no_ebpf).then(|| {
            let cgroup = args.cgroup.map_or_else(find_cgroup2, |named| Ok(cgroup2_at(named)));
            let cgroup = cgroup.unwrap_or_else(|error| {
                faults.push(format!("--cgroup: {error}"));
                PathBuf::new()
            });
            Options {
                cgroup,
                bpffs: args.bpffs.unwrap_or_else(|| "/sys/fs/bpf".into()),
                fail_policy: match args.fail_policy.unwrap_or(FailPolicyArg::Open) {
                    FailPolicyArg::Open => FailPolicy::Open,
                    FailPolicyArg::Closed => FailPolicy::Closed,
                },
                takeover: args.takeover,
                accelerate: match args.accelerate.unwrap_or(AccelerateArg::Auto) {
                    AccelerateArg::Auto => Accelerate::Auto,
                    AccelerateArg::On => Accelerate::On,
                    AccelerateArg::Off => Accelerate::Off,
                },
            }
        });
        let config = Self {
            source,
            node_name,
            intercept,
            takeover: args.takeover,
            listen: args.listen,
            workers,
            enroll: match args.enroll.unwrap_or(EnrollArg::Label) {
                EnrollArg::Label => Enroll::Label,
                EnrollArg::All => Enroll::All,
            },
            admin,
            metrics,
            drain_timeout: args.drain_timeout.map_or(Duration::from_secs(30), |d| d.0),
            access_log: args.access_log,
            log_format: args.log_format.unwrap_or(LogFormat::Text),
        };
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }
}

/// Whether one listener would be in the other's way. (Port 0 is any free one.)
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || any && a.is_ipv4() == b.is_ipv4())
}

fn read(path: &Path) -> Result<RunArgs, String> {
    let told = |message: String| format!("--config {}: {message}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(RunArgs::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        let text = error.without_snippet().to_string();
        told(text.trim_start_matches("error: ").to_owned())
    })
}

fn merge(flags: RunArgs, file: RunArgs) -> RunArgs {
    RunArgs {
        manifests: flags.manifests.or(file.manifests),
        kubeconfig: flags.kubeconfig.or(file.kubeconfig),
        node_name: flags.node_name.or(file.node_name),
        cgroup: flags.cgroup.or(file.cgroup),
        bpffs: flags.bpffs.or(file.bpffs),
        takeover: flags.takeover || file.takeover,
        listen: if flags.listen.is_empty() { file.listen } else { flags.listen },
        no_ebpf: flags.no_ebpf || file.no_ebpf,
        workers: flags.workers.or(file.workers),
        enroll: flags.enroll.or(file.enroll),
        fail_policy: flags.fail_policy.or(file.fail_policy),
        accelerate: flags.accelerate.or(file.accelerate),
        admin: flags.admin.or(file.admin),
        metrics: flags.metrics.or(file.metrics),
        drain_timeout: flags.drain_timeout.or(file.drain_timeout),
        access_log: flags.access_log || file.access_log,
        log_format: flags.log_format.or(file.log_format),
        config: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file of this text gives, with `flags`.
    fn load(text: &str, flags: RunArgs) -> Result<Config, Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        Config::load(RunArgs { config: Some(file.path().to_owned()), ..flags })
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let manifests = Some("/nonexistent".into());
        let args = RunArgs { workers: Some(0), no_ebpf: true, manifests, ..RunArgs::default() };
        let faults = Config::load(args).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn there_is_one_source_and_the_api_is_asked_for_one_nodes_pods() {
        let both = "manifests: /\nkubeconfig: /x\nnoEbpf: true\nlisten: ['127.0.0.1:1=a/b:80']\n";
        assert_eq!(
            load(both, RunArgs::default()).unwrap_err(),
            ["--manifests and --kubeconfig: there is one source"]
        );
        let nobodys = load("cgroup: /\n", RunArgs::default()).unwrap_err();
        assert!(nobodys[0].starts_with("--node-name NAME (or NODE_NAME)"), "{nobodys:?}");
        let api = load(
            "cgroup: /\nkubeconfig: /x\n",
            RunArgs { node_name: Some("n".into()), ..RunArgs::default() },
        );
        assert!(matches!(api.unwrap().source, SourceConfig::Kubernetes(Some(_))));
    }

    #[test]
    fn flags_win_over_the_file() {
        let text = "manifests: /\nnoEbpf: true\nworkers: 3\ndrainTimeout: 5s\n\
            listen: ['127.0.0.1:1=a/b:80']\nenroll: all\nlogFormat: json\n";
        let config = load(text, RunArgs { workers: Some(2), ..RunArgs::default() }).unwrap();
        assert_eq!((config.workers, config.drain_timeout), (2, Duration::from_secs(5)));
        assert_eq!((config.enroll, config.log_format), (Enroll::All, LogFormat::Json));
        assert_eq!((config.admin.port(), config.metrics.port()), (15000, 15020));
        assert!(config.intercept.is_none() && !config.access_log);
    }

    #[test]
    fn a_fault_in_the_file_names_key_or_value_and_line() {
        for (text, parts) in [
            ("workers: 3\nwrokers: 3\n", ["line 2", "wrokers"]),
            ("listen:\n- '1=a/b:80'\n", ["line 2", "ADDR=NAMESPACE/SERVICE:PORT"]),
            ("\n\ndrainTimeout: 5\n", ["line 3", "30s"]),
            ("enroll: some\n", ["line 1", "some"]),
            ("workers: [\n", ["--config", "line"]),
        ] {
            let fault = load(text, RunArgs::default()).unwrap_err().remove(0);
            for part in parts {
                assert!(fault.contains(part), "{fault} lacks {part}");
            }
        }
        let missing = RunArgs { config: Some("/nonexistent".into()), ..RunArgs::default() };
        assert!(Config::load(missing).unwrap_err()[0].contains("/nonexistent"));
    }

    #[test]
    fn listeners_are_not_in_each_others_way() {
        let text = "manifests: /\nnoEbpf: true\nadmin: 127.0.0.1:15020\n\
            listen: ['127.0.0.1:1=a/b:80', '0.0.0.0:1=a/c:80', '[::]:1=a/d:80', '127.0.0.1:15020=a/e:80',\n\
             '127.0.0.1:0=a/f:80', '127.0.0.1:0=a/g:80']\n";
        let faults = load(text, RunArgs::default()).unwrap_err();
        assert_eq!(
            faults,
            [
                "--listen 0.0.0.0:1: given twice",
                "--listen 127.0.0.1:15020: --admin listens there",
                "--listen 127.0.0.1:15020: --metrics listens there",
                "--admin 127.0.0.1:15020: --metrics 0.0.0.0:15020 listens there",
            ]
        );
    }
}
