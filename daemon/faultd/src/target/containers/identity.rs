//! Which container it is, so that nobody else is taken for it: its engine, its id, and its first process by
//! number, birth and control group, since a number may be given to another process.

use std::fs;

use faultd_kernel::{namespace::Namespace, process::ProcessIdentity};

use super::{ContainerError, engine::Inspected};
use crate::{error_chain, target::interfaces::InterfacesError};

/// Length of an id in hexadecimal digits.
const ID_LENGTH: usize = 64;

/// A container that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerIdentity {
    /// Where its engine answers.
    pub engine: String,
    /// Its whole id.
    pub id: String,
    /// Its full name.
    pub name: String,
    /// Whether it was asked for by its id: then another one of the same name is another one.
    pub by_id: bool,
    /// Its first process.
    pub process: ProcessIdentity,
}

/// The first process of a running container and its network namespace, which are those of this container
/// and of no other.
pub(super) fn namespace_of(container: &Inspected) -> Result<(ProcessIdentity, Namespace), ContainerError> {
    let not_running = || ContainerError::NotRunning(container.name.clone());
    let pid = container.pid.ok_or_else(not_running)?;
    let process = ProcessIdentity::of(pid).map_err(|_gone| not_running())?;
    let namespace = Namespace::of_process(pid).map_err(|error| InterfacesError::Kernel {
        of: format!("container '{}'", container.name),
        reason: error_chain(&error),
    });
    // The engine may not have noticed yet that the container has ended, and the number be another one's.
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if !may_be_of(&groups, &container.id) || !process.is_alive() {
        return Err(not_running());
    }
    Ok((process, namespace?))
}

/// Whether the control groups of a process may be those of a container: engines write its id into their
/// names. A process without any id in there is not told apart by them.
fn may_be_of(groups: &str, id: &str) -> bool {
    groups.contains(id) || !ids_in(groups).any(|other| other.len() == ID_LENGTH)
}

fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_in_the_control_group_of_another_container_is_not_taken_for_it() {
        let (id, other) = ("a1".repeat(32), "b2".repeat(32));
        for groups in [
            format!("0::/docker/{id}\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("12:cpu:/machine.slice/libpod-{id}.scope/container\n"),
            // A container that runs an engine itself.
            format!("0::/docker/{other}/docker/{id}\n"),
            "0::/user.slice/session-1.scope\n".to_owned(),
            String::new(),
        ] {
            assert!(may_be_of(&groups, &id), "{groups}");
        }
        assert!(!may_be_of(&format!("0::/docker/{other}\n"), &id));
        assert!(!may_be_of(&format!("0::/libpod-{other}.scope\n"), &id));
    }

    #[test]
    fn a_container_without_a_process_does_not_run() {
        let container = Inspected { name: "web".into(), id: "a1".repeat(32), ..Inspected::default() };
        let error = namespace_of(&container).unwrap_err().to_string();
        assert_eq!(error, "container 'web' is not running: start it first");
        let of_nobody = Inspected { pid: Some(u32::MAX), ..container };
        assert!(matches!(namespace_of(&of_nobody), Err(ContainerError::NotRunning(_))));
    }
}
