//! Round trips between hosts by UDP.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::hosts::Host;

const TICK: Duration = Duration::from_millis(50);

/// Bytes that may wait for a reader.
const RECEIVE_QUEUE: usize = 16 << 20;

/// A UDP socket on a host, on a port that the kernel chooses. It can be used from any thread.
pub fn bind_udp(host: &Host) -> UdpSocket {
    let socket = host.namespace.run(|| UdpSocket::bind((host.address, 0)));
    let socket = socket.expect("inside the host").expect("a UDP socket");
    // On a busy machine the reader is late, and what finds the queue full would look like a fault.
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_QUEUE).expect("a long queue");
    socket
}

/// Answers every UDP packet with itself until it is dropped.
pub struct EchoServer {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Starts a server on a host.
    pub fn start(host: &Host) -> Self {
        let socket = bind_udp(host);
        socket.set_read_timeout(Some(TICK)).expect("a time-out");
        let address = socket.local_addr().expect("an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = {
            let stopping = Arc::clone(&stopping);
            thread::spawn(move || echo(&socket, &stopping))
        };
        Self { address, stopping, thread: Some(thread) }
    }

    /// The port on which it answers.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The median of `count` round trips from a host, one after the other.
    pub fn median_round_trip(&self, from: &Host, count: u32) -> Duration {
        let mut times = self.round_trips(from, count);
        times.sort();
        *times.get(times.len() / 2).expect("at least one round trip")
    }

    /// `count` round trips from a host, after one that is not counted and finds the neighbours.
    pub fn round_trips(&self, from: &Host, count: u32) -> Vec<Duration> {
        self.round_trips_with_rests(from, count, Duration::ZERO)
    }

    /// The same, with answers that the server keeps back for some time, which is then taken off: what a
    /// round trip takes on a machine that rests in between.
    pub fn round_trips_with_rests(&self, from: &Host, count: u32, rest: Duration) -> Vec<Duration> {
        let socket = bind_udp(from);
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        socket.connect(self.address).expect("a peer");
        let trips = (0..=count).map(|_trip| round_trip_with_rest(&socket, rest).expect("a round trip"));
        trips.skip(1).collect()
    }

    /// Whether a packet from a host comes back within `patience`.
    pub fn answers(&self, from: &Host, patience: Duration) -> bool {
        let socket = bind_udp(from);
        socket.set_read_timeout(Some(patience)).expect("a time-out");
        socket.connect(self.address).expect("a peer");
        round_trip(&socket).is_ok()
    }

    /// Sends from a host until an answer comes, and tells how long that took; nothing if none came
    /// within `patience`.
    pub fn time_to_answer(&self, from: &Host, patience: Duration) -> Option<Duration> {
        let start = Instant::now();
        while start.elapsed() < patience {
            if self.answers(from, TICK) {
                return Some(start.elapsed());
            }
        }
        None
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where a packet says how many nanoseconds its answer is to be kept back, and the answer how many it was.
const REST: std::ops::Range<usize> = 0..8;

fn echo(socket: &UdpSocket, stopping: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stopping.load(Ordering::Relaxed) {
        if let Ok((length, sender)) = socket.recv_from(&mut buffer) {
            let received = Instant::now();
            let rest = u64::from_ne_bytes(buffer[REST].try_into().expect("eight bytes"));
            if length == TRIP && rest > 0 {
                thread::sleep(Duration::from_nanos(rest));
                let kept = u64::try_from(received.elapsed().as_nanos()).expect("a short time");
                buffer[REST].copy_from_slice(&kept.to_ne_bytes());
            }
            let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), sender);
        }
    }
}

/// Bytes of a packet of a round trip.
const TRIP: usize = 64;

fn round_trip(socket: &UdpSocket) -> io::Result<Duration> {
    round_trip_with_rest(socket, Duration::ZERO)
}

fn round_trip_with_rest(socket: &UdpSocket, rest: Duration) -> io::Result<Duration> {
    let mut packet = [0; TRIP];
    let asked = u64::try_from(rest.as_nanos()).expect("a short time");
    packet[REST].copy_from_slice(&asked.to_ne_bytes());
    let start = Instant::now();
    socket.send(&packet)?;
    socket.recv(&mut packet)?;
    let kept = u64::from_ne_bytes(packet[REST].try_into().expect("eight bytes"));
    Ok(start.elapsed().saturating_sub(Duration::from_nanos(kept)))
}
