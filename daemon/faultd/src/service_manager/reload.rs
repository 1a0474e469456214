//! The policy, read anew while the daemon serves: what the file says holds from then on, or nothing changes.

use std::path::PathBuf;

use faultd_api::names;

use super::ServiceManager;
use crate::{
    bus::{self, ListenError},
    policy::{Permits, Policy, PolicyError},
};

/// Where the policy comes from.
#[derive(Debug, Clone)]
pub struct PolicySource {
    /// The file that was asked for, which must be there; otherwise that of the system, which need not.
    pub file: Option<PathBuf>,
}

impl PolicySource {
    /// The policy as it is written now.
    ///
    /// # Errors
    /// When it cannot be read, or says something that means nothing.
    pub fn read(&self) -> Result<Policy, PolicyError> {
        match &self.file {
            Some(path) => Policy::read(path),
            None => Policy::read_if_there(names::DEFAULT_POLICY.as_ref()),
        }
    }
}

/// What a policy that is read anew concerns.
#[derive(Clone)]
pub struct Reload {
    /// Where it comes from.
    pub source: PolicySource,
    /// Where it is in force.
    pub permits: Permits,
    /// The private socket, to which it says who may connect.
    pub socket: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("the policy stays as it was: {0}")]
    Policy(#[from] PolicyError),
    #[error("the policy is new, but not who may connect: {0}")]
    Socket(#[from] ListenError),
}

impl Reload {
    /// Reads the policy anew, and tells the manager and the log what came of it.
    pub async fn now(&self, manager: &ServiceManager) {
        manager.reloading();
        let reload = self.clone();
        // Users and groups may be looked up over the network.
        let done = tokio::task::spawn_blocking(move || reload.take_over()).await;
        match done {
            Ok(Ok(remark)) => {
                tracing::info!("{remark}");
                manager.ready(&remark);
            }
            Ok(Err(error)) => {
                tracing::error!("{error}");
                manager.ready(&error.to_string());
            }
            Err(_panicked) => manager.ready("the policy stays as it was"),
        }
    }

    fn take_over(&self) -> Result<String, ReloadError> {
        let policy = self.source.read()?;
        let plugins_differ = !policy.has_same_plugins(&self.permits.policy());
        let may_connect = policy.access().may_connect();
        self.permits.replace(policy);
        bus::open_to(&self.socket, may_connect)?;
        let remark = if plugins_differ { ", but for [plugins], which is read at the next start" } else { "" };
        Ok(format!("serving; the policy was read anew{remark}"))
    }
}
