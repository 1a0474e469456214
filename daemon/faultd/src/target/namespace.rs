//! Named network namespaces, as `ip netns` makes them: `netns/NAME`.

use std::io::ErrorKind;

use faultd_api::target::TargetStatus;
use faultd_kernel::{
    NAMESPACE_NAME_PREFIX,
    namespace::{Namespace, NamespaceError, list_named},
};

use super::{
    FoundPeer, ResolvedTarget, TargetError,
    interfaces::{InterfacesError, addresses, connections},
    status,
};
use crate::error_chain;

/// Names of such targets start with this.
pub(super) const PREFIX: &str = "netns/";

/// Finds a namespace by its name, without the prefix.
pub(super) async fn find(name: &str) -> Result<ResolvedTarget, TargetError> {
    let found = connections(described(name), open(name)?).await?;
    Ok(ResolvedTarget::connected(format!("{PREFIX}{name}"), found))
}

/// Its addresses.
pub(super) async fn peer(name: &str) -> Result<FoundPeer, TargetError> {
    Ok(FoundPeer::elsewhere(addresses(described(name), open(name)?).await?, None))
}

/// All that have a name, but for our own.
pub(super) async fn list() -> Vec<TargetStatus> {
    let mut targets = Vec::new();
    for name in list_named().into_iter().filter(|name| !name.starts_with(NAMESPACE_NAME_PREFIX)) {
        targets.push(status("netns", format!("{PREFIX}{name}"), find(&name).await));
    }
    targets
}

fn described(name: &str) -> String {
    format!("network namespace '{name}'")
}

fn open(name: &str) -> Result<Namespace, TargetError> {
    Namespace::open_named(name).map_err(|error| match error {
        NamespaceError::Open { ref source, .. } if source.kind() == ErrorKind::NotFound => {
            TargetError::NoNamespace(name.to_owned())
        }
        NamespaceError::InvalidName(_) => TargetError::NoNamespace(name.to_owned()),
        error => InterfacesError::Kernel { of: described(name), reason: error_chain(&error) }.into(),
    })
}
