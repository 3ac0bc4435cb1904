//! How much may be under way at once: with a backend, with each of its endpoints, and as retries.
//!
//! Not which endpoint is chosen among those that have room. What is counted here is counted from this node:
//! nodes do not add up what they have under way, as Envoys do not.

mod active;
mod budget;
mod counts;
mod gradient;
#[cfg(test)]
mod gradient_tests;
mod line;
mod overflow;
mod recent;
mod room;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod tests;

pub use active::{Active, Refused};
pub use budget::Retrying;
pub use counts::UnderWay;
pub use overflow::{Limit, Overflow, Scope};
pub use room::{Connected, Pending, Ticket, Waiting};

pub(super) use counts::Count;
