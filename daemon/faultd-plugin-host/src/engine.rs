//! Compiles components and says in one line why one is not the plugin it should be.

use std::sync::Arc;

use faultd_plugin_manifest::{self as manifest, FaultLimits, Manifest, NetworkUse};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Config, Engine};

use crate::bindings;
use crate::cache::CompiledPlugins;
use crate::driver::DriverPlugin;
use crate::error::{PluginError, Problem, World, export_of, one_line, world_name};
use crate::instance::PluginState;
use crate::limits::PluginLimits;
use crate::schedule::SchedulePlugin;

/// Compiles plugins. One for each process: clones share what is compiled.
#[derive(Clone)]
pub struct PluginEngine {
    engine: Engine,
    limits: PluginLimits,
    faults: FaultLimits,
}

/// What is known of a plugin without running it.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginFacts {
    /// What it is and what it asked to be allowed.
    pub manifest: Manifest,
    /// The interfaces that it wants of the host.
    pub imports: Vec<String>,
}

impl PluginEngine {
    /// An engine with the default limits.
    ///
    /// # Errors
    /// The machine cannot run compiled WebAssembly.
    pub fn new() -> Result<Self, PluginError> {
        Self::with_limits(PluginLimits::default())
    }

    /// An engine whose plugins all have these limits.
    ///
    /// # Errors
    /// The machine cannot run compiled WebAssembly.
    pub fn with_limits(limits: PluginLimits) -> Result<Self, PluginError> {
        Self::with_cache(limits, None)
    }

    /// An engine whose plugins all have these limits, and which keeps what it compiled where there is a place for it.
    ///
    /// # Errors
    /// The machine cannot run compiled WebAssembly.
    pub fn with_cache(limits: PluginLimits, cache: Option<&CompiledPlugins>) -> Result<Self, PluginError> {
        let mut config = Config::new();
        config.cache(cache.map(CompiledPlugins::for_engine));
        config.consume_fuel(true);
        // Calls are one after the other: the machinery for concurrent ones would only cost time.
        config.concurrency_support(false);
        // The same run gives the same numbers on every machine.
        config.cranelift_nan_canonicalization(true);
        let engine =
            Engine::new(&config).map_err(|error| PluginError::NoEngine(one_line(&format!("{error:#}"))))?;
        Ok(Self { engine, limits, faults: FaultLimits::widest() })
    }

    /// The same engine, whose schedules may propose no more than this, whatever their manifests say.
    #[must_use]
    pub fn capping_faults(self, faults: FaultLimits) -> Self {
        Self { faults, ..self }
    }

    /// Compiles a driver. Takes some tenths of a second of CPU time: call it once, off the executor's threads.
    ///
    /// # Errors
    /// The bytes are no component, no driver, or want something that the host does not lend.
    pub fn load_driver(&self, name: &str, bytes: &[u8]) -> Result<DriverPlugin, PluginError> {
        let name: Arc<str> = name.into();
        self.driver(&name, bytes).map_err(|problem| PluginError::Plugin { plugin: name, problem })
    }

    /// Compiles a schedule. Takes some tenths of a second of CPU time: call it once, off the executor's threads.
    ///
    /// # Errors
    /// The bytes are no component, no schedule, or want something that the host does not lend.
    pub fn load_schedule(&self, name: &str, bytes: &[u8]) -> Result<SchedulePlugin, PluginError> {
        let name: Arc<str> = name.into();
        self.schedule(&name, bytes).map_err(|problem| PluginError::Plugin { plugin: name, problem })
    }

    fn driver(&self, name: &Arc<str>, bytes: &[u8]) -> Result<DriverPlugin, Problem> {
        let mut linker = Linker::new(&self.engine);
        bindings::driver::Driver::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
            .map_err(incompatible)?;
        let (facts, linked) = self.link(name, bytes, World::Driver, &linker)?;
        let linked = bindings::driver::DriverPre::new(linked).map_err(incompatible)?;
        let limits = self.limits.capped_by(&facts.manifest.limits);
        Ok(DriverPlugin::new(Arc::clone(name), facts, limits, linked))
    }

    fn schedule(&self, name: &Arc<str>, bytes: &[u8]) -> Result<SchedulePlugin, Problem> {
        let mut linker = Linker::new(&self.engine);
        bindings::schedule::Schedule::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
            .map_err(incompatible)?;
        let (facts, linked) = self.link(name, bytes, World::Schedule, &linker)?;
        let linked = bindings::schedule::SchedulePre::new(linked).map_err(incompatible)?;
        let limits = self.limits.capped_by(&facts.manifest.limits);
        Ok(SchedulePlugin::new(Arc::clone(name), facts, limits, self.faults.clone(), linked))
    }

    fn link(
        &self,
        name: &str,
        bytes: &[u8],
        wanted: World,
        linker: &Linker<PluginState>,
    ) -> Result<(Arc<PluginFacts>, InstancePre<PluginState>), Problem> {
        check_kind(bytes)?;
        let component = Component::from_binary(&self.engine, bytes)
            .map_err(|error| Problem::NotAComponent(one_line(&format!("{error:#}"))))?;
        check_world(&self.engine, &component, wanted)?;
        let manifest = manifest::extract(bytes)?;
        check_manifest(&manifest, name, wanted)?;
        check_network(&self.engine, &component, &manifest)?;
        let linked = linker.instantiate_pre(&component).map_err(incompatible)?;
        let imports = component.component_type();
        let imports = imports.imports(&self.engine).map(|(name, _)| one_line(name)).collect();
        Ok((Arc::new(PluginFacts { manifest, imports }), linked))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn incompatible(error: wasmtime::Error) -> Problem {
    Problem::Incompatible(one_line(&format!("{error:#}")))
}

/// Tells the usual mistakes apart, for which the compiler's own message is no help.
fn check_kind(bytes: &[u8]) -> Result<(), Problem> {
    let problem = match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            "it is a core module, which still has to be made a component ('faultctl plugin build' does that)"
        }
        [0, b'a', b's', b'm', ..] => return Ok(()),
        [] => "it is empty",
        _ => "it does not begin as WebAssembly does",
    };
    Err(Problem::NotAComponent(problem.to_owned()))
}

fn check_world(engine: &Engine, component: &Component, wanted: World) -> Result<(), Problem> {
    let kind = component.component_type();
    let exports = |world: World| kind.exports(engine).any(|(name, _)| same_interface(name, export_of(world)));
    if !exports(wanted) {
        let found = [World::Driver, World::Schedule].into_iter().find(|world| exports(*world));
        return Err(found.map_or(Problem::NoWorld { wanted }, |found| Problem::OtherWorld { found, wanted }));
    }
    let lent = |name: &str| lent_to(wanted).iter().any(|interface| same_interface(name, interface));
    match kind.imports(engine).find(|(name, _)| !lent(name)) {
        Some((import, _)) => Err(Problem::UnknownImport { import: one_line(import), world: wanted }),
        None => Ok(()),
    }
}

fn check_manifest(manifest: &Manifest, name: &str, wanted: World) -> Result<(), Problem> {
    let otherwise = |text: String| Err(Problem::NotAsInManifest(text));
    if manifest.id != name {
        return otherwise(format!("it is {:?} there, and {name:?} here", manifest.id));
    }
    if manifest.world != wanted {
        return otherwise(format!(
            "it exports the world {}, and its manifest says another",
            world_name(wanted)
        ));
    }
    Ok(())
}

/// What a driver imports must be what its manifest says that it uses.
fn check_network(engine: &Engine, component: &Component, manifest: &Manifest) -> Result<(), Problem> {
    let uses = |wanted: &[NetworkUse]| manifest.network.uses.iter().any(|used| wanted.contains(used));
    for (import, _) in component.component_type().imports(engine) {
        let is_said = if same_interface(import, "faultd:plugin/http") {
            uses(&[NetworkUse::Http1, NetworkUse::Http2])
        } else if same_interface(import, "faultd:plugin/streams") {
            uses(&[NetworkUse::Streams])
        } else {
            true
        };
        if !is_said {
            return Err(Problem::NotAsInManifest(format!(
                "it imports {import}, which [network] does not name"
            )));
        }
    }
    Ok(())
}

/// Whether two names differ at most in the version, which the linker compares.
fn same_interface(left: &str, right: &str) -> bool {
    let without_version = |name| str::split(name, '@').next();
    without_version(left) == without_version(right)
}

fn lent_to(world: World) -> &'static [&'static str] {
    match world {
        World::Driver => &[
            "faultd:plugin/log",
            "faultd:plugin/random",
            "faultd:plugin/failures",
            "faultd:plugin/http",
            "faultd:plugin/streams",
        ],
        World::Schedule => &["faultd:plugin/log", "faultd:plugin/random"],
    }
}
