//! Labs: clusters that the daemon itself runs in network namespaces, no container engine needed.
//!
//! ```text
//! cluster.toml ─▶ description ─▶ record (on disk) ─▶ hosts (namespaces, veth, processes) ─▶ serving
//!                                      │
//!                                      └─▶ after a restart: adopted when whole, removed when not
//! ```

mod adopt;
mod bring_up;
mod connector;
pub(crate) mod description;
mod hosts;
pub(crate) mod record;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use faultd_api::{
    lab::{LabStatus, MemberStatus},
    target::TargetStatus,
};
use faultd_kernel::{
    control_group::{GroupOwner, own},
    datapath::{InterfaceReference, TargetSide},
    journal::{Journal, JournalError},
    namespace::NamespaceError,
    netlink::NetlinkError,
    process::ProcessIdentity,
};
use tokio::sync::watch;

pub(crate) use self::adopt::{recorded_name, remove_recorded};
pub(crate) use self::hosts::{processes_in, processes_in_group};
pub use self::{adopt::recover, description::DescriptionError};
use self::{
    description::LabDescription,
    record::{LabRecord, LabRecords},
};
use crate::{
    cluster::{Cluster, RoleObserver, role_text},
    error_chain,
    plugins::Plugins,
    target::{ResolvedTarget, TargetProcesses},
};

/// Why a lab is not up, or not down.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The description is wrong.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// A lab of that name is there, or is being made or removed.
    #[error(
        "lab '{0}' is up already, or on its way up or down; give the second one another name with --name"
    )]
    Busy(String),
    /// No lab of that name.
    #[error("no lab is named '{0}'; see 'faultctl lab status'")]
    NotFound(String),
    /// Somebody else has namespaces of these names.
    #[error(
        "namespace {0} exists already and is not ours: another faultd may run this lab; use --name for another one"
    )]
    Foreign(String),
    /// The kernel refused a namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel refused an interface or address.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// What is about to be made cannot be written down, so nothing was.
    #[error("{}", error_chain(.0))]
    Journal(#[from] JournalError),
    /// A directory cannot be made.
    #[error("{}: {source}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A member's program cannot be started.
    #[error("{member} did not start: {reason}{hint}")]
    Start {
        /// The member's name.
        member: String,
        /// Why.
        reason: String,
        /// How to get the program.
        hint: String,
    },
    /// The driver plugin cannot be used.
    #[error(transparent)]
    Plugin(#[from] crate::plugins::PluginProblem),
    /// The cluster did not come up in time.
    #[error("lab '{name}' does not serve after {seconds} s: {reason}")]
    NotServing {
        /// The lab's name.
        name: String,
        /// How long was waited.
        seconds: u64,
        /// What the members said last.
        reason: String,
    },
    /// A member's program ended instead of serving.
    #[error("lab '{name}' does not come up: {reason}")]
    MemberEnded {
        /// The lab's name.
        name: String,
        /// Which member, where its log is, and how that ends.
        reason: String,
    },
    /// Something that was made is not there.
    #[error("the lab is not whole: {0}")]
    Incomplete(String),
    /// Not everything could be removed.
    #[error("not everything of lab '{name}' could be removed: {}; try 'faultctl lab down {name}' again", failures.join("; "))]
    Traces {
        /// The lab's name.
        name: String,
        /// What is left.
        failures: Vec<String>,
    },
}

/// The tmpfs that every Linux has, for members that keep their data in memory.
pub(crate) const MEMORY_DIRECTORY: &str = "/dev/shm";

/// All labs of this daemon; clones share them.
#[derive(Clone)]
pub struct Labs {
    shared: Arc<Shared>,
}

struct Shared {
    /// A std mutex: held for map access only, never across an await.
    labs: Mutex<BTreeMap<String, Slot>>,
    /// Counts changes, for those who look on.
    changes: watch::Sender<u64>,
    records: LabRecords,
    /// For members that keep their data on disk.
    labs_directory: PathBuf,
    logs_directory: PathBuf,
    plugins: Plugins,
}

enum Slot {
    /// On its way up or down: the name is taken.
    Changing,
    Up(Arc<Lab>),
}

/// What is known of a lab without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabFacts {
    /// Its name.
    pub name: String,
    /// The driver plugin that speaks to the cluster.
    pub driver: String,
    /// The namespace of its switch, as `ip netns` shows it.
    pub namespace: String,
    /// The full names of its hosts.
    pub hosts: Vec<String>,
}

/// A lab that is up.
pub struct Lab {
    description: LabDescription,
    record: LabRecord,
    cluster: Cluster,
}

impl Labs {
    /// No labs yet; logs and data go below `state_directory`.
    #[must_use]
    pub fn new(state_directory: &Path, journal: Journal, plugins: Plugins) -> Self {
        let shared = Shared {
            labs: Mutex::default(),
            changes: watch::Sender::default(),
            records: LabRecords::in_journal(journal),
            labs_directory: state_directory.join("labs"),
            logs_directory: state_directory.join("logs"),
            plugins,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The cluster of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn cluster(&self, name: &str) -> Result<Cluster, LabError> {
        Ok(self.lab(name)?.cluster.clone())
    }

    /// Hears when a lab has come up or gone down.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// The labs that are up; nobody is asked for that.
    #[must_use]
    pub fn facts(&self) -> Vec<LabFacts> {
        let facts = |lab: Arc<Lab>| LabFacts {
            name: lab.cluster.name.clone(),
            driver: lab.cluster.driver.clone(),
            namespace: lab.record.switch_namespace.clone(),
            hosts: lab.cluster.members.iter().map(|member| member.target.name.clone()).collect(),
        };
        self.all().into_iter().map(facts).collect()
    }

    /// What one lab is doing, its members asked for their roles.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn status_of(&self, name: &str) -> Result<LabStatus, LabError> {
        let lab = self.lab(name)?;
        Ok(self.status(&lab).await)
    }

    /// The names of the labs that are up.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.all().into_iter().map(|lab| lab.cluster.name.clone()).collect()
    }

    /// The hosts that a full (`etcd/etcd0`) or short (`etcd0`) name could mean.
    #[must_use]
    pub fn hosts_named(&self, name: &str) -> Vec<ResolvedTarget> {
        let members = self.all().into_iter().flat_map(|lab| lab.cluster.members.clone());
        members
            .filter(|member| member.target.name == name || member.name == name)
            .map(|member| member.target)
            .collect()
    }

    /// All hosts, as targets.
    #[must_use]
    pub fn target_statuses(&self) -> Vec<TargetStatus> {
        let members = self.all().into_iter().flat_map(|lab| lab.cluster.members.clone());
        members
            .map(|member| TargetStatus {
                name: member.target.name.clone(),
                kind: "lab".to_owned(),
                addresses: vec![member.endpoint.ip().to_string()],
                interface: member.target.interfaces.first().map(|interface| interface.name.clone()),
                ..TargetStatus::default()
            })
            .collect()
    }

    /// The namespaces of all labs that have a record, also of those on their way up or down.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let of_record = |record: LabRecord| {
            let members = record.members.into_iter().map(|member| member.namespace);
            members.chain([record.switch_namespace]).collect::<Vec<_>>()
        };
        self.shared.records.all().into_iter().flat_map(of_record).collect()
    }

    /// What every lab is doing, its members asked for their roles.
    pub async fn statuses(&self) -> Vec<LabStatus> {
        let mut statuses = Vec::new();
        for lab in self.all() {
            statuses.push(self.status(&lab).await);
        }
        statuses
    }

    /// Takes a lab down.
    ///
    /// # Errors
    /// When there is no such lab, or something of it could not be removed.
    pub async fn down(&self, name: &str) -> Result<(), LabError> {
        let lab = self.begin_going_down(name)?;
        let failures = self.remove(lab.record.clone()).await;
        if failures.is_empty() {
            self.set(name, None);
            return Ok(());
        }
        // It stays listed, so that taking it down can be tried again.
        self.set(name, Some(Slot::Up(lab)));
        Err(LabError::Traces { name: name.to_owned(), failures })
    }

    /// Removes everything that a record names, and the record itself once nothing is left.
    async fn remove(&self, record: LabRecord) -> Vec<String> {
        let records = self.shared.records.clone();
        let removed = tokio::task::spawn_blocking(move || records.tear_down(&record));
        removed.await.unwrap_or_else(|error| vec![error.to_string()])
    }

    async fn status(&self, lab: &Lab) -> LabStatus {
        // A cluster that cannot be asked has unknown roles: that is its status.
        let (roles, has_roles) = match self.shared.plugins.driver(&lab.cluster.driver).await {
            Ok(driver) => {
                let has_roles = driver.facts().manifest.roles;
                let mut observer = RoleObserver::new(lab.cluster.clone(), driver);
                (observer.roles().await.unwrap_or_default(), has_roles)
            }
            Err(_) => (Vec::new(), true),
        };
        let role_of = |name: &str| {
            roles
                .iter()
                .find(|role| role.member == name)
                .map_or("unknown", |role| role_text(role.role))
                .to_owned()
        };
        let members: Vec<MemberStatus> = lab
            .cluster
            .members
            .iter()
            .zip(&lab.record.members)
            .map(|(member, record)| MemberStatus {
                name: member.name.clone(),
                address: member.endpoint.ip().to_string(),
                endpoint: member.endpoint.to_string(),
                role: role_of(&member.name),
                process: if is_running(record) { "running" } else { "ended" }.to_owned(),
                pid: record.process.map_or(0, |process| process.pid.into()),
                namespace: record.namespace.clone(),
                log: record.log.display().to_string(),
            })
            .collect();
        LabStatus {
            name: lab.description.name.clone(),
            driver: lab.cluster.driver.clone(),
            state: lab_state(&members, has_roles).to_owned(),
            namespace: lab.record.switch_namespace.clone(),
            members,
        }
    }

    fn all(&self) -> Vec<Arc<Lab>> {
        let labs = self.shared.labs.lock().unwrap_or_else(PoisonError::into_inner);
        let up = |slot: &Slot| if let Slot::Up(lab) = slot { Some(Arc::clone(lab)) } else { None };
        labs.values().filter_map(up).collect()
    }

    fn lab(&self, name: &str) -> Result<Arc<Lab>, LabError> {
        let labs = self.shared.labs.lock().unwrap_or_else(PoisonError::into_inner);
        match labs.get(name) {
            Some(Slot::Up(lab)) => Ok(Arc::clone(lab)),
            Some(Slot::Changing) => Err(LabError::Busy(name.to_owned())),
            None => Err(LabError::NotFound(name.to_owned())),
        }
    }

    /// From here on the lab cannot be used, and nobody else can take it down.
    fn begin_going_down(&self, name: &str) -> Result<Arc<Lab>, LabError> {
        let mut labs = self.shared.labs.lock().unwrap_or_else(PoisonError::into_inner);
        match labs.get_mut(name).map(|slot| std::mem::replace(slot, Slot::Changing)) {
            Some(Slot::Up(lab)) => Ok(lab),
            Some(Slot::Changing) => Err(LabError::Busy(name.to_owned())),
            None => Err(LabError::NotFound(name.to_owned())),
        }
    }

    fn set(&self, name: &str, slot: Option<Slot>) {
        let mut labs = self.shared.labs.lock().unwrap_or_else(PoisonError::into_inner);
        match slot {
            Some(slot) => labs.insert(name.to_owned(), slot),
            None => labs.remove(name),
        };
        drop(labs);
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    /// Takes a name, if nobody has it.
    fn reserve(&self, name: &str) -> Result<(), LabError> {
        let mut labs = self.shared.labs.lock().unwrap_or_else(PoisonError::into_inner);
        if labs.contains_key(name) {
            return Err(LabError::Busy(name.to_owned()));
        }
        labs.insert(name.to_owned(), Slot::Changing);
        Ok(())
    }
}

fn is_running(member: &record::MemberRecord) -> bool {
    member.process.is_some_and(|process| ProcessIdentity::from(process).is_alive())
}

fn lab_state(members: &[MemberStatus], has_roles: bool) -> &'static str {
    let running = members.iter().filter(|member| member.process == "running").count();
    let led = members.iter().any(|member| member.role == "leader");
    if running == 0 {
        "down"
    } else if running == members.len() && (led || !has_roles) {
        "serving"
    } else {
        "degraded"
    }
}

/// The processes of a host, which were started in a control group of their own where that could be made.
fn processes_of(lab: &str, host: &record::MemberRecord) -> Option<TargetProcesses> {
    let owner = GroupOwner::Ours { path: own::path_of(lab, &host.name) };
    host.process.map(|process| TargetProcesses { first: process.into(), owner })
}

/// The cluster that a lab is, for runs.
fn cluster_of(description: &LabDescription, record: &LabRecord) -> Result<Cluster, LabError> {
    let interfaces = hosts::switch_interfaces(record)?;
    let switch = faultd_kernel::namespace::Namespace::open_named(&record.switch_namespace)?;
    let members = description.members.iter().zip(interfaces).zip(&record.members);
    let members = members.map(|((member, (namespace, link)), of_record)| {
        let target = TargetSide::Beyond;
        let interface = InterfaceReference { namespace, index: link.index, name: link.name, target };
        let name = format!("{}/{}", description.name, member.name);
        crate::cluster::ClusterMember {
            name: member.name.clone(),
            endpoint: (member.address, member.client_port).into(),
            target: ResolvedTarget {
                name,
                interfaces: vec![interface],
                addresses: vec![member.address],
                shares_host: false,
                container: None,
                processes: processes_of(&description.name, of_record),
            },
        }
    });
    Ok(Cluster {
        name: description.name.clone(),
        driver: description.driver.clone(),
        members: members.collect(),
        connector: Arc::new(connector::LabConnector::new(switch)),
        storage: match description.storage {
            description::Storage::Memory => "memory",
            description::Storage::Disk => "disk",
        }
        .to_owned(),
    })
}
