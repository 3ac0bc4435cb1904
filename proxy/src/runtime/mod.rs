//! What a worker thread is made of: its event loop, its clock, its view of the published snapshot; and
//! the host's listening sockets.
//!
//! Not what it serves: that is `listen`, `serve` and `upstream`.

mod allowance;
mod clock;
mod limits;
mod published;
mod signal;
mod socket;
mod threads;
mod worker;

pub use allowance::{Allowance, Share};
pub use clock::{Clock, until, wall_millis};
pub use limits::{raise_open_files, small_pages};
pub use published::{Published, View};
pub use signal::{Listener as SignalListener, Signal, fired};
pub use socket::Listening;
pub use threads::{WorkerThread, spawn};
pub use worker::Worker;
