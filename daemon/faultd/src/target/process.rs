//! The network namespaces of processes: `pid/N`.
//!
//! A number may be given to another process once its own has ended. It is therefore looked at once, for a
//! handle on the namespace, and the process is known by the time of its birth as well.

use std::io::ErrorKind;

use faultd_kernel::{
    namespace::{Namespace, NamespaceError},
    process::ProcessIdentity,
};

use super::{
    FoundPeer, ResolvedTarget, TargetError,
    interfaces::{InterfacesError, addresses, connections},
};
use crate::error_chain;

/// Names of such targets start with this.
pub(super) const PREFIX: &str = "pid/";

/// Finds a process by its number, as text without the prefix.
pub(super) async fn find(number: &str) -> Result<ResolvedTarget, TargetError> {
    let (process, namespace) = open(number)?;
    let found = connections(described(process.pid), namespace).await?;
    Ok(ResolvedTarget::connected(format!("{PREFIX}{}", process.pid), found))
}

/// Its addresses.
pub(super) async fn peer(number: &str) -> Result<FoundPeer, TargetError> {
    let (process, namespace) = open(number)?;
    let addresses = addresses(described(process.pid), namespace).await?;
    Ok(FoundPeer::elsewhere(addresses, Some(process)))
}

fn described(pid: u32) -> String {
    format!("process {pid}")
}

fn open(number: &str) -> Result<(ProcessIdentity, Namespace), TargetError> {
    let pid: u32 = number.parse().map_err(|_| TargetError::BadProcess(number.to_owned()))?;
    let process = ProcessIdentity::of(pid).map_err(|_gone| TargetError::NoProcess(pid))?;
    let namespace = Namespace::of_process(pid).map_err(|error| match error {
        // One that has ended and was not waited for is in no namespace.
        NamespaceError::Open { ref source, .. } if source.kind() == ErrorKind::NotFound => {
            TargetError::NoProcess(pid)
        }
        error => InterfacesError::Kernel { of: described(pid), reason: error_chain(&error) }.into(),
    })?;
    // Still the one that was there before the namespace was opened: then it is its namespace.
    if process.is_alive() { Ok((process, namespace)) } else { Err(TargetError::NoProcess(pid)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_process_is_refused() {
        for wrong in ["", "x", "-1", "1.0", "4294967296"] {
            assert!(matches!(open(wrong), Err(TargetError::BadProcess(_))), "{wrong}");
        }
        assert!(matches!(open("0"), Err(TargetError::NoProcess(0))));
        assert!(matches!(open("4294967295"), Err(TargetError::NoProcess(u32::MAX))));
    }

    #[test]
    fn a_process_is_known_by_its_birth_too() {
        let this = std::process::id();
        let (process, namespace) = open(&this.to_string()).unwrap();
        assert_eq!(process, ProcessIdentity::of(this).unwrap());
        assert_eq!(namespace, Namespace::of_process(this).unwrap());
    }
}
