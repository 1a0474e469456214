//! `faultctl -H … -H … fault add`: the same faults on several machines, from the same moment on, or on none of them.

use std::{
    iter::once,
    time::{Duration, Instant},
};

use faultd_api::{
    dictionary,
    fault::{FaultPlan, FaultRequest, FaultStatus},
    proxy::ManagerProxy,
    units::nanoseconds,
};
use futures_util::future::join_all;
use serde::Serialize;

use super::{
    HEADER,
    add::{AddArguments, LOOK_AFTER, add_one, end_held, remove_all, targets, to_request, were},
    decode_all, plan, row,
};
use crate::{
    command_error::CommandError,
    commands::several::{Hosts, OnHost, host_table},
    interrupt::Interrupts,
    output::{Format, or_dash, say, wide_table},
    remote::{ClockOffset, ask_for_the_time, lead, now_ns},
};

/// A machine on which everything has been looked at and nothing been changed.
struct Machine {
    host: String,
    manager: ManagerProxy<'static>,
    /// Of the daemon's monotonic clock against ours.
    clock: ClockOffset,
    plans: Vec<FaultPlan>,
    /// How long it took to look.
    looked: Duration,
}

/// All of them.
struct Together {
    machines: Vec<Machine>,
}

/// A fault that holds, with how far its begin was from the moment that was meant.
#[derive(Debug, Serialize)]
struct BegunFault {
    #[serde(flatten)]
    fault: FaultStatus,
    /// On the clock of its host; above zero it was late.
    begin_offset_ns: Option<i64>,
    /// By how much the moment itself may have been another one on that clock.
    begin_uncertainty_ns: u64,
}

type Begun = Vec<OnHost<BegunFault>>;

pub(super) async fn add(arguments: &AddArguments, hosts: &Hosts, output: Format) -> Result<(), CommandError> {
    let request = to_request(arguments)?;
    let mut interrupts = Interrupts::catch()?;
    let together = tokio::select! {
        together = Together::look(hosts, arguments, &request) => together?,
        () = interrupts.next() => return Err(CommandError::Interrupted),
    };
    if arguments.dry_run {
        let plan_on = |machine: Machine| {
            let host = machine.host;
            machine.plans.into_iter().map(move |value| OnHost { host: host.clone(), value })
        };
        let plans: Vec<_> = together.machines.into_iter().flat_map(plan_on).collect();
        return output.many("plan", &plans, |plans| host_table(plan::HEADER, plans, plan::row));
    }
    let begun = together.begin_or_clear(&request, &mut interrupts).await?;
    output.many("fault", &begun, begun_table)?;
    if request.detach {
        return Ok(());
    }
    together.hold(begun, &mut interrupts).await
}

impl Together {
    /// Connects, finds the targets, has the faults planned, and asks for the time, everywhere at once.
    async fn look(
        hosts: &Hosts,
        arguments: &AddArguments,
        request: &FaultRequest,
    ) -> Result<Self, CommandError> {
        let connected = hosts.connect().await?;
        let look = async |(host, manager): (String, ManagerProxy<'static>)| {
            let looked_at = look(&manager, arguments, request).await;
            let (clock, plans, looked) = looked_at.map_err(|error| CommandError::on_host(&host, error))?;
            Ok(Machine { host, manager, clock, plans, looked })
        };
        let machines: Vec<Result<Machine, CommandError>> = join_all(connected.into_iter().map(look)).await;
        Ok(Self { machines: machines.into_iter().collect::<Result<_, _>>()? })
    }

    /// Begins; an interrupt meanwhile waits until it is known what there is to be removed.
    async fn begin_or_clear(
        &self,
        request: &FaultRequest,
        interrupts: &mut Interrupts,
    ) -> Result<Begun, CommandError> {
        let mut beginning = std::pin::pin!(self.begin(request));
        tokio::select! {
            begun = &mut beginning => return begun,
            () = interrupts.next() => {}
        }
        self.remove(&beginning.await?).await;
        Err(CommandError::Interrupted)
    }

    /// Has every fault begin at one moment; with one that is refused, none is left.
    async fn begin(&self, request: &FaultRequest) -> Result<Begun, CommandError> {
        let round_trips = self.machines.iter().map(|machine| machine.clock.round_trip());
        let looked = self.machines.iter().map(|machine| machine.looked).max().unwrap_or_default();
        let moment_ns = now_ns().saturating_add(nanoseconds(lead(round_trips, looked)));
        let each =
            self.machines.iter().flat_map(|machine| machine.plans.iter().map(move |plan| (machine, plan)));
        let begin =
            async |(machine, plan): (&Machine, &FaultPlan)| machine.begin(plan, request, moment_ns).await;
        let (begun, refused): (Vec<_>, Vec<_>) =
            join_all(each.map(begin)).await.into_iter().partition(Result::is_ok);
        let begun: Begun = begun.into_iter().flatten().collect();
        match refused.into_iter().find_map(Result::err) {
            None => Ok(begun),
            Some(refusal) => {
                self.remove(&begun).await;
                Err(refusal)
            }
        }
    }

    /// Each machine with the ids of its faults.
    fn ids<'a>(&'a self, begun: &'a Begun) -> impl Iterator<Item = (&'a Machine, Vec<String>)> {
        self.machines.iter().map(|machine| {
            let here = begun.iter().filter(|on| on.host == machine.host);
            (machine, here.map(|on| on.value.fault.id.clone()).collect())
        })
    }

    async fn remove(&self, begun: &Begun) {
        let remove = async |(machine, ids): (&Machine, Vec<String>)| {
            remove_all(&machine.manager, ids.iter().map(String::as_str)).await;
        };
        join_all(self.ids(begun).map(remove)).await;
    }

    /// Waits for Ctrl-C and removes the faults everywhere at once; ends early when they are gone. Where a machine is lost
    /// its faults are, and the others do not go on without it.
    async fn hold(&self, mut begun: Begun, interrupts: &mut Interrupts) -> Result<(), CommandError> {
        say("the faults hold until Ctrl-C; --for gives an end, --detach leaves in place");
        let ended = loop {
            tokio::select! {
                () = interrupts.next() => break CommandError::Interrupted,
                () = tokio::time::sleep(LOOK_AFTER) => {}
            }
            match self.look_again(&mut begun).await {
                Ok(()) if begun.is_empty() => return Ok(()),
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        let end = async |(machine, ids): (&Machine, Vec<String>)| {
            let ended = end_held(&machine.manager, &ids).await;
            ended.map_err(|error| CommandError::on_host(&machine.host, error))
        };
        let failed = join_all(self.ids(&begun).map(end)).await.into_iter().find_map(Result::err);
        if failed.is_none() {
            say("all faults are removed");
        }
        match (ended, failed) {
            (CommandError::Interrupted, Some(failed)) => Err(failed),
            (ended, _) => Err(ended),
        }
    }

    /// Leaves those that still hold.
    async fn look_again(&self, begun: &mut Begun) -> Result<(), CommandError> {
        for machine in &self.machines {
            let faults =
                machine.faults().await.map_err(|error| CommandError::on_host(&machine.host, error))?;
            let has_gone = |on: &mut OnHost<BegunFault>| {
                on.host == machine.host && !faults.iter().any(|fault| fault.id == on.value.fault.id)
            };
            let gone: Vec<String> = begun.extract_if(.., has_gone).map(|on| on.value.fault.id).collect();
            if !gone.is_empty() {
                say(&format!("{}: {} removed from elsewhere", machine.host, were(&gone)));
            }
        }
        Ok(())
    }
}

impl Machine {
    async fn begin(
        &self,
        plan: &FaultPlan,
        request: &FaultRequest,
        moment_ns: u64,
    ) -> Result<OnHost<BegunFault>, CommandError> {
        let begin_at_ns = self.clock.there(moment_ns);
        let target = plan.target.clone();
        let request = FaultRequest { target, begin_at_ns: Some(begin_at_ns), ..request.clone() };
        let fault = add_one(&self.manager, request).await;
        let fault = fault.map_err(|error| CommandError::on_host(&self.host, error))?;
        let begin_offset_ns = fault.begun_ns.and_then(|begun_ns| difference(begun_ns, begin_at_ns));
        let begin_uncertainty_ns = self.clock.uncertainty_ns();
        Ok(OnHost {
            host: self.host.clone(),
            value: BegunFault { fault, begin_offset_ns, begin_uncertainty_ns },
        })
    }

    async fn faults(&self) -> Result<Vec<FaultStatus>, CommandError> {
        Ok(decode_all(self.manager.list_faults().await?)?)
    }
}

/// What there is to be known of a machine before anything is changed.
async fn look(
    manager: &ManagerProxy<'_>,
    arguments: &AddArguments,
    request: &FaultRequest,
) -> Result<(ClockOffset, Vec<FaultPlan>, Duration), CommandError> {
    let begin = Instant::now();
    let mut plans: Vec<FaultPlan> = Vec::new();
    for target in targets(manager, arguments).await? {
        let request = FaultRequest { target, ..request.clone() };
        plans.push(dictionary::decode(manager.plan_fault(dictionary::encode(&request)?).await?)?);
    }
    let looked = begin.elapsed();
    Ok((ask_for_the_time(manager).await?, plans, looked))
}

fn difference(one: u64, other: u64) -> Option<i64> {
    i64::try_from(i128::from(one) - i128::from(other)).ok()
}

fn begun_table(begun: &[OnHost<BegunFault>]) -> String {
    let rows = begun
        .iter()
        .map(|on| once(on.host.clone()).chain(once(began_text(&on.value))).chain(row(&on.value.fault)));
    wide_table(once("HOST").chain(once("BEGAN")).chain(HEADER), rows)
}

/// In milliseconds from the moment that was meant.
fn began_text(begun: &BegunFault) -> String {
    const NS_OF_A_MS: f64 = 1e6;
    #[expect(clippy::cast_precision_loss, reason = "for people: three digits are shown")]
    let ms = |ns: i64| ns as f64 / NS_OF_A_MS;
    let uncertainty = ms(i64::try_from(begun.begin_uncertainty_ns).unwrap_or(i64::MAX));
    let offset = or_dash(begun.begin_offset_ns.map(|offset| format!("{:+.3}ms", ms(offset))));
    format!("{offset} ±{uncertainty:.3}ms")
}
