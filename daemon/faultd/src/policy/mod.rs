//! What the operator allows, whoever asks: `/etc/faultd/policy.toml`. A key that is not there limits nothing.
//!
//! ```toml
//! [plugins.limits]            # what one instance of any plugin may use
//! memory_bytes = 67108864
//! fuel_per_call = 100000000
//!
//! [plugins.faults]            # what any schedule may propose
//! effects = ["delay"]
//! longest_delay_ms = 200
//! targets = ["follower", "etcd*"]
//!
//! [faults]                    # what any fault may be, whoever asks for it
//! targets = ["label:faultd=yes", "etcd/*"]
//! most_loss = 0.5
//! longest_s = 600
//!
//! [access]                    # who may do what, beside root
//! inject = ["@faultd"]
//! ```

mod access;
mod faults;
mod permits;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use faultd_plugin_host::{
    CompiledPlugins, PluginEngine, PluginError, PluginLimits,
    manifest::{self, FaultLimits, ResourceLimits},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::Table;

use self::{access::AccessSection, faults::FaultSection};
pub use self::{
    access::{AccessPolicy, MayConnect, Right},
    faults::{FaultPolicy, FaultRefusal},
    permits::{Permit, Permits},
};

/// Why there is no policy: the daemon does not start then. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file is not there or cannot be read.
    #[error("policy {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file says something that means nothing.
    #[error("policy {}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where, and why.
        reason: String,
    },
}

/// What the operator allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    plugins: PluginPolicy,
    faults: FaultPolicy,
    access: AccessPolicy,
}

/// What plugins may do, whatever their manifests ask for.
#[derive(Debug, Clone, PartialEq)]
struct PluginPolicy {
    limits: ResourceLimits,
    faults: FaultLimits,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    plugins: PluginsSection,
    faults: Table,
    access: Table,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PluginsSection {
    limits: Table,
    faults: Table,
}

impl Policy {
    /// The policy in a file that must be there.
    ///
    /// # Errors
    /// It cannot be read, or has a key or a value that means nothing.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let text = fs::read_to_string(path)
            .map_err(|error| PolicyError::Unreadable { path: path.to_owned(), error })?;
        Self::parse(&text).map_err(|reason| PolicyError::Wrong { path: path.to_owned(), reason })
    }

    /// The policy in a file, or the one without limits where there is no such file.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_if_there(path: &Path) -> Result<Self, PolicyError> {
        match Self::read(path) {
            Err(PolicyError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Self::parse("").map_err(|reason| PolicyError::Wrong { path: path.to_owned(), reason })
            }
            policy => policy,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let File { plugins, faults, access } =
            toml::from_str(text).map_err(|error| manifest::in_one_line(&error, text))?;
        let plugins = PluginPolicy {
            limits: narrowed("plugins.limits", &ResourceLimits::widest(), plugins.limits)?,
            faults: narrowed("plugins.faults", &FaultLimits::widest(), plugins.faults)?,
        };
        plugins.limits.check().map_err(|reason| format!("[plugins.limits]: {reason}"))?;
        plugins.faults.check().map_err(|reason| format!("[plugins.faults]: {reason}"))?;
        let faults = FaultPolicy::of(section::<FaultSection>("faults", faults)?);
        let access = AccessPolicy::of(&section::<AccessSection>("access", access)?);
        Ok(Self {
            plugins,
            faults: faults.map_err(|reason| format!("[faults]: {reason}"))?,
            access: access.map_err(|reason| format!("[access]: {reason}"))?,
        })
    }

    /// What any fault may be.
    #[must_use]
    pub fn faults(&self) -> &FaultPolicy {
        &self.faults
    }

    /// Who may do what.
    #[must_use]
    pub fn access(&self) -> &AccessPolicy {
        &self.access
    }

    /// Whether plugins may do the same under both.
    #[must_use]
    pub fn has_same_plugins(&self, other: &Self) -> bool {
        self.plugins == other.plugins
    }

    /// An engine that holds every plugin to this policy.
    ///
    /// # Errors
    /// The machine cannot run compiled WebAssembly.
    pub fn plugin_engine(&self, cache: Option<&CompiledPlugins>) -> Result<PluginEngine, PluginError> {
        let PluginPolicy { limits, faults } = &self.plugins;
        let limits = PluginLimits::default().capped_by(limits);
        Ok(PluginEngine::with_cache(limits, cache)?.capping_faults(faults.clone()))
    }
}

/// The widest limits with what a section says in their place.
fn narrowed<T: Serialize + DeserializeOwned>(section: &str, widest: &T, given: Table) -> Result<T, String> {
    let wrong = |reason: &str| format!("[{section}]: {}", in_one_line(reason));
    let mut whole = Table::try_from(widest).map_err(|error| wrong(&error.to_string()))?;
    whole.extend(given);
    whole.try_into().map_err(|error| wrong(error.message()))
}

/// A section with a name, read from its table.
fn section<T: DeserializeOwned>(name: &str, given: Table) -> Result<T, String> {
    given.try_into().map_err(|error: toml::de::Error| format!("[{name}]: {}", in_one_line(error.message())))
}

fn in_one_line(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use faultd_plugin_host::manifest::EffectKind;

    use super::*;

    #[test]
    fn what_a_policy_does_not_name_it_does_not_limit() {
        let policy = Policy::parse("").unwrap().plugins;
        assert_eq!((policy.limits, policy.faults), (ResourceLimits::widest(), FaultLimits::widest()));
        let policy =
            Policy::parse("[plugins.faults]\neffects = [\"delay\"]\nmost_at_once = 2\n").unwrap().plugins;
        assert_eq!(
            (policy.faults.effects.as_slice(), policy.faults.most_at_once),
            (&[EffectKind::Delay][..], 2)
        );
        assert_eq!(policy.faults.longest_s, FaultLimits::widest().longest_s);
        assert_eq!(policy.limits, ResourceLimits::widest());
        let policy = Policy::parse("[plugins.limits]\nmemory_bytes = 1000\n").unwrap().plugins;
        assert_eq!(policy.limits, ResourceLimits { memory_bytes: 1000, ..ResourceLimits::widest() });
    }

    #[test]
    fn what_means_nothing_is_told_in_one_line_with_its_place() {
        let cases = [
            ("[plugins\n", "line 1: "),
            ("\n[plugin]\n", "unknown field `plugin`"),
            ("[plugins.faults]\nlongest_delay = 1\n", "[plugins.faults]: unknown field `longest_delay`"),
            ("[plugins.faults]\nmost_loss = 2\n", "[plugins.faults]: most_loss is a share"),
            ("[plugins.faults]\neffects = [\"fire\"]\n", "[plugins.faults]: unknown variant `fire`"),
            ("[plugins.limits]\nmemory_bytes = -1\n", "[plugins.limits]: invalid value"),
            ("[plugins.limits]\nfuel_per_call = 0\n", "[plugins.limits]: fuel_per_call is at least 1"),
            ("[faults]\nlongest_delay = 1\n", "[faults]: unknown field `longest_delay`"),
            ("[faults]\nmost_loss = 2\n", "[faults]: most_loss is a share"),
            ("[access]\nwrite = []\n", "[access]: unknown field `write`"),
            ("[access]\nread = [\"no-such-user\"]\n", "[access]: there is no user 'no-such-user'"),
        ];
        for (text, said) in cases {
            let reason = Policy::parse(text).unwrap_err();
            assert!(reason.contains(said) && !reason.contains('\n'), "{text}: {reason}");
        }
    }

    #[test]
    fn the_policy_that_ships_limits_nothing_and_each_of_its_examples_means_something() {
        let shipped = include_str!("../../../../dist/policy.toml");
        assert_eq!(Policy::parse(shipped).unwrap(), Policy::parse("").unwrap());
        // Examples have no blank behind the comment's sign; the group of the package need not be here.
        let uncommented = |line: &str| match line.strip_prefix('#') {
            Some(example) if !example.starts_with(' ') => example.replace("@faultd", "@root"),
            _ => line.to_owned(),
        };
        let examples: Vec<String> = shipped.lines().map(uncommented).collect();
        let policy = Policy::parse(&examples.join("\n")).unwrap();
        assert_ne!(policy.faults, Policy::parse("").unwrap().faults);
        assert!(examples.iter().filter(|line| line.contains(" = ")).count() > 20, "{examples:?}");
    }

    #[test]
    fn only_a_policy_that_was_not_asked_for_may_be_missing() {
        let path = Path::new("/nonexistent/policy.toml");
        assert_eq!(Policy::read_if_there(path).unwrap(), Policy::parse("").unwrap());
        let reason = Policy::read(path).unwrap_err().to_string();
        assert!(reason.starts_with("policy /nonexistent/policy.toml: No such file"), "{reason}");
    }
}
