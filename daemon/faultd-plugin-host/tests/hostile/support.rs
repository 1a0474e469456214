//! The engine that all tests share, the plugins that they try, and a good one that must go on meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use faultd_plugin_host::manifest::{self, World};
use faultd_plugin_host::{
    Direction, DriverPlugin, Effect, LogLevel, LogSink, Observation, Plan, PluginEngine, PluginError,
    Problem, Rule, Schedule, SchedulePlugin,
};

pub(crate) static ENGINE: LazyLock<PluginEngine> = LazyLock::new(|| PluginEngine::new().unwrap());
static HOSTILE_SCHEDULE: LazyLock<SchedulePlugin> = LazyLock::new(|| {
    let bytes = component("hostile-plugins/hostile-schedule");
    ENGINE.load_schedule("hostile-schedule", &bytes).unwrap()
});
static HOSTILE_DRIVER: LazyLock<DriverPlugin> = LazyLock::new(|| {
    ENGINE.load_driver("hostile-driver", &component("hostile-plugins/hostile-driver")).unwrap()
});
static WINDOW: LazyLock<SchedulePlugin> =
    LazyLock::new(|| ENGINE.load_schedule("window", &component("plugins/window")).unwrap());

/// What `cargo xtask plugins` built: a path under `target/`, without its ending.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let file: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(format!("{name}.wasm"));
    std::fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask plugins` first", file.display()))
}

/// A component without its manifest, and the text of that.
pub(crate) fn taken_apart(whole: &[u8]) -> (Vec<u8>, String) {
    const SECTION: &[u8] = b"faultd-manifest";
    let name = whole.windows(SECTION.len()).rposition(|window| window == SECTION).unwrap();
    let text = String::from_utf8(whole[name + SECTION.len()..].to_vec()).unwrap();
    // Before the name: its length, the section's length (of one to five bytes) and the section's kind.
    let mut bare = (3..=7).map(|head| &whole[..name - head]);
    let bare = bare.find(|bare| manifest::embed(bare, &text).is_ok_and(|again| again == whole));
    (bare.unwrap().to_vec(), text)
}

/// A component with another manifest: each pair is a text of it and what stands there instead.
pub(crate) fn with_manifest(whole: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let (bare, mut text) = taken_apart(whole);
    for (old, new) in changes {
        assert!(text.contains(old), "{old} is not in {text}");
        text = text.replace(old, new);
    }
    manifest::embed(&bare, &text).unwrap()
}

/// The component with a manifest of nothing but defaults.
pub(crate) fn with_plain_manifest(bare: &[u8], name: &str, world: World) -> Vec<u8> {
    let world = if world == World::Driver { "driver" } else { "schedule" };
    let text = format!("id = \"{name}\"\nversion = \"1\"\nworld = \"{world}\"\nsummary = \"A test.\"\n");
    manifest::embed(bare, &text).unwrap()
}

pub(crate) fn hostile_schedule() -> SchedulePlugin {
    HOSTILE_SCHEDULE.clone()
}

pub(crate) fn hostile_driver() -> DriverPlugin {
    HOSTILE_DRIVER.clone()
}

pub(crate) fn settings(mode: &str) -> Vec<(String, String)> {
    vec![("mode".to_owned(), mode.to_owned())]
}

pub(crate) fn plan(settings: Vec<(String, String)>) -> Plan {
    let effects = vec![Effect::Delay(Duration::from_millis(50))];
    Plan {
        duration: Duration::from_secs(30),
        inject_at: Some(Duration::from_secs(10)),
        hold_for: None,
        rules: vec![Rule { target: "leader".to_owned(), direction: Direction::Both, effects }],
        settings,
        seed: 1,
    }
}

pub(crate) fn at(seconds: u64) -> Observation {
    Observation { now: Duration::from_secs(seconds), ..Observation::default() }
}

/// What is wrong, in one line that names the plugin.
pub(crate) fn problem(error: PluginError) -> Problem {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.chars().count() < 700, "{line}");
    match error {
        PluginError::Plugin { problem, .. } => problem,
        PluginError::NoEngine(reason) => panic!("{reason}"),
    }
}

/// Lines of the log, as they come.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(LogLevel, String)>>>);

impl Lines {
    pub(crate) fn sink(&self) -> LogSink {
        let lines = Arc::clone(&self.0);
        Arc::new(move |level, line| lines.lock().unwrap().push((level, line.to_owned())))
    }

    pub(crate) fn all(&self) -> Vec<(LogLevel, String)> {
        self.0.lock().unwrap().clone()
    }
}

/// What `misdeed` gives, while a good schedule of the same engine is under way: that one goes on afterwards, and
/// another one can be started.
pub(crate) async fn while_others_go_on<T>(misdeed: impl Future<Output = T>) -> T {
    let mut under_way = WINDOW.start(plan(Vec::new())).await.unwrap();
    assert!(under_way.decide(at(0)).await.unwrap().active.is_empty());
    let result = misdeed.await;
    assert_injects(&mut under_way).await;
    assert_injects(&mut WINDOW.start(plan(Vec::new())).await.unwrap()).await;
    result
}

async fn assert_injects(window: &mut Schedule) {
    assert_eq!(window.decide(at(10)).await.unwrap().active, plan(Vec::new()).rules);
}
