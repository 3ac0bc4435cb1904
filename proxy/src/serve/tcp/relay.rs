//! Octets from one socket to another, both ways, with half-closes and resets passed on.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

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
}

/// Relays between `client` and `server` until both have finished or one breaks; `said` goes to the
/// server first. A break of one side is passed on to the other as a reset.
pub async fn relay(client: &TcpStream, server: &TcpStream, said: &[u8]) -> Ended {
    let (sent, received) = (Cell::new(0), Cell::new(0));
    let up = async {
        write_all(server, said).await?;
        sent.set(said.len() as u64);
        pump(client, server, &sent).await
    };
    let error = tokio::try_join!(up, pump(server, client, &received)).err();
    if error.is_some() {
        reset_on_close(client);
        reset_on_close(server);
    }
    Ended { sent: sent.get(), received: received.get(), error }
}

/// Has the kernel send a reset instead of an orderly end when `stream` is closed.
pub fn reset_on_close(stream: &TcpStream) {
    // A socket that is gone already cannot be reset, nor needs to be.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn pump(from: &TcpStream, to: &TcpStream, count: &Cell<u64>) -> io::Result<()> {
    loop {
        from.readable().await?;
        match step(from, to) {
            Ok(Step::End) => {
                // A peer that has closed its side entirely has no use for our half-close.
                let _ = rustix::net::shutdown(to, rustix::net::Shutdown::Write);
                return Ok(());
            }
            Ok(Step::Moved(n)) => count.set(count.get() + n as u64),
            Ok(Step::Left(moved, rest)) => {
                write_all(to, &rest).await?;
                count.set(count.get() + (moved + rest.len()) as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

enum Step {
    /// The sender has finished.
    End,
    /// So many octets were read and written.
    Moved(usize),
    /// So many were written, these were not.
    Left(usize, Vec<u8>),
}

fn step(from: &TcpStream, to: &TcpStream) -> io::Result<Step> {
    SCRATCH.with_borrow_mut(|buffer| {
        let read = from.try_read(buffer)?;
        if read == 0 {
            return Ok(Step::End);
        }
        let written = match to.try_write(&buffer[..read]) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if written == read {
            Ok(Step::Moved(read))
        } else {
            Ok(Step::Left(written, buffer[written..read].to_vec()))
        }
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

#[cfg(test)]
mod tests {
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
        let (ended, got, heard) = tokio::join!(relay(&near, &far, b"he"), ask, answer);
        assert_eq!((heard.as_slice(), got), (&b"hello"[..], 1 << 20));
        assert_eq!((ended.sent, ended.received), (5, 1 << 20));
        assert!(ended.error.is_none());
    }

    #[tokio::test]
    async fn a_reset_on_one_side_is_a_reset_on_the_other() {
        let ((mut client, near), (far, server)) = (pair().await, pair().await);
        let relaying = async {
            let ended = relay(&near, &far, b"").await;
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
