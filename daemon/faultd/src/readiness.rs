//! Makes the kernel ready for faults where they are likely, so that one by hand takes effect as soon as one
//! of a run: programs are attached to the hosts of labs from their beginning to their end. Other people's
//! interfaces are not touched ahead.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use faultd_kernel::datapath::InterfaceReference;

use crate::{engine::EngineHandle, lab::Labs};

/// What is held ready, by lab; clones share it.
#[derive(Clone)]
pub struct Readiness {
    engine: EngineHandle,
    labs: Labs,
    ready: Arc<Mutex<BTreeMap<String, Vec<InterfaceReference>>>>,
}

impl Readiness {
    /// Nothing is ready yet.
    #[must_use]
    pub fn new(engine: EngineHandle, labs: Labs) -> Self {
        Self { engine, labs, ready: Arc::default() }
    }

    /// Makes ready for faults on the hosts of a lab. Where the kernel refuses, faults take effect later or
    /// are refused themselves.
    pub async fn lab_is_up(&self, name: &str) {
        let Ok(cluster) = self.labs.cluster(name) else { return };
        let interfaces: Vec<InterfaceReference> =
            cluster.members.into_iter().flat_map(|member| member.target.interfaces).collect();
        match self.engine.prepare(interfaces.clone()).await {
            Ok(()) => drop(self.table().insert(name.to_owned(), interfaces)),
            Err(error) => tracing::warn!(lab = name, %error, "not ready for faults ahead"),
        }
    }

    /// Takes that back, before the lab goes.
    pub async fn lab_goes_down(&self, name: &str) {
        let ready = self.table().remove(name);
        if let Some(interfaces) = ready {
            self.engine.release(interfaces).await;
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Vec<InterfaceReference>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
