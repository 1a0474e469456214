//! What this host can do, said for people: every line is something that was tried.

mod problems;
mod surroundings;

use std::{path::PathBuf, sync::Arc, time::Duration};

use faultd_api::{
    doctor::{Check, Choice, DoctorReport},
    fault::Backend,
};
use faultd_kernel::{
    control_group::{self, Controller},
    datapath::{Corrupt, CorruptKind, Delay, Distribution, Effects, Jitter, Rate},
    journal::Journal,
    probe::{Capabilities, Support},
};

use self::{problems::Findings, surroundings::Surroundings};
use crate::{fault::backend, lab::Labs, leftovers, target::containers::Containers};

/// Reports on the host.
#[derive(Clone)]
pub struct Doctor {
    capabilities: Arc<Capabilities>,
    containers: Containers,
    labs: Labs,
    journal: Journal,
    recovered: Arc<[String]>,
    directories: Directories,
}

/// What the daemon was told to use.
#[derive(Debug, Clone)]
pub struct Directories {
    /// Where plugins are looked for.
    pub plugins: PathBuf,
    /// Where compiled ones are kept.
    pub cache: PathBuf,
}

impl Doctor {
    /// A doctor who knows what probing and recovery found.
    #[must_use]
    pub fn new(
        capabilities: Arc<Capabilities>,
        containers: Containers,
        labs: Labs,
        journal: Journal,
        recovered: Vec<String>,
        directories: Directories,
    ) -> Self {
        Self { capabilities, containers, labs, journal, recovered: recovered.into(), directories }
    }

    /// The report, with what is left over now, for a caller who may or may not add faults.
    pub async fn report(&self, may_inject: bool) -> DoctorReport {
        let mut checks = kernel_checks(&self.capabilities);
        checks.extend(Controller::ALL.map(process_check));
        checks.push(self.engine_check().await);
        let (choices, leftovers) = (choices(&self.capabilities), leftovers::find(&self.journal, &self.labs));
        let findings = Findings {
            checks: &checks,
            choices: &choices,
            leftovers: &leftovers,
            surroundings: &Surroundings::look(&self.directories),
            may_inject,
        };
        let problems = findings.problems();
        DoctorReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: self.capabilities.kernel_release.clone(),
            checks,
            choices,
            recovered: self.recovered.to_vec(),
            leftovers,
            problems,
        }
    }

    async fn engine_check(&self) -> Check {
        let (state, detail) = match self.containers.version().await {
            Ok(versions) => ("ok", versions),
            Err(error) => ("missing", format!("{error}: containers cannot be named, labs can")),
        };
        Check { name: "containers".to_owned(), state: state.to_owned(), detail }
    }
}

fn kernel_checks(host: &Capabilities) -> Vec<Check> {
    let probed = [
        ("programs", &host.programs, "the kernel loads our eBPF programs"),
        ("tcx", &host.tcx, "programs vanish with the daemon"),
        ("clsact", &host.clsact, "used where tcx is missing; rules end by their lease"),
        ("tap", &host.tap, "the delay line of the relay"),
        ("sch_netem", &host.netem, "the kernel's own delay line"),
        ("sch_fq", &host.fq, "keeps packets until the time that our program gives them"),
        ("btf", &host.btf, "types of the kernel"),
    ];
    probed.into_iter().map(|(name, support, purpose)| check(name, support, purpose)).collect()
}

/// What faults on processes need.
fn process_check(controller: Controller) -> Check {
    let purpose = match controller {
        Controller::Freezer => "pauses processes",
        Controller::Cpu => "holds processes to a share of the processors",
    };
    let (state, detail) = match control_group::availability(controller) {
        Ok(what) => ("ok", format!("{purpose}: {what}")),
        Err(reason) => ("missing", reason),
    };
    Check { name: format!("cgroup {}", controller.name()), state: state.to_owned(), detail }
}

fn check(name: &str, support: &Support, purpose: &str) -> Check {
    let (state, detail) = match support {
        Support::Available => ("ok", purpose.to_owned()),
        Support::Missing { reason } => ("missing", reason.clone()),
    };
    Check { name: name.to_owned(), state: state.to_owned(), detail }
}

fn choices(host: &Capabilities) -> Vec<Choice> {
    let attach = match (&host.tcx, &host.clsact) {
        (Support::Available, _) => ("ebpf".to_owned(), "attached through tcx".to_owned()),
        (Support::Missing { reason }, Support::Available) => {
            ("ebpf".to_owned(), format!("attached through clsact: {reason}"))
        }
        (_, Support::Missing { reason }) => ("none".to_owned(), reason.clone()),
    };
    let choice = |fault: &str, (backend, reason): (String, String)| Choice {
        fault: fault.to_owned(),
        backend,
        reason,
    };
    let held = |(fault, effects): (&str, Effects)| {
        let chosen = match backend::choose_holding(Backend::Auto, &effects, host) {
            Ok((kind, reason)) => (kind.to_string(), reason),
            Err(error) => ("none".to_owned(), error.to_string()),
        };
        choice(fault, chosen)
    };
    let program = ["loss", "duplicate", "corrupt silently"].map(|fault| choice(fault, attach.clone()));
    program.into_iter().chain(held_effects().map(held)).collect()
}

/// One of each kind that needs a device.
fn held_effects() -> [(&'static str, Effects); 4] {
    let delay = |jitter| Some(Delay { base: Duration::from_millis(1), jitter });
    let jitter = |correlation| {
        Some(Jitter { spread: Duration::from_millis(1), distribution: Distribution::Normal, correlation })
    };
    let rate = Some(Rate { bytes_per_second: 1000, burst_bytes: 0, queue_bytes: 0 });
    let corrupt = Some(Corrupt { ratio: 0.1, kind: CorruptKind::Detected });
    [
        ("delay, jitter, reorder", Effects { delay: delay(jitter(0.0)), ..Effects::default() }),
        ("correlated jitter", Effects { delay: delay(jitter(0.5)), ..Effects::default() }),
        ("rate", Effects { rate, ..Effects::default() }),
        ("corrupt", Effects { corrupt, ..Effects::default() }),
    ]
}
