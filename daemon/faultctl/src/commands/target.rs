//! `faultctl target`: what a fault can be applied to.

use clap::Subcommand;
use faultd_api::{proxy::ManagerProxy, target::TargetStatus};

use super::{decode_all, several::Hosts};
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    output::{Format, or_dash, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum TargetVerb {
    /// Lab hosts, containers, namespaces and interfaces that can be named.
    #[command(after_help = "Examples:\n  faultctl target ls\n  faultctl target ls -o jsonl")]
    Ls,
}

pub(crate) async fn target(verb: TargetVerb, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let TargetVerb::Ls = verb;
    let targets: Vec<TargetStatus> = decode_all(bus.connect().await?.list_targets().await?)?;
    output.many("target", &targets, |targets| table(HEADER, targets.iter().map(row)))
}

/// The targets of several machines.
pub(crate) async fn on_each(hosts: &Hosts, output: Format) -> Result<(), CommandError> {
    let answers = hosts
        .ask(async |manager: &ManagerProxy<'static>| Ok(decode_all(manager.list_targets().await?)?))
        .await;
    answers.show("target", output, HEADER, row)
}

const HEADER: [&str; 11] = [
    "NAME",
    "KIND",
    "SERVICE",
    "IMAGE",
    "ID",
    "STATE",
    "LABELS",
    "ADDRESSES",
    "INTERFACE",
    "BACKEND",
    "PROBLEM",
];

fn row(target: &TargetStatus) -> [String; 11] {
    [
        target.name.clone(),
        target.kind.clone(),
        or_dash(target.service.as_ref()),
        or_dash(target.image.as_ref()),
        or_dash(target.id.as_ref()),
        or_dash(target.state.as_ref()),
        target.labels.join(" "),
        target.addresses.join(" "),
        or_dash(target.interface.as_ref()),
        or_dash(target.backend.as_ref()),
        or_dash(target.problem.as_ref()),
    ]
}
