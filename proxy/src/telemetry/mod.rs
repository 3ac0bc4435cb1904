//! Metrics: counted by each worker for itself, added up when somebody asks.
//!
//! A worker is the only writer of its numbers, so counting takes no lock and no contended cache
//! line. Series are made on first use and expire when idle. Logs are set up in `cli`.

mod backends;
mod carried;
mod changes;
mod counter;
mod family;
mod gauges;
mod health;
mod labels;
mod render;
mod shard;
mod status;

pub use backends::render_backends;
pub use carried::Carried;
pub use changes::{tell_changes, tell_panic};
pub use counter::{Counter, Histogram};
pub use family::{Family, Handle, IDLE_LIFE_SECONDS, Registry};
pub use gauges::{Gauges, render_acceleration, render_exits, render_source_age};
pub use health::{CheckCounters, CheckResult};
pub use labels::{
    EjectionLabels, Flag, OverflowKey, OverflowLabels, RequestKey, RequestLabels, TcpKey, TcpLabels,
};
pub use render::{Text, Type};
pub use shard::{
    Metrics, Protocol, RequestHandle, RequestSeries, Shard, ShardSeed, TcpSeries, Used,
    WorkerCounters,
};
pub use status::{EventResult, StatusCounters, StatusWrite};
