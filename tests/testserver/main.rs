//! What runs inside test pods: servers that say who they are and what reached them, and the few
//! clients that no tool of the machine is.
//!
//! `http`, `banner`, `tcp-echo`: servers, each with `--listen ADDR` (repeatable), `--name`, `--version`;
//! `http` and `tcp-echo` over TLS with `--tls FILE` (certificate and key), `--alpn h2,http/1.1`.
//! `moody`: one that fails as `--mood FILE` says (`well`, `resets`, `hangs`, `503` and the like).
//! `generate N`, `checksum`: the test pattern to standard output; a checksum of standard input.
//! `hold N ADDR`: N connections with one request each, then kept open.
//! `load h1|h2|new N ADDR`: N clients that ask without a pause.
//! `probe ADDR`: who answers there, and from when on.
//! `ask`: asks what it is told on standard input, and tells what came of it.

mod anyone;
mod ask;
mod grpc;
mod health;
mod http;
mod load;
mod moody;
mod probe;
mod tcp;
mod tls;
mod told;
mod tools;
mod websocket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::net::{TcpListener, TcpStream};

use crate::tls::Tls;

/// Who answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What there is to say of the connection's TLS.
    pub(crate) tls: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testserver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mode = args.next().context("which mode?")?;
    match mode.as_str() {
        "generate" => return tools::generate(args.next().context("how many bytes?")?.parse()?),
        "checksum" => return tools::checksum(),
        "ask" => return ask::ask(),
        "load" => return load::load(args),
        "probe" => return probe::probe(args.next().context("where?")?.parse()?),
        "hold" => {
            let count = args.next().context("how many?")?.parse()?;
            return tools::hold(count, args.next().context("where?")?.parse()?);
        }
        _ => {}
    }
    let (mut identity, mut listen) = (Identity::default(), Vec::<SocketAddr>::new());
    let (mut tls, mut alpn, mut mood) = (None, String::new(), None);
    while let Some(flag) = args.next() {
        let value = args.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--name" => identity.name = value,
            "--version" => identity.version = value,
            "--mood" => mood = Some(PathBuf::from(value)),
            "--tls" => tls = Some(PathBuf::from(value)),
            "--alpn" => alpn = value,
            "--listen" => listen.push(value.parse().with_context(|| value.clone())?),
            _ => bail!("unknown flag {flag}"),
        }
    }
    if mode == "moody" {
        moody::serve(&listen, mood.context("--mood FILE is needed")?);
    }
    let tls = tls.map(|file| Tls::new(&file, &alpn)).transpose()?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&mode, Arc::new(identity), listen, tls))
}

async fn serve(
    mode: &str,
    me: Arc<Identity>,
    at: Vec<SocketAddr>,
    tls: Option<Tls>,
) -> anyhow::Result<()> {
    for address in at {
        let listener = TcpListener::bind(address).await.with_context(|| address.to_string())?;
        let serve_one: fn(TcpStream, SocketAddr, Arc<Identity>) = match mode {
            "http" => |stream, from, me| drop(tokio::spawn(http::serve(stream, from, me))),
            "banner" => |stream, _, me| drop(tokio::spawn(tcp::banner(stream, me))),
            "tcp-echo" => |stream, _, _| drop(tokio::spawn(tcp::echo(stream))),
            _ => bail!("unknown mode {mode}"),
        };
        let echo = mode == "tcp-echo";
        let (me, tls) = (Arc::clone(&me), tls.clone());
        tokio::spawn(async move {
            loop {
                // Out of descriptors is the only error here, and it passes.
                let Ok((stream, from)) = listener.accept().await else { continue };
                stream.set_nodelay(true).ok();
                match tls.clone() {
                    None => serve_one(stream, from, Arc::clone(&me)),
                    Some(tls) => {
                        tokio::spawn(serve_tls(tls, stream, from, Arc::clone(&me), echo));
                    }
                }
            }
        });
    }
    println!("listening");
    std::future::pending().await
}

async fn serve_tls(tls: Tls, stream: TcpStream, from: SocketAddr, me: Arc<Identity>, echo: bool) {
    match tls.accept(stream).await {
        Err(error) => println!("no TLS: {error}"),
        Ok((stream, _)) if echo => tcp::echo(stream).await,
        Ok((stream, said)) => {
            let http2 = said.contains(" h2 ");
            let me = Arc::new(Identity { tls: Some(said), ..(*me).clone() });
            http::serve_on(stream, http2, from, me).await;
        }
    }
}

/// A thousand held connections do not fit into the usual soft limit.
pub(crate) fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid pointer to a struct of the right type, for both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
