//! The guard of control groups, seen from the daemon: a process of its own that is started with the first thing to
//! hold and ended with the last. Each hears the other five times a second, and does without it when it is silent: then
//! the guard undoes everything, and so does the daemon.
//!
//! ```text
//! engine ── orders ──▶ ┌ socket ┐ ──▶ guard process ──▶ files of control groups
//!        ◀─ replies ── │        │            └── silence of the daemon, or its end: undoes everything
//! faultd-guard thread ─┘ beats  └            guard's silence, or its end: we undo everything
//! ```

mod process;
pub(crate) mod protocol;
mod pulses;

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

pub use self::process::guard_until_unheard;
use self::protocol::{Lines, Order, Reply};
use super::{ControlGroupError, undo::Undo, written::keep_last};
use crate::punctual;

/// The first argument of a guard.
pub const GUARD_FLAG: &str = "--guard-control-groups";

/// What it is called among processes.
const NAME: &str = "faultd-guard";

/// How long either may be silent: as long as the lease of packet rules.
const SILENCE: Duration = Duration::from_millis(900);
/// How often either is heard.
const BEAT_EVERY: Duration = Duration::from_millis(200);
/// So many beats without an answer are silence. Counted, for a daemon that stood still itself has heard nothing.
const MOST_UNANSWERED: u32 = 4;
/// How long the guard may take for anything: the kernel may take half a second to confirm a pause.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The program that is started as the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardProgram {
    /// Its path.
    pub path: PathBuf,
    /// Its arguments; it is to call [`guard_until_unheard`].
    pub arguments: Vec<String>,
}

impl GuardProgram {
    /// This very executable with [`GUARD_FLAG`], whatever has become of the file that it was started from.
    #[must_use]
    pub fn this() -> Self {
        Self { path: PathBuf::from("/proc/self/exe"), arguments: vec![GUARD_FLAG.to_owned()] }
    }
}

/// A guard that runs, or has run.
pub(super) struct Guard {
    shared: Arc<Shared>,
    replies: Receiver<Reply>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stream: UnixStream,
    /// For whole lines of two threads.
    writing: Mutex<()>,
    /// What is undone by us, should the guard be lost.
    held: Mutex<Vec<(u64, Undo)>>,
    is_lost: AtomicBool,
    is_closing: AtomicBool,
}

impl Guard {
    pub(super) fn start(program: &GuardProgram) -> io::Result<Self> {
        let (stream, its) = UnixStream::pair()?;
        let reading = stream.try_clone()?;
        let shared = Arc::new(Shared {
            stream,
            writing: Mutex::default(),
            held: Mutex::default(),
            is_lost: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
        });
        let child = start_process(program, its.into())?;
        Self::watch(shared, reading, child)
    }

    fn watch(shared: Arc<Shared>, stream: UnixStream, child: Child) -> io::Result<Self> {
        let (sender, replies) = mpsc::channel();
        let mut watch = Watch { shared: Arc::clone(&shared), stream, child, sender, unanswered: 0 };
        // Where the thread cannot be had, the closure and the socket in it are dropped, which ends the guard.
        let thread =
            thread::Builder::new().name("faultd-guard".to_owned()).spawn(move || watch.until_it_ends())?;
        Ok(Self { shared, replies, thread: Some(thread) })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.shared.is_lost.load(Ordering::Acquire)
    }

    /// What we undo ourselves should the guard be lost; one of the same number stays beside it, as in the journal.
    pub(super) fn will_undo(&self, number: u64, undo: Undo) {
        self.shared.held().push((number, undo));
    }

    pub(super) fn keep_last(&self, number: u64) {
        keep_last(&mut self.shared.held(), number);
    }

    pub(super) fn has_undone(&self, number: u64) {
        self.shared.held().retain(|(known, _)| *known != number);
    }

    /// Gives an order and waits for the answer about this number.
    pub(super) fn ask(&self, order: &Order, number: u64) -> Result<Reply, ControlGroupError> {
        // What came too late is not the answer to this.
        while self.replies.try_recv().is_ok() {}
        self.shared.say(order).map_err(|_broken| ControlGroupError::GuardLost)?;
        let end = Instant::now() + ANSWERS_WITHIN;
        loop {
            match self.replies.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(reply) if reply.number() == Some(number) => return Ok(reply),
                Ok(_of_another) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(ControlGroupError::Refused(format!("no answer within {ANSWERS_WITHIN:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(ControlGroupError::GuardLost),
            }
        }
    }
}

/// Ends the guard, which holds nothing any more or undoes what it does.
impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, Ordering::Release);
        // One that has ended already has closed the other end.
        let _ = self.shared.stream.shutdown(std::net::Shutdown::Write);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches the guard panicked");
        }
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Vec<(u64, Undo)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, order: &Order) -> io::Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.stream).write_all(order.line().as_bytes())
    }
}

/// The thread that beats, hears the guard, and does without it when it is silent.
struct Watch {
    shared: Arc<Shared>,
    stream: UnixStream,
    child: Child,
    sender: Sender<Reply>,
    unanswered: u32,
}

impl Watch {
    fn until_it_ends(&mut self) {
        punctual::make_thread_punctual();
        let why = self.hear_until_lost();
        if self.shared.is_closing.load(Ordering::Acquire) {
            self.wait_for_end();
            return;
        }
        // First of all nobody may hold anything any more but us.
        end(&mut self.child);
        let undone = self.undo_everything();
        self.shared.is_lost.store(true, Ordering::Release);
        tracing::error!(why, undone, "the guard of control groups is lost: what it held is undone");
    }

    /// Answers how much that was.
    fn undo_everything(&self) -> usize {
        let held = std::mem::take(&mut *self.shared.held());
        held.iter().filter(|(_, undo)| undo_whatever_it_takes(undo)).count()
    }

    /// Beats and hears until there is nothing more to hear; answers why.
    fn hear_until_lost(&mut self) -> &'static str {
        let mut lines = Lines::default();
        let mut next_beat = Instant::now();
        loop {
            if self.shared.is_closing.load(Ordering::Acquire) {
                return "it was told to end";
            }
            if Instant::now() >= next_beat {
                next_beat = Instant::now() + BEAT_EVERY;
                self.unanswered = self.unanswered.saturating_add(1);
                if self.unanswered > MOST_UNANSWERED {
                    return "it does not answer";
                }
                if self.shared.say(&Order::Beat).is_err() {
                    return "it has ended";
                }
            }
            let rest = next_beat.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match self.read(rest) {
                Ok(None) => return "it has ended",
                Ok(Some(bytes)) => lines.feed(&bytes).iter().for_each(|line| self.note(line)),
                Err(_broken) => return "it cannot be heard",
            }
        }
    }

    /// What it said within that time; nothing more after its end.
    fn read(&mut self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        self.stream.set_read_timeout(Some(patience))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(None),
            Ok(length) => Ok(Some(buffer.get(..length).unwrap_or_default().to_vec())),
            Err(error) if is_no_failure(&error) => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    fn note(&mut self, line: &str) {
        self.unanswered = 0;
        match Reply::parse(line) {
            None | Some(Reply::Beat) => {}
            // Nobody may wait for it any more.
            Some(reply) => drop(self.sender.send(reply)),
        }
    }

    /// A guard that was told to end does so at once, unless it hangs.
    fn wait_for_end(&mut self) {
        let end_at = Instant::now() + ENDS_WITHIN;
        while Instant::now() < end_at {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(LOOK_EVERY);
        }
        end(&mut self.child);
        self.undo_everything();
    }
}

fn is_no_failure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Tries until it is done, or the kernel has refused for a while; that is logged. Answers whether it is done.
pub(super) fn undo_whatever_it_takes(undo: &Undo) -> bool {
    let end_at = Instant::now() + ENDS_WITHIN;
    while let Err(error) = undo.carry_out() {
        if Instant::now() >= end_at {
            tracing::error!(file = %undo.file.display(), %error, "a control group cannot be restored");
            return false;
        }
        sleep(LOOK_EVERY);
    }
    true
}

fn end(child: &mut Child) {
    // It may have ended by itself; a child that has ended is waited for all the same.
    let _ = child.kill();
    let _ = child.wait();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the guard must outlive this process: it is this program again"
)]
fn start_process(program: &GuardProgram, connection: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new(&program.path);
    command.arg0(NAME).args(&program.arguments).env_clear().current_dir("/");
    command.stdin(Stdio::from(connection)).stdout(Stdio::null()).spawn()
}
