//! The plugins of this daemon: components in one directory, compiled once when first asked for.

pub mod dry_run;
pub mod replay;
mod report;
mod trial;

use std::{
    collections::HashMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use faultd_plugin_host::{DriverPlugin, PluginEngine, PluginError, SchedulePlugin};
use tokio::sync::Mutex;

use crate::run::transcript::TranscriptError;

/// The largest component that is read, in bytes.
const LARGEST_COMPONENT: u64 = 64 << 20;

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PluginProblem {
    /// Not a name that a plugin can have.
    #[error("'{0}' cannot be a plugin's name: use a-z, 0-9 and -")]
    Name(String),
    /// There is no such file.
    #[error("no plugin is named '{name}': {} does not exist; name the directory with --plugins", path.display())]
    NotFound {
        /// The plugin's name.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("plugin '{name}': {reason}")]
    Unreadable {
        /// The plugin's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A recorded run cannot be read.
    #[error(transparent)]
    Transcript(#[from] TranscriptError),
    /// The host refused it, or it failed.
    #[error(transparent)]
    Host(#[from] PluginError),
}

/// A handle to all plugins; clones share them.
#[derive(Clone)]
pub struct Plugins {
    shared: Arc<Shared>,
}

struct Shared {
    engine: PluginEngine,
    directory: PathBuf,
    /// Held while a component is compiled, so that it is compiled once.
    drivers: Mutex<HashMap<String, Arc<DriverPlugin>>>,
    schedules: Mutex<HashMap<String, Arc<SchedulePlugin>>>,
}

impl Plugins {
    /// Plugins from this directory, `NAME.wasm` each, which this engine runs.
    #[must_use]
    pub fn new(directory: PathBuf, engine: PluginEngine) -> Self {
        let shared = Shared { engine, directory, drivers: Mutex::default(), schedules: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The driver of that name.
    ///
    /// # Errors
    /// When there is no such file, or it is no driver.
    pub async fn driver(&self, name: &str) -> Result<Arc<DriverPlugin>, PluginProblem> {
        let mut drivers = self.shared.drivers.lock().await;
        if let Some(driver) = drivers.get(name) {
            return Ok(Arc::clone(driver));
        }
        let driver = self.compile(name, PluginEngine::load_driver).await?;
        drivers.insert(name.to_owned(), Arc::clone(&driver));
        Ok(driver)
    }

    /// The schedule of that name.
    ///
    /// # Errors
    /// When there is no such file, or it is no schedule.
    pub async fn schedule(&self, name: &str) -> Result<Arc<SchedulePlugin>, PluginProblem> {
        let mut schedules = self.shared.schedules.lock().await;
        if let Some(schedule) = schedules.get(name) {
            return Ok(Arc::clone(schedule));
        }
        let schedule = self.compile(name, PluginEngine::load_schedule).await?;
        schedules.insert(name.to_owned(), Arc::clone(&schedule));
        Ok(schedule)
    }

    async fn compile<T: Send + Sync + 'static>(
        &self,
        name: &str,
        load: impl FnOnce(&PluginEngine, &str, &[u8]) -> Result<T, PluginError> + Send + 'static,
    ) -> Result<Arc<T>, PluginProblem> {
        let path = self.path(name)?;
        let (name, shared) = (name.to_owned(), Arc::clone(&self.shared));
        let of_panic = name.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let bytes = read(&name, &path)?;
            Ok(Arc::new(load(&shared.engine, &name, &bytes)?))
        });
        compiled.await.unwrap_or_else(|error| {
            Err(PluginProblem::Unreadable { name: of_panic, reason: error.to_string() })
        })
    }

    /// Names come from callers and descriptions: nothing but a plain name may become a path.
    fn path(&self, name: &str) -> Result<PathBuf, PluginProblem> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(PluginProblem::Name(name.to_owned()));
        }
        Ok(self.shared.directory.join(format!("{name}.wasm")))
    }
}

impl Plugins {
    /// The names of all plugins in the directory, in their order. Files that no plugin can be named by are none.
    async fn names(&self) -> Vec<String> {
        let directory = self.shared.directory.clone();
        let list = move || {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let mut names: Vec<String> =
                names.filter_map(|name| name.strip_suffix(".wasm").map(str::to_owned)).collect();
            names.sort();
            names
        };
        // A directory that is not there has no plugins.
        let names = tokio::task::spawn_blocking(list).await.unwrap_or_default();
        names.into_iter().filter(|name| self.path(name).is_ok()).collect()
    }

    async fn bytes(&self, name: &str) -> Result<Vec<u8>, PluginProblem> {
        let path = self.path(name)?;
        let of_panic = name.to_owned();
        let name = name.to_owned();
        tokio::task::spawn_blocking(move || read(&name, &path)).await.unwrap_or_else(|error| {
            Err(PluginProblem::Unreadable { name: of_panic, reason: error.to_string() })
        })
    }
}

/// Bounded before and while it is read: the file may be something else than a file, or grow meanwhile.
fn read(name: &str, path: &Path) -> Result<Vec<u8>, PluginProblem> {
    let unreadable = |reason: String| PluginProblem::Unreadable { name: name.to_owned(), reason };
    let too_long = |length: u64| {
        unreadable(format!("{length} bytes are more than the {LARGEST_COMPONENT} that are read"))
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(PluginProblem::NotFound { name: name.to_owned(), path: path.to_owned() });
        }
        Err(error) => return Err(unreadable(error.to_string())),
        Ok(file) if !file.is_file() => return Err(unreadable(format!("{} is no file", path.display()))),
        Ok(file) if file.len() > LARGEST_COMPONENT => return Err(too_long(file.len())),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(LARGEST_COMPONENT + 1).read_to_end(&mut bytes));
    match opened.map_err(|error| unreadable(error.to_string()))? as u64 {
        length if length > LARGEST_COMPONENT => Err(too_long(length)),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(problem: Result<Vec<u8>, PluginProblem>) -> String {
        problem.unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_file_or_too_large_a_one_is_not_read() {
        let folder = std::env::temp_dir().join(format!("faultd-plugins-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("large.wasm");
        // Takes no space on the disk: nothing was ever written.
        File::create(&path).unwrap().set_len(100 << 20).unwrap();
        let large = told(read("large", &path));
        File::create(&path).unwrap().set_len(1 << 10).unwrap();
        let small = read("large", &path).unwrap().len();
        let found = [told(read("x", &folder)), told(read("x", Path::new("/dev/zero")))];
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(large, "plugin 'large': 104857600 bytes are more than the 67108864 that are read");
        assert_eq!(small, 1 << 10);
        assert!(found.iter().all(|text| text.ends_with("is no file")), "{found:?}");
        assert!(told(read("gone", &path)).contains("does not exist"));
    }
}
