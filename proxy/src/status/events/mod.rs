//! Notices become Events of the API: what `kubectl describe` shows below an object.
//!
//! Events of the core API, not of events.k8s.io: they are the same objects, but what `kubectl describe`
//! and `kubectl get events` show of them (count, first and last time) stands in the core API's fields.

mod post;
mod series;

pub(super) use post::Poster;
