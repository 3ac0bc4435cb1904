//! Accept loops.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use nodeway_core::model::{ObjectName, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::intercept::OriginalDestinations;
use crate::runtime::{Signal, Worker};
use crate::serve::{self, Target};
use crate::upstream::Client;

/// After a listener has been told to close it still takes what the kernel has promised clients:
/// connections in its queue, and those that were redirected but not yet established.
const LINGER: Duration = Duration::from_millis(100);
/// Without descriptors or memory, accepting again at once would only burn the processor.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How a listener learns whom a connection is for.
#[derive(Debug, Clone)]
pub(super) enum Destination {
    /// The kernel side has noted whom the pod with this namespace cookie dialled.
    Noted { cookie: u64, source: Option<u64>, destinations: OriginalDestinations },
    /// Fixed.
    Fixed(ObjectName, u16),
}

/// Accepts until `stop` fires and nothing more comes.
pub(super) async fn accept(
    worker: Rc<Worker>,
    client: Rc<Client>,
    listener: TcpListener,
    destination: Destination,
    stop: Signal,
) {
    let Ok(local) = listener.local_addr() else { return };
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = stop.wait() => match tokio::time::timeout(LINGER, listener.accept()).await {
                Ok(accepted) => accepted,
                Err(_) => return,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                dispatch(&worker, &client, &destination, stream, peer, local);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, %local, "cannot accept connections; trying again");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn dispatch(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    destination: &Destination,
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
) {
    let target = match destination {
        Destination::Fixed(service, port) => {
            Target::service_port(service.clone(), *port, peer.ip())
        }
        Destination::Noted { cookie, source, destinations } => {
            match destinations.take(*cookie, peer.port(), local.port(), local.is_ipv6()) {
                Ok(Some(dialled)) => Target::dialled(dialled, *cookie, *source),
                // Somebody in the pod has dialled the listener itself: nobody to relay to.
                Ok(None) => {
                    worker.metrics.counters.unknown_destination.add(1);
                    return;
                }
                Err(error) => {
                    worker.metrics.counters.unknown_destination.add(1);
                    tracing::error!(%error, "cannot read original destinations");
                    return;
                }
            }
        }
    };
    let served = serve::connection(Rc::clone(worker), Rc::clone(client), target, stream);
    tokio::task::spawn_local(served);
}

/// Errors of one connection that had failed before it was accepted (accept(2), Linux).
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NetworkDown};
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | Interrupted
            | NetworkDown
            | HostUnreachable
            | NetworkUnreachable
            | TimedOut
    )
}

/// Prepares a listener that was made elsewhere for this worker's event loop. Accepted sockets
/// inherit its options (Linux): set once here, they cost no call per connection.
///
/// # Errors
/// The kernel refused an option, or the event loop the socket.
pub(super) fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    crate::upstream::set_options(&listener, &TcpKeepalive::default())?;
    TcpListener::from_std(listener)
}
