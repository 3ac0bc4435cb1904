//! Frontends whose connections go to endpoints without the proxy: their tables in the kernel kept in line, and
//! what the kernel tells of them.
//!
//! Not which frontends these are: `nodeway_core::snapshot::Alone` says so. All of it is on the control thread.

mod carrying;
mod diag;
mod records;
mod resets;
mod series;
mod tables;

pub use carrying::Carrying;
pub use diag::{Resetter, Victims, can_reset, reset};
pub use records::{Records, UsedBy};
pub use resets::Cut;
pub use series::{Labels, Series};

pub(super) use tables::Tables;
