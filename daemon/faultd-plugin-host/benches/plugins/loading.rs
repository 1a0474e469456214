//! How long it takes until a plugin can be used: compiled, and found on disk.

use std::fs;
use std::path::Path;
use std::time::Instant;

use faultd_plugin_host::{CompiledPlugins, PluginEngine, PluginLimits};

use crate::{Figure, built, median, tell};

/// So often each is loaded.
const TIMES: usize = 7;

pub(crate) fn measure(figures: &mut Vec<Figure>) {
    let directory = std::env::temp_dir().join(format!("faultd-bench-cache-{}", std::process::id()));
    for name in ["etcd-kv", "flap"] {
        let bytes = built::shipped(name);
        let cold = median((0..TIMES).map(|_| {
            // What is not there is as good as removed.
            let _ = fs::remove_dir_all(&directory);
            load_ms(&directory, name, &bytes)
        }));
        let cached = median((0..TIMES).map(|_| load_ms(&directory, name, &bytes)));
        tell(figures, &format!("{name} is loaded, compiled anew"), cold, "ms", None);
        tell(figures, &format!("{name} is loaded, from the cache"), cached, "ms", None);
        tell(figures, &format!("loading {name}, from the cache / compiled anew"), cached / cold, "", None);
    }
    fs::remove_dir_all(&directory).expect("the cache of this benchmark");
}

/// Loads a plugin as a daemon that has just started does.
fn load_ms(directory: &Path, name: &str, bytes: &[u8]) -> f64 {
    let cache = CompiledPlugins::in_directory(directory).expect("a directory for compiled plugins");
    let engine = PluginEngine::with_cache(PluginLimits::default(), Some(&cache)).expect("an engine");
    let began = Instant::now();
    if name == "flap" {
        engine.load_schedule(name, bytes).expect("the schedule that ships");
    } else {
        engine.load_driver(name, bytes).expect("the driver that ships");
    }
    began.elapsed().as_secs_f64() * 1e3
}
