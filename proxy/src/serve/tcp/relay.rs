//! Octets from one socket to another, both ways, with half-closes and resets passed on.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::bulk::{Bulk, Taken};

/// One read. All connections of a worker share one buffer of this size: what was read is written at
/// once, so a connection holds memory only while its receiver is slow.
const CHUNK: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// How a relay ended.
#[derive(Debug)]
pub struct Ended {
    /// Octets from the first socket to the second.
    pub sent: u64,
    /// Octets from the second to the first.
    pub received: u64,
    /// Why it ended, if not because both sides had finished.
    pub error: Option<io::Error>,
    /// Whether it was the second socket that broke before it had said anything.
    pub mute: bool,
    /// Whether it was ended from here.
    pub cut: bool,
}

/// A side broke, or was cut.
#[derive(Debug)]
pub(super) struct Broken {
    pub error: io::Error,
    /// Whether it was the server's.
    pub servers: bool,
    /// Whether it was neither: it has been ended from here.
    pub cut: bool,
}

/// Relays between `client` and `server` until both have finished or one breaks; `said` goes to the
/// server first, and `heard` is called when it has said its first. A break of one side is passed on to the
/// other as a reset; when `cut` is ready both are reset.
pub async fn relay(
    client: &TcpStream,
    server: &TcpStream,
    said: &[u8],
    heard: impl Fn(),
    cut: impl Future<Output = ()>,
) -> Ended {
    let (sent, received) = (Cell::new(0), Cell::new(0));
    let up = async {
        write_all(server, said).await.map_err(Broken::servers)?;
        sent.set(said.len() as u64);
        pump(client, server, |n| sent.set(sent.get() + n)).await.map_err(|(at, error)| match at {
            End::From => Broken::clients(error),
            End::To => Broken::servers(error),
        })
    };
    let down = async {
        let count = |n| {
            if received.get() == 0 {
                heard();
            }
            received.set(received.get() + n);
        };
        pump(server, client, count).await.map_err(|(at, error)| match at {
            End::From => Broken::servers(error),
            End::To => Broken::clients(error),
        })
    };
    let broken = tokio::select! {
        biased;
        ended = async { tokio::try_join!(up, down) } => ended.err(),
        () = cut => Some(Broken::cut()),
    };
    if broken.is_some() {
        reset_on_close(client);
        reset_on_close(server);
    }
    Ended::of(sent.get(), received.get(), broken)
}

/// Has the kernel send a reset instead of an orderly end when `stream` is closed.
pub fn reset_on_close(stream: &TcpStream) {
    // A socket that is gone already cannot be reset, nor needs to be.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Which of two sockets.
enum End {
    From,
    To,
}

async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    count: impl Fn(u64),
) -> Result<(), (End, io::Error)> {
    let (mut bulk, mut fit): (Option<Bulk>, _) = (None, true);
    loop {
        from.readable().await.map_err(|error| (End::From, error))?;
        if let Some(pipe) = &mut bulk {
            match pipe.take(from) {
                Ok(Taken::Some(much)) => {
                    count(pipe.give(to).await.map_err(|error| (End::To, error))? as u64);
                    if !much {
                        bulk = None;
                    }
                    continue;
                }
                Ok(Taken::End) => return finish(to),
                Ok(Taken::Unfit) => (bulk, fit) = (None, false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err((End::From, error)),
            }
        }
        match step(from, to) {
            Ok(Step::End) => return finish(to),
            Ok(Step::Moved(n, rest)) => {
                write_all(to, &rest).await.map_err(|error| (End::To, error))?;
                count(n as u64);
                if n == CHUNK && fit {
                    bulk = Bulk::new();
                }
            }
            Err((_, error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(broken) => return Err(broken),
        }
    }
}

/// Passes on that the sender has finished.
fn finish(to: &TcpStream) -> Result<(), (End, io::Error)> {
    // A peer that has closed its side entirely has no use for our half-close.
    let _ = rustix::net::shutdown(to, rustix::net::Shutdown::Write);
    Ok(())
}

enum Step {
    /// The sender has finished.
    End,
    /// So many octets were read and written but for these.
    Moved(usize, Vec<u8>),
}

fn step(from: &TcpStream, to: &TcpStream) -> Result<Step, (End, io::Error)> {
    SCRATCH.with_borrow_mut(|buffer| {
        let read = from.try_read(buffer).map_err(|error| (End::From, error))?;
        if read == 0 {
            return Ok(Step::End);
        }
        let written = match to.try_write(&buffer[..read]) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err((End::To, error)),
        };
        Ok(Step::Moved(read, buffer[written..read].to_vec()))
    })
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

// === impl Ended ===

impl Ended {
    pub(super) fn of(sent: u64, received: u64, broken: Option<Broken>) -> Self {
        let mute = received == 0 && broken.as_ref().is_some_and(|broken| broken.servers);
        let cut = broken.as_ref().is_some_and(|broken| broken.cut);
        Self { sent, received, error: broken.map(|broken| broken.error), mute, cut }
    }
}

// === impl Broken ===

impl Broken {
    pub(super) fn clients(error: io::Error) -> Self {
        Self { error, servers: false, cut: false }
    }

    pub(super) fn servers(error: io::Error) -> Self {
        Self { error, servers: true, cut: false }
    }

    pub(super) fn cut() -> Self {
        let error = io::Error::other("the endpoint is gone, and its time to drain is over");
        Self { error, servers: false, cut: true }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dial = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, dialled) = tokio::join!(listener.accept(), dial);
        (dialled.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn a_half_close_passes_and_the_answer_still_comes_back() {
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let ask = async {
            client.write_all(b"llo").await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer.len()
        };
        let answer = async {
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await.unwrap();
            server.write_all(&vec![7; 1 << 20]).await.unwrap();
            drop(server);
            heard
        };
        let (ended, got, heard) =
            tokio::join!(relay(&near, &far, b"he", || (), pending()), ask, answer);
        assert_eq!((heard.as_slice(), got), (&b"hello"[..], 1 << 20));
        assert_eq!((ended.sent, ended.received), (5, 1 << 20));
        assert!(ended.error.is_none());
    }

    #[tokio::test]
    async fn large_and_small_pieces_in_turn_arrive_as_they_were_sent() {
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let pieces = [3 << 20, 1, 200 << 10, 100, 5 << 20, 17 << 10, 0];
        let said: Vec<Vec<u8>> = pieces
            .iter()
            .enumerate()
            .map(|(nth, length)| {
                (0..*length).map(|at| u8::try_from((at * 31 + nth) % 251).unwrap()).collect()
            })
            .collect();
        let whole = said.concat();
        let ask = async {
            for piece in &said {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            client.read(&mut [0; 1]).await.unwrap()
        };
        let answer = async {
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await.unwrap();
            drop(server);
            heard
        };
        let (ended, end, heard) =
            tokio::join!(relay(&near, &far, b"", || (), pending()), ask, answer);
        assert!(heard == whole && end == 0);
        assert_eq!((ended.sent, ended.received), (whole.len() as u64, 0));
        assert!(ended.error.is_none());
    }

    #[tokio::test]
    async fn what_a_pipe_takes_it_gives_whole_and_it_knows_an_end_from_nothing() {
        let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
        let mut bulk = Bulk::new().unwrap();
        client.write_all(&[7; 40 << 10]).await.unwrap();
        let mut given = 0;
        while given < 40 << 10 {
            near.readable().await.unwrap();
            match bulk.take(&near) {
                Ok(Taken::Some(_)) => given += bulk.give(&far).await.unwrap(),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                other => panic!("{other:?}"),
            }
        }
        let nothing = bulk.take(&near);
        assert!(nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        drop(client);
        near.readable().await.unwrap();
        assert_eq!(bulk.take(&near).unwrap(), Taken::End);
        let mut heard = vec![0; 40 << 10];
        server.read_exact(&mut heard).await.unwrap();
        assert!(heard.iter().all(|octet| *octet == 7));
    }

    #[tokio::test]
    async fn a_reset_on_one_side_is_a_reset_on_the_other() {
        let ((mut client, near), (far, server)) = (pair().await, pair().await);
        let relaying = async {
            let ended = relay(&near, &far, b"", || (), pending()).await;
            drop((near, far));
            ended
        };
        let breaking = async {
            reset_on_close(&server);
            drop(server);
            client.read(&mut [0; 8]).await
        };
        let (ended, heard) = tokio::join!(relaying, breaking);
        assert!(ended.error.is_some());
        assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
