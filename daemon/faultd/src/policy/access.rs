//! Who may do what: `[access]`. Root may do everything; on the system bus polkit is asked about everybody else who is not
//! named here.

use std::fmt;

use nix::unistd::{Group, User};
use serde::Deserialize;

/// What a caller may do. Everybody who may do something else may read as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// See faults, targets, labs, runs, plugins and what the host can do.
    Read,
    /// Make targets slow: faults and runs.
    Inject,
    /// Try plugins that the daemon does not have.
    LoadPlugins,
    /// Bring labs up and down, and end what others have begun.
    Administer,
}

impl Right {
    /// As it is called for people, and the last word of its action for polkit.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Inject => "inject",
            Self::LoadPlugins => "load-plugins",
            Self::Administer => "administer",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The section as it is written: users, and groups with an `@`, by name or number.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AccessSection {
    read: Vec<String>,
    inject: Vec<String>,
    load_plugins: Vec<String>,
    administer: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    User(u32),
    Group(u32),
}

/// Who may do what, beside root.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccessPolicy {
    grants: Vec<(Right, Holder)>,
}

/// Who may connect to the private socket at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayConnect {
    /// Root alone: nobody else is named.
    Root,
    /// The members of one group.
    Group(u32),
    /// Anybody: each call is decided by itself.
    Anybody,
}

impl AccessPolicy {
    /// The policy of a section.
    ///
    /// # Errors
    /// In one line, which user or group there is not.
    pub(super) fn of(section: &AccessSection) -> Result<Self, String> {
        let rights = [
            (Right::Read, &section.read),
            (Right::Inject, &section.inject),
            (Right::LoadPlugins, &section.load_plugins),
            (Right::Administer, &section.administer),
        ];
        let mut grants = Vec::new();
        for (right, names) in rights {
            for name in names {
                grants.push((right, holder(name)?));
            }
        }
        Ok(Self { grants })
    }

    /// Whether a user with these groups may do something.
    #[must_use]
    pub fn grants(&self, right: Right, user: u32, groups: &[u32]) -> bool {
        let is_holder = |holder: &Holder| match holder {
            Holder::User(id) => *id == user,
            Holder::Group(id) => groups.contains(id),
        };
        let suffices = |granted: Right| granted == right || right == Right::Read;
        user == 0 || self.grants.iter().any(|(granted, holder)| suffices(*granted) && is_holder(holder))
    }

    /// Who may connect to the private socket.
    #[must_use]
    pub fn may_connect(&self) -> MayConnect {
        let Some((_, first)) = self.grants.first() else { return MayConnect::Root };
        match first {
            Holder::Group(group) if self.grants.iter().all(|(_, holder)| holder == first) => {
                MayConnect::Group(*group)
            }
            _ => MayConnect::Anybody,
        }
    }
}

fn holder(name: &str) -> Result<Holder, String> {
    let unknown = |kind: &str, name: &str| format!("there is no {kind} '{name}' here");
    let failed = |error: nix::errno::Errno| format!("'{name}' cannot be looked up: {error}");
    if let Some(group) = name.strip_prefix('@') {
        if let Ok(number) = group.parse() {
            return Ok(Holder::Group(number));
        }
        let found = Group::from_name(group).map_err(failed)?;
        return found.map(|group| Holder::Group(group.gid.as_raw())).ok_or_else(|| unknown("group", group));
    }
    if let Ok(number) = name.parse() {
        return Ok(Holder::User(number));
    }
    let found = User::from_name(name).map_err(failed)?;
    found.map(|user| Holder::User(user.uid.as_raw())).ok_or_else(|| unknown("user", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> AccessPolicy {
        AccessPolicy::of(&toml::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn root_may_do_everything_and_others_what_they_are_named_for() {
        let policy = policy("inject = [\"1000\", \"@2000\"]\nread = [\"nobody\"]");
        for right in [Right::Read, Right::Inject, Right::LoadPlugins, Right::Administer] {
            assert!(policy.grants(right, 0, &[]), "{right}");
            assert!(!policy.grants(right, 3000, &[3000]), "{right}");
        }
        assert!(policy.grants(Right::Inject, 1000, &[]) && policy.grants(Right::Read, 1000, &[]));
        assert!(
            policy.grants(Right::Inject, 5, &[5, 2000]) && !policy.grants(Right::Administer, 1000, &[2000])
        );
        let nobody = User::from_name("nobody").unwrap().unwrap().uid.as_raw();
        assert!(policy.grants(Right::Read, nobody, &[]) && !policy.grants(Right::Inject, nobody, &[]));
    }

    #[test]
    fn the_socket_is_open_to_those_who_are_named() {
        assert_eq!(policy("").may_connect(), MayConnect::Root);
        assert_eq!(policy("inject = [\"@7\"]").may_connect(), MayConnect::Group(7));
        assert_eq!(policy("inject = [\"@7\"]\nread = [\"@7\"]").may_connect(), MayConnect::Group(7));
        assert_eq!(policy("inject = [\"@7\"]\nread = [\"@8\"]").may_connect(), MayConnect::Anybody);
        assert_eq!(policy("inject = [\"7\"]").may_connect(), MayConnect::Anybody);
    }

    #[test]
    fn who_is_not_there_is_told_by_name() {
        let refusal = |text: &str| AccessPolicy::of(&toml::from_str(text).unwrap()).unwrap_err();
        assert_eq!(refusal("read = [\"no-such-user\"]"), "there is no user 'no-such-user' here");
        assert_eq!(refusal("read = [\"@no-such-group\"]"), "there is no group 'no-such-group' here");
    }
}
