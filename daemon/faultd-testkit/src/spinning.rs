//! A process that wants a processor all the time and notes when it stood still: to see from outside what pauses and
//! quotas do. It is the test program once more, which runs a test that calls [`spin`].

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use faultd_kernel::{clock, control_group::own, process::ProcessIdentity};
use rustix::process::Signal;

use crate::command::{Running, wait_until};

const NOTES: &str = "FAULTD_TEST_SPIN_NOTES";
/// A gap between two looks at the clock that is longer is one in which the process stood still; others wait for a
/// processor, on a busy machine.
const LONGEST_GAP: Duration = Duration::from_millis(40);
const NOTE_EVERY: Duration = Duration::from_millis(5);
/// For a process to come or to go.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of the kernel's `USER_HZ`, in which it tells of time on processors.
const TICK: Duration = Duration::from_millis(10);

static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// Spins until it is killed. Called by a test that is ignored unless it is started for this.
pub fn spin() {
    let Some(notes) = env::var_os(NOTES).map(PathBuf::from) else { return };
    let unfinished = notes.with_extension("new");
    let (mut stood_still, mut last) = (Duration::ZERO, Instant::now());
    let mut noted = last;
    loop {
        let now = Instant::now();
        if now - last > LONGEST_GAP {
            stood_still += now - last;
        }
        last = now;
        if now - noted > NOTE_EVERY {
            noted = now;
            let text = format!("{} {}", stood_still.as_nanos(), clock::monotonic_ns());
            fs::write(&unfinished, text).expect("notes");
            fs::rename(&unfinished, &notes).expect("notes");
        }
    }
}

/// A process that spins. It is killed when this is dropped.
#[derive(Debug)]
pub struct Spinner {
    process: Running,
    notes: PathBuf,
}

impl Spinner {
    /// Starts one, outside of any control group of ours. `stand_in` is the ignored test that calls [`spin`].
    #[expect(clippy::disallowed_methods, reason = "tests start processes")]
    pub fn start(stand_in: &str) -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let notes = PathBuf::from(format!("/dev/shm/faultd-test-{}-spin-{number}", std::process::id()));
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["--ignored", "--exact", "--nocapture", stand_in]).env(NOTES, &notes);
        let spinner = Self { process: Running::start(command), notes };
        assert!(wait_until(PATIENCE, || spinner.runs()), "it does not spin: {spinner:?}");
        spinner
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Puts it into a control group, by its directory.
    pub fn enter(&self, group: &std::path::Path) {
        fs::write(group.join("cgroup.procs"), self.pid().to_string()).expect("a process enters its group");
    }

    /// Whether it runs just now.
    pub fn runs(&self) -> bool {
        self.notes().is_some_and(|(_, last_ns)| {
            clock::monotonic_ns().saturating_sub(last_ns) < clock::nanoseconds(LONGEST_GAP)
        })
    }

    /// For how long it stood still so far, longer gaps taken together.
    pub fn stood_still(&self) -> Duration {
        let (stood_still_ns, last_ns) = self.notes().expect("notes of a process that spins");
        let gap = Duration::from_nanos(clock::monotonic_ns().saturating_sub(last_ns));
        let gap = if gap > LONGEST_GAP { gap } else { Duration::ZERO };
        Duration::from_nanos(stood_still_ns) + gap
    }

    /// How long it was on a processor so far.
    pub fn processor_time(&self) -> Duration {
        processor_time(self.pid())
    }

    /// How long it is from now until it runs again; nothing if that takes longer.
    pub fn time_until_it_runs(&self, patience: Duration) -> Option<Duration> {
        let begin = Instant::now();
        wait_until(patience, || self.runs()).then(|| begin.elapsed())
    }

    /// The time that it stood still, and that it was on a processor, of some time from now on.
    pub fn measure(&self, span: Duration) -> (Duration, Duration) {
        let before = (self.stood_still(), self.processor_time());
        std::thread::sleep(span);
        (self.stood_still().saturating_sub(before.0), self.processor_time().saturating_sub(before.1))
    }

    fn notes(&self) -> Option<(u64, u64)> {
        let text = fs::read_to_string(&self.notes).ok()?;
        let (stood_still, last) = text.split_once(' ')?;
        Some((stood_still.parse().ok()?, last.parse().ok()?))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.ends_within(PATIENCE);
        let _ = fs::remove_file(&self.notes);
        let _ = fs::remove_file(self.notes.with_extension("new"));
    }
}

/// How long a process was on a processor so far.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("the name of a process");
    // Fields 14 and 15; the first after the name is field 3.
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("ticks"));
    TICK * ticks.sum::<u32>()
}

/// The children of a process that have a word among theirs.
pub fn children_with(parent: u32, word: &str) -> Vec<ProcessIdentity> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_meant = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let of_parent =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        words.split(|byte| *byte == 0).any(|found| found == word.as_bytes()) && of_parent == Some(parent)
    };
    pids.filter(is_meant).filter_map(|pid| ProcessIdentity::of(pid).ok()).collect()
}

/// A control group of a test, removed with it.
#[derive(Debug)]
pub struct TestGroup {
    /// Its directories, one in each hierarchy.
    pub directories: Vec<PathBuf>,
    /// Its path below the root of each.
    pub path: String,
}

impl TestGroup {
    /// Makes one; nothing where this machine has no control groups that can be written to.
    pub fn create() -> Option<Self> {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = own::path_of(&format!("test-{}-{number}", std::process::id()), "host");
        let directories = own::directories_of(&path);
        let group = Self { directories, path };
        let made = group.directories.iter().all(|directory| own::create(directory).is_ok());
        (made && !group.directories.is_empty()).then_some(group)
    }

    /// What is in a file of the group, in whichever hierarchy has it.
    pub fn read(&self, file: &str) -> Option<String> {
        let files = self.directories.iter().map(|directory| directory.join(file));
        files.into_iter().find_map(|file| fs::read_to_string(file).ok()).map(|text| text.trim().to_owned())
    }

    /// Writes to a file of the group, in whichever hierarchy has it.
    pub fn write(&self, file: &str, text: &str) {
        let mut files = self.directories.iter().map(|directory| directory.join(file));
        let file = files.find(|file| file.exists()).expect("a file of a control group");
        fs::write(file, text).expect("a file of a control group is written to");
    }

    /// Lets its processes go on: a test that failed may have left them frozen.
    pub fn thaw(&self) {
        for (file, text) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            let files = self.directories.iter().map(|directory| directory.join(file));
            for file in files.filter(|file| file.exists()) {
                let _ = fs::write(file, text);
            }
        }
    }

    /// What is asked of the freezer, and the quota: to be compared before and after.
    pub fn settings(&self) -> Vec<Option<String>> {
        let files = ["freezer.state", "cgroup.freeze", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max"];
        files.map(|file| self.read(file)).into()
    }
}

impl Drop for TestGroup {
    fn drop(&mut self) {
        self.thaw();
        for directory in &self.directories {
            if let Err(error) = own::remove(directory) {
                println!("{}: {error}", directory.display());
            }
        }
    }
}
