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

    /// Whether the caller could make files in an open directory by itself: the daemon, which is root, must not do it
    /// for somebody who could only read it. Access lists are not looked at, nor is another way in than its mode.
    pub(super) fn may_write(&self, directory: &std::fs::Metadata) -> bool {
        use std::os::unix::fs::MetadataExt;
        let may = if directory.uid() == self.user {
            0o200
        } else if self.groups.contains(&directory.gid()) {
            0o020
        } else {
            0o002
        };
        directory.is_dir() && (self.user == 0 || directory.mode() & may != 0)
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

    #[test]
    fn a_directory_is_written_for_those_who_could_write_it_themselves() {
        use std::{fs, os::unix::fs::PermissionsExt};
        let directory = std::env::temp_dir().join(format!("faultd-caller-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let caller = |user, groups: &[u32]| Caller {
            connection: "socket:1".into(),
            user,
            groups: groups.to_vec(),
            process: None,
        };
        std::os::unix::fs::chown(&directory, Some(1000), Some(2000)).unwrap();
        let may = |mode, user, groups: &[u32]| {
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            caller(user, groups).may_write(&fs::metadata(&directory).unwrap())
        };
        assert!(may(0o755, 1000, &[]) && may(0o775, 7, &[2000]) && may(0o757, 7, &[]) && may(0o555, 0, &[]));
        assert!(!may(0o577, 1000, &[]) && !may(0o757, 7, &[2000]) && !may(0o775, 7, &[]));
        fs::remove_dir(&directory).unwrap();
        assert!(!caller(0, &[]).may_write(&fs::metadata("/dev/null").unwrap()));
    }

    #[tokio::test]
    async fn who_has_no_number_on_the_bus_is_nobody() {
        let caller = Caller::of_bus(":1.7".into(), None, Some(Vec::new()), None).await;
        assert_eq!((caller.user, caller.to_string().as_str()), (NOBODY, "user 65534 on :1.7"));
    }
}
