//! The trials: what an app may expect of a TCP socket, each by itself.
//!
//! Not benchmarks: what acceleration saves is in docs/acceleration.md.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags};

use super::Failure;
use super::rig::{Ends, Rig};

/// One of them.
pub(super) struct Trial {
    name: &'static str,
    /// Whether octets are lost, late, in disorder or without bound if it fails.
    vital: bool,
    run: fn(Ends) -> Result<(), Fault>,
}

/// What was found instead.
struct Fault(String);

/// The quick ones first: one that decides spares a start the others.
pub(super) const ALL: [Trial; 14] = [
    Trial { name: "splice", vital: false, run: splice },
    Trial { name: "FIONREAD", vital: false, run: fionread },
    Trial { name: "MSG_PEEK", vital: false, run: peek },
    Trial { name: "urgent data", vital: false, run: urgent },
    Trial { name: "reset", vital: false, run: reset },
    Trial { name: "order", vital: true, run: order },
    Trial { name: "wake-ups", vital: true, run: level },
    Trial { name: "edges", vital: true, run: edge },
    Trial { name: "short reads", vital: true, run: short_reads },
    Trial { name: "half-close", vital: true, run: half_close },
    Trial { name: "close", vital: true, run: close },
    Trial { name: "sendfile", vital: true, run: sendfile },
    Trial { name: "bodies", vital: true, run: bodies },
    Trial { name: "flow control", vital: true, run: flow_control },
];

/// Wake-ups that are waited for, by each kind of epoll.
const TURNS: usize = 200;
/// Within this loopback has brought what was written.
const ARRIVAL: Duration = Duration::from_millis(10);
/// Enough to be handed over and to go on by TCP.
const BODY: usize = 2 << 20;
/// More than socket buffers take (net.ipv4.tcp_wmem and tcp_rmem: 4 and 6 MiB by default, 32 on tuned hosts).
const UNREAD: usize = 128 << 20;

// === impl Trial ===

impl Trial {
    /// None if it is passed. Who comes after `end` is not tried, which is as bad.
    pub(super) fn fails(&self, rig: &mut Rig, end: Instant) -> Option<Failure> {
        let fault = if Instant::now() < end {
            rig.ends().map_err(Fault::from).and_then(self.run).err()?
        } else {
            Fault("no time left to try it".to_owned())
        };
        Some(Failure { trial: self.name, vital: self.vital, found: fault.0 })
    }
}

// === impl Fault ===

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock => Self("nothing came, or nobody was woken".to_owned()),
            _ => Self(error.to_string()),
        }
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(errno: rustix::io::Errno) -> Self {
        std::io::Error::from(errno).into()
    }
}

/// All goes well, or this is what was found.
fn expect(good: bool, found: impl FnOnce() -> String) -> Result<(), Fault> {
    if good { Ok(()) } else { Err(Fault(found())) }
}

/// Octets that are unlike each other at any distance that a buffer's size could be.
fn pattern(from: usize, length: usize) -> Vec<u8> {
    let octet = |i: usize| (i ^ (i >> 8) ^ (i >> 16)).wrapping_mul(31).to_le_bytes()[0];
    (from..from + length).map(octet).collect()
}

fn same(got: &[u8], sent: &[u8]) -> Result<(), Fault> {
    expect(got == sent, || {
        let at = got.iter().zip(sent).take_while(|(a, b)| a == b).count();
        format!("{} octets of {}, the first {at} of them right", got.len(), sent.len())
    })
}

fn order(mut ends: Ends) -> Result<(), Fault> {
    for (i, length) in [1, 7, 4096, 100, 16_385, 3].into_iter().cycle().take(60).enumerate() {
        let sent = pattern(i, length);
        let (from, to) = if i % 2 == 0 {
            (&mut ends.app, &mut ends.proxy)
        } else {
            (&mut ends.proxy, &mut ends.app)
        };
        let (head, tail) = sent.split_at(length / 3);
        let vectors = [IoSlice::new(head), IoSlice::new(tail)];
        let written = from.write_vectored(&vectors)?;
        from.write_all(&sent[written..])?;
        let mut got = vec![0; length];
        let (first, rest) = got.split_at_mut(length / 2);
        to.read_exact(first)?;
        to.read_exact(rest)?;
        same(&got, &sent)?;
    }
    Ok(())
}

fn level(ends: Ends) -> Result<(), Fault> {
    turns(ends, epoll::EventFlags::IN)
}

fn edge(ends: Ends) -> Result<(), Fault> {
    turns(ends, epoll::EventFlags::IN | epoll::EventFlags::ET)
}

/// One thread asks, another one waits in epoll and answers; at the end it is to notice the FIN.
fn turns(mut ends: Ends, how: epoll::EventFlags) -> Result<(), Fault> {
    let answering = thread::spawn(move || answer(&mut ends.proxy, how));
    let mut asked = || -> Result<(), Fault> {
        for i in 0..TURNS {
            let sent = pattern(i, 64 + i * 16);
            ends.app.write_all(&sent)?;
            let mut got = vec![0; sent.len()];
            ends.app.read_exact(&mut got)?;
            same(&got, &sent)?;
        }
        Ok(())
    };
    let asked = asked();
    ends.app.shutdown(Shutdown::Write)?;
    let answered = answering.join().unwrap_or_else(|_| Err(Fault("a panic".to_owned())));
    asked.and(answered)
}

fn answer(socket: &mut TcpStream, how: epoll::EventFlags) -> Result<(), Fault> {
    socket.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &*socket, epoll::EventData::new_u64(0), how)?;
    let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 400_000_000 };
    let (mut buffer, mut events) = (vec![0; 8192], Vec::with_capacity(1));
    loop {
        events.clear();
        let woken =
            epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
        expect(woken > 0, || "who waits in epoll is not woken".to_owned())?;
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => socket.write_all(&buffer[..n])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Both ways at once, over the point at which TCP takes over.
fn bodies(mut ends: Ends) -> Result<(), Fault> {
    let sent = pattern(5, BODY);
    let (mut app, mut proxy) = (ends.app.try_clone()?, ends.proxy.try_clone()?);
    thread::scope(|scope| {
        let write = |socket: &mut TcpStream| -> Result<(), Fault> {
            socket.write_all(&sent)?;
            Ok(socket.shutdown(Shutdown::Write)?)
        };
        let writing =
            [scope.spawn(move || write(&mut app)), scope.spawn(move || write(&mut proxy))];
        let read = |socket: &mut TcpStream| -> Result<(), Fault> {
            let mut got = Vec::with_capacity(BODY);
            socket.read_to_end(&mut got)?;
            same(&got, &sent)
        };
        let reading = scope.spawn(move || read(&mut ends.app));
        let mut result = read(&mut ends.proxy);
        for thread in writing.into_iter().chain([reading]) {
            result = result.and(thread.join().unwrap_or_else(|_| Err(Fault("a panic".to_owned()))));
        }
        result
    })
}

/// Who is not read from has to wait, and hears when he may go on.
fn flow_control(mut ends: Ends) -> Result<(), Fault> {
    ends.app.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let how = epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(&poll, &ends.app, epoll::EventData::new_u64(0), how)?;
    let mut events = Vec::with_capacity(1);
    let chunk = pattern(0, 32 << 10);
    let mut sent = 0;
    loop {
        match ends.app.write(&chunk) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
        expect(sent < UNREAD, || format!("{sent} octets taken that nobody reads"))?;
    }
    // What has been ready so far is old.
    let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&none))?;
    events.clear();
    let (mut got, mut buffer) = (0, vec![0; 256 << 10]);
    while got < sent {
        got += ends.proxy.read(&mut buffer)?;
    }
    let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 400_000_000 };
    let woken = epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
    expect(woken > 0, || "a writer is not told that there is room again".to_owned())
}

/// Who waits for an edge takes a read that does not fill his buffer for the last one (epoll(7) says that he
/// may; tokio does): then nothing may be left, whichever way it came.
fn short_reads(mut ends: Ends) -> Result<(), Fault> {
    let sent = pattern(9, 70_000);
    ends.proxy.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let how = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&poll, &ends.proxy, epoll::EventData::new_u64(0), how)?;
    // The first part is handed over; the second one is too much, and goes by TCP.
    let (handed, plain) = sent.split_at(60_000);
    ends.app.write_all(handed)?;
    ends.app.write_all(plain)?;
    // Both are to be there before anybody looks.
    thread::sleep(ARRIVAL);
    let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 400_000_000 };
    let (mut got, mut buffer) = (Vec::new(), vec![0; 128 << 10]);
    let mut events = Vec::with_capacity(1);
    while got.len() < sent.len() {
        events.clear();
        let woken =
            epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
        let missing = || format!("{} octets of {}, and no word of the rest", got.len(), sent.len());
        expect(woken > 0, missing)?;
        let n = ends.proxy.read(&mut buffer)?;
        got.extend_from_slice(&buffer[..n]);
    }
    same(&got, &sent)
}

/// Who has said all still hears everything, however late it reads.
fn half_close(mut ends: Ends) -> Result<(), Fault> {
    let (question, reply) = (pattern(1, 20_000), pattern(2, 40_000));
    ends.app.write_all(&question)?;
    ends.app.shutdown(Shutdown::Write)?;
    let mut got = Vec::new();
    ends.proxy.read_to_end(&mut got)?;
    same(&got, &question)?;
    ends.proxy.write_all(&reply)?;
    drop(ends.proxy);
    got.clear();
    ends.app.read_to_end(&mut got)?;
    same(&got, &reply)
}

fn close(mut ends: Ends) -> Result<(), Fault> {
    let sent = pattern(3, 50_000);
    ends.proxy.shutdown(Shutdown::Write)?;
    ends.app.write_all(&sent)?;
    drop(ends.app);
    let mut got = Vec::new();
    ends.proxy.read_to_end(&mut got)?;
    same(&got, &sent)
}

fn sendfile(mut ends: Ends) -> Result<(), Fault> {
    let sent = pattern(4, 40_000);
    let file = rustix::fs::memfd_create("trial", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(&sent)?;
    let mut offset = 0;
    let mut left = sent.len();
    while left > 0 {
        left -= rustix::fs::sendfile(&ends.app, &file, Some(&mut offset), left)?;
    }
    let mut got = vec![0; sent.len()];
    ends.proxy.read_exact(&mut got)?;
    same(&got, &sent)
}

fn splice(mut ends: Ends) -> Result<(), Fault> {
    let sent = pattern(6, 1000);
    ends.app.write_all(&sent)?;
    let (read, write) = rustix::pipe::pipe()?;
    ends.proxy.set_nonblocking(true)?;
    let flags = rustix::pipe::SpliceFlags::NONBLOCK;
    let spliced = rustix::pipe::splice(&ends.proxy, None, &write, None, 4096, flags);
    let spliced = spliced.map_err(|_| Fault("what has come cannot be spliced".to_owned()))?;
    let mut got = vec![0; spliced];
    std::fs::File::from(read).read_exact(&mut got)?;
    same(&got, &sent)
}

fn fionread(mut ends: Ends) -> Result<(), Fault> {
    ends.app.write_all(&pattern(7, 1234))?;
    ends.proxy.read_exact(&mut [0; 1000])?;
    let there = rustix::io::ioctl_fionread(&ends.proxy)?;
    expect(there == 234, || format!("{there} octets for 234"))
}

fn peek(mut ends: Ends) -> Result<(), Fault> {
    let sent = pattern(8, 2000);
    ends.app.write_all(&sent)?;
    let mut got = vec![0; 100];
    let (n, _) = rustix::net::recv(ends.proxy.as_fd(), &mut got, RecvFlags::PEEK)?;
    same(&got[..n], &sent[..100])?;
    let mut got = vec![0; sent.len()];
    ends.proxy.read_exact(&mut got)?;
    same(&got, &sent)
}

/// It overtakes, and is not in the stream.
fn urgent(mut ends: Ends) -> Result<(), Fault> {
    ends.app.write_all(b"ab")?;
    rustix::net::send(ends.app.as_fd(), b"!", SendFlags::OOB)?;
    ends.app.write_all(b"cd")?;
    let mut got = [0; 1];
    let (n, _) = rustix::net::recv(ends.proxy.as_fd(), &mut got, RecvFlags::OOB)?;
    same(&got[..n], b"!")?;
    let mut got = [0; 4];
    ends.proxy.read_exact(&mut got)?;
    same(&got, b"abcd")
}

/// Who closes without having read all tells the other by a reset; so does who lingers for no time.
fn reset(mut ends: Ends) -> Result<(), Fault> {
    ends.app.write_all(b"unread")?;
    // It has arrived when it can be seen.
    rustix::net::recv(ends.proxy.as_fd(), &mut [0; 1], RecvFlags::PEEK)?;
    drop(ends.proxy);
    match ends.app.read(&mut [0; 1]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Ok(_) => Err(Fault("an end for a reset".to_owned())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_tcp_does_passes_every_trial() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for Trial { name, run, .. } in ALL {
            if let Err(Fault(found)) = run(Ends::plain(&listener).unwrap()) {
                panic!("{name}: {found}");
            }
        }
    }
}
