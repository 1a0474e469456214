//! `faultctl fault`: puts faults on targets, shows those that hold, takes them away.

use std::time::Duration;

use clap::{Args, Subcommand};
use faultd_api::{
    dictionary,
    fault::{FaultRequest, FaultStatus},
    proxy::ManagerProxy,
    units::{duration_text, nanoseconds, parse_duration},
};

use super::decode_all;
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    fault_flags::FaultFlags,
    fault_report,
    interrupt::Interrupts,
    output::{Format, or_dash, say, table},
};

/// How often a fault in the foreground is looked for.
const LOOK_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum FaultVerb {
    /// Makes a target slow or lossy: for a time (--for), until it is removed (--detach), or until
    /// Ctrl-C.
    Add(Box<AddArguments>),
    /// The faults that hold, with what the kernel counted.
    Ls,
    /// One fault: what was asked for against what was measured.
    Show {
        /// The fault's id, as `fault ls` shows it.
        id: String,
    },
    /// Changes a fault in place, without losing a packet: what is not given stays.
    Set(Box<SetArguments>),
    /// Removes one fault.
    Rm {
        /// The fault's id, as `fault ls` shows it.
        id: String,
    },
    /// Removes the faults of one target, or all.
    Clear {
        /// A target's name, as for `fault add`.
        target: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// A lab host (etcd/etcd0, or etcd0 where that is clear), a container's name, netns/NAME, pid/N or
    /// interface/NAME.
    target: String,
    #[command(flatten)]
    fault: FaultFlags,
    /// Ends by itself after this time: 30s, 2m.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    hold_for: Option<Duration>,
    /// Returns at once and leaves the fault in place until it is removed.
    #[arg(long)]
    detach: bool,
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
        FaultVerb::Add(arguments) => add(&arguments, bus, output).await,
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
        FaultVerb::Clear { target } => {
            let count = bus.connect().await?.clear_faults(target.as_deref().unwrap_or_default()).await?;
            let faults = if count == 1 { "fault is" } else { "faults are" };
            output.done("faults-cleared", "count", count.into(), &format!("{count} {faults} removed"))
        }
    }
}

/// A fault with an end of its own, or one that was detached, outlives this process. Any other
/// belongs to this connection: it is held here, and the daemon removes it when the connection closes,
/// however that comes about.
async fn add(arguments: &AddArguments, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let request = to_request(arguments)?;
    let mut interrupts = Interrupts::catch()?;
    let manager = bus.connect().await?;
    let added = tokio::select! {
        added = manager.add_fault(dictionary::encode(&request)?) => dictionary::decode(added?)?,
        () = interrupts.next() => return Err(CommandError::Interrupted),
    };
    output.one("fault", &added, |fault: &FaultStatus| faults_table(std::slice::from_ref(fault)))?;
    if request.detach { Ok(()) } else { hold(&manager, &added.id, &mut interrupts).await }
}

fn to_request(arguments: &AddArguments) -> Result<FaultRequest, CommandError> {
    let AddArguments { target, fault, hold_for, detach } = arguments;
    if !fault.has_fault() {
        return Err(CommandError::Usage(
            "no fault is described: give --delay, --loss, --rate or another (--help shows all)".to_owned(),
        ));
    }
    Ok(FaultRequest {
        target: target.clone(),
        delay_ns: fault.delay_ns(),
        loss_ratio: fault.loss_ratio(),
        shape: fault.shape()?,
        direction: fault.direction(),
        backend: fault.backend.unwrap_or_default(),
        hold_for_ns: hold_for.map(nanoseconds),
        seed: fault.seed,
        detach: *detach || hold_for.is_some(),
    })
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
        delay_ns: now.delay_ns,
        loss_ratio: now.loss_ratio,
        shape: now.shape,
        direction: now.direction,
        backend: fault.backend.unwrap_or_default(),
        hold_for_ns: hold_for.map(nanoseconds).or(now.remaining_ns),
        seed: Some(now.seed),
        detach: true,
    };
    let changed = manager.set_fault(id, dictionary::encode(&fault.change(request)?)?).await?;
    let changed = dictionary::decode(changed)?;
    output.one("fault", &changed, |fault: &FaultStatus| faults_table(std::slice::from_ref(fault)))
}

/// Waits for Ctrl-C and removes the fault; ends early when the fault or the daemon is gone.
async fn hold(manager: &ManagerProxy<'_>, id: &str, interrupts: &mut Interrupts) -> Result<(), CommandError> {
    say(&format!("fault {id} holds until Ctrl-C; --for gives it an end, --detach leaves it in place"));
    loop {
        tokio::select! {
            () = interrupts.next() => break,
            () = tokio::time::sleep(LOOK_AFTER) => {}
        }
        let faults: Vec<FaultStatus> = decode_all(manager.list_faults().await?)?;
        if !faults.iter().any(|fault| fault.id == id) {
            say(&format!("fault {id} was removed from elsewhere"));
            return Ok(());
        }
    }
    manager.remove_fault(id).await?;
    say(&format!("fault {id} is removed"));
    Err(CommandError::Interrupted)
}

async fn list(manager: &ManagerProxy<'_>, output: Format) -> Result<(), CommandError> {
    let faults: Vec<FaultStatus> = decode_all(manager.list_faults().await?)?;
    output.many("fault", &faults, faults_table)
}

fn faults_table(faults: &[FaultStatus]) -> String {
    let header = [
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
        "RUN",
    ];
    table(header, faults.iter().map(row))
}

fn row(fault: &FaultStatus) -> [String; 12] {
    [
        fault.id.clone(),
        fault.target.clone(),
        fault.text.clone(),
        fault.direction.text().to_owned(),
        fault.backend.clone(),
        fault.interface.clone(),
        or_dash(fault.remaining_ns.map(remaining_text)),
        fault.state.clone(),
        fault.packets.matched.to_string(),
        fault.packets.delayed.to_string(),
        fault.packets.dropped.to_string(),
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
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Noun};

    fn request(words: &str) -> Result<FaultRequest, CommandError> {
        let words = ["faultctl", "fault", "add"].into_iter().chain(words.split(' '));
        match Cli::try_parse_from(words).unwrap().noun {
            Noun::Fault(FaultVerb::Add(arguments)) => to_request(&arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fault_with_an_end_of_its_own_does_not_need_this_connection() {
        let with_end = request("web --delay 50ms --loss 5% --for 30s").unwrap();
        assert!(with_end.detach);
        assert_eq!(with_end.delay_ns, Some(50_000_000));
        assert_eq!(with_end.loss_ratio, Some(0.05));
        assert_eq!(with_end.hold_for_ns, Some(30_000_000_000));
        assert!(!request("web --delay 50ms").unwrap().detach);
        assert!(request("web --delay 50ms --detach").unwrap().detach);
    }

    #[test]
    fn direction_backend_and_seed_travel_as_given() {
        let request = request("web --loss 5% --direction both --backend netem --seed 7").unwrap();
        assert_eq!(request.direction, faultd_api::fault::Direction::Both);
        assert_eq!(request.backend, faultd_api::fault::Backend::Netem);
        assert_eq!(request.seed, Some(7));
    }

    #[test]
    fn a_fault_without_delay_and_loss_is_none() {
        let error = request("web --for 30s").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no fault is described: give --delay, --loss, --rate or another (--help shows all)"
        );
    }

    #[test]
    fn a_partition_is_full_loss_both_ways() {
        let both = request("web --partition --to db:5432,10.0.0.0/8 --for 5s").unwrap();
        assert_eq!((both.loss_ratio, both.direction), (Some(1.0), faultd_api::fault::Direction::Both));
        assert_eq!(both.shape.to, ["db:5432", "10.0.0.0/8"]);
        let one_way = request("web --partition --direction ingress --for 5s").unwrap();
        assert_eq!(one_way.direction, faultd_api::fault::Direction::Ingress);
    }

    #[test]
    fn everything_that_shapes_a_fault_travels() {
        let words = "web --delay 50ms --jitter 5ms --distribution pareto --rate 10mbit --duplicate 1% \
                     --corrupt 2% --corrupt-kind silent --port 2379 --proto tcp --priority 3 --unit skb --for 1s";
        let shape = request(words).unwrap().shape;
        assert_eq!((shape.jitter_ns, shape.rate_bytes_per_second), (Some(5_000_000), Some(1_250_000)));
        assert_eq!(shape.corrupt_kind, faultd_api::shape::CorruptKind::Silent);
        assert_eq!((shape.port.as_deref(), shape.protocol.as_deref()), (Some("2379"), Some("tcp")));
        assert_eq!((shape.priority, shape.unit), (3, faultd_api::shape::Unit::Skb));
    }

    #[test]
    fn the_time_left_is_shown_in_tenths() {
        assert_eq!(remaining_text(12_345_678_901), "12.3s");
        assert_eq!(remaining_text(60_000_000_001), "1m");
        assert_eq!(remaining_text(99_999_999), "0s");
    }
}
