//! The work by which a Nodeway that counts what it does learns what it is to be fast at: see `pgo`.
//!
//! Not a measurement: how fast it is then is no matter.

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::backends::{self, Backend};
use super::cases::{self, Case};
use super::parse::{self, Measure};
use super::process::{Folder, Process, allow_many_files, free_address};
use super::proxies::{Proxy, ProxyKind, Stage};
use super::{load, nginx};
use crate::packages;
use crate::shell::{self, Step};

/// Each kind of traffic for so long.
const EACH: Duration = Duration::from_secs(2);
/// What is asked for as in the bench: plain, and through a table of routes.
const USUAL: [(ProxyKind, &[Case]); 2] = [
    (
        ProxyKind::Nodeway,
        &[Case::KeepAlive, Case::Rate, Case::H2c, Case::Grpc, Case::Large, Case::Connect],
    ),
    (ProxyKind::Few, &[Case::KeepAlive]),
];
/// What is asked for beyond: of which Service, and with what header.
const FURTHER: [(&str, &[&str]); 5] = [
    ("opaque", &[]),
    ("opaque", &["--header", "Connection: close"]),
    ("routed", &["--header", "x-remove: this"]),
    ("secured", &[]),
    ("secured", &["--header", "Connection: close"]),
];
/// By this name an endpoint shows its certificate.
const NAME: &str = "training.example";
/// How long a generator may take for its last answers.
const PATIENCE: Duration = Duration::from_secs(15);

/// Puts `nodeway` to work, in half a minute; it has ended then, and written what it has counted.
pub(crate) fn train(nodeway: &Path) -> Result<()> {
    let needed =
        [packages::NGINX, packages::WRK, packages::H2LOAD, packages::CURL, packages::OPENSSL];
    packages::ensure(&needed, "profiling Nodeway")?;
    allow_many_files()?;
    let step = Step::start("Putting it to work");
    let folder = Folder::make()?;
    let backends = backends::start(folder.path())?;
    let stage =
        Stage { folder: folder.path(), backends: &backends, nodeway: Some(nodeway), envoy: None };
    for (kind, cases) in USUAL {
        let mut proxy = Proxy::start(kind, &stage)?;
        for case in cases {
            let done = load::run(*case, &mut proxy, EACH, folder.path());
            well(&done.with_context(|| format!("profiling: {}", case.title()))?, case.title())?;
        }
    }
    further(nodeway, folder.path(), &backends)?;
    step.done();
    Ok(())
}

/// What the bench does not ask for: octets as they come, a rule with filters, an endpoint that speaks TLS.
fn further(nodeway: &Path, folder: &Path, backends: &[Backend]) -> Result<()> {
    let backend = backends.first().context("there is no backend")?;
    let home = folder.join("further");
    std::fs::create_dir_all(home.join("manifests")).context("cannot make a folder")?;
    let authority = certificate(&home)?;
    let secured = free_address()?;
    let mut server = Process::start(&tls_server(&home, secured)?, "tls", folder)?;
    server.wait_for(secured)?;
    let manifests = manifests(backend.http1, secured, &authority);
    std::fs::write(home.join("manifests/all.yaml"), manifests).context("cannot write manifests")?;

    let services = ["opaque", "routed", "secured"];
    let mut command = Command::new(nodeway);
    command
        .args(["run", "--no-ebpf", "--workers", "2", "--node-name", "bench", "--manifests"])
        .arg(home.join("manifests"))
        .args(["--admin", &free_address()?.to_string()])
        .args(["--metrics", &free_address()?.to_string()]);
    let mut listeners = Vec::new();
    for service in services {
        let at = free_address()?;
        command.args(["--listen", &format!("{at}=bench/{service}:80")]);
        listeners.push((service, at));
    }
    let mut proxy = Process::start(&command, "further", folder)?;
    for (_, at) in &listeners {
        proxy.wait_for(*at)?;
    }
    for (service, how) in FURTHER {
        let at = listeners.iter().find(|(name, _)| *name == service);
        let (_, at) = at.with_context(|| format!("{service} has no listener"))?;
        let url = format!("http://{at}/team/items");
        answers(&url, how).with_context(|| format!("{service}:\n{}", proxy.said()))?;
        let load = Process::start(&cases::wrk(16, EACH.as_secs(), how, &url), "load", folder)?;
        let (_, text) = load.finish(EACH + PATIENCE)?;
        let done = parse::wrk(&text).with_context(|| format!("wrk said something new:\n{text}"))?;
        well(&done, service)?;
    }
    Ok(())
}

/// Nobody learns well from what fails.
fn well(done: &Measure, what: &str) -> Result<()> {
    if done.failed > 0 || done.requests == 0 {
        bail!("profiling: {} of {} requests failed: {what}", done.failed, done.requests);
    }
    Ok(())
}

/// A good answer, before it is asked for many.
fn answers(url: &str, how: &[&str]) -> Result<()> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--output", "/dev/null"])
        .args(["--max-time", "20", "--retry", "100", "--retry-delay", "1"])
        .args(["--retry-max-time", "30", "--retry-all-errors"])
        .args(how)
        .arg(url);
    shell::output(&mut curl).map(|_| ())
}

/// Makes a certificate that vouches for itself and its key, in `home`; gives back the certificate.
fn certificate(home: &Path) -> Result<String> {
    // Not an authority's: those do not speak for servers (RFC 5280, 4.2.1.9).
    let wanted = format!(
        "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n[name]\nCN = {NAME}\n\
         [extensions]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:{NAME}\n"
    );
    let (config, pem) = (home.join("openssl.cnf"), home.join("tls.pem"));
    std::fs::write(&config, wanted).context("cannot write openssl's configuration")?;
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-config"])
        .arg(&config)
        .arg("-keyout")
        .arg(home.join("tls.key"))
        .arg("-out")
        .arg(&pem);
    shell::output(&mut openssl)?;
    std::fs::read_to_string(&pem).context("openssl made no certificate")
}

fn tls_server(home: &Path, at: SocketAddrV4) -> Result<Command> {
    let opening = nginx::opening(home, 1, 4096);
    let body = "x".repeat(backends::SMALL_BODY);
    let text = format!(
        "{opening}    server {{
        listen {at} ssl;
        ssl_certificate {home}/tls.pem;
        ssl_certificate_key {home}/tls.key;
        default_type text/plain;
        location / {{ return 200 \"{body}\"; }}
    }}
}}
",
        home = home.display()
    );
    let config = home.join("nginx.conf");
    std::fs::write(&config, text).context("cannot write nginx's configuration")?;
    let mut command = Command::new(shell::which("nginx").context("nginx is not on PATH")?);
    command.arg("-p").arg(home).arg("-e").arg(home.join("error.log")).arg("-c").arg(config);
    Ok(command)
}

fn manifests(plain: SocketAddrV4, secured: SocketAddrV4, authority: &str) -> String {
    let service = super::proxies::service;
    let authority: String = authority.lines().map(|line| format!("    {line}\n")).collect();
    [
        service("opaque", "tcp", plain),
        service("routed", "http", plain),
        service("secured", "http", secured),
        format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{ namespace: bench, name: authority }}
data:
  ca.crt: |
{authority}---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{ namespace: bench, name: secured }}
spec:
  targetRefs: [{{ group: \"\", kind: Service, name: secured }}]
  validation:
    hostname: {NAME}
    caCertificateRefs: [{{ group: \"\", kind: ConfigMap, name: authority }}]
---
"
        ),
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { namespace: bench, name: routed }
spec:
  parentRefs: [{ group: \"\", kind: Service, name: routed, port: 80 }]
  rules:
  - matches: [{ method: POST }]
    backendRefs: [{ name: opaque, port: 80 }]
  - matches:
    - path: { type: PathPrefix, value: /team }
      headers: [{ name: x-remove, value: this }]
    timeouts: { request: 10s }
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: { set: [{ name: x-set, value: one }], remove: [x-remove] }
    - type: ResponseHeaderModifier
      responseHeaderModifier: { add: [{ name: x-added, value: two }] }
    - type: URLRewrite
      urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } }
    backendRefs:
    - { name: routed, port: 80, weight: 9 }
    - { name: opaque, port: 80, weight: 1 }
"
        .to_owned(),
    ]
    .concat()
}
