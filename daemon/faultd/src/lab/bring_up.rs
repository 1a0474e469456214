//! Bringing a lab up: record first, then hosts, then processes, then wait until it serves.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use faultd_api::lab::{LabRequest, LabStatus};
use faultd_kernel::{control_group::own, kill_points, namespace};
use faultd_plugin_host::Role;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Lab, LabError, Labs, MEMORY_DIRECTORY, Slot, cluster_of,
    description::{Directories, LabDescription, Storage},
    hosts, is_running,
    record::{LabRecord, MemberRecord},
};
use crate::cluster::{Cluster, RoleObserver};

/// How often the members are asked whether they serve.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long a member may take to accept a connection.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(1);
/// How much of a member's log is shown when it does not come up.
const LOG_TAIL_BYTES: usize = 300;

impl Labs {
    /// Brings a lab up and waits until it serves.
    ///
    /// # Errors
    /// When the description is wrong, the name is taken, the host lacks something, or the cluster
    /// does not serve in time; nothing is left behind then, the members' logs apart.
    pub async fn up(&self, request: &LabRequest) -> Result<LabStatus, LabError> {
        let description = LabDescription::parse(&request.description, request.name.as_deref())?;
        // A driver that cannot be loaded is found out before anything is made.
        self.shared.plugins.driver(&description.driver).await?;
        self.reserve(&description.name)?;
        match self.bring_up(&description, request).await {
            Ok(lab) => {
                let lab = Arc::new(lab);
                self.set(&description.name, Some(Slot::Up(Arc::clone(&lab))));
                Ok(self.status(&lab).await)
            }
            Err(error) => {
                self.set(&description.name, None);
                Err(error)
            }
        }
    }

    async fn bring_up(&self, description: &LabDescription, request: &LabRequest) -> Result<Lab, LabError> {
        let record = self.new_record(description, &request.description);
        refuse_foreign(&record)?;
        match self.build_and_wait(description, request.folder.clone(), record.clone()).await {
            Ok(lab) => Ok(lab),
            Err(error) => {
                // Only what is written down knows the processes that were started.
                let as_far = self.shared.records.find(&record.name).unwrap_or(record);
                for failure in self.remove(as_far).await {
                    tracing::error!(lab = description.name, failure, "clean-up failed");
                }
                self.shared.records.give_up(&description.name);
                Err(error)
            }
        }
    }

    async fn build_and_wait(
        &self,
        description: &LabDescription,
        folder: Option<String>,
        record: LabRecord,
    ) -> Result<Lab, LabError> {
        let (labs, of_build) = (self.clone(), description.clone());
        let built = tokio::task::spawn_blocking(move || labs.build(&of_build, folder.as_deref(), record));
        let mut record = built.await.map_err(|error| LabError::Incomplete(error.to_string()))??;
        let cluster = cluster_of(description, &record)?;
        self.wait_until_serving(description, &record, &cluster).await?;
        kill_points::here("lab.up.serves");
        record.served = true;
        self.shared.records.write(&record)?;
        kill_points::here("lab.up.done");
        tracing::info!(lab = description.name, members = record.members.len(), "lab is up");
        Ok(Lab { description: description.clone(), record, cluster })
    }

    fn build(
        &self,
        description: &LabDescription,
        folder: Option<&str>,
        mut record: LabRecord,
    ) -> Result<LabRecord, LabError> {
        self.shared.records.write(&record)?;
        kill_points::here("lab.up.recorded");
        hosts::build_network(description, &record)?;
        kill_points::here("lab.up.network");
        for (position, member) in description.members.iter().enumerate() {
            let Some(of_record) = record.members.get_mut(position) else { continue };
            if let Some(directory) = of_record.log.parent() {
                make_directory(directory)?;
            }
            keep_old_log(&of_record.log);
            hosts::make_control_groups(of_record);
            let data = record.data_directory.join(&member.name);
            let directories = Directories { data: &data, folder };
            let install = description.install.as_deref();
            let process = hosts::start_member(member, of_record, directories, install)?;
            kill_points::here("lab.up.member");
            of_record.process = Some(process.into());
            self.shared.records.write(&record)?;
        }
        Ok(record)
    }

    async fn wait_until_serving(
        &self,
        description: &LabDescription,
        record: &LabRecord,
        cluster: &Cluster,
    ) -> Result<(), LabError> {
        let driver = self.shared.plugins.driver(&description.driver).await?;
        let has_roles = driver.facts().manifest.roles;
        let mut observer = RoleObserver::new(cluster.clone(), driver);
        let deadline = Instant::now() + description.ready_within;
        let mut reason;
        loop {
            let missing = if has_roles {
                missing_roles(&mut observer, cluster.members.len()).await
            } else {
                silent_members(cluster).await
            };
            match missing {
                None => return Ok(()),
                Some(missing) => reason = missing,
            }
            if let Some(ended) = record.members.iter().find(|member| !is_running(member)) {
                return Err(LabError::MemberEnded {
                    name: description.name.clone(),
                    reason: last_words(ended),
                });
            }
            if Instant::now() >= deadline {
                let seconds = description.ready_within.as_secs();
                return Err(LabError::NotServing { name: description.name.clone(), seconds, reason });
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn new_record(&self, description: &LabDescription, text: &str) -> LabRecord {
        let name = &description.name;
        let members = description.members.iter().map(|member| MemberRecord {
            name: member.name.clone(),
            namespace: format!("faultd-{name}-{}", member.name),
            process: None,
            log: self.shared.logs_directory.join(name).join(format!("{}.log", member.name)),
            control_groups: own::directories_of(&own::path_of(name, &member.name)),
        });
        LabRecord {
            name: name.clone(),
            description: text.to_owned(),
            switch_namespace: format!("faultd-{name}"),
            members: members.collect(),
            data_directory: match description.storage {
                Storage::Memory => PathBuf::from(MEMORY_DIRECTORY).join(format!("faultd-{name}")),
                Storage::Disk => self.shared.labs_directory.join(name),
            },
            served: false,
        }
    }
}

/// What is missing until every member says its role, and one that it leads.
async fn missing_roles(observer: &mut RoleObserver, members: usize) -> Option<String> {
    match observer.roles().await {
        Ok(roles) => {
            let known = roles.iter().filter(|role| role.role != Role::Unknown).count();
            let unknown = members.saturating_sub(known);
            let led = roles.iter().any(|role| role.role == Role::Leader);
            let led_text = if led { "one leads" } else { "nobody leads" };
            (unknown > 0 || !led).then(|| format!("{unknown} members do not answer, {led_text}"))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Who does not accept connections yet, where members have no roles.
async fn silent_members(cluster: &Cluster) -> Option<String> {
    let mut silent = Vec::new();
    for member in &cluster.members {
        let accepted = timeout(ACCEPTS_WITHIN, cluster.connector.connect(member.endpoint)).await;
        if !matches!(accepted, Ok(Ok(_))) {
            silent.push(member.name.as_str());
        }
    }
    (!silent.is_empty()).then(|| format!("no connection is accepted by {}", silent.join(", ")))
}

/// What has the name of a part of this lab and is not in a record of ours belongs to somebody else.
fn refuse_foreign(record: &LabRecord) -> Result<(), LabError> {
    let known = namespace::list_named();
    let ours = record.members.iter().map(|member| &member.namespace).chain([&record.switch_namespace]);
    match ours.into_iter().find(|name| known.contains(name)) {
        Some(name) => Err(LabError::Foreign(name.clone())),
        None => Ok(()),
    }
}

fn make_directory(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path).map_err(|source| LabError::Directory { path: path.to_owned(), source })
}

/// How the log of a member whose process has ended begins and ends, in one line: programs say what is
/// wrong with their arguments first, and what went wrong later last.
fn last_words(member: &MemberRecord) -> String {
    let log = fs::read(&member.log).unwrap_or_default();
    let end = log.get(log.len().saturating_sub(LOG_TAIL_BYTES)..).unwrap_or_default();
    let end = String::from_utf8_lossy(end).trim().replace('\n', " | ");
    let begin = String::from_utf8_lossy(log.get(..LOG_TAIL_BYTES.min(log.len())).unwrap_or_default());
    let begin = begin.lines().next().unwrap_or_default();
    format!("{} has ended; {} begins: {begin}; and ends: {end}", member.name, member.log.display())
}

/// A log is that of one life: an earlier one is kept beside it.
fn keep_old_log(log: &Path) {
    let mut old = log.as_os_str().to_owned();
    old.push(".old");
    // Most often there is none.
    let _ = fs::rename(log, old);
}
