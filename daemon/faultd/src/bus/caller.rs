//! Who calls: known by the kernel or by the bus, never by what the caller says.

use std::fmt;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::net::unix::UCred;

/// Nobody, as the kernel calls who has no number here.
const NOBODY: u32 = 65534;

/// Somebody on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// The connection, which owns what is not detached: `:1.42` on the system bus, `socket:3` on the private one.
    pub(super) connection: String,
    pub(super) user: u32,
    pub(super) groups: Vec<u32>,
    pub(super) process: Option<u32>,
}

impl Caller {
    /// The other end of the private socket, as the kernel saw it connect.
    pub(super) async fn of_socket(number: u64, credentials: UCred) -> Self {
        let process = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        let groups = groups_of(credentials.uid(), Some(credentials.gid())).await;
        Self { connection: format!("socket:{number}"), user: credentials.uid(), groups, process }
    }

    /// A name on the system bus, as the bus knows it.
    pub(super) async fn of_bus(
        connection: String,
        user: Option<u32>,
        groups: Option<Vec<u32>>,
        process: Option<u32>,
    ) -> Self {
        let user = user.unwrap_or(NOBODY);
        let groups = match groups {
            Some(groups) => groups,
            None => groups_of(user, None).await,
        };
        Self { connection, user, groups, process }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {} on {}", self.user, self.connection)
    }
}

/// The groups of a user in the tables of this host, which may be asked over the network.
async fn groups_of(user: u32, primary: Option<u32>) -> Vec<u32> {
    let look_up = move || {
        let known = User::from_uid(Uid::from_raw(user)).ok().flatten()?;
        let name = std::ffi::CString::new(known.name).ok()?;
        let primary = primary.map_or(known.gid, Gid::from_raw);
        let groups = getgrouplist(&name, primary).ok()?;
        Some(groups.into_iter().map(Gid::as_raw).collect::<Vec<_>>())
    };
    let found = tokio::task::spawn_blocking(look_up).await.ok().flatten();
    found.unwrap_or_else(|| primary.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_groups_of_a_user_are_looked_up_and_those_of_nobody_known_are_its_own() {
        assert!(groups_of(0, Some(0)).await.contains(&0));
        assert_eq!(groups_of(4_000_000_000, Some(7)).await, [7]);
        assert_eq!(groups_of(4_000_000_000, None).await, Vec::<u32>::new());
    }

    #[tokio::test]
    async fn who_has_no_number_on_the_bus_is_nobody() {
        let caller = Caller::of_bus(":1.7".into(), None, Some(Vec::new()), None).await;
        assert_eq!((caller.user, caller.to_string().as_str()), (NOBODY, "user 65534 on :1.7"));
    }
}
