//! The answers of the fake daemon.

use std::path::Path;

use faultd_api::{
    doctor::{Check, Choice, DoctorReport, Problem},
    error::Error,
    fault::{Direction, FaultPlan},
    lab::{LabStatus, MemberStatus},
    plugin::{
        CheckReport, DryChange, DryRule, DryRun, PluginReport, PluginStatus, ReplayReport, SettingStatus,
    },
    run::{RunProgress, RunRequest, RunResult, RunStatus},
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
        problems: vec![Problem::warning("there is no fq", "call 'sudo modprobe sch_fq'")],
    }
}

pub(crate) fn plan(target: &str) -> FaultPlan {
    FaultPlan {
        target: target.into(),
        kind: "delay".into(),
        text: "delay 50ms".into(),
        direction: Some(Direction::Egress),
        interfaces: vec!["veth0".into()],
        backend: "ebpf+relay".into(),
        backend_reason: "no fq, no netem".into(),
        hold_for_ns: Some(30_000_000_000),
        peers: Vec::new(),
        spared: vec!["port 22".into()],
    }
}

pub(crate) fn run(status: &str) -> RunStatus {
    let (id, progress) = if status == "running" { ("r1", Some(progress(2))) } else { ("r2", None) };
    RunStatus {
        id: id.into(),
        cluster: "etcd".into(),
        label: "baseline".into(),
        status: status.into(),
        folder: FOLDER.into(),
        begun_at: "2026-03-04T05:06:07Z".into(),
        user: 0,
        detached: true,
        progress,
        error: (status == "failed").then(|| "a member ended; see its log".to_owned()),
    }
}

/// `r1` goes on, `r2` is done, `r3` has failed.
pub(crate) fn run_of(id: &str) -> Result<RunStatus, Error> {
    match id {
        "r1" => Ok(run("running")),
        "r2" => Ok(run("done")),
        "r3" => Ok(run("failed")),
        _ => Err(Error::NotFound(format!("no run has the id '{id}'; see 'faultctl runs ls'"))),
    }
}

pub(crate) fn plugin() -> PluginReport {
    let plugin = PluginStatus {
        name: "flap".into(),
        world: "schedule".into(),
        version: "0.1.0".into(),
        summary: "on and off".into(),
        bytes: 4096,
        problem: None,
    };
    let setting =
        SettingStatus { name: "period".into(), summary: "of both".into(), default: Some("10s".into()) };
    PluginReport {
        plugin,
        imports: vec!["faultd:plugin/log".into()],
        limits: [("memory".to_owned(), "16 MiB".to_owned())].into(),
        operations: Vec::new(),
        settings: vec![setting],
    }
}

pub(crate) fn check() -> CheckReport {
    let rule = DryRule {
        target: "leader".into(),
        direction: "egress".into(),
        severity: 1.0,
        text: "delay 50ms".into(),
    };
    let changes =
        vec![DryChange { at_ns: 0, active: vec![rule] }, DryChange { at_ns: 5, active: Vec::new() }];
    let dry_run = DryRun { duration_ns: 60_000_000_000, decisions: 12, changes, findings: Vec::new() };
    CheckReport { report: plugin(), problems: Vec::new(), dry_run: Some(dry_run) }
}

pub(crate) fn replay() -> ReplayReport {
    ReplayReport { schedule: "flap".into(), decisions: 12, difference: None }
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
