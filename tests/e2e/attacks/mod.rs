//! Attacks on the parsers and on the memory of an HTTP proxy, as tables: what is sent, and what becomes of it. The
//! tables are told to people in `docs/security.md`, which has to say what they say.
//!
//! Not for input that is merely bad: see `bad_input`.

mod document;
mod http1;
mod http1_framing;
mod http1_heads;
mod http2;
mod http2_floods;
mod http2_frames;
mod http2_heads;
mod outcome;
