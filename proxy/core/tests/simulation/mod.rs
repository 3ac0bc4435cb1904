//! A simulation of fleets, by discrete events and with real [`Backend`](nodeway_core::balance::Backend)s.
//!
//! Shared by the tests of this crate and by the program behind `cargo xtask bench balance`.

pub(crate) mod fleet;
pub(crate) mod outcome;
pub(crate) mod scenarios;
pub(crate) mod spread;
