//! `faultctl run --also-on`: the fault of a run on targets of other machines, for the same time. The run and its load are
//! the local daemon's; what became of the faults elsewhere is told to it for its events.

use std::time::Duration;

use faultd_api::{
    dictionary,
    fault::{FaultPlan, FaultRequest, FaultStatus},
    proxy::{ManagerProxy, RunProxy},
    run::{RemoteFaultNote, RunRequest},
};
use futures_util::future::join_all;
use tokio::{sync::watch, time::sleep};

use super::{decode_all, several::OnHost};
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    output::say,
    remote::{ClockOffset, Remote, ask_for_the_time, now_ns},
    run_flags::AlsoOn,
};

/// The clocks are asked that long before the fault begins: late, since they drift, and in time to make all ready.
const ASKED_BEFORE: Duration = Duration::from_millis(1500);
/// How often a fault is looked for while it is to hold, and when it is to have ended.
const LOOK_AFTER: Duration = Duration::from_secs(1);
const LOOK_OFTEN: Duration = Duration::from_millis(10);

/// Those of one run.
pub(super) struct OtherMachines {
    machines: Vec<OtherMachine>,
    inject_at_ns: u64,
    hold_for_ns: u64,
}

struct OtherMachine {
    host: String,
    manager: ManagerProxy<'static>,
    request: FaultRequest,
    plan: FaultPlan,
}

impl OtherMachines {
    /// For a run on this machine alone.
    pub(super) fn none() -> Self {
        Self { machines: Vec::new(), inject_at_ns: 0, hold_for_ns: 0 }
    }

    /// Connects, and has the fault planned everywhere: what is refused is refused before the run begins.
    ///
    /// # Errors
    /// Which machine cannot be reached, or refuses.
    pub(super) async fn connect(also_on: &[AlsoOn], run: &RunRequest) -> Result<Self, CommandError> {
        let inject_at_ns = run.inject_at_ns.unwrap_or_default();
        let hold_for_ns = run.hold_for_ns.unwrap_or(run.duration_ns.saturating_sub(inject_at_ns));
        let connect = async |also: &AlsoOn| {
            let host = also.host.to_string();
            let connected = OtherMachine::connect(also, run, hold_for_ns).await;
            connected.map_err(|error| CommandError::on_host(&host, error))
        };
        let machines = join_all(also_on.iter().map(connect)).await;
        Ok(Self { machines: machines.into_iter().collect::<Result<_, _>>()?, inject_at_ns, hold_for_ns })
    }

    /// What would be done, for a run that is not made.
    pub(super) fn into_plans(self) -> Vec<OnHost<FaultPlan>> {
        self.machines
            .into_iter()
            .map(|OtherMachine { host, plan, .. }| OnHost { host, value: plan })
            .collect()
    }

    /// Puts the faults on, once it is known when the measured time begins, and tells the run of them until they have
    /// ended. They end with our connections too.
    pub(super) async fn play(&self, run: &RunProxy<'_>, mut begins: watch::Receiver<Option<u64>>) {
        let begins = begins.wait_for(Option::is_some).await.ok().and_then(|begins| *begins);
        let Some(begins_ns) = begins else { return };
        let begin_ns = begins_ns.saturating_add(self.inject_at_ns);
        let end_ns = begin_ns.saturating_add(self.hold_for_ns);
        join_all(self.machines.iter().map(|machine| machine.play(run, begin_ns, end_ns))).await;
    }
}

impl OtherMachine {
    async fn connect(also: &AlsoOn, run: &RunRequest, hold_for_ns: u64) -> Result<Self, CommandError> {
        let remote = Remote::new(also.host.clone(), None)?;
        let manager = BusAddress::Remote(Box::new(remote)).connect().await?;
        let mut request = FaultRequest { hold_for_ns: Some(hold_for_ns), ..run.fault_on(&also.target) };
        let plan: FaultPlan = dictionary::decode(manager.plan_fault(dictionary::encode(&request)?).await?)?;
        request.target.clone_from(&plan.target);
        // An old daemon is found out now, and not in the middle of a run.
        ask_for_the_time(&manager).await?;
        Ok(Self { host: also.host.to_string(), manager, request, plan })
    }

    async fn play(&self, run: &RunProxy<'_>, begin_ns: u64, end_ns: u64) {
        sleep(until(begin_ns).saturating_sub(ASKED_BEFORE)).await;
        let fault = match self.begin(run, begin_ns).await {
            Ok(fault) => fault,
            Err(error) => {
                say(&format!("{}: the fault is not on {}: {error}", self.host, self.request.target));
                let failed = self.noted("failed", now_ns(), 0);
                return note(run, RemoteFaultNote { detail: Some(short(&error.to_string())), ..failed })
                    .await;
            }
        };
        self.watch(run, &fault, end_ns).await;
    }

    async fn begin(&self, run: &RunProxy<'_>, begin_ns: u64) -> Result<FaultStatus, CommandError> {
        let clock: ClockOffset = ask_for_the_time(&self.manager).await?;
        let begin_at_ns = clock.there(begin_ns);
        let request = FaultRequest { begin_at_ns: Some(begin_at_ns), ..self.request.clone() };
        let added = self.manager.add_fault(dictionary::encode(&request)?).await?;
        let fault: FaultStatus = dictionary::decode(added)?;
        let uncertainty_ns = clock.uncertainty_ns();
        let of = |note: RemoteFaultNote| RemoteFaultNote { fault: fault.id.clone(), ..note };
        note(run, of(self.noted("commanded", begin_ns, uncertainty_ns))).await;
        if let Some(begun_ns) = fault.begun_ns {
            let text = format!("{} by {}", fault.text, fault.backend);
            let effective = of(self.noted("effective", clock.here(begun_ns), uncertainty_ns));
            note(run, RemoteFaultNote { detail: Some(short(&text)), ..effective }).await;
        }
        Ok(fault)
    }

    /// Looks for the fault until it has gone: that was between the last two looks.
    async fn watch(&self, run: &RunProxy<'_>, fault: &FaultStatus, end_ns: u64) {
        let mut seen_ns = now_ns();
        loop {
            sleep(until(end_ns).clamp(LOOK_OFTEN, LOOK_AFTER)).await;
            let asked_ns = now_ns();
            let faults: Vec<FaultStatus> = match self.faults().await {
                Ok(faults) => faults,
                Err(error) => {
                    say(&format!("{}: {error}; the fault there has ended with the connection", self.host));
                    return;
                }
            };
            if !faults.iter().any(|one| one.id == fault.id) {
                let half_ns = now_ns().saturating_sub(seen_ns).div_ceil(2);
                let cleared = self.noted("cleared", seen_ns.saturating_add(half_ns), half_ns);
                return note(run, RemoteFaultNote { fault: fault.id.clone(), ..cleared }).await;
            }
            seen_ns = asked_ns;
        }
    }

    async fn faults(&self) -> Result<Vec<FaultStatus>, CommandError> {
        Ok(decode_all(self.manager.list_faults().await?)?)
    }

    fn noted(&self, state: &str, monotonic_ns: u64, uncertainty_ns: u64) -> RemoteFaultNote {
        RemoteFaultNote {
            monotonic_ns,
            uncertainty_ns,
            host: self.host.clone(),
            target: self.request.target.clone(),
            state: state.to_owned(),
            ..RemoteFaultNote::default()
        }
    }
}

fn until(at_ns: u64) -> Duration {
    Duration::from_nanos(at_ns.saturating_sub(now_ns()))
}

/// As long as a note may be.
fn short(text: &str) -> String {
    const LONGEST: usize = 250;
    text.chars().take(LONGEST).collect()
}

/// A run that has ended meanwhile takes no notes.
async fn note(run: &RunProxy<'_>, note: RemoteFaultNote) {
    let Ok(note) = dictionary::encode(&note) else { return };
    if let Err(error) = run.note(note).await {
        say(&format!("the run does not note what became of a fault elsewhere: {}", error.message()));
    }
}
