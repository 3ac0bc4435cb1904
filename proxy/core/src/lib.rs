//! The thinking of Nodeway: what the objects mean, which rule a request meets, which endpoint it goes to.
//!
//! Nothing here sees a socket, a clock, a task or Kubernetes: time and chance are arguments, and what
//! comes in has been parsed at the door (`nodeway::translate`). The rooms, in the order of the flow:
//!
//! - [`model`]: our own words for Services, endpoints, routes and pods;
//! - [`route`]: which rule a request meets, and what its filters do;
//! - [`balance`]: which endpoint a request goes to, and what is remembered of each endpoint;
//! - [`detect`]: which protocol a connection speaks, from what is declared or from its first bytes;
//! - [`snapshot`]: objects compiled into one immutable whole that the data plane reads.
#![forbid(unsafe_code)]

pub mod balance;
pub mod detect;
pub mod model;
pub mod route;
pub mod snapshot;
