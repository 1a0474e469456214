//! Any method of the introspected interfaces with any arguments, by several callers at once: no panic, no call without an
//! answer, no fault that stays, no memory or descriptor that is not given back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use faultd_testkit::{
    command::wait_until,
    daemon_under_test::DaemonUnderTest,
    exclusive,
    resources::{descriptors, resident_kib},
};
use zbus::wire::Variant;

use crate::{
    FAULTD,
    arena::Arena,
    callers::{self, OURS, Outcome},
    chance::Chance,
    generator::Generator,
    introspected::{Method, methods_below},
    length::length,
    networks::VethToHost,
    turn,
};

/// Connections at once.
const CALLERS: u32 = 4;
/// After so many calls a caller goes, and another one comes.
const CALLS_OF_A_CALLER: u32 = 250;
/// Methods that take their time: they are called in so many of a hundred cases in which they are chosen.
const SELDOM: [(&str, u64); 6] = [
    ("LabUp", 2),
    ("CheckComponent", 10),
    ("Doctor", 10),
    ("ListLabs", 25),
    ("CheckPlugin", 25),
    ("Check", 25),
];
/// What the daemon may take more after many calls than after some: caches of the allocator, queues.
const MOST_GROWTH_KIB: u64 = 48 << 10;
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

/// Faults on what is the test's own, for a minute at most: labs of tests have names that begin with t.
const POLICY: &str = "[faults]\ntargets = [\"t*/*\", \"NETNS\"]\ndefault_s = 5\nlongest_s = 60\n";

struct Setting {
    network: VethToHost,
    arena: Arena,
    /// The name of a lab that may be tried to bring up: its members end at once.
    other_lab: String,
}

impl Setting {
    fn create() -> Self {
        let network = VethToHost::create();
        let daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
        let path = daemon.directory().join("policy.toml");
        fs::write(&path, POLICY.replace("NETNS", &network.target.target_name())).expect("a policy");
        let other_lab = daemon.lab_name();
        Self { network, arena: Arena::of(daemon), other_lab }
    }

    fn generator(&self, chance: Chance) -> Generator {
        let target = self.network.target.target_name();
        let (lab, other) = (&self.arena.lab, &self.other_lab);
        let words = [
            target.as_str(),
            lab,
            &format!("{lab}/etcd0"),
            &format!("{lab}/etcd1"),
            "etcd0",
            "netns/none",
            "pid/1",
            "interface/lo",
            "container/none",
            "label:a=b",
            "re:.*",
            "re:(a+)+$",
            "image:x",
            "f1",
            "f2",
            "f3",
            "r1",
            "egress",
            "both",
            "edt",
            "relay",
            "auto",
            "normal",
            "etcd-kv",
            "window",
            "no-such-plugin",
            "../../etc/passwd",
            "/etc/passwd",
            "2379",
            "1-65535",
            "tcp",
            "1,3-5",
            "10.0.0.0/8",
            "[::]:0",
            "leader",
            "org.faultd.Engine1.Manager",
            "Version",
            "[faults]\n",
            &description(other, "true"),
            &description(other, "/nonexistent"),
        ];
        Generator {
            chance,
            words: words.map(str::to_owned).to_vec(),
            files: files(self.arena.daemon.directory()),
            target,
            cluster: lab.clone(),
        }
    }
}

/// Three hosts whose members end at once, or cannot be started.
fn description(name: &str, program: &str) -> String {
    format!(
        "name = \"{name}\"\ndriver = \"etcd-kv\"\nmembers = [\"a\", \"b\", \"c\"]\nsubnet = \"10.213.7.0/24\"\n\
         client_port = 2379\nready_within = \"1s\"\n[member]\ncommand = [\"{program}\"]\n"
    )
}

/// Folders and files that a caller may hand over: one to write into, none, nonsense, a plugin.
fn files(directory: &Path) -> Vec<PathBuf> {
    let outputs = directory.join("outputs");
    fs::create_dir_all(&outputs).expect("a folder");
    let nonsense = directory.join("nonsense");
    fs::write(&nonsense, "{\"no\": \"transcript\"}\n").expect("a file");
    let plugin = Path::new(FAULTD).with_file_name("../plugins/window.wasm");
    vec![outputs, "/dev/null".into(), "/proc".into(), nonsense, plugin]
}

/// Calls one method after the other; counts what came of it.
async fn some_calls(socket: PathBuf, mut generator: Generator, calls: u32) -> BTreeMap<String, u32> {
    let mut outcomes = BTreeMap::new();
    let mut left = calls;
    while left > 0 {
        let connection = callers::connect(&socket).await;
        let mut methods = methods_below(&connection, None, "/").await;
        for number in 0..CALLS_OF_A_CALLER.min(left) {
            if number % 50 == 49 {
                // Runs have objects of their own while they are there.
                methods = methods_below(&connection, None, "/").await;
            }
            let method = chosen(&mut generator.chance, &methods);
            let arguments = generator.arguments(&method);
            if ends_the_lab(&method, &arguments, &generator.cluster) {
                continue;
            }
            let outcome = callers::call(&connection, None, &method, arguments).await;
            let what = match &outcome {
                Outcome::Done => "done",
                Outcome::Refused(name, text) => {
                    let known = name.starts_with(OURS) || name.starts_with("org.freedesktop.DBus.Error.");
                    assert!(known && !text.contains("panicked"), "{method:?}: {name}: {text}");
                    name.rsplit('.').next().unwrap_or(name)
                }
            };
            *outcomes.entry(format!("{} {what}", method.name)).or_default() += 1;
        }
        left = left.saturating_sub(CALLS_OF_A_CALLER);
    }
    outcomes
}

/// Whether a call would take down the lab on which the others try their luck.
fn ends_the_lab(method: &Method, arguments: &[Variant<'_>], lab: &str) -> bool {
    let is_of_object = method.interface.ends_with(".Lab") && method.name.ends_with("Down");
    is_of_object || method.name.ends_with("LabDown") && arguments == [Variant::from(lab)]
}

fn chosen(chance: &mut Chance, methods: &[Method]) -> Method {
    loop {
        let method = chance.one_of(methods);
        let seldom = SELDOM.iter().find(|(name, _)| method.name.ends_with(name));
        if seldom.is_none_or(|(_, percent)| chance.percent(*percent)) {
            return method.clone();
        }
    }
}

/// So many calls, by all callers together.
fn make_calls(setting: &Setting, chance: &mut Chance, calls: u32) -> BTreeMap<String, u32> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let socket = setting.arena.daemon.socket();
    runtime.expect("a runtime").block_on(async {
        let callers = (0..CALLERS).map(|_| {
            let generator = setting.generator(chance.split());
            tokio::spawn(some_calls(socket.clone(), generator, calls / CALLERS))
        });
        let mut all = BTreeMap::new();
        for caller in callers.collect::<Vec<_>>() {
            for (what, count) in caller.await.expect("a caller") {
                *all.entry(what).or_default() += count;
            }
        }
        all
    })
}

#[test]
fn any_call_of_any_method_with_anything_is_answered_and_leaves_the_daemon_as_it_was() {
    let _turn = turn();
    let _exclusive = exclusive();
    let mut chance = Chance::new("any_call_of_any_method_with_anything");
    let setting = Setting::create();
    let arena = &setting.arena;
    let pid = arena.daemon.pid();
    let calls = length().calls;
    make_calls(&setting, &mut chance, calls / 5);
    let settle = || {
        arena.daemon.faultctl("fault clear").succeeded();
        let runs_have_ended = || {
            let words =
                format!("run --cluster {} --duration 1s --warm-up 0s --keys 10 --label last", arena.lab);
            arena.daemon.faultctl(&words).code == Some(0)
        };
        assert!(wait_until(SETTLES_WITHIN, runs_have_ended), "{}", arena.daemon.log());
        fs::remove_dir_all(arena.daemon.directory().join("outputs")).expect("outputs of runs");
        fs::create_dir(arena.daemon.directory().join("outputs")).expect("a folder");
        (resident_kib(pid), descriptors(pid))
    };
    let (memory, open) = settle();
    for (what, count) in make_calls(&setting, &mut chance, calls - calls / 5) {
        println!("{count:6} {what}");
    }
    let (memory_now, open_now) = settle();
    println!("{calls} calls: {memory} KiB became {memory_now} KiB, {open} descriptors {open_now}");
    assert!(memory_now < memory + MOST_GROWTH_KIB, "{memory} KiB became {memory_now} KiB");
    let closed = wait_until(SETTLES_WITHIN, || descriptors(pid) <= open + 4);
    assert!(closed, "{open} descriptors became {}", descriptors(pid));
    let log = arena.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    let audit = fs::read_to_string(arena.daemon.state_directory().join("audit.jsonl")).expect("who did what");
    let longest = audit.lines().map(str::len).max();
    assert!(longest < Some(8192), "a line on record of {longest:?} bytes");
    arena.assert_as_before("after the calls");
    arena.assert_serves("after the calls");
}
