//! The relay: one TAP device and one thread that reads its frames, keeps them, and writes them back.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use faultd_abi::{HOLD_REDIRECT, SLOT_COUNT};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::{
    DEVICE_MTU, DEVICE_QUEUE, HoldingDevice, HoldingError, HoldingStatistics, delay_line::DelayLine,
    disable_ipv6,
};
use crate::{
    clock, link,
    namespace::Namespace,
    punctual,
    tap::{self, LARGEST_FRAME, OFFLOAD_HEADER},
};

/// Frames in memory: more than this, and the newest are lost.
const BYTE_LIMIT: usize = 128 << 20;

/// A sleeping thread wakes up about this much late, so it is woken earlier and spins for the rest.
const WAKE_EARLY_NS: u64 = 40_000;

/// Frames read in one go before those that are due get their turn.
const READ_BATCH: usize = 64;

/// How long the relay's thread may take to answer before it is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

const VLAN_PROTOCOL: [u8; 2] = [0x81, 0x00];
const VLAN_ID_MASK: u16 = 0x0fff;

/// The holding device that keeps frames in this process.
pub(crate) struct Relay {
    name: String,
    namespace: Namespace,
    link_index: u32,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    wake: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    slots: Vec<SlotState>,
    waiting: AtomicU64,
    returned: AtomicU64,
    lateness_sum_ns: AtomicU64,
    lateness_max_ns: AtomicU64,
}

#[derive(Default)]
struct SlotState {
    delay_ns: AtomicU64,
    unintended_drops: AtomicU64,
}

enum Command {
    /// Send all frames of the slot, those still in the device included, then answer.
    Release {
        slot: u32,
        done: mpsc::Sender<()>,
    },
    Stop,
}

impl Relay {
    /// Makes the TAP device in `namespace`, switches it on and starts the thread that serves it.
    pub(crate) fn start(namespace: &Namespace, name: String) -> Result<Self, HoldingError> {
        let device = namespace
            .run(|| tap::create(&name).inspect(|_device| disable_ipv6(&name)))?
            .map_err(HoldingError::Tap)?;
        let link_index = configure(namespace, &name)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = wake.map_err(|error| HoldingError::Relay(error.into()))?;
        let shared = Arc::new(Shared::new());
        let (sender, commands) = mpsc::channel();
        let thread = {
            let wake = wake.try_clone().map_err(HoldingError::Relay)?;
            let worker = Worker::new(device, wake, commands, Arc::clone(&shared));
            let builder = thread::Builder::new().name("faultd-relay".to_owned());
            builder.spawn(move || worker.run()).map_err(HoldingError::Relay)?
        };
        let namespace = namespace.clone();
        Ok(Self { name, namespace, link_index, shared, commands: sender, wake, thread: Some(thread) })
    }

    fn send(&self, command: Command) {
        // A thread that is gone answers nothing, which the callers notice by themselves.
        let _ = self.commands.send(command);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn stop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(device = self.name, "the relay's thread panicked");
        }
    }
}

fn configure(namespace: &Namespace, name: &str) -> Result<u32, HoldingError> {
    let found = link::find(namespace, name)?;
    let device = found.ok_or_else(|| crate::netlink::NetlinkError::Missing(format!("TAP device {name}")))?;
    link::set_sizes(namespace, device.index, DEVICE_MTU, DEVICE_QUEUE)?;
    link::set_up(namespace, device.index)?;
    Ok(device.index)
}

impl HoldingDevice for Relay {
    fn name(&self) -> &str {
        &self.name
    }

    fn entrance_index(&self) -> u32 {
        self.link_index
    }

    fn exit_index(&self) -> u32 {
        self.link_index
    }

    fn mode(&self) -> u32 {
        HOLD_REDIRECT
    }

    fn admit(&mut self, slot: u32, delay: Duration) {
        if let Some(state) = self.shared.slot(slot) {
            state.unintended_drops.store(0, Relaxed);
            state.delay_ns.store(clock::nanoseconds(delay), Relaxed);
        }
    }

    fn release(&mut self, slot: u32) -> Duration {
        if let Some(state) = self.shared.slot(slot) {
            state.delay_ns.store(0, Relaxed);
        }
        let (done, answer) = mpsc::channel();
        self.send(Command::Release { slot, done });
        if answer.recv_timeout(ANSWER_TIMEOUT).is_err() {
            tracing::error!(device = self.name, slot, "the relay did not answer, held packets may be lost");
        }
        Duration::ZERO
    }

    fn unintended_drops(&self, slot: u32) -> u64 {
        self.shared.slot(slot).map_or(0, |state| state.unintended_drops.load(Relaxed))
    }

    fn statistics(&self) -> HoldingStatistics {
        let in_relay: u64 = self.shared.slots.iter().map(|state| state.unintended_drops.load(Relaxed)).sum();
        let in_device =
            link::by_index(&self.namespace, self.link_index).map_or(0, |link| link.transmit_drops);
        let returned = self.shared.returned.load(Relaxed);
        HoldingStatistics {
            waiting: self.shared.waiting.load(Relaxed),
            returned,
            unintended_drops: in_relay.saturating_add(in_device),
            lateness_max_ns: self.shared.lateness_max_ns.load(Relaxed),
            lateness_mean_ns: self.shared.lateness_sum_ns.load(Relaxed).checked_div(returned).unwrap_or(0),
        }
    }

    fn remove(mut self: Box<Self>) -> Result<(), HoldingError> {
        self.stop();
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

impl Shared {
    fn new() -> Self {
        Self {
            slots: (0..SLOT_COUNT).map(|_slot| SlotState::default()).collect(),
            waiting: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            lateness_sum_ns: AtomicU64::new(0),
            lateness_max_ns: AtomicU64::new(0),
        }
    }

    fn slot(&self, slot: u32) -> Option<&SlotState> {
        self.slots.get(usize::try_from(slot).ok()?)
    }

    fn count_drop(&self, slot: u32) {
        if let Some(state) = self.slot(slot) {
            state.unintended_drops.fetch_add(1, Relaxed);
        }
    }
}

/// The thread's own things. The device disappears when the thread ends and closes it.
struct Worker {
    device: File,
    wake: OwnedFd,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    line: DelayLine,
    buffer: Vec<u8>,
    /// The device went with its namespace: reading it fails at once and for ever, and this thread,
    /// which comes before others, would do nothing else.
    device_is_gone: bool,
}

impl Worker {
    fn new(device: File, wake: OwnedFd, commands: mpsc::Receiver<Command>, shared: Arc<Shared>) -> Self {
        let (line, buffer) = (DelayLine::new(BYTE_LIMIT), vec![0; LARGEST_FRAME]);
        Self { device, wake, commands, shared, line, buffer, device_is_gone: false }
    }

    fn run(mut self) {
        punctual::make_thread_punctual();
        loop {
            let full_batch = self.read_frames(READ_BATCH) == READ_BATCH;
            self.write_due();
            match self.commands.try_recv() {
                Ok(Command::Release { slot, done }) => {
                    self.release(slot);
                    let _ = done.send(());
                }
                Ok(Command::Stop) | Err(mpsc::TryRecvError::Disconnected) => return,
                Err(mpsc::TryRecvError::Empty) if !full_batch => self.wait(),
                Err(mpsc::TryRecvError::Empty) => {}
            }
        }
    }

    /// Reads frames that the device has, at most `limit`; tells how many.
    fn read_frames(&mut self, limit: usize) -> usize {
        if self.device_is_gone {
            return 0;
        }
        for count in 0..limit {
            match self.device.read(&mut self.buffer) {
                Ok(length) => self.hold(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return count,
                Err(error) => {
                    tracing::warn!(%error, "the relay's device cannot be read any more");
                    self.device_is_gone = true;
                    return count;
                }
            }
        }
        limit
    }

    fn hold(&mut self, length: usize) {
        let frame = self.buffer.get(..length).unwrap_or_default();
        // Nothing but what the programs sent here carries a tag; the rest has no way back.
        let Some(slot) = slot_of(frame) else { return };
        let delay_ns = self.shared.slot(slot).map_or(0, |state| state.delay_ns.load(Relaxed));
        let due_ns = clock::monotonic_ns().saturating_add(delay_ns);
        if !self.line.push(slot, due_ns, frame) {
            self.shared.count_drop(slot);
        }
    }

    fn write_due(&mut self) {
        loop {
            let now_ns = clock::monotonic_ns();
            let Some(frame) = self.line.pop_due(now_ns) else { break };
            if self.device.write(&frame.bytes).is_err() {
                self.shared.count_drop(frame.slot);
                continue;
            }
            let late_ns = now_ns.saturating_sub(frame.due_ns);
            self.shared.lateness_max_ns.fetch_max(late_ns, Relaxed);
            self.shared.lateness_sum_ns.fetch_add(late_ns, Relaxed);
            self.shared.returned.fetch_add(1, Relaxed);
        }
        self.shared.waiting.store(u64::try_from(self.line.len()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The slot's delay is zero already, so what is read here is due at once.
    fn release(&mut self, slot: u32) {
        let most = usize::try_from(DEVICE_QUEUE).unwrap_or(READ_BATCH);
        self.read_frames(most);
        self.line.make_due(slot, clock::monotonic_ns());
        self.write_due();
    }

    /// Sleeps until a frame arrives, a command comes or a frame is due.
    fn wait(&self) {
        let Some(due_ns) = self.line.next_due_ns() else { return self.sleep(None) };
        let remaining_ns = due_ns.saturating_sub(clock::monotonic_ns());
        if remaining_ns > WAKE_EARLY_NS {
            self.sleep(Some(remaining_ns.saturating_sub(WAKE_EARLY_NS)));
        } else {
            while clock::monotonic_ns() < due_ns {
                std::hint::spin_loop();
            }
        }
    }

    fn sleep(&self, limit_ns: Option<u64>) {
        let limit = limit_ns.map(|limit_ns| clock::timespec(Duration::from_nanos(limit_ns)));
        let mut ready = [
            PollFd::from_borrowed_fd(self.device.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
        ];
        let watched = if self.device_is_gone { &mut ready[1..] } else { &mut ready[..] };
        // An interrupted or failed poll only means to look again.
        let _ = poll(watched, limit.as_ref());
        let [_device, wake] = ready;
        if wake.revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
    }
}

/// The slot in the VLAN tag that the program put in front of the frame's protocol.
fn slot_of(frame: &[u8]) -> Option<u32> {
    let tag = frame.get(OFFLOAD_HEADER + 12..OFFLOAD_HEADER + 16)?;
    let (protocol, control) = tag.split_at_checked(2)?;
    let control = u16::from_be_bytes(control.try_into().ok()?);
    (protocol == VLAN_PROTOCOL).then(|| (control & VLAN_ID_MASK).into())
}

#[cfg(test)]
mod tests {
    use super::{OFFLOAD_HEADER, slot_of};

    #[test]
    fn the_slot_is_read_from_the_vlan_tag_without_its_priority_bits() {
        let mut frame = vec![0; OFFLOAD_HEADER + 60];
        frame[OFFLOAD_HEADER + 12..OFFLOAD_HEADER + 16].copy_from_slice(&[0x81, 0x00, 0xef, 0xfe]);
        assert_eq!(slot_of(&frame), Some(0xffe));
    }

    #[test]
    fn frames_without_a_tag_or_too_short_have_no_slot() {
        assert_eq!(slot_of(&[0; OFFLOAD_HEADER + 60]), None);
        assert_eq!(slot_of(&[0x81; OFFLOAD_HEADER + 13]), None);
    }
}
