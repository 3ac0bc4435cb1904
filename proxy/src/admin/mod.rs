//! The HTTP endpoints for operators: `--metrics` and `--admin`.
//!
//! Not on a worker: they answer while workers are busy.

mod question;
mod server;
mod state;

pub use question::Asked;
pub use server::{Role, serve};
pub use state::{Admin, Readiness};
