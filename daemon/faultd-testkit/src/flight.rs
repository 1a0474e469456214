//! Many numbered packets from one host to another: when each was sent, when it arrived, and as what.

use std::{
    collections::BTreeSet,
    io,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use crate::{hosts::Host, measure::bind_udp};

/// Bytes of a packet's payload: its number, then a pattern.
const PAYLOAD: usize = 64;
const PATTERN: u8 = 0xa5;

/// One packet that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its number, from 0.
    pub number: u32,
    /// When it was received, from the start of the flight.
    pub at: Duration,
    /// From when it was sent to when it was received.
    pub delay: Duration,
    /// Bits that are not as they were sent.
    pub wrong_bits: u32,
}

/// How packets are sent.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// How many.
    pub count: u32,
    /// Pause between them; without one they go in bursts of 20 a millisecond.
    pub interval: Duration,
    /// Receiving ends when nothing came for this long: longer than any delay.
    pub quiet: Duration,
}

impl Flight {
    /// Sends the packets and returns those that arrived, in the order in which they did.
    pub fn run(self, from: &Host, to: &Host) -> Vec<Arrival> {
        self.run_between(&bind_udp(from), bind_udp(to))
    }

    /// The same between sockets that are there.
    pub fn run_between(self, sender: &UdpSocket, receiver: UdpSocket) -> Vec<Arrival> {
        receiver.set_read_timeout(Some(self.quiet)).expect("a time-out");
        sender.connect(receiver.local_addr().expect("an address")).expect("a peer");
        let start = Instant::now();
        let receiving = thread::spawn(move || receive(&receiver, start));
        let sent: Vec<Duration> = (0..self.count).map(|number| self.send(sender, number, start)).collect();
        let received = receiving.join().expect("the receiver ended");
        let arrival = |(at, payload): (Duration, [u8; PAYLOAD])| arrival(&sent, at, payload);
        received.into_iter().map(arrival).collect()
    }

    fn send(self, sender: &UdpSocket, number: u32, start: Instant) -> Duration {
        if !self.interval.is_zero() {
            let due = self.interval * number;
            thread::sleep(due.saturating_sub(start.elapsed()));
        } else if number.is_multiple_of(20) {
            thread::sleep(Duration::from_millis(1));
        }
        let at = start.elapsed();
        sender.send(&payload(number)).expect("sent");
        at
    }
}

/// Sends `count` numbered packets from one host to the other; the numbers of those that arrived.
/// Receiving ends when nothing came for `quiet`, which must be longer than any delay.
pub fn arrivals(from: &Host, to: &Host, count: u32, quiet: Duration) -> BTreeSet<u32> {
    let arrived = Flight { count, interval: Duration::ZERO, quiet }.run(from, to);
    arrived.into_iter().map(|arrival| arrival.number).collect()
}

fn payload(number: u32) -> [u8; PAYLOAD] {
    let mut payload = [PATTERN; PAYLOAD];
    // Three times, so that a spoilt number is outvoted.
    for place in [0, 4, 8] {
        payload[place..place + 4].copy_from_slice(&number.to_be_bytes());
    }
    payload
}

fn arrival(sent: &[Duration], at: Duration, received: [u8; PAYLOAD]) -> Arrival {
    let number_at =
        |place: usize| u32::from_be_bytes(received[place..place + 4].try_into().expect("four bytes"));
    let number = if number_at(0) == number_at(4) { number_at(0) } else { number_at(8) };
    let wrong_bits = payload(number).iter().zip(&received).map(|(sent, got)| (sent ^ got).count_ones()).sum();
    let sent_at =
        sent.get(usize::try_from(number).expect("an index")).copied().expect("a number that was sent");
    Arrival { number, at, delay: at.saturating_sub(sent_at), wrong_bits }
}

fn receive(receiver: &UdpSocket, start: Instant) -> Vec<(Duration, [u8; PAYLOAD])> {
    let mut received = Vec::new();
    let mut buffer = [0; PAYLOAD];
    loop {
        match receiver.recv(&mut buffer) {
            Ok(_length) => received.push((start.elapsed(), buffer)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_nothing_more) => return received,
        }
    }
}

/// Whether no packet overtook another.
pub fn in_order(arrivals: &[Arrival]) -> bool {
    arrivals.windows(2).all(|pair| pair[0].number <= pair[1].number)
}

/// Mean and standard deviation of the delays, in milliseconds.
pub fn moments(arrivals: &[Arrival]) -> (f64, f64) {
    let delays: Vec<f64> = arrivals.iter().map(|arrival| arrival.delay.as_secs_f64() * 1e3).collect();
    let count = delays.len() as f64;
    let mean = delays.iter().sum::<f64>() / count;
    (mean, (delays.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / count).sqrt())
}

/// Correlation between the delays of successive packets.
pub fn correlation(arrivals: &[Arrival]) -> f64 {
    let (mean, deviation) = moments(arrivals);
    let off = |arrival: &Arrival| arrival.delay.as_secs_f64() * 1e3 - mean;
    let products = arrivals.windows(2).map(|pair| off(&pair[0]) * off(&pair[1]));
    products.sum::<f64>() / (arrivals.len() - 1) as f64 / (deviation * deviation)
}

/// Whether `found` hits among `count` packets fit a probability, at a confidence of 99.9 %.
pub fn fits(found: u64, count: u64, probability: f64) -> bool {
    let expected = count as f64 * probability;
    let deviation = (expected * (1.0 - probability)).sqrt();
    (found as f64 - expected).abs() <= 3.29 * deviation + 1.0
}
