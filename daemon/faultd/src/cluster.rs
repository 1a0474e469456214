//! A system under test as runs see it: members, how to reach them, who leads.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use faultd_plugin_host::{
    ClientOptions, Connector, DriverClient, DriverPlugin, Member, MemberRole, PluginError, Role,
};
use tokio::time::timeout;

use crate::target::ResolvedTarget;

/// How long the members may take to answer who leads.
const ROLES_WITHIN: Duration = Duration::from_secs(5);
/// How long one member may take.
const ROLE_WITHIN: Duration = Duration::from_secs(1);

/// A cluster that can be put under load and under fault.
#[derive(Clone)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// The driver plugin that speaks to it.
    pub driver: String,
    /// Its members, in the order of the description.
    pub members: Vec<ClusterMember>,
    /// Opens connections to members, and to nobody else.
    pub connector: Arc<dyn Connector>,
    /// Where its data lies, for the record: `memory` or `disk`.
    pub storage: String,
}

/// One member of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterMember {
    /// Its name.
    pub name: String,
    /// Where clients connect to.
    pub endpoint: SocketAddr,
    /// What a fault on it would be applied to.
    pub target: ResolvedTarget,
}

/// How the clients of a run use a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Number of keys.
    pub keys: u64,
    /// Size of a value, in bytes.
    pub value_bytes: u32,
    /// An operation that takes longer is a time-out.
    pub operation_timeout: Duration,
    /// Settings of the driver, name and value.
    pub settings: Vec<(String, String)>,
}

/// Roles cannot be told, or no member has the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The driver could not ask.
    #[error("cluster '{cluster}' does not say who leads: {reason}")]
    Unknown {
        /// The cluster's name.
        cluster: String,
        /// What went wrong.
        reason: String,
    },
    /// Nobody has that role, or no member has that name.
    #[error("cluster '{cluster}' has no {asked}: its members are {members}")]
    NoSuchMember {
        /// The cluster's name.
        cluster: String,
        /// The role or name that was asked for.
        asked: String,
        /// Members with their roles.
        members: String,
    },
}

impl Cluster {
    /// A client of the driver that is served by the member at a position.
    ///
    /// # Errors
    /// When the driver refuses the cluster or the workload.
    pub async fn client(
        &self,
        driver: &DriverPlugin,
        serving: usize,
        seed: u64,
        workload: &Workload,
    ) -> Result<DriverClient, PluginError> {
        let member = |member: &ClusterMember| Member { name: member.name.clone(), address: member.endpoint };
        let options = ClientOptions {
            members: self.members.iter().map(member).collect(),
            serving,
            keys: workload.keys,
            value_bytes: workload.value_bytes,
            settings: workload.settings.clone(),
            seed,
            operation_timeout: workload.operation_timeout,
            connector: Arc::clone(&self.connector),
        };
        driver.client(options).await
    }

    /// The full names of its members as targets.
    #[must_use]
    pub fn target_names(&self) -> BTreeSet<String> {
        self.members.iter().map(|member| member.target.name.clone()).collect()
    }

    /// The member that a role or name stands for. Of several followers it is the first in the order
    /// of the description, so that a repeated run means the same member when roles are the same.
    /// `follower:serving` is one of those at `serving`, which serve the clients, `follower:other` is not; where
    /// members have no roles, these are `member:serving` and `member:other`, and `member` is the first one.
    ///
    /// # Errors
    /// When nobody has that role or name.
    pub fn member(
        &self,
        asked: &str,
        roles: &[MemberRole],
        serving: &[usize],
    ) -> Result<(&ClusterMember, Role), RoleError> {
        let role_of = |name: &str| {
            roles.iter().find(|role| role.member == name).map_or(Role::Unknown, |role| role.role)
        };
        let wanted = Asked::of(asked);
        let is_asked = |(position, member): &(usize, &ClusterMember)| match wanted {
            Asked::Role { role, serves } => {
                role.is_none_or(|role| role_of(&member.name) == role)
                    && serves.is_none_or(|serves| serves == serving.contains(position))
            }
            Asked::Name(name) => member.name == name || member.target.name == name,
        };
        let found = self.members.iter().enumerate().find(is_asked);
        found.map(|(_, member)| (member, role_of(&member.name))).ok_or_else(|| {
            let described = |(position, member): (usize, &ClusterMember)| {
                let serves = if serving.contains(&position) { ", serving" } else { "" };
                format!("{} ({}{serves})", member.name, role_text(role_of(&member.name)))
            };
            RoleError::NoSuchMember {
                cluster: self.name.clone(),
                asked: asked.to_owned(),
                members: self.members.iter().enumerate().map(described).collect::<Vec<_>>().join(", "),
            }
        })
    }
}

/// Whom a word of a run stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked<'a> {
    /// Who has the role, or any if none is said, and does or does not serve the clients if that is said.
    Role { role: Option<Role>, serves: Option<bool> },
    /// Who is called so.
    Name(&'a str),
}

impl<'a> Asked<'a> {
    fn of(asked: &'a str) -> Self {
        let (role, serves) = match asked.split_once(':') {
            Some((role, "serving")) => (role, Some(true)),
            Some((role, "other")) => (role, Some(false)),
            Some(_) => return Self::Name(asked),
            None => (asked, None),
        };
        match role {
            "leader" => Self::Role { role: Some(Role::Leader), serves },
            "follower" => Self::Role { role: Some(Role::Follower), serves },
            "member" => Self::Role { role: None, serves },
            _ => Self::Name(asked),
        }
    }
}

/// A role as it is written everywhere.
#[must_use]
pub fn role_text(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Unknown => "unknown",
    }
}

/// Asks a cluster for its roles, over and over; it produces no load.
pub struct RoleObserver {
    cluster: Cluster,
    driver: Arc<DriverPlugin>,
    settings: Vec<(String, String)>,
    /// None before the first question, and after one that was given up: such a client is spent.
    client: Option<DriverClient>,
}

impl RoleObserver {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(cluster: Cluster, driver: Arc<DriverPlugin>) -> Self {
        Self { cluster, driver, settings: Vec::new(), client: None }
    }

    /// The same with settings of the driver, such as how it is to speak to the cluster.
    #[must_use]
    pub fn with_settings(self, settings: Vec<(String, String)>) -> Self {
        Self { settings, ..self }
    }

    /// Asks the cluster who leads and who follows.
    ///
    /// # Errors
    /// When no member can say it in time.
    pub async fn roles(&mut self) -> Result<Vec<MemberRole>, RoleError> {
        let cluster = self.cluster.name.clone();
        let unknown = |reason: String| RoleError::Unknown { cluster: cluster.clone(), reason };
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.new_client().await.map_err(|error| unknown(error.to_string()))?,
        };
        match timeout(ROLES_WITHIN, client.roles()).await {
            Ok(Ok(roles)) => {
                self.client = Some(client);
                Ok(roles)
            }
            Ok(Err(error)) => Err(unknown(error.to_string())),
            Err(_) => Err(unknown(format!("no answer within {} s", ROLES_WITHIN.as_secs()))),
        }
    }

    async fn new_client(&mut self) -> Result<DriverClient, PluginError> {
        let settings = self.settings.clone();
        let workload = Workload { keys: 1, value_bytes: 1, operation_timeout: ROLE_WITHIN, settings };
        self.cluster.client(&self.driver, 0, 0, &workload).await
    }
}

#[cfg(test)]
mod tests {
    use faultd_plugin_host::ConnectFuture;

    use super::*;

    struct Nobody;

    impl Connector for Nobody {
        fn connect(&self, _address: SocketAddr) -> ConnectFuture {
            Box::pin(async { Err(std::io::ErrorKind::AddrNotAvailable.into()) })
        }
    }

    fn cluster() -> Cluster {
        let member = |name: &str| ClusterMember {
            name: name.to_owned(),
            endpoint: ([10, 0, 0, 1], 2379).into(),
            target: ResolvedTarget {
                name: format!("lab/{name}"),
                interfaces: Vec::new(),
                addresses: Vec::new(),
                shares_host: false,
                container: None,
                processes: None,
            },
        };
        Cluster {
            name: "lab".to_owned(),
            driver: "etcd-kv".to_owned(),
            members: ["a", "b", "c"].map(member).into(),
            connector: Arc::new(Nobody),
            storage: "memory".to_owned(),
        }
    }

    #[test]
    fn a_follower_that_serves_the_clients_is_not_one_that_does_not() {
        let cluster = cluster();
        let roles = [("a", Role::Follower), ("b", Role::Leader), ("c", Role::Follower)]
            .map(|(member, role)| MemberRole { member: member.to_owned(), role });
        let found = |asked: &str, serving: &[usize]| {
            cluster.member(asked, &roles, serving).map(|(member, _)| member.name.clone())
        };
        for (asked, serving, expected) in [
            ("leader", &[][..], "b"),
            ("follower", &[2], "a"),
            ("follower:serving", &[2], "c"),
            ("follower:other", &[0, 1], "c"),
            ("leader:serving", &[0, 1, 2], "b"),
            ("lab/c", &[], "c"),
            ("member:serving", &[2], "c"),
            ("member:other", &[0], "b"),
            ("member", &[], "a"),
        ] {
            assert_eq!(found(asked, serving).unwrap(), expected, "{asked} {serving:?}");
        }
        let nobody = found("follower:other", &[0, 1, 2]).unwrap_err().to_string();
        let members = "its members are a (follower, serving), b (leader, serving), c (follower, serving)";
        assert_eq!(nobody, format!("cluster 'lab' has no follower:other: {members}"));
        assert!(found("follower:slow", &[0]).is_err());
    }
}
