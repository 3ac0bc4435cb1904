//! Where logs go and how they look.

use std::io::IsTerminal as _;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use super::LogFormat;

/// Logs to stderr what `RUST_LOG` lets through; information and worse if it is not set.
///
/// # Errors
/// `RUST_LOG` is not a filter.
pub(super) fn init(format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) => EnvFilter::try_new(&filter).with_context(|| format!("RUST_LOG={filter}"))?,
        // Of what a client does wrong, h2 warns once a frame: that would be the client's to fill the log with.
        Err(_) => EnvFilter::new("info,h2=error"),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let set = match format {
        LogFormat::Text => builder.with_target(false).with_ansi(coloured).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| anyhow::anyhow!("{error}"))
}
