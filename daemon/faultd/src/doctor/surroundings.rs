//! What the daemon has to work in: its user, its limits, its directories. Looked at anew for each report.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use faultd_plugin_host::CompiledPlugins;
use rustix::process::{Resource, geteuid, getrlimit};

use super::Directories;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// Whether the daemon is root.
    pub(super) is_root: bool,
    /// How many files it may have open; nothing where there is no limit.
    pub(super) open_files: Option<u64>,
    /// The directory of plugins, for people.
    pub(super) plugins_directory: String,
    /// What is wrong with it.
    pub(super) plugins_problem: Option<PluginsProblem>,
    /// The directory of compiled plugins, for people.
    pub(super) cache_directory: String,
    /// Why it is not used.
    pub(super) cache_problem: Option<String>,
}

/// What is wrong with the directory of plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PluginsProblem {
    /// It is not there, or cannot be read.
    Unreadable(String),
    /// There is no plugin in it.
    Empty,
    /// Others than root and the daemon's user can put plugins there.
    OpenToOthers,
}

impl Surroundings {
    pub(super) fn look(directories: &Directories) -> Self {
        let Directories { plugins, cache } = directories;
        Self {
            is_root: geteuid().is_root(),
            open_files: getrlimit(Resource::Nofile).current,
            plugins_directory: plugins.display().to_string(),
            plugins_problem: plugins_problem(plugins),
            cache_directory: cache.display().to_string(),
            cache_problem: CompiledPlugins::safe_directory(cache).err().map(|error| error.to_string()),
        }
    }
}

fn plugins_problem(directory: &Path) -> Option<PluginsProblem> {
    let unreadable = |error: std::io::Error| Some(PluginsProblem::Unreadable(error.to_string()));
    let found = match fs::metadata(directory) {
        Ok(found) => found,
        Err(error) => return unreadable(error),
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return unreadable(error),
    };
    let is_owned = found.uid() == 0 || found.uid() == geteuid().as_raw();
    if !is_owned || found.mode() & 0o002 != 0 {
        return Some(PluginsProblem::OpenToOthers);
    }
    let is_plugin = |entry: fs::DirEntry| entry.path().extension().is_some_and(|end| end == "wasm");
    (!entries.flatten().any(is_plugin)).then_some(PluginsProblem::Empty)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_of_plugins_is_there_closed_to_others_and_not_empty() {
        let directory = std::env::temp_dir().join(format!("faultd-doctor-{}", std::process::id()));
        assert!(matches!(plugins_problem(&directory), Some(PluginsProblem::Unreadable(_))));
        fs::create_dir(&directory).unwrap();
        let mode = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        assert_eq!(plugins_problem(&directory), Some(PluginsProblem::Empty));
        fs::write(directory.join("window.wasm"), "").unwrap();
        assert_eq!(plugins_problem(&directory), None);
        mode(0o777);
        assert_eq!(plugins_problem(&directory), Some(PluginsProblem::OpenToOthers));
        fs::remove_dir_all(&directory).unwrap();
    }
}
