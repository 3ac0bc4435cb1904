//! The command line: a file a command. Output for people goes to stdout, logs to stderr.

mod args;
mod check;
mod explain;
mod logging;
mod validate;

pub use args::{
    AccelerateArg, Cli, Command, EnrollArg, ExplainArgs, FailPolicyArg, ListenArg, LogFormat,
    OutputArg, RunArgs,
};

use std::process::ExitCode;

use clap::Parser;

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    crate::runtime::small_pages();
    match Cli::parse().command {
        Command::Run(args) => {
            let config = match crate::config::Config::load(*args) {
                Ok(config) => config,
                Err(faults) => {
                    for fault in faults {
                        eprintln!("nodeway run: {fault}");
                    }
                    return ExitCode::from(2);
                }
            };
            if let Err(error) = logging::init(config.log_format) {
                eprintln!("nodeway run: logs: {error:#}");
                return ExitCode::from(2);
            }
            match crate::run::run(config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("{error:#}");
                    ExitCode::FAILURE
                }
            }
        }
        Command::Validate { folder } => validate::validate(&folder),
        Command::Explain(args) => explain::explain(&args),
        Command::Check { cgroup, bpffs } => check::check(cgroup.as_deref(), &bpffs),
    }
}
