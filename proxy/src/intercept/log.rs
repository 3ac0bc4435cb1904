//! What the programs log, for debugging.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::InterceptError;
use crate::errors::chain;

/// The programs' log records, on their way to the `log` crate.
pub struct KernelLog {
    logger: EbpfLogger<&'static dyn log::Log>,
}

impl KernelLog {
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, InterceptError> {
        let logger = EbpfLogger::init(ebpf).map_err(|error| InterceptError::Load(chain(&error)))?;
        Ok(Self { logger })
    }

    /// Hands records on as they come.
    ///
    /// # Errors
    /// The event loop cannot watch for them.
    pub async fn run(self) -> io::Result<()> {
        // SAFETY: the logger owns the ring buffer's descriptor and gives the same one as long as it
        // lives, which is as long as the registration.
        let mut logger =
            unsafe { AsyncFd::register_with_interest(self.logger, Interest::READABLE) }?;
        loop {
            let mut ready = logger.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
