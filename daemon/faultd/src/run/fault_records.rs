//! What is written down of the faults of a run: in its events, its metadata and its summary.

use std::time::Duration;

use faultd_api::fault::{FaultStatus, ProcessCounts};
use faultd_plugin_host::Role;
use faultd_results::{
    event::FaultEvent,
    metadata::{FaultRecord, ProcessFaultRecord, ResolvedFault},
    summary::ProcessProof,
};

use crate::{cluster::role_text, engine::Application};

pub(super) fn describe(application: &Application, role: Role) -> String {
    let role = known_role(role).map_or_else(String::new, |role| format!(" ({role})"));
    format!("{} on {}{role}", application.spec.text(), application.target.name)
}

/// A role as it is written; nothing where members have none.
fn known_role(role: Role) -> Option<&'static str> {
    (role != Role::Unknown).then(|| role_text(role))
}

/// Why a fault did nothing, if it did nothing.
pub(super) fn without_effect(status: &FaultStatus) -> Option<&'static str> {
    match &status.processes {
        None => (status.packets.matched == 0).then_some("no packet matched"),
        Some(counts) if status.kind == "pause" => {
            (counts.pauses == 0).then_some("the kernel confirmed no pause")
        }
        Some(counts) => {
            (counts.throttled_periods == 0).then_some("the target never wanted more than it may use")
        }
    }
}

pub(super) fn process_proof(status: &FaultStatus, counts: &ProcessCounts) -> ProcessProof {
    let seconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64();
    ProcessProof {
        fault: status.id.clone(),
        target: status.target.clone(),
        kind: status.kind.clone(),
        pauses: counts.pauses,
        paused_s: seconds(counts.paused_ns),
        unconfirmed_pauses: counts.unconfirmed_pauses,
        periods: counts.periods,
        throttled_periods: counts.throttled_periods,
        throttled_s: seconds(counts.throttled_ns),
    }
}

/// How long after the engine was told the fault was felt for the first time.
pub(super) fn onset_text(status: &FaultStatus) -> String {
    let milliseconds = |onset_ns| Duration::from_nanos(onset_ns).as_secs_f64() * 1e3;
    status.onset_ns.map_or_else(String::new, |onset_ns| {
        let first = match &status.processes {
            None => "met its first packet",
            Some(counts) if counts.pauses > 0 => "all processes stood still for the first time",
            Some(_) => "the share of the processors was used up for the first time",
        };
        format!("; {first} {:.3} ms after it was commanded", milliseconds(onset_ns))
    })
}

pub(super) fn fault_event(status: &FaultStatus, description: &str) -> FaultEvent {
    FaultEvent {
        fault: status.id.clone(),
        target: status.target.clone(),
        detail: Some(description.to_owned()),
    }
}

pub(super) fn fault_record(asked: &str, status: &FaultStatus, role: Role) -> FaultRecord {
    let is_more = status.processes.is_none() && !(status.shape.is_empty() && status.network.is_none());
    FaultRecord {
        in_full: is_more.then(|| status.text.clone()),
        target: asked.to_owned(),
        direction: status.direction_text().to_owned(),
        delay_ns: status.delay_ns.unwrap_or_default(),
        loss_ratio: status.loss_ratio.unwrap_or_default(),
        on_processes: status.processes.as_ref().map(|_| ProcessFaultRecord {
            pause_ns: status.shape.pause_ns,
            pause_every_ns: status.shape.pause_every_ns,
            cpus: status.shape.cpus,
        }),
        resolved: Some(ResolvedFault {
            fault: status.id.clone(),
            target: status.target.clone(),
            role: known_role(role).map(str::to_owned),
            backend: status.backend.clone(),
            backend_reason: status.backend_reason.clone(),
        }),
    }
}
