//! `faultctl fault add`: a fault on each of the targets that were asked for, or on none of them.

use std::time::Duration;

use clap::Args;
use faultd_api::{
    dictionary,
    error::Error,
    fault::{FaultRequest, FaultStatus},
    proxy::ManagerProxy,
    target::{SelectRequest, SelectedTargets},
    units::{nanoseconds, parse_duration},
};
use futures_util::future::join_all;

use super::{decode_all, faults_table, plan};
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    fault_flags::FaultFlags,
    flag_values::parse_count,
    interrupt::Interrupts,
    output::{Format, say},
};

/// How often a fault in the foreground is looked for.
pub(super) const LOOK_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// Lab hosts (etcd/etcd0, or etcd0 where that is clear), containers by name, by the beginning of their id,
    /// as PROJECT/SERVICE of compose, label:KEY, label:KEY=VALUE, image:REF or re:REGEX; netns/NAME, pid/N,
    /// interface/NAME.
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Only so many of the targets, chosen at random; --seed makes the same choice again.
    #[arg(long, value_name = "COUNT", value_parser = parse_count, allow_hyphen_values = true)]
    random: Option<u64>,
    /// Only packets of this network of a container [default: of all its networks].
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    #[command(flatten)]
    fault: FaultFlags,
    /// Ends by itself after this time: 30s, 2m.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    hold_for: Option<Duration>,
    /// Returns at once and leaves the fault in place until it is removed.
    #[arg(long)]
    detach: bool,
    /// Says what would be done, and whether the policy allows it, and changes nothing.
    #[arg(long, conflicts_with = "detach")]
    pub(super) dry_run: bool,
}

/// A fault with an end of its own, or one that was detached, outlives this process. Any other
/// belongs to this connection: it is held here, and the daemon removes it when the connection closes,
/// however that comes about.
pub(super) async fn add(
    arguments: &AddArguments,
    bus: &BusAddress,
    output: Format,
) -> Result<(), CommandError> {
    let request = to_request(arguments)?;
    let mut interrupts = Interrupts::catch()?;
    let manager = tokio::select! {
        manager = bus.connect() => manager?,
        () = interrupts.next() => return Err(CommandError::Interrupted),
    };
    if arguments.dry_run {
        return plan::show(&manager, &targets(&manager, arguments).await?, &request, output).await;
    }
    let added = tokio::select! {
        added = add_to_all(&manager, arguments, &request) => added?,
        () = interrupts.next() => return Err(CommandError::Interrupted),
    };
    match added.as_slice() {
        [only] => output.one("fault", only, |fault: &FaultStatus| faults_table(std::slice::from_ref(fault))),
        several => output.many("fault", several, faults_table),
    }?;
    if request.detach {
        return Ok(());
    }
    hold(&manager, added.into_iter().map(|fault| fault.id).collect(), &mut interrupts).await
}

async fn add_to_all(
    manager: &ManagerProxy<'_>,
    arguments: &AddArguments,
    request: &FaultRequest,
) -> Result<Vec<FaultStatus>, CommandError> {
    let targets = targets(manager, arguments).await?;
    // Each of them waits for the kernel: together they wait less.
    let add = |target| add_one(manager, FaultRequest { target, ..request.clone() });
    let added = join_all(targets.into_iter().map(add)).await;
    let (added, refused): (Vec<_>, Vec<_>) = added.into_iter().partition(Result::is_ok);
    let added: Vec<FaultStatus> = added.into_iter().flatten().collect();
    match refused.into_iter().find_map(Result::err) {
        None => Ok(added),
        Some(refusal) => {
            remove_all(manager, added.iter().map(|fault| fault.id.as_str())).await;
            Err(refusal)
        }
    }
}

pub(super) async fn add_one(
    manager: &ManagerProxy<'_>,
    request: FaultRequest,
) -> Result<FaultStatus, CommandError> {
    Ok(dictionary::decode(manager.add_fault(dictionary::encode(&request)?).await?)?)
}

/// What was added goes when another target is refused. What has gone by itself is as good as removed.
pub(super) async fn remove_all(manager: &ManagerProxy<'_>, ids: impl Iterator<Item = &str>) {
    let remove = async |id| (id, manager.remove_fault(id).await);
    for (id, removed) in join_all(ids.map(remove)).await {
        match removed {
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(error) => say(&format!("fault {id} is still there: {}", error.message())),
        }
    }
}

/// The targets that are meant, by their full names.
pub(super) async fn targets(
    manager: &ManagerProxy<'_>,
    arguments: &AddArguments,
) -> Result<Vec<String>, CommandError> {
    let AddArguments { targets, random, fault, .. } = arguments;
    if let ([only], None) = (targets.as_slice(), random)
        && !only.contains([':', '/'])
    {
        return Ok(vec![only.clone()]);
    }
    let options = SelectRequest { random: *random, seed: random.and(fault.seed) };
    let selectors: Vec<&str> = targets.iter().map(String::as_str).collect();
    let selected = manager.select_targets(&selectors, dictionary::encode(&options)?).await?;
    let selected: SelectedTargets = dictionary::decode(selected)?;
    if let Some(seed) = selected.seed {
        let SelectedTargets { targets, among, .. } = &selected;
        say(&format!("chose {} of {among} with --seed {seed}: {}", targets.len(), targets.join(", ")));
    }
    Ok(selected.targets)
}

/// The request but for its target.
pub(super) fn to_request(arguments: &AddArguments) -> Result<FaultRequest, CommandError> {
    let AddArguments { network, fault, hold_for, detach, .. } = arguments;
    if !fault.has_fault() {
        return Err(CommandError::Usage(
            "no fault is described: give --delay, --loss, --rate or another (--help shows all)".to_owned(),
        ));
    }
    Ok(FaultRequest {
        target: String::new(),
        network: network.clone(),
        delay_ns: fault.delay_ns(),
        loss_ratio: fault.loss_ratio(),
        shape: fault.shape()?,
        direction: fault.direction(),
        backend: fault.backend.unwrap_or_default(),
        hold_for_ns: hold_for.map(nanoseconds),
        begin_at_ns: None,
        seed: fault.seed,
        detach: *detach || hold_for.is_some(),
    })
}

/// Waits for Ctrl-C and removes the faults; ends early when they or the daemon are gone.
async fn hold(
    manager: &ManagerProxy<'_>,
    mut ids: Vec<String>,
    interrupts: &mut Interrupts,
) -> Result<(), CommandError> {
    let hold = if ids.len() == 1 { "holds" } else { "hold" };
    let faults = named(&ids);
    say(&format!("{faults} {hold} until Ctrl-C; --for gives an end, --detach leaves in place"));
    loop {
        tokio::select! {
            () = interrupts.next() => break,
            () = tokio::time::sleep(LOOK_AFTER) => {}
        }
        let faults: Vec<FaultStatus> = decode_all(manager.list_faults().await?)?;
        let (here, gone): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| faults.iter().any(|fault| fault.id == *id));
        ids = here;
        if !gone.is_empty() {
            say(&format!("{} removed from elsewhere", were(&gone)));
        }
        if ids.is_empty() {
            return Ok(());
        }
    }
    end_held(manager, &ids).await?;
    say(&format!("{} removed", are(&ids)));
    Err(CommandError::Interrupted)
}

/// Removes faults that belong to our connection. Ctrl-C may have ended what carries it, and them with it.
pub(super) async fn end_held(manager: &ManagerProxy<'_>, ids: &[String]) -> Result<(), CommandError> {
    for id in ids {
        match manager.remove_fault(id).await {
            Ok(()) | Err(Error::ZBus(zbus::Error::InputOutput(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) fn named(ids: &[String]) -> String {
    format!("{} {}", if ids.len() == 1 { "fault" } else { "faults" }, ids.join(", "))
}

pub(super) fn were(ids: &[String]) -> String {
    format!("{} {}", named(ids), if ids.len() == 1 { "was" } else { "were" })
}

fn are(ids: &[String]) -> String {
    format!("{} {}", named(ids), if ids.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        cli::{Cli, Noun},
        commands::fault::FaultVerb,
    };

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
    fn a_fault_on_processes_travels_and_has_no_direction() {
        let pause = request("web --pause 200ms --pause-every 1s --for 5s").unwrap();
        assert_eq!(pause.shape.pause_ns, Some(200_000_000));
        assert_eq!(pause.shape.pause_every_ns, Some(1_000_000_000));
        assert_eq!(request("web --cpus 0.2").unwrap().shape.cpus, Some(0.2));
        for wrong in [
            "--pause 1ms --cpus 0.2",
            "--pause 1ms --direction egress",
            "--cpus 0.2 --direction egress",
            "--cpus x",
            "--cpus 0",
            "--cpus -1",
            "--pause 0s",
        ] {
            let words = ["faultctl", "fault", "add", "web"].into_iter().chain(wrong.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{wrong}");
        }
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
}
