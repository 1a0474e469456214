//! A container engine for tests, and what is made in it: all of it goes when it is dropped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use faultd_testkit::{
    command::{Answer, run},
    daemon_under_test::DaemonUnderTest,
    skip,
};
use serde_json::Value;

pub const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/docker-engine.sh");
/// For anything that an engine is asked to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two pings, in seconds.
const PING_INTERVAL: &str = "0.01";
/// What a healthy round trip on one machine never reaches, however busy the machine is for a moment.
pub const CLEARLY_FASTER: f64 = 25.0;

static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);
/// The engine of the tests that run now: the last of them stops it.
static SHARED_ENGINE: Mutex<Weak<Engine>> = Mutex::new(Weak::new());

/// A container engine, with an image that needs no registry.
pub struct Engine {
    folder: PathBuf,
    pub host: String,
    pub image: String,
}

impl Engine {
    /// The engine; nothing, and a counted skip, where there is none and none can be started.
    pub fn get(test_name: &str) -> Option<Arc<Self>> {
        let mut shared = SHARED_ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = shared.upgrade() {
            return Some(engine);
        }
        let mut needed = ["docker", "ping", "dockerd"].into_iter();
        if let Some(missing) = needed.find(|program| !is_installed(program)) {
            // Without dockerd, somebody else's engine must answer.
            if missing != "dockerd" || !an_engine_answers() {
                skip(test_name, &format!("there is no program {missing}"));
                return None;
            }
        }
        let engine = Arc::new(Self::start());
        *shared = Arc::downgrade(&engine);
        Some(engine)
    }

    /// An engine that no other test uses, so that it can be halted; nothing, and a counted skip, where there
    /// is no dockerd or another engine answers already.
    pub fn of_its_own(test_name: &str) -> Option<Arc<Self>> {
        // Not while another one looks for a free bridge.
        let _shared = SHARED_ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut needed = ["docker", "ping", "dockerd"].into_iter();
        if let Some(missing) = needed.find(|program| !is_installed(program)) {
            skip(test_name, &format!("there is no program {missing}"));
            return None;
        }
        if an_engine_answers() {
            skip(
                test_name,
                "optional: the engine here is somebody else's, who would not like it to be halted",
            );
            return None;
        }
        Some(Arc::new(Self::start()))
    }

    /// Stops the engine, and with it its containers.
    pub fn halt(&self) {
        script("halt", &self.folder).succeeded();
    }

    /// Starts it again.
    pub fn resume(&self) {
        script("resume", &self.folder).succeeded();
    }

    fn start() -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("faultd-test-{}-engine-{number}", std::process::id()));
        let answer = script("start", &folder).succeeded();
        let value = |name: &str| {
            let found = answer.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {name}: {answer:#?}")).to_owned()
        };
        Self { host: value("DOCKER_HOST"), image: value("IMAGE"), folder }
    }

    /// Makes an image of programs of this machine; it goes with the engine.
    pub fn image_of_programs(&self, name: &str, programs: &[&str]) {
        let mut command = Command::new(SCRIPT);
        command.env("DOCKER_HOST", &self.host).arg("image").arg(&self.folder).arg(name).args(programs);
        run(command, PATIENCE).succeeded();
    }

    pub fn docker(&self, words: &str) -> Answer {
        self.try_docker(words).succeeded()
    }

    pub fn try_docker(&self, words: &str) -> Answer {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", &self.host).args(words.split_whitespace());
        run(command, PATIENCE)
    }

    /// Starts a container that does nothing; `options` are those of `docker run`.
    pub fn container(self: &Arc<Self>, options: &str) -> Container {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("faultd-test-{}-{number}", std::process::id());
        let container = Container { engine: Arc::clone(self), name };
        container.run(options);
        container
    }

    /// A network of the engine; `options` are those of `docker network create`.
    pub fn network(self: &Arc<Self>, options: &str) -> DockerNetwork {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("faultd-test-{}-{number}", std::process::id());
        self.docker(&format!("network create {options} {name}"));
        DockerNetwork { engine: Arc::clone(self), name }
    }

    /// A daemon that asks this engine.
    pub fn faultd(&self) -> DaemonUnderTest {
        DaemonUnderTest::start_with(FAULTD, &[("DOCKER_HOST", &self.host)], &[])
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let stopped = script("stop", &self.folder);
        let folder = self.folder.display().to_string();
        let left = command_lines_with(&folder);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if !std::thread::panicking() {
            stopped.succeeded();
            assert!(left.is_empty(), "the engine left behind: {left:?}");
            assert!(!mounts.contains(&folder), "the engine left mounts behind: {mounts}");
            assert!(!self.folder.exists(), "the engine left {folder} behind");
        }
    }
}

/// A running container, removed with the test.
pub struct Container {
    pub engine: Arc<Engine>,
    pub name: String,
}

impl Container {
    /// Makes it, the first time or anew.
    pub fn run(&self, options: &str) {
        let Self { engine, name } = self;
        engine.docker(&format!("run --detach --name {name} {options} {} sleep 600", engine.image));
    }

    /// Removes it, to be made anew.
    pub fn remove(&self) {
        self.engine.docker(&format!("rm --force {}", self.name));
    }

    /// Its whole id.
    pub fn id(&self) -> String {
        self.inspected()["Id"].as_str().expect("an id").to_owned()
    }

    /// What the engine says of it.
    pub fn inspected(&self) -> Value {
        self.engine.docker(&format!("inspect {}", self.name)).json()[0].take()
    }

    /// Its address on one of its networks.
    pub fn address_on(&self, network: &str) -> String {
        let address = &self.inspected()["NetworkSettings"]["Networks"][network]["IPAddress"];
        address.as_str().expect("an address").to_owned()
    }

    /// Whether it reaches an address.
    pub fn reaches(&self, address: &str) -> bool {
        let answer = self.engine.try_docker(&format!("exec {} ping -c 1 -W 1 {address}", self.name));
        answer.code == Some(0)
    }

    pub fn address(&self) -> String {
        let inspected = self.inspected();
        let networks = inspected["NetworkSettings"]["Networks"].as_object().expect("networks");
        let network = networks.values().next().expect("a network");
        network["IPAddress"].as_str().expect("an address").to_owned()
    }

    /// The host's side of its interface, found by numbers that the kernel shows on either side.
    pub fn interface(&self) -> String {
        let peer = self.engine.docker(&format!("exec {} cat /sys/class/net/eth0/iflink", self.name)).stdout;
        let index =
            |entry: &fs::DirEntry| fs::read_to_string(entry.path().join("ifindex")).unwrap_or_default();
        let mut links = fs::read_dir("/sys/class/net").expect("interfaces").flatten();
        let link = links.find(|entry| index(entry).trim() == peer.trim()).expect("the other side");
        link.file_name().into_string().expect("a name")
    }

    /// Pings it from the host.
    pub fn ping(&self, count: usize) -> Ping {
        Ping::of(&self.address(), count)
    }
}

impl Ping {
    /// Pings an address from the namespace of the calling thread.
    pub fn of(address: &str, count: usize) -> Self {
        let mut command = Command::new("ping");
        command.env("LC_ALL", "C").args(["-n", "-W", "1", "-i", PING_INTERVAL, "-c", &count.to_string()]);
        command.arg(address);
        let answer = run(command, PATIENCE);
        let time = |line: &str| line.split_once(" time=")?.1.strip_suffix(" ms")?.parse().ok();
        let mut milliseconds: Vec<f64> = answer.stdout.lines().filter_map(time).collect();
        milliseconds.sort_by(f64::total_cmp);
        Ping { sent: count, milliseconds }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let removed = self.engine.try_docker(&format!("rm --force {}", self.name));
        if !std::thread::panicking() {
            removed.succeeded();
        }
    }
}

/// A network of an engine, removed with the test and after the containers in it.
pub struct DockerNetwork {
    pub engine: Arc<Engine>,
    pub name: String,
}

impl Drop for DockerNetwork {
    fn drop(&mut self) {
        let removed = self.engine.try_docker(&format!("network rm {}", self.name));
        if !std::thread::panicking() {
            removed.succeeded();
        }
    }
}

/// The round trips of those pings that were answered, in order of their length.
pub struct Ping {
    pub sent: usize,
    pub milliseconds: Vec<f64>,
}

impl Ping {
    /// Of those that were answered.
    pub fn median(&self) -> f64 {
        *self.milliseconds.get(self.milliseconds.len() / 2).expect("at least one answer")
    }

    pub fn lost(&self) -> usize {
        self.sent - self.milliseconds.len()
    }
}

fn script(verb: &str, folder: &Path) -> Answer {
    let mut command = Command::new(SCRIPT);
    command.arg(verb).arg(folder);
    run(command, PATIENCE)
}

/// Debian keeps dockerd where root alone looks for programs.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

fn an_engine_answers() -> bool {
    let mut command = Command::new("docker");
    command.arg("version");
    run(command, PATIENCE).code == Some(0)
}

fn command_lines_with(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

/// The only fault that holds.
pub fn fault(daemon: &DaemonUnderTest) -> Value {
    let faults = daemon.faultctl("-o json fault ls").json()["faults"].take();
    assert_eq!(faults.as_array().map(Vec::len), Some(1), "{faults}");
    faults[0].clone()
}

pub fn faults_are_gone(daemon: &DaemonUnderTest) -> bool {
    daemon.faultctl("-o json fault ls").json()["faults"] == serde_json::json!([])
}

/// One line on stderr, nothing on stdout, and this exit code.
pub fn assert_refused(answer: &Answer, code: i32, reason: &str) {
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(code), ""), "{answer:#?}");
    assert_eq!(answer.stderr.lines().count(), 1, "{answer:#?}");
    assert!(answer.stderr.contains(reason), "no '{reason}': {answer:#?}");
}
