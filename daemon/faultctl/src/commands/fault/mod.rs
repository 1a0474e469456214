//! `faultctl fault`: puts faults on targets, shows those that hold, takes them away.

mod add;
mod plan;
mod together;

use std::time::Duration;

use clap::{Args, Subcommand};
use faultd_api::{
    dictionary,
    fault::{Direction, FaultRequest, FaultStatus},
    proxy::ManagerProxy,
    units::{duration_text, nanoseconds, parse_duration},
};
use schemars::JsonSchema;
use serde::Serialize;

use self::add::AddArguments;
pub(super) use self::plan::plans_table;
use super::{
    decode_all,
    several::{self, Hosts},
};
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    fault_flags::FaultFlags,
    fault_report,
    output::{Format, or_dash, say, table},
    process_report,
};

#[derive(Debug, Subcommand)]
pub(crate) enum FaultVerb {
    /// Makes targets slow or lossy, or pauses them, all of them or none: for a time (--for), until the faults are removed
    /// (--detach), or until Ctrl-C. It always waits until the kernel has confirmed the fault.
    #[command(
        after_help = "Examples:\n  faultctl fault add etcd0 --delay 50ms --jitter 5ms --for 30s\n  faultctl fault add shop/web shop/db --loss 5% --to cache:6379 --for 1m\n  faultctl fault add label:tier=back --random 2 --rate 10mbit --detach\n  faultctl fault add web --pause 200ms --pause-every 1s --for 30s\n  faultctl fault add web --partition --dry-run"
    )]
    Add(Box<AddArguments>),
    /// The faults that hold, with what the kernel counted.
    #[command(after_help = "Examples:\n  faultctl fault ls\n  faultctl fault ls -o json")]
    Ls,
    /// One fault: what was asked for against what was measured.
    #[command(after_help = "Examples:\n  faultctl fault show f1")]
    Show {
        /// The fault's id, as `fault ls` shows it.
        id: String,
    },
    /// Changes a fault in place, without losing a packet: what is not given stays.
    #[command(
        after_help = "Examples:\n  faultctl fault set f1 --delay 100ms\n  faultctl fault set f1 --for 5m"
    )]
    Set(Box<SetArguments>),
    /// Removes one fault.
    #[command(after_help = "Examples:\n  faultctl fault rm f1")]
    Rm {
        /// The fault's id, as `fault ls` shows it.
        id: String,
    },
    /// Removes the faults of one target, or all, at once and without asking. All are removed ahead of whatever the
    /// daemon is busy with, and faults that wait to be added are refused.
    #[command(after_help = "Examples:\n  faultctl fault clear --all\n  faultctl fault clear etcd0")]
    Clear {
        /// A target's name, as for `fault add` [default: all targets].
        target: Option<String>,
        /// The faults of all targets.
        #[arg(long, conflicts_with = "target")]
        all: bool,
    },
}

/// What was removed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Cleared {
    /// How many faults.
    count: u32,
    /// The faults with what they did; missing where those of one target were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<Vec<FaultStatus>>,
}

#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// The fault's id, as `fault ls` shows it.
    id: String,
    #[command(flatten)]
    fault: FaultFlags,
    /// Ends by itself after this time from now: 30s, 2m [default: as it was].
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    hold_for: Option<Duration>,
}

pub(crate) async fn fault(verb: FaultVerb, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    match verb {
        FaultVerb::Add(arguments) => add::add(&arguments, bus, output).await,
        FaultVerb::Ls => list(&bus.connect().await?, output).await,
        FaultVerb::Show { id } => {
            let fault = dictionary::decode(bus.connect().await?.show_fault(&id).await?)?;
            output.one("fault", &fault, fault_report::text)
        }
        FaultVerb::Set(arguments) => set(&arguments, &bus.connect().await?, output).await,
        FaultVerb::Rm { id } => {
            bus.connect().await?.remove_fault(&id).await?;
            output.done("fault-removed", "id", id.as_str().into(), &format!("fault {id} is removed"))
        }
        FaultVerb::Clear { target, all: _ } => clear(target.as_deref(), bus, output).await,
    }
}

/// What can be asked of several machines at once.
///
/// # Errors
/// When it is another verb, or one of the machines fails; what the others answered is printed then.
pub(crate) async fn on_each(verb: FaultVerb, hosts: &Hosts, output: Format) -> Result<(), CommandError> {
    match verb {
        FaultVerb::Add(arguments) => together::add(&arguments, hosts, output).await,
        FaultVerb::Ls => {
            let ask = async |manager: &ManagerProxy<'static>| Ok(decode_all(manager.list_faults().await?)?);
            hosts.ask(ask).await.show("fault", output, HEADER, row)
        }
        FaultVerb::Clear { target, all: _ } => {
            let clear = async |manager: &ManagerProxy<'static>| {
                Ok(vec![Cleared::by(manager, target.as_deref()).await?])
            };
            hosts.ask(clear).await.show("host", output, ["REMOVED"], |cleared| [cleared.count.to_string()])
        }
        FaultVerb::Show { .. } | FaultVerb::Set(_) | FaultVerb::Rm { .. } => Err(several::only_one()),
    }
}

impl Cleared {
    /// Removes the faults of a target, or all.
    async fn by(manager: &ManagerProxy<'_>, target: Option<&str>) -> Result<Self, CommandError> {
        if let Some(target) = target {
            return Ok(Self { count: manager.clear_faults(target).await?, faults: None });
        }
        let faults: Vec<FaultStatus> = decode_all(manager.clear_all_faults().await?)?;
        Ok(Self { count: u32::try_from(faults.len()).unwrap_or(u32::MAX), faults: Some(faults) })
    }
}

/// Removes the faults of a target, or all, and prints what was removed.
async fn clear(target: Option<&str>, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let cleared = Cleared::by(&bus.connect().await?, target).await?;
    let Cleared { count, faults } = &cleared;
    if output != Format::Table {
        return output.one("faults-cleared", &cleared, |_| String::new());
    }
    if let Some(faults) = faults.as_ref().filter(|faults| !faults.is_empty()) {
        output.many("fault", faults, faults_table)?;
    }
    say(&format!("{count} {} removed", if *count == 1 { "fault is" } else { "faults are" }));
    Ok(())
}

/// Asks for the fault as it is, with what the flags change.
async fn set(
    arguments: &SetArguments,
    manager: &ManagerProxy<'_>,
    output: Format,
) -> Result<(), CommandError> {
    let SetArguments { id, fault, hold_for } = arguments;
    let now: FaultStatus = dictionary::decode(manager.show_fault(id).await?)?;
    let request = FaultRequest {
        target: now.target,
        network: now.network,
        delay_ns: now.delay_ns,
        loss_ratio: now.loss_ratio,
        shape: now.shape,
        direction: now.direction.unwrap_or_default(),
        backend: fault.backend.unwrap_or_default(),
        hold_for_ns: hold_for.map(nanoseconds).or(now.remaining_ns),
        begin_at_ns: None,
        seed: Some(now.seed),
        detach: true,
    };
    let changed = manager.set_fault(id, dictionary::encode(&fault.change(request)?)?).await?;
    let changed = dictionary::decode(changed)?;
    output.one("fault", &changed, |fault: &FaultStatus| faults_table(std::slice::from_ref(fault)))
}

async fn list(manager: &ManagerProxy<'_>, output: Format) -> Result<(), CommandError> {
    let faults: Vec<FaultStatus> = decode_all(manager.list_faults().await?)?;
    output.many("fault", &faults, faults_table)
}

fn faults_table(faults: &[FaultStatus]) -> String {
    table(HEADER, faults.iter().map(row))
}

const HEADER: [&str; 13] = [
    "ID",
    "TARGET",
    "FAULT",
    "DIRECTION",
    "BACKEND",
    "INTERFACE",
    "LEFT",
    "STATE",
    "MATCHED",
    "DELAYED",
    "DROPPED",
    "STOOD STILL",
    "RUN",
];

fn row(fault: &FaultStatus) -> [String; 13] {
    // A fault on processes counts no packets.
    let count = |packets: u64| or_dash(fault.processes.is_none().then_some(packets));
    [
        fault.id.clone(),
        fault.target.clone(),
        fault.text.clone(),
        or_dash(fault.direction.map(Direction::text)),
        fault.backend.clone(),
        or_dash(Some(&fault.interface).filter(|interface| !interface.is_empty())),
        or_dash(fault.remaining_ns.map(remaining_text)),
        fault.state.clone(),
        count(fault.packets.matched),
        count(fault.packets.delayed),
        count(fault.packets.dropped),
        or_dash(fault.processes.as_ref().map(process_report::in_short)),
        or_dash(fault.run.as_ref()),
    ]
}

/// To a tenth of a second: the rest has changed before it is read.
fn remaining_text(nanoseconds: u64) -> String {
    const TENTH: u64 = 100_000_000;
    if nanoseconds < TENTH { "0s".to_owned() } else { duration_text(nanoseconds / TENTH * TENTH) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_shown_in_tenths() {
        assert_eq!(remaining_text(12_345_678_901), "12.3s");
        assert_eq!(remaining_text(60_000_000_001), "1m");
        assert_eq!(remaining_text(99_999_999), "0s");
    }
}
