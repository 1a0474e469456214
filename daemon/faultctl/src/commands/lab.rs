//! `faultctl lab`: clusters that the daemon starts itself, in network namespaces.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use faultd_api::{
    dictionary,
    lab::{LabRequest, LabStatus, MemberStatus},
    proxy::ManagerProxy,
};
use serde::Deserialize;

use super::decode_all;
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    output::{Format, say, table},
};

/// The file that describes a cluster.
const DESCRIPTION_FILE: &str = "cluster.toml";
const NO_LAB: &str = "no lab is up: 'faultctl lab up workloads/etcd' starts one";
/// Where the clusters that ship with faultd are described.
const WORKLOADS_DIRECTORY: &str = "workloads";

#[derive(Debug, Subcommand)]
pub(crate) enum LabVerb {
    /// Starts a cluster and waits until it serves.
    #[command(
        after_help = "Examples:\n  faultctl lab up workloads/etcd\n  faultctl lab up etcd --name second"
    )]
    Up {
        /// A directory with a cluster.toml, the file itself, or a name: etcd means workloads/etcd.
        #[arg(value_name = "PATH|NAME")]
        description: PathBuf,
        /// Another name than the description's, so that two labs of one description can be up.
        #[arg(long)]
        name: Option<String>,
    },
    /// The labs that are up, their members and roles.
    #[command(after_help = "Examples:\n  faultctl lab status\n  faultctl lab status etcd -o json")]
    Status {
        /// The lab's name, or the directory that it was started from.
        name: Option<String>,
    },
    /// Takes a lab down without a trace.
    #[command(after_help = "Examples:\n  faultctl lab down\n  faultctl lab down etcd")]
    Down {
        /// The lab's name, or the directory that it was started from; needless where only one is up.
        name: Option<String>,
    },
}

pub(crate) async fn lab(verb: LabVerb, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    match verb {
        LabVerb::Up { description, name } => up(&description, name, bus, output).await,
        LabVerb::Status { name } => status(name.as_deref(), bus, output).await,
        LabVerb::Down { name } => down(name.as_deref(), bus, output).await,
    }
}

async fn up(path: &Path, name: Option<String>, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let (file, description) = read_description(path)?;
    let manager = bus.connect().await?;
    say(&format!("bringing up the lab of {} and waiting until it serves", file.display()));
    let request = dictionary::encode(&LabRequest { description, name, folder: folder_of(&file) })?;
    let lab: LabStatus = dictionary::decode(manager.lab_up(request).await?)?;
    output.one("lab", &lab, lab_text)
}

async fn status(name: Option<&str>, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let labs = list(&bus.connect().await?).await?;
    match name {
        Some(name) => output.one("lab", find(name, &labs)?, lab_text),
        None => output.many("lab", &labs, |labs| labs.iter().map(lab_text).collect::<Vec<_>>().join("\n\n")),
    }
}

async fn down(name: Option<&str>, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let manager = bus.connect().await?;
    let labs = list(&manager).await?;
    let lab = match name {
        Some(name) => find(name, &labs)?,
        None => the_only(&labs)?,
    };
    manager.lab_down(&lab.name).await?;
    output.done("lab-down", "name", lab.name.as_str().into(), &format!("lab {} is down", lab.name))
}

async fn list(manager: &ManagerProxy<'_>) -> Result<Vec<LabStatus>, CommandError> {
    Ok(decode_all(manager.list_labs().await?)?)
}

/// Reads the description that `path` names, and answers where it was found.
fn read_description(path: &Path) -> Result<(PathBuf, String), CommandError> {
    let file = description_file(path).ok_or_else(|| {
        CommandError::NotFound(format!(
            "no cluster is described at {}: name a directory with a {DESCRIPTION_FILE}, or the file",
            path.display()
        ))
    })?;
    let failed =
        |source: io::Error| CommandError::File { action: format!("read {}", file.display()), source };
    let text = std::fs::read_to_string(&file).map_err(failed)?;
    Ok((file, text))
}

/// The directory of a description, in full: the daemon has another working directory.
fn folder_of(file: &Path) -> Option<String> {
    let folder = std::path::absolute(file).ok()?.parent()?.to_owned();
    folder.into_os_string().into_string().ok()
}

fn description_file(path: &Path) -> Option<PathBuf> {
    let candidates = [
        path.to_owned(),
        path.join(DESCRIPTION_FILE),
        Path::new(WORKLOADS_DIRECTORY).join(path).join(DESCRIPTION_FILE),
    ];
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// The lab of that name, or the one that the description at that path names.
fn find<'a>(name: &str, labs: &'a [LabStatus]) -> Result<&'a LabStatus, CommandError> {
    let named = |name: &str| labs.iter().find(|lab| lab.name == name);
    if let Some(lab) = named(name).or_else(|| named(&described_name(Path::new(name))?)) {
        return Ok(lab);
    }
    Err(CommandError::NotFound(format!("no lab '{name}' is up; {}", those_that_are_up(labs))))
}

fn the_only(labs: &[LabStatus]) -> Result<&LabStatus, CommandError> {
    match labs {
        [lab] => Ok(lab),
        [] => Err(CommandError::NotFound(NO_LAB.to_owned())),
        _ => Err(CommandError::Usage(format!("say which lab: {}", those_that_are_up(labs)))),
    }
}

fn those_that_are_up(labs: &[LabStatus]) -> String {
    let names: Vec<&str> = labs.iter().map(|lab| lab.name.as_str()).collect();
    if names.is_empty() {
        "none is up, and 'faultctl lab up workloads/etcd' starts one".to_owned()
    } else {
        format!("up: {}", names.join(", "))
    }
}

/// The name in a description; everything else in it is the daemon's business.
fn described_name(path: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Description {
        name: String,
    }
    let (_, text) = read_description(path).ok()?;
    toml::from_str(&text).ok().map(|description: Description| description.name)
}

fn lab_text(lab: &LabStatus) -> String {
    let header = ["MEMBER", "ROLE", "ADDRESS", "ENDPOINT", "PROCESS", "PID", "NAMESPACE", "LOG"];
    let members = table(header, lab.members.iter().map(row));
    format!(
        "lab {}: {} (driver {}, switch in namespace {})\n{members}",
        lab.name, lab.state, lab.driver, lab.namespace
    )
}

fn row(member: &MemberStatus) -> [String; 8] {
    let MemberStatus { name, address, endpoint, role, process, pid, namespace, log } = member.clone();
    [name, role, address, endpoint, process, pid.to_string(), namespace, log]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(name: &str) -> LabStatus {
        LabStatus {
            name: name.into(),
            driver: "etcd-kv".into(),
            state: "serving".into(),
            namespace: format!("faultd-{name}"),
            members: Vec::new(),
        }
    }

    #[test]
    fn the_only_lab_needs_no_name_and_several_are_listed() {
        assert_eq!(the_only(&[lab("a")]).unwrap().name, "a");
        assert_eq!(
            the_only(&[]).unwrap_err().to_string(),
            "no lab is up: 'faultctl lab up workloads/etcd' starts one"
        );
        assert_eq!(the_only(&[lab("a"), lab("b")]).unwrap_err().to_string(), "say which lab: up: a, b");
    }

    #[test]
    fn a_lab_is_found_by_its_name_or_by_its_description() {
        let directory = std::env::temp_dir().join(format!("faultctl-lab-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join(DESCRIPTION_FILE);
        std::fs::write(&file, "name = \"b\"\n[other]\nkey = 1\n").unwrap();
        let labs = [lab("a"), lab("b")];
        for name in ["b", directory.to_str().unwrap(), file.to_str().unwrap()] {
            assert_eq!(find(name, &labs).unwrap().name, "b");
        }
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(find("c", &labs).unwrap_err().to_string(), "no lab 'c' is up; up: a, b");
    }

    #[test]
    fn the_folder_of_a_description_is_told_in_full() {
        assert_eq!(folder_of(Path::new("/workloads/etcd/cluster.toml")).unwrap(), "/workloads/etcd");
        let here = std::env::current_dir().unwrap();
        assert_eq!(folder_of(Path::new("cluster.toml")).unwrap(), here.to_str().unwrap());
    }

    #[test]
    fn a_path_without_description_is_told_in_one_line() {
        let error = read_description(Path::new("/nowhere/etcd")).unwrap_err().to_string();
        assert!(error.starts_with("no cluster is described at /nowhere/etcd: name a directory"), "{error}");
    }
}
