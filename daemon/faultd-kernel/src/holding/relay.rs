//! The relay: one TAP device and one thread that reads its frames, keeps them until the time that our
//! program in front of the device wrote before each, and writes them back.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    num::NonZeroUsize,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use faultd_abi::{HOLD_REDIRECT, LAST_SLOT, RELAY_HEADER, TAG_CORRUPT, TAG_SLOT};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::{
    DEVICE_MTU, DEVICE_QUEUE, Drained, HoldingDevice, HoldingError, HoldingStatistics, Terminals,
    delay_line::{DelayLine, HeldFrame},
    disable_ipv6, spoil,
    wake_ahead::WakeAhead,
};
use crate::{
    clock,
    datapath::Effects,
    link,
    namespace::Namespace,
    punctual,
    tap::{self, LARGEST_FRAME, OFFLOAD_HEADER},
};

/// Frames in memory: more than this, and the newest are lost.
const BYTE_LIMIT: usize = 128 << 20;

/// Frames read in one go before those that are due get their turn.
const READ_BATCH: usize = 64;

/// Frames written before the clock is looked at again.
const WRITE_BATCH: usize = 16;

/// Frames longer than this stay in the memory that they were read into; shorter ones are copied, which
/// costs less than what of that memory they would leave unused.
const LONGEST_COPIED: usize = LARGEST_FRAME / 4;

/// Buffers for frames that are kept when nothing is in them, for the next ones.
const MOST_SPARE_BUFFERS: usize = 64;

/// How long the relay's thread may take to answer before it is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

const VLAN_PROTOCOL: [u8; 2] = [0x81, 0x00];
/// The two addresses of a link-layer header, behind which a tag stands.
const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// The holding device that keeps frames in this process.
pub(crate) struct Relay {
    terminals: Terminals,
    namespace: Namespace,
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

struct SlotState {
    /// Frames of the slot go at once, in the order in which they come.
    released: AtomicBool,
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
        let (device, link_index) = namespace.run(|| create(&name))?.map_err(HoldingError::Tap)?;
        link::set_sizes_and_up(namespace, link_index, DEVICE_MTU, DEVICE_QUEUE)?;
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
        let terminals = Terminals {
            name,
            entrance_index: link_index,
            exit_index: link_index,
            // The device takes packets off their sockets itself.
            mode: HOLD_REDIRECT,
            entrance_program: "relay_entrance",
        };
        let namespace = namespace.clone();
        Ok(Self { terminals, namespace, shared, commands: sender, wake, thread: Some(thread) })
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
            tracing::error!(device = self.terminals.name, "the relay's thread panicked");
        }
    }
}

/// Makes the device in the namespace of the calling thread; its index.
fn create(name: &str) -> io::Result<(File, u32)> {
    let device = tap::create(name)?;
    disable_ipv6(name);
    Ok((device, link::index_here(name)?))
}

impl HoldingDevice for Relay {
    fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    fn admit(&mut self, slot: u32, _effects: &Effects) -> Result<(), HoldingError> {
        if let Some(state) = self.shared.slot(slot) {
            state.released.store(false, Relaxed);
        }
        Ok(())
    }

    fn release(&mut self, slot: u32) -> Drained {
        if let Some(state) = self.shared.slot(slot) {
            state.released.store(true, Relaxed);
        }
        let (done, answer) = mpsc::channel();
        self.send(Command::Release { slot, done });
        if answer.recv_timeout(ANSWER_TIMEOUT).is_err() {
            tracing::error!(
                device = self.terminals.name,
                slot,
                "the relay did not answer, held packets may be lost"
            );
        }
        Drained::Now
    }

    fn drops_of(&self, slot: u32) -> u64 {
        self.shared.slot(slot).map_or(0, |state| state.unintended_drops.load(Relaxed))
    }

    /// Frames that found the queue of the device full, because this thread could not keep up.
    fn drops_of_anybody(&self) -> u64 {
        link::transmit_drops(&self.namespace, &[self.terminals.entrance_index])
    }

    fn statistics(&self) -> HoldingStatistics {
        let in_relay: u64 = self.shared.slots.iter().map(|state| state.unintended_drops.load(Relaxed)).sum();
        let in_device = self.drops_of_anybody();
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

impl SlotState {
    /// Released until it is admitted: frames of nobody do not wait.
    fn new() -> Self {
        Self { released: AtomicBool::new(true), unintended_drops: AtomicU64::new(0) }
    }
}

impl Shared {
    fn new() -> Self {
        Self {
            slots: (0..=LAST_SLOT).map(|_slot| SlotState::new()).collect(),
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
    wake_ahead: WakeAhead,
    /// What the next frame is read into.
    buffer: Box<[u8]>,
    spare_buffers: Vec<Box<[u8]>>,
    /// The device went with its namespace: reading it fails at once and for ever, and this thread,
    /// which comes before others, would do nothing else.
    device_is_gone: bool,
}

impl Worker {
    fn new(device: File, wake: OwnedFd, commands: mpsc::Receiver<Command>, shared: Arc<Shared>) -> Self {
        Self {
            device,
            wake,
            commands,
            shared,
            line: DelayLine::new(BYTE_LIMIT),
            wake_ahead: WakeAhead::new(thread::available_parallelism().map_or(1, NonZeroUsize::get)),
            buffer: new_buffer(),
            spare_buffers: Vec::new(),
            device_is_gone: false,
        }
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
        let Some(held) = self.buffer.get_mut(..length).and_then(unwrap_frame) else { return };
        let state = self.shared.slot(held.slot);
        let released = state.is_none_or(|state| state.released.load(Relaxed));
        let due_ns = if released { clock::monotonic_ns() } else { held.due_ns };
        let is_copied = length <= LONGEST_COPIED;
        let needed = if is_copied { length } else { self.buffer.len() };
        if !self.line.has_room_for(needed) {
            return self.shared.count_drop(held.slot);
        }
        if is_copied {
            let copy: Box<[u8]> = self.buffer.get(held.start..length).unwrap_or_default().into();
            let end = copy.len();
            self.line.push(held.slot, due_ns, copy, 0, end);
        } else {
            let next = self.spare_buffers.pop().unwrap_or_else(new_buffer);
            let full = std::mem::replace(&mut self.buffer, next);
            self.line.push(held.slot, due_ns, full, held.start, length);
        }
    }

    fn write_due(&mut self) {
        // Where the clock is a system call, it costs as much as the frame: it is looked at once a batch.
        loop {
            let now_ns = clock::monotonic_ns();
            let mut count = 0;
            while count < WRITE_BATCH
                && let Some(frame) = self.line.pop_due(now_ns)
            {
                self.write(frame, now_ns);
                count += 1;
            }
            if count < WRITE_BATCH {
                break;
            }
        }
        self.shared.waiting.store(u64::try_from(self.line.len()).unwrap_or(u64::MAX), Relaxed);
    }

    fn write(&mut self, frame: HeldFrame, now_ns: u64) {
        if self.device.write(frame.bytes()).is_ok() {
            let late_ns = now_ns.saturating_sub(frame.due_ns);
            self.shared.lateness_max_ns.fetch_max(late_ns, Relaxed);
            self.shared.lateness_sum_ns.fetch_add(late_ns, Relaxed);
            self.shared.returned.fetch_add(1, Relaxed);
        } else {
            self.shared.count_drop(frame.slot);
        }
        if frame.buffer.len() == LARGEST_FRAME && self.spare_buffers.len() < MOST_SPARE_BUFFERS {
            self.spare_buffers.push(frame.buffer);
        }
    }

    /// The slot is released already, so that what is read here is due at once.
    fn release(&mut self, slot: u32) {
        let most = usize::try_from(DEVICE_QUEUE).unwrap_or(READ_BATCH);
        self.read_frames(most);
        self.line.make_due(slot, clock::monotonic_ns());
        self.write_due();
    }

    /// Waits until a frame arrives, a command comes or a frame is due.
    fn wait(&mut self) {
        let Some(due_ns) = self.line.next_due_ns() else {
            self.sleep(None);
            return;
        };
        let now_ns = clock::monotonic_ns();
        let wake_ns = due_ns.saturating_sub(self.wake_ahead.ahead_ns(now_ns));
        if wake_ns <= now_ns {
            self.wait_awake(now_ns);
        } else if self.sleep(Some(wake_ns.saturating_sub(now_ns))) {
            self.wake_ahead.woken_late_by(clock::monotonic_ns().saturating_sub(wake_ns));
        }
    }

    /// Until the next frame is due; those that arrive meanwhile are taken in.
    fn wait_awake(&mut self, since_ns: u64) {
        let mut now_ns = since_ns;
        while self.line.next_due_ns().is_some_and(|due_ns| now_ns < due_ns) {
            if self.read_frames(1) == 0 {
                std::hint::spin_loop();
            }
            now_ns = clock::monotonic_ns();
        }
        self.wake_ahead.waited_awake(now_ns.saturating_sub(since_ns));
    }

    /// Whether the sleep ended because its time was over, and for no other reason.
    fn sleep(&self, limit_ns: Option<u64>) -> bool {
        let limit = limit_ns.map(|limit_ns| clock::timespec(Duration::from_nanos(limit_ns)));
        let mut ready = [
            PollFd::from_borrowed_fd(self.device.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
        ];
        let watched = if self.device_is_gone { &mut ready[1..] } else { &mut ready[..] };
        // An interrupted or failed poll only means to look again.
        let is_over = matches!(poll(watched, limit.as_ref()), Ok(0));
        let [_device, wake] = ready;
        if wake.revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        is_over
    }
}

fn new_buffer() -> Box<[u8]> {
    vec![0; LARGEST_FRAME].into_boxed_slice()
}

/// What was said about a frame, and where it begins, ready to be written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwrapped {
    due_ns: u64,
    pub(crate) slot: u32,
    pub(crate) start: usize,
}

/// Takes a frame apart: offload header, our header, the tag that the device inserted behind it, the frame.
/// Puts it together again as the device wants it: offload header, addresses, tag, rest. The offload
/// header counts from the start of the frame, which moves by as much as our header is longer than nothing.
/// Nothing for what the programs did not send here: it has no way back.
pub(crate) fn unwrap_frame(bytes: &mut [u8]) -> Option<Unwrapped> {
    const TAG_AT: usize = OFFLOAD_HEADER + RELAY_HEADER;
    const FRAME_AT: usize = TAG_AT + TAG;
    /// What lies in front of the new frame is not used any more.
    const NEW_AT: usize = RELAY_HEADER;
    let due_ns = u64::from_ne_bytes(bytes.get(OFFLOAD_HEADER..OFFLOAD_HEADER + 8)?.try_into().ok()?);
    let chance = u32::from_ne_bytes(bytes.get(OFFLOAD_HEADER + 8..TAG_AT)?.try_into().ok()?);
    let tag: [u8; TAG] = bytes.get(TAG_AT..FRAME_AT)?.try_into().ok()?;
    if !tag.starts_with(&VLAN_PROTOCOL) || bytes.len() < FRAME_AT + ADDRESSES {
        return None;
    }
    let control = u32::from(u16::from_be_bytes([tag[2], tag[3]]));
    shift_offload_offsets(bytes)?;
    // From the back, so that nothing is overwritten before it was moved.
    bytes.copy_within(FRAME_AT..FRAME_AT + ADDRESSES, TAG_AT);
    bytes.get_mut(TAG_AT + ADDRESSES..TAG_AT + ADDRESSES + TAG)?.copy_from_slice(&for_the_exit(tag));
    bytes.copy_within(..OFFLOAD_HEADER, NEW_AT);
    let frame = bytes.get_mut(NEW_AT..)?;
    if control & TAG_CORRUPT != 0 {
        spoil::spoil(frame, chance);
    }
    Some(Unwrapped { due_ns, slot: control & TAG_SLOT, start: NEW_AT })
}

/// The tag without what was said to the relay.
fn for_the_exit(tag: [u8; TAG]) -> [u8; TAG] {
    let control = u32::from(u16::from_be_bytes([tag[2], tag[3]])) & !TAG_CORRUPT;
    let [high, low] = u16::try_from(control).unwrap_or(0).to_be_bytes();
    [tag[0], tag[1], high, low]
}

/// Length of the headers, where there are offloads, and start of what the checksum covers.
fn shift_offload_offsets(bytes: &mut [u8]) -> Option<()> {
    for offset in [2, 6] {
        let field: &mut [u8] = bytes.get_mut(offset..offset + 2)?;
        let value = u16::from_ne_bytes(<[u8; 2]>::try_from(&*field).ok()?);
        field.copy_from_slice(&value.saturating_sub(u16::try_from(RELAY_HEADER).ok()?).to_ne_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{OFFLOAD_HEADER, RELAY_HEADER, TAG_CORRUPT, Unwrapped, unwrap_frame};

    /// As the device gives it: a frame of 60 bytes and a checksum from byte 34 of it on.
    fn from_device(tag: u16) -> Vec<u8> {
        let mut bytes = vec![0; OFFLOAD_HEADER];
        bytes[2..4].copy_from_slice(&(54 + 12 + 4_u16).to_ne_bytes());
        bytes[6..8].copy_from_slice(&(34 + 12 + 4_u16).to_ne_bytes());
        bytes.extend(123_456_789_u64.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend([0x81, 0x00]);
        bytes.extend(tag.to_be_bytes());
        bytes.extend(0..60);
        bytes
    }

    #[test]
    fn a_frame_goes_back_with_its_tag_behind_the_addresses() {
        let mut bytes = from_device(0x0ffe);
        let Unwrapped { due_ns, slot, start } = unwrap_frame(&mut bytes).expect("a frame");
        let frame = &bytes[start..];
        assert_eq!((due_ns, slot), (123_456_789, 0xffe));
        assert_eq!(frame.len(), OFFLOAD_HEADER + 4 + 60);
        assert_eq!(frame[2..4], (54 + 4_u16).to_ne_bytes());
        assert_eq!(frame[6..8], (34 + 4_u16).to_ne_bytes());
        let frame = &frame[OFFLOAD_HEADER..];
        assert_eq!(frame[..12], (0..12).collect::<Vec<u8>>());
        assert_eq!(frame[12..16], [0x81, 0x00, 0x0f, 0xfe]);
        assert_eq!(frame[16..], (12..60).collect::<Vec<u8>>());
    }

    #[test]
    fn a_frame_to_be_spoilt_differs_by_one_bit_and_its_tag_does_not_say_so() {
        let mut sound = from_device(5);
        let mut marked = from_device(5 | TAG_CORRUPT as u16);
        let start = unwrap_frame(&mut sound).expect("a frame").start;
        assert_eq!(unwrap_frame(&mut marked).expect("a frame").start, start);
        let bits: u32 =
            sound[start..].iter().zip(&marked[start..]).map(|(one, other)| (one ^ other).count_ones()).sum();
        assert_eq!(bits, 1);
    }

    #[test]
    fn what_the_programs_did_not_send_has_no_way_back() {
        assert_eq!(unwrap_frame(&mut [0; 100]), None);
        let mut short = from_device(5);
        for length in 0..OFFLOAD_HEADER + RELAY_HEADER + 4 + 12 {
            assert_eq!(unwrap_frame(&mut short[..length]), None, "{length}");
        }
    }
}
