//! The answers of the fake daemon.

use std::path::Path;

use faultd_api::{
    doctor::{Check, Choice, DoctorReport},
    lab::{LabStatus, MemberStatus},
    run::{RunProgress, RunRequest, RunResult},
    target::TargetStatus,
};
use faultd_results::{
    folder::{METADATA_JSON, SUMMARY_JSON},
    metadata::{self, Host, Metadata},
    phase::Phase,
    recorder::PhaseLatencies,
    summary::{Measurement, Status, StopReason, Summary},
    timeseries::Row,
};

/// The folder of every run.
pub(crate) const FOLDER: &str = "20260304_050607_baseline";

pub(crate) fn doctor() -> DoctorReport {
    DoctorReport {
        version: "0.1.0".into(),
        kernel: "6.1.0-test".into(),
        checks: vec![Check {
            name: "tcx".into(),
            state: "ok".into(),
            detail: "attached and detached".into(),
        }],
        choices: vec![Choice {
            fault: "delay".into(),
            backend: "relay".into(),
            reason: "no fq, no netem".into(),
        }],
        recovered: Vec::new(),
        leftovers: Vec::new(),
    }
}

pub(crate) fn target() -> TargetStatus {
    TargetStatus {
        name: "etcd/etcd0".into(),
        kind: "lab".into(),
        addresses: vec!["10.213.0.1".into()],
        interface: Some("veth0".into()),
        ..TargetStatus::default()
    }
}

pub(crate) fn lab() -> LabStatus {
    let member = MemberStatus {
        name: "etcd0".into(),
        address: "10.213.0.1".into(),
        endpoint: "http://10.213.0.1:2379".into(),
        role: "leader".into(),
        process: "running".into(),
        pid: 7,
        namespace: "faultd-etcd-etcd0".into(),
        log: "/var/lib/faultd/logs/etcd/etcd0.log".into(),
    };
    LabStatus {
        name: "etcd".into(),
        driver: "etcd-kv".into(),
        state: "serving".into(),
        namespace: "faultd-etcd".into(),
        members: vec![member],
    }
}

pub(crate) fn progress(t_s: i64) -> RunProgress {
    let phase = if t_s < 2 { "baseline" } else { "injection" };
    RunProgress { phase: phase.into(), t_s, of_s: 4, ops: 1000, p50_ms: Some(7.5), ..RunProgress::default() }
}

/// What has stopped every run that has conditions.
pub(crate) const REASON: &str = "6 operations have failed, more than 5";

/// Writes the documents of a run; one with the label `fails` leaves none.
pub(crate) fn end_of_run(outputs: &Path, request: &RunRequest, stopped: bool) -> RunResult {
    if request.label == "fails" {
        let error = Some("etcd0 ended with status 1; see its log".into());
        return RunResult { id: "r1".into(), status: "failed".into(), folder: FOLDER.into(), error };
    }
    let condition = request.stop_if.first().cloned();
    let status = match condition {
        Some(_) => Status::Stopped,
        None if stopped => Status::Interrupted,
        None => Status::Done,
    };
    let error = condition.as_ref().map(|condition| format!("{condition}: {REASON}"));
    let reason = condition.map(|condition| StopReason { condition, reason: REASON.into(), t_s: 2.0 });
    let summary = Summary { stopped: reason, ..summary(status) };
    let folder = outputs.join(FOLDER);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(METADATA_JSON), serde_json::to_vec(&metadata(request)).unwrap()).unwrap();
    std::fs::write(folder.join(SUMMARY_JSON), serde_json::to_vec(&summary).unwrap()).unwrap();
    RunResult { id: "r1".into(), status: status.name().into(), folder: FOLDER.into(), error }
}

fn summary(status: Status) -> Summary {
    let row = |t_s| Row { t_s, phase: Phase::Baseline, ops: 1000, errors: 0, latency: None, stalled: false };
    Summary::of(Measurement {
        status,
        tainted: None,
        rows: &[row(0), row(1)],
        latencies: &PhaseLatencies { measured: None, phases: [].into() },
        fault_window: None,
        rules: Vec::new(),
        findings: Vec::new(),
    })
}

fn metadata(request: &RunRequest) -> Metadata {
    Metadata {
        schema: metadata::SCHEMA.into(),
        label: request.label.clone(),
        cluster: request.cluster.clone(),
        members: Vec::new(),
        driver: "etcd-kv".into(),
        schedule: None,
        faults: Vec::new(),
        plugin_versions: [].into(),
        driver_settings: request.driver_settings.clone(),
        schedule_settings: request.schedule_settings.clone(),
        load: metadata::Load::default(),
        clients: 10,
        via: request.via.clone(),
        warm_up_s: 3.0,
        duration_s: 4.0,
        inject_at_s: None,
        inject_for_s: None,
        stop_if: request.stop_if.clone(),
        stop_at_once: request.stop_at_once,
        seed: 7,
        started_at: "2026-03-04T05:06:07Z".parse().unwrap(),
        faultd_version: "0.1.0".into(),
        host: Host {
            kernel_release: "6.1.0-test".into(),
            cpus: 2,
            cpu_limit: None,
            memory_bytes: 1 << 30,
            data_file_system: None,
        },
    }
}
