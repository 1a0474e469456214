//! What can be wrong with a plugin. Each message is one line that names the plugin.

use std::sync::Arc;

use faultd_plugin_manifest::ManifestError;
pub use faultd_plugin_manifest::World;

/// Something is wrong with a plugin: the plugin's fault or that of who chose it, never the cluster's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// This machine cannot run compiled WebAssembly at all.
    #[error("cannot start the WebAssembly engine: {0}")]
    NoEngine(String),
    /// It is this plugin.
    #[error("plugin {plugin} {problem}")]
    Plugin {
        /// Name that the plugin was loaded under.
        plugin: Arc<str>,
        /// What is wrong.
        problem: Problem,
    },
}

/// What is wrong with a plugin. `call` is the function that was called: `start`, `operate`, `decide` and so on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes are no component, or a damaged one.
    #[error("is not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// It is a plugin, but of the other world.
    #[error("is a {} plugin, and a {} is needed here", world_name(*.found), world_name(*.wanted))]
    OtherWorld {
        /// What it is.
        found: World,
        /// What is needed.
        wanted: World,
    },
    /// It is a component, but no plugin.
    #[error("is not a {} plugin: it does not export {}", world_name(*.wanted), export_of(*.wanted))]
    NoWorld {
        /// What is needed.
        wanted: World,
    },
    /// It wants something that the host does not lend.
    #[error("imports {import}, which is not lent to a {} plugin", world_name(*.world))]
    UnknownImport {
        /// Name of the import.
        import: String,
        /// What the plugin is.
        world: World,
    },
    /// It has no manifest, or a wrong one.
    #[error("cannot be used: {0}")]
    Manifest(#[from] ManifestError),
    /// Its manifest says something else than the component, or than who asks for it.
    #[error("is not what its manifest says: {0}")]
    NotAsInManifest(String),
    /// It went beyond what its manifest, or the operator, allows.
    #[error("went beyond what it is allowed: {0}")]
    BeyondManifest(String),
    /// The user gave it a setting that it does not have.
    #[error("does not take that: {0}")]
    UnknownSetting(String),
    /// The names fit, the types or versions do not.
    #[error("was built for another version of the plugin interface than 0.2: {0}")]
    Incompatible(String),
    /// It did not come to an end.
    #[error("was stopped in {call} after {fuel} units of fuel: it seems to be in an endless loop")]
    OutOfFuel {
        /// The function.
        call: &'static str,
        /// The limit, about one unit for each instruction.
        fuel: u64,
    },
    /// It wants too much memory.
    #[error("was stopped in {call}: it wants more than {bytes} bytes of memory")]
    OutOfMemory {
        /// The function.
        call: &'static str,
        /// The limit.
        bytes: usize,
    },
    /// One answer, request or line of it is too large.
    #[error("was stopped in {call}: it hands over more than {bytes} bytes at once")]
    TooMuchData {
        /// The function.
        call: &'static str,
        /// The limit.
        bytes: usize,
    },
    /// It used what the host lends in a way that is not allowed.
    #[error("was stopped in {call}: {refusal}")]
    Refused {
        /// The function.
        call: &'static str,
        /// What is not allowed.
        refusal: Refusal,
    },
    /// It broke: a panic of the plugin, or an instruction that cannot be executed.
    #[error("crashed in {call}: {trap}")]
    Crashed {
        /// The function.
        call: &'static str,
        /// What the machine says.
        trap: String,
    },
    /// It says itself that it cannot do what it is asked to.
    #[error("cannot {call}: {message}")]
    Failed {
        /// The function.
        call: &'static str,
        /// Its own words.
        message: String,
    },
    /// Its answer breaks the contract.
    #[error("gave an answer in {call} that is not allowed: {reason}")]
    BadAnswer {
        /// The function.
        call: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An earlier call was stopped or dropped, so that the instance is in no defined state.
    #[error("cannot go on: an earlier call was stopped")]
    Unusable,
}

/// What a plugin may not do with what the host lends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A member that there is not.
    #[error("it asks member {member}, and there are {count}, counted from 0")]
    NoSuchMember {
        /// The index.
        member: u32,
        /// How many there are.
        count: usize,
    },
    /// A method, path or header that is not HTTP, or belongs to the host.
    #[error("it sends an HTTP request with a bad {0}")]
    BadRequest(String),
    /// Too many requests, or reads and writes of streams, in one call.
    #[error("it asks members more than {0} times in one call")]
    TooManyExchanges(u32),
    /// More than it asked for.
    #[error("it uses {0}, which its manifest does not name under [network]")]
    NotInManifest(&'static str),
    /// Too much for the log in one call.
    #[error("it logs more than {0} bytes in one call")]
    TooMuchLog(usize),
    /// Too many streams at once.
    #[error("it opens more than {0} streams at once")]
    TooManyStreams(usize),
}

/// The interface that a plugin of a world exports.
pub(crate) fn export_of(world: World) -> &'static str {
    match world {
        World::Driver => "faultd:plugin/workload@0.2.0",
        World::Schedule => "faultd:plugin/scheduler@0.2.0",
    }
}

/// A world as people call it.
pub(crate) fn world_name(world: World) -> &'static str {
    match world {
        World::Driver => "driver",
        World::Schedule => "schedule",
    }
}

/// Text of unknown origin as one short line.
pub(crate) fn one_line(text: &str) -> String {
    const MOST_CHARACTERS: usize = 500;
    let line: String = text.chars().take(MOST_CHARACTERS).collect();
    line.split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_plugin_and_is_one_line() {
        let problem = Problem::NoWorld { wanted: World::Driver };
        assert_eq!(
            PluginError::Plugin { plugin: "x".into(), problem }.to_string(),
            "plugin x is not a driver plugin: it does not export faultd:plugin/workload@0.2.0"
        );
        assert_eq!(one_line("a\n  b\u{1b}[1m\tc\n"), "a b [1m c");
        assert_eq!(one_line(&"x".repeat(9_999)).len(), 500);
    }
}
