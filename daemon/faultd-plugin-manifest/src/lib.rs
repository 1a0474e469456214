//! `plugin.toml`: what a plugin is and what it asks to be allowed. It travels inside of the component, in a custom
//! section, so that one file is the whole plugin. The host enforces it, capped by the operator's policy, which
//! has the same limits.
//!
//! ```toml
//! id = "flap"
//! version = "1.0.0"
//! world = "schedule"
//! summary = "Holds the fault for a share of each period."
//!
//! [limits]
//! memory_bytes = 8388608
//! fuel_per_call = 10000000
//!
//! [faults]
//! effects = ["delay", "loss"]
//! longest_delay_ms = 1000
//!
//! [[settings]]
//! name = "period"
//! summary = "Length of a period."
//! default = "10s"
//! ```
#![forbid(unsafe_code)]

mod component;
mod limits;

use serde::{Deserialize, Serialize};

pub use component::{embed, extract};
pub use limits::{EffectKind, FaultLimits, NetworkLimits, NetworkUse, Reachable, ResourceLimits, matches};

/// The longest `plugin.toml`, in bytes.
pub const LONGEST_MANIFEST: usize = 64 << 10;
/// The most settings of one plugin.
const MOST_SETTINGS: usize = 64;
/// The most kinds of operations of one driver.
const MOST_OPERATIONS: usize = 16;

/// Why a text is no manifest, or a component has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The component has no such section.
    #[error("it has no manifest: 'faultctl plugin build' puts plugin.toml into it")]
    Missing,
    /// More than one, or one that is too long.
    #[error("it has more than one manifest, or one of more than {LONGEST_MANIFEST} bytes")]
    NotOne,
    /// The bytes are no component.
    #[error("it is no component: {0}")]
    NotAComponent(String),
    /// The text is not TOML, or not of this shape.
    #[error("plugin.toml: {0}")]
    Shape(String),
    /// A value that cannot be.
    #[error("plugin.toml: {0}")]
    Value(String),
}

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// Says which faults hold at which time.
    Schedule,
    /// Produces load on a cluster.
    Driver,
}

/// A checked `plugin.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the plugin, and of its file: 1 to 64 of `a`-`z`, `0`-`9`, `-`.
    pub id: String,
    /// Version of the plugin, for people: at most 32 characters.
    pub version: String,
    /// What it is for.
    pub world: World,
    /// One line that says what it does: at most 200 characters.
    pub summary: String,
    /// What an instance may use.
    #[serde(default)]
    pub limits: ResourceLimits,
    /// For a schedule: what it may propose.
    #[serde(default)]
    pub faults: FaultLimits,
    /// For a driver: what it may reach.
    #[serde(default)]
    pub network: NetworkLimits,
    /// For a driver: the kinds of operations that it does.
    #[serde(default)]
    pub operations: Vec<String>,
    /// For a driver: whether its clusters have leaders and followers. Where all members are alike, it calls every
    /// role unknown.
    #[serde(default = "has_roles")]
    pub roles: bool,
    /// The settings that it knows; others are refused before it is asked.
    #[serde(default)]
    pub settings: Vec<Setting>,
}

fn has_roles() -> bool {
    true
}

/// One setting of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Its name; one that ends in `*` stands for every name that begins so.
    pub name: String,
    /// One line that says what it is.
    pub summary: String,
    /// What holds where it is not given, for people.
    #[serde(default)]
    pub default: Option<String>,
}

impl Manifest {
    /// Reads a `plugin.toml`.
    ///
    /// # Errors
    /// In one line: what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > LONGEST_MANIFEST {
            return Err(ManifestError::NotOne);
        }
        let shape = |error: toml::de::Error| ManifestError::Shape(in_one_line(&error, text));
        let manifest: Self = toml::from_str(text).map_err(shape)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Refuses a setting that the plugin does not know.
    ///
    /// # Errors
    /// Names the setting, and those that are known.
    pub fn check_settings<'a>(&self, given: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        let is_known = |name: &str| self.settings.iter().any(|setting| setting.is_called(name));
        let Some(unknown) = given.into_iter().find(|name| !is_known(name)) else { return Ok(()) };
        let known: Vec<&str> = self.settings.iter().map(|setting| setting.name.as_str()).collect();
        Err(if known.is_empty() {
            format!("unknown setting {unknown:?}: this plugin has none")
        } else {
            format!("unknown setting {unknown:?}: known are {}", known.join(", "))
        })
    }

    fn check(&self) -> Result<(), ManifestError> {
        let value = |text: String| Err(ManifestError::Value(text));
        if !is_plain_name(&self.id) {
            return value(format!("id {:?} is not 1 to 64 of a-z, 0-9 and -", shortened(&self.id)));
        }
        if !is_line(&self.version, 32) || !is_line(&self.summary, 200) {
            return value(
                "version and summary are one line each, of 32 and 200 characters at most".to_owned(),
            );
        }
        let too_many = self.settings.len() > MOST_SETTINGS || self.operations.len() > MOST_OPERATIONS;
        if too_many || !self.operations.iter().all(|name| is_plain_name(name)) {
            return value(format!(
                "at most {MOST_SETTINGS} settings and {MOST_OPERATIONS} operations, named with a-z, 0-9 and -"
            ));
        }
        if let Some(setting) = self.settings.iter().find(|setting| !setting.is_fit_to_print()) {
            return value(format!(
                "setting {:?} has a name or a text that is too long",
                shortened(&setting.name)
            ));
        }
        self.limits.check().and_then(|()| self.faults.check()).map_err(ManifestError::Value)
    }
}

impl Setting {
    fn is_called(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => self.name == name,
        }
    }

    fn is_fit_to_print(&self) -> bool {
        let default = self.default.as_deref().unwrap_or_default();
        is_line(&self.name, 64)
            && is_line(&self.summary, 200)
            && (default.is_empty() || is_line(default, 200))
    }
}

fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn is_line(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// What is wrong with a TOML text, in one line with its place.
#[must_use]
pub fn in_one_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message: String =
        error.message().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    format!("line {line}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "id = \"flap\"\nversion = \"1\"\nworld = \"schedule\"\nsummary = \"Flaps.\"\n";

    fn refusal(text: &str) -> String {
        Manifest::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_smallest_manifest_has_the_defaults() {
        let manifest = Manifest::parse(SMALLEST).unwrap();
        assert_eq!((manifest.id.as_str(), manifest.world), ("flap", World::Schedule));
        assert_eq!(manifest.limits, ResourceLimits::default());
        assert_eq!(manifest.faults, FaultLimits::default());
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line_with_its_place() {
        assert!(refusal("id = 5").starts_with("plugin.toml: line 1: "));
        let unknown = refusal(&format!("{SMALLEST}colour = \"red\"\n"));
        assert!(unknown.contains("line 5") && unknown.contains("colour"), "{unknown}");
        assert!(refusal(&SMALLEST.replace("flap", "../x")).contains("id \"../x\""));
        assert!(refusal(&SMALLEST.replace("Flaps.", "")).contains("summary"));
        assert!(refusal(&format!("{SMALLEST}[faults]\nmost_loss = nan\n")).contains("most_loss"));
        assert!(refusal(&format!("{SMALLEST}[limits]\nmemory_bytes = 0\n")).contains("memory_bytes"));
        for text in [unknown, refusal("]["), refusal("\u{1}")] {
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn unknown_settings_are_refused_and_a_star_stands_for_many() {
        let text = format!(
            "{SMALLEST}[[settings]]\nname = \"period\"\nsummary = \"s\"\n[[settings]]\nname = \"header.*\"\nsummary = \"s\"\n"
        );
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!(manifest.check_settings(["period", "header.accept"]), Ok(()));
        assert_eq!(
            manifest.check_settings(["perod"]).unwrap_err(),
            "unknown setting \"perod\": known are period, header.*"
        );
        assert!(Manifest::parse(SMALLEST).unwrap().check_settings(["x"]).unwrap_err().contains("has none"));
    }
}
