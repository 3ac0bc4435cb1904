//! What a TCPRoute or a TLSRoute asks for: whole connections go to backends by weight.
//!
//! Not how a server's name is found in what a client says first: that is `detect`'s.

use std::fmt;
use std::sync::Arc;

use super::BackendRef;

/// One rule of a TCPRoute or a TLSRoute: connections go to one of `backends`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L4Rule {
    /// `name`, if the rule has one.
    pub name: Option<Arc<str>>,
    /// Chosen among by weight; without filters. Empty: connections are reset.
    pub backends: Vec<BackendRef>,
}

/// A name, or names, of servers that clients ask for (RFC 6066, 3); in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hostname {
    /// This name.
    Exact(Arc<str>),
    /// `*.example.com`: all names with one label or more before this, which is without the `*.`.
    Below(Arc<str>),
    /// Any name, and none: a TLSRoute that gives no hostnames.
    Any,
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("any name"),
        }
    }
}
