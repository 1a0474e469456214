//! The guard itself: a process of its own with one thread, which holds what the daemon orders for as long as that is
//! heard, and undoes all of it when it is not.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
    thread::sleep,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

use super::{
    super::{
        freezing::{Freezer, read_anew},
        quota::Throttling,
        undo::Undo,
    },
    SILENCE,
    protocol::{Counts, Hold, Lines, Order, Reply},
    pulses::{Pulses, Rhythm},
};
use crate::{
    clock::{self, monotonic_ns, nanoseconds},
    punctual,
};

/// Until a quota has been met for the first time, it is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How soon what could not be undone is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);
/// With nothing to do it looks so often whether there is.
const IDLE: Duration = Duration::from_secs(60);

/// Guards what the daemon at the other end of standard input orders, until that end is closed.
///
/// # Errors
/// When standard input is no socket; nothing is held then.
pub fn guard_until_unheard() -> io::Result<()> {
    // Nobody's Ctrl-C is for it, nor what a service manager sends to all at once: it ends when the daemon does.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"faultd-guard");
    ignore_termination();
    punctual::make_thread_punctual();
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    let mut guard =
        Guarding { stream, lines: Lines::default(), held: BTreeMap::new(), heard_ns: monotonic_ns() };
    guard.serve();
    guard.undo_everything();
    Ok(())
}

fn ignore_termination() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: to ignore a signal sets no handler, so that no code of ours runs in its context.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

struct Guarding {
    stream: UnixStream,
    lines: Lines,
    held: BTreeMap<u64, Held>,
    /// When the daemon was heard last.
    heard_ns: u64,
}

/// One thing that is held.
struct Held {
    deadline_ns: u64,
    what: What,
    /// Whether the daemon waits to hear that it holds.
    is_awaited: bool,
    /// Its group has gone, or refuses; it is not tried any more.
    is_lost: bool,
}

enum What {
    Pauses(Pulses<Freezer>),
    Quota(Quota),
}

impl Guarding {
    /// Until the daemon's end of the connection is closed.
    fn serve(&mut self) {
        loop {
            if self.hear().is_err() {
                return;
            }
            let due_ns = self.step_all(monotonic_ns());
            let rest = Duration::from_nanos(due_ns.saturating_sub(monotonic_ns())).min(IDLE);
            // Interrupted or not: what is due is looked at.
            let _ = poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&clock::timespec(rest)));
        }
    }

    /// Takes all that was said; an error when nothing will be said any more.
    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(length) => {
                    self.heard_ns = monotonic_ns();
                    for line in self.lines.feed(buffer.get(..length).unwrap_or_default()) {
                        self.obey(&line)?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn obey(&mut self, line: &str) -> io::Result<()> {
        let order = Order::parse(line).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        match order {
            Order::Beat => self.say(&Reply::Beat),
            Order::Count { number } => {
                let counts = self.held.get_mut(&number).map(|held| held.what.counts());
                self.say(&answer(number, counts))
            }
            Order::End { number } => {
                let counts = self.held.remove(&number).map(Held::end);
                self.say(&answer(number, counts))
            }
            Order::Hold { number, deadline_ns, hold } => match self.hold(number, deadline_ns, hold) {
                Ok(()) => Ok(()),
                Err(error) => self.say(&Reply::Failed { number, reason: error.to_string() }),
            },
        }
    }

    fn hold(&mut self, number: u64, deadline_ns: u64, hold: Hold) -> io::Result<()> {
        if let Some(held) = self.held.get_mut(&number) {
            held.deadline_ns = deadline_ns;
            held.what.change(hold)?;
            return self.say(&Reply::Holds { number, since_ns: monotonic_ns() });
        }
        let what = What::of(hold)?;
        self.held.insert(number, Held { deadline_ns, what, is_awaited: true, is_lost: false });
        Ok(())
    }

    /// Does what is due; answers when something is due next.
    fn step_all(&mut self, now_ns: u64) -> u64 {
        let silent_at_ns = self.heard_ns.saturating_add(nanoseconds(SILENCE));
        let mut next_ns = if now_ns < silent_at_ns { silent_at_ns } else { u64::MAX };
        let mut replies = Vec::new();
        for (number, held) in &mut self.held {
            let (due_ns, reply) = held.step(*number, now_ns, now_ns < silent_at_ns);
            next_ns = due_ns.map_or(next_ns, |due_ns| next_ns.min(due_ns));
            replies.extend(reply);
        }
        for reply in &replies {
            if let Reply::Failed { number, .. } = reply {
                self.held.remove(number).map(Held::end);
            }
            // A daemon that does not hear it is about to be missed.
            let _ = self.say(reply);
        }
        next_ns
    }

    fn say(&mut self, reply: &Reply) -> io::Result<()> {
        self.stream.write_all(reply.line().as_bytes())
    }

    fn undo_everything(&mut self) {
        while let Some((_, held)) = self.held.pop_first() {
            held.end();
        }
    }
}

fn answer(number: u64, counts: Option<Counts>) -> Reply {
    match counts {
        Some(counts) => Reply::Counts { number, counts },
        None => Reply::Failed { number, reason: "it is not held".to_owned() },
    }
}

impl Held {
    /// Does what is due of it: when something is due next, and what the daemon is to hear.
    fn step(&mut self, number: u64, now_ns: u64, is_heard: bool) -> (Option<u64>, Option<Reply>) {
        if self.is_lost {
            return (None, None);
        }
        let in_time = self.deadline_ns == 0 || now_ns < self.deadline_ns;
        match self.what.step(now_ns, is_heard && in_time) {
            Ok(due_ns) => {
                let end_ns = (self.deadline_ns != 0 && in_time).then_some(self.deadline_ns);
                let due_ns = due_ns.into_iter().chain(end_ns).min();
                (due_ns, self.confirmation(number))
            }
            Err(error) => {
                self.is_lost = true;
                let reason = error.to_string();
                let awaited = std::mem::take(&mut self.is_awaited);
                (None, awaited.then_some(Reply::Failed { number, reason }))
            }
        }
    }

    /// What the daemon waits for: that the first pause has been seen or missed, or that a quota is in place.
    fn confirmation(&mut self, number: u64) -> Option<Reply> {
        let reply = match &self.what {
            _ if !self.is_awaited => return None,
            What::Pauses(pulses) => {
                let Counts { hits, others, first_ns, .. } = pulses.counts();
                match (hits, others) {
                    (0, 0) => return None,
                    (0, _) => Reply::Failed {
                        number,
                        reason: "the kernel does not confirm that its processes stand still".to_owned(),
                    },
                    _ => Reply::Holds { number, since_ns: first_ns },
                }
            }
            What::Quota(quota) => Reply::Holds { number, since_ns: quota.since_ns? },
        };
        self.is_awaited = false;
        Some(reply)
    }

    /// Undoes it, however long that takes, and counts for the last time.
    fn end(mut self) -> Counts {
        while self.what.let_go() {
            sleep(TRY_AGAIN);
        }
        self.what.counts()
    }
}

impl What {
    fn of(hold: Hold) -> io::Result<Self> {
        Ok(match hold {
            Hold::Pauses { version, directory, length_ns, every_ns } => {
                let freezer = Freezer::open(version, &directory)?;
                Self::Pauses(Pulses::new(freezer, Rhythm { length_ns, every_ns }, monotonic_ns()))
            }
            Hold::Quota { undo, statistics } => Self::Quota(Quota::new(undo, File::open(statistics)?)?),
        })
    }

    fn change(&mut self, hold: Hold) -> io::Result<()> {
        match (self, hold) {
            (Self::Pauses(pulses), Hold::Pauses { length_ns, every_ns, .. }) => {
                pulses.change(Rhythm { length_ns, every_ns }, monotonic_ns());
                Ok(())
            }
            (Self::Quota(quota), Hold::Quota { undo, .. }) => quota.change(undo),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    fn step(&mut self, now_ns: u64, may_hold: bool) -> io::Result<Option<u64>> {
        match self {
            Self::Pauses(pulses) => pulses.step(now_ns, may_hold),
            Self::Quota(quota) => quota.step(now_ns, may_hold),
        }
    }

    /// Undoes it; true while that cannot be done.
    fn let_go(&mut self) -> bool {
        match self {
            Self::Pauses(pulses) => pulses.let_go(monotonic_ns()).unwrap_or(false),
            Self::Quota(quota) => quota.let_go(),
        }
    }

    fn counts(&mut self) -> Counts {
        match self {
            Self::Pauses(pulses) => pulses.counts(),
            Self::Quota(quota) => quota.counts(),
        }
    }
}

/// The quota of a group.
struct Quota {
    undo: Undo,
    statistics: File,
    /// What the kernel had counted before.
    at_first: Throttling,
    /// What was counted when it could be read last.
    last: Throttling,
    /// Since when it is in place; nothing while it is not.
    since_ns: Option<u64>,
    /// When it was met for the first time.
    first_ns: u64,
}

impl Quota {
    fn new(undo: Undo, statistics: File) -> io::Result<Self> {
        let at_first = Throttling::parse(&read_anew(&statistics)?);
        Ok(Self { undo, statistics, at_first, last: Throttling::default(), since_ns: None, first_ns: 0 })
    }

    fn step(&mut self, now_ns: u64, may_hold: bool) -> io::Result<Option<u64>> {
        if !may_hold {
            return Ok(self.let_go().then(|| now_ns.saturating_add(nanoseconds(TRY_AGAIN))));
        }
        if self.since_ns.is_none() {
            self.undo.redo()?;
            self.since_ns = Some(monotonic_ns());
        }
        let is_met = self.counts().first_ns != 0;
        Ok((!is_met).then(|| now_ns.saturating_add(nanoseconds(LOOK_EVERY))))
    }

    fn change(&mut self, undo: Undo) -> io::Result<()> {
        if self.since_ns.is_some() {
            undo.redo()?;
        }
        self.undo = undo;
        Ok(())
    }

    fn let_go(&mut self) -> bool {
        if self.since_ns.is_some() && self.undo.carry_out().is_err() {
            return true;
        }
        self.since_ns = None;
        false
    }

    fn counts(&mut self) -> Counts {
        if let Ok(text) = read_anew(&self.statistics) {
            self.last = Throttling::parse(&text).since(self.at_first);
        }
        if self.first_ns == 0 && self.last.throttled_periods > 0 {
            self.first_ns = monotonic_ns();
        }
        let Throttling { periods, throttled_periods, throttled_ns } = self.last;
        Counts { hits: throttled_periods, total_ns: throttled_ns, others: periods, first_ns: self.first_ns }
    }
}
