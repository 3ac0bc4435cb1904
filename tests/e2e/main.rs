//! End-to-end tests on this kernel: a file a promise.

mod transparency;
