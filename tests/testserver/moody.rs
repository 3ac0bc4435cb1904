//! A server that fails in the way that a file says, for pods; see `nodeway_tests::moody`.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use nodeway_tests::backend;
use nodeway_tests::moody::{Mood, play};

/// Serves at these addresses for ever; without a file, or with nothing in it that is a mood, it is well.
pub(crate) fn serve(at: &[SocketAddr], file: PathBuf) -> ! {
    let requests = Arc::new(AtomicUsize::new(0));
    let mood = move || {
        let said = fs::read_to_string(&file).unwrap_or_default();
        said.parse().unwrap_or(Mood::Well)
    };
    for at in at {
        let (requests, mood) = (Arc::clone(&requests), mood.clone());
        // A connection that ends badly is what is asked for.
        backend::serve(*at, move |stream| drop(play(stream, &mood, &requests)));
    }
    println!("listening");
    loop {
        std::thread::park();
    }
}
