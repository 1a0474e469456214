//! Compiled plugins on disk: found again, never taken from where others can write.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use faultd_plugin_host::{CompiledPlugins, Observation, Plan, PluginEngine, PluginLimits};

use crate::built::shipped;

static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// A directory of one's own under the one for temporary files, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("faultd-cache-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in a directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Loads a schedule with this directory as its cache, and asks it once; whether it was found and whether it was
/// added.
async fn load(directory: &Path, limits: PluginLimits, name: &str) -> (usize, usize) {
    let cache = CompiledPlugins::in_directory(directory).unwrap();
    let engine = PluginEngine::with_cache(limits, Some(&cache)).unwrap();
    let plan = Plan {
        duration: std::time::Duration::from_secs(10),
        inject_at: None,
        hold_for: None,
        rules: Vec::new(),
        settings: Vec::new(),
        seed: 1,
    };
    let mut schedule = engine.load_schedule(name, &shipped(name)).unwrap().start(plan).await.unwrap();
    schedule.decide(Observation::default()).await.unwrap();
    (cache.found(), cache.added())
}

#[tokio::test]
async fn a_plugin_is_compiled_once_and_another_one_is_not_taken_for_it() {
    let scratch = Scratch::new();
    let directory = scratch.0.join("var/cache");
    let limits = PluginLimits::default;
    assert_eq!(load(&directory, limits(), "window").await, (0, 1));
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(load(&directory, limits(), "window").await, (1, 0));
    assert_eq!(load(&directory, limits(), "flap").await, (0, 1));
    // Limits are of an instance, and are not compiled in.
    let small = PluginLimits { fuel_per_call: 1_000_000, ..limits() };
    assert_eq!(load(&directory, small, "window").await, (1, 0));
}

#[tokio::test]
async fn what_is_damaged_on_disk_is_compiled_again() {
    let scratch = Scratch::new();
    load(&scratch.0, PluginLimits::default(), "window").await;
    for damage in [&b""[..], &b"nonsense"[..]] {
        let files = files_below(&scratch.0);
        files.iter().for_each(|file| fs::write(file, damage).unwrap());
        assert_eq!(load(&scratch.0, PluginLimits::default(), "window").await, (0, 1), "{files:?}");
    }
    // As an interrupted write leaves it, were it not written under another name first.
    for file in files_below(&scratch.0) {
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    }
    assert_eq!(load(&scratch.0, PluginLimits::default(), "window").await, (0, 1));
}

#[test]
fn code_is_not_taken_from_where_others_can_write() {
    let refusal = |path: &Path| CompiledPlugins::in_directory(path).unwrap_err().to_string();
    let open = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let scratch = Scratch::new();
    let path = scratch.0.join("cache");
    fs::create_dir(&path).unwrap();
    for mode in [0o777, 0o770, 0o1777] {
        open(&path, mode);
        assert!(refusal(&path).contains("can be changed by others"), "{mode:o}");
    }
    open(&path, 0o755);
    CompiledPlugins::in_directory(&path).unwrap();
    // Others could put a directory of theirs in its place.
    open(&scratch.0, 0o777);
    assert!(refusal(&path).contains("can be changed by others"));
    open(&scratch.0, 0o1777);
    CompiledPlugins::in_directory(&path).unwrap();
    open(&scratch.0, 0o700);

    let link = scratch.0.join("link");
    symlink(&path, &link).unwrap();
    assert!(refusal(&link).contains("is not a directory"));
    assert!(refusal(Path::new("cache")).contains("is not a full path"));
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    assert!(refusal(&file).contains("File exists"), "{}", refusal(&file));
}

#[test]
fn code_is_not_taken_from_other_users() {
    let scratch = Scratch::new();
    let path = scratch.0.join("cache");
    fs::create_dir(&path).unwrap();
    if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
        return faultd_testkit::skip(
            "code_is_not_taken_from_other_users",
            "only root can give a directory away",
        );
    }
    let refusal = CompiledPlugins::in_directory(&path).unwrap_err().to_string();
    assert!(refusal.contains("belongs to user 65534"), "{refusal}");
}
