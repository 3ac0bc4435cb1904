//! Worker threads, each with an event loop of its own: no request ever changes threads.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// A running worker thread and the way to tell it things.
#[derive(Debug)]
pub struct WorkerThread<C> {
    commands: mpsc::UnboundedSender<C>,
    thread: JoinHandle<()>,
}

/// Starts a thread that runs `serve(commands)` on a current-thread runtime until it returns; its
/// local tasks end with it.
///
/// # Errors
/// The thread or its event loop cannot be made.
pub fn spawn<C, S, F>(name: String, serve: S) -> io::Result<WorkerThread<C>>
where
    C: Send + 'static,
    S: FnOnce(mpsc::UnboundedReceiver<C>) -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let (commands, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        LocalSet::new().block_on(&runtime, serve(receiver));
    })?;
    Ok(WorkerThread { commands, thread })
}

// === impl WorkerThread ===

impl<C> WorkerThread<C> {
    /// Sends a command; a worker that has ended ignores it.
    pub fn tell(&self, command: C) {
        let _ = self.commands.send(command);
    }

    /// Whether the thread has ended.
    pub fn ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread's end; `Err` if it panicked.
    ///
    /// # Errors
    /// The thread's panic.
    pub fn join(self) -> std::thread::Result<()> {
        drop(self.commands);
        self.thread.join()
    }
}
