//! `faultctl runs`: runs that go on, and those of this daemon's life that ended last.

use clap::Subcommand;
use faultd_api::{
    dictionary,
    proxy::ManagerProxy,
    run::{RunProgress, RunResult, RunStatus},
};

use super::decode_all;
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    interrupt::Interrupts,
    output::{Format, or_dash, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum RunsVerb {
    /// The runs that go on, and the hundred that ended last.
    #[command(after_help = "Examples:\n  faultctl runs ls\n  faultctl runs ls -o json")]
    Ls,
    /// One run: what it does, or how it ended.
    #[command(after_help = "Examples:\n  faultctl runs show r1")]
    Show {
        /// The run's id, as `runs ls` shows it.
        id: String,
    },
    /// Waits until a run has ended; one that was interrupted or has failed is a failure. Ctrl-C ends the waiting alone.
    #[command(after_help = "Examples:\n  faultctl runs wait r1\n  faultctl runs wait r1 -o json")]
    Wait {
        /// The run's id, as `runs ls` shows it.
        id: String,
    },
    /// Ends a run early; its faults are cleared, and what was measured is kept.
    #[command(after_help = "Examples:\n  faultctl runs stop r1")]
    Stop {
        /// The run's id, as `runs ls` shows it.
        id: String,
    },
}

pub(crate) async fn runs(verb: RunsVerb, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    match verb {
        RunsVerb::Ls => list(bus, output).await,
        RunsVerb::Show { id } => show(&bus.connect().await?, &id, output).await,
        RunsVerb::Wait { id } => wait(&id, bus, output).await,
        RunsVerb::Stop { id } => {
            bus.connect().await?.stop_run(&id).await?;
            output.done("run-stopped", "id", id.as_str().into(), &format!("run {id} ends"))
        }
    }
}

async fn list(bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let runs: Vec<RunStatus> = decode_all(bus.connect().await?.list_runs().await?)?;
    output.many("run-status", &runs, |runs| {
        let header = ["ID", "CLUSTER", "LABEL", "STATUS", "PHASE", "SECOND", "BEGUN", "FOLDER"];
        table(header, runs.iter().map(row))
    })
}

fn row(run: &RunStatus) -> [String; 8] {
    let progress = run.progress.as_ref();
    let second = |progress: &RunProgress| format!("{}/{}", progress.t_s, progress.of_s);
    [
        run.id.clone(),
        run.cluster.clone(),
        run.label.clone(),
        run.status.clone(),
        or_dash(progress.map(|progress| &progress.phase)),
        or_dash(progress.map(second)),
        run.begun_at.clone(),
        run.folder.clone(),
    ]
}

async fn show(manager: &ManagerProxy<'_>, id: &str, output: Format) -> Result<(), CommandError> {
    let run: RunStatus = dictionary::decode(manager.show_run(id).await?)?;
    output.one("run-status", &run, text)
}

fn text(run: &RunStatus) -> String {
    let mut lines = vec![
        format!("run {}: {}", run.id, run.status),
        format!("  label    {} on {}", run.label, run.cluster),
        format!("  begun    {} by user {}", run.begun_at, run.user),
        format!("  folder   {}", run.folder),
    ];
    if let Some(RunProgress { phase, t_s, of_s, ops, errors, faults, .. }) = &run.progress {
        lines.push(format!("  now      {phase}, second {t_s} of {of_s}: {ops} ops/s, {errors} errors"));
        lines.extend(faults.iter().map(|fault| format!("  fault    {fault}")));
    }
    lines.extend(run.error.iter().map(|error| format!("  because  {error}")));
    lines.join("\n")
}

async fn wait(id: &str, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let mut interrupts = Interrupts::catch()?;
    let manager = bus.connect().await?;
    let ended = tokio::select! {
        ended = manager.wait_run(id) => ended?,
        () = interrupts.next() => return Err(CommandError::Interrupted),
    };
    let RunResult { id, status, error, .. } = dictionary::decode(ended)?;
    show(&manager, &id, output).await?;
    match (status.as_str(), error) {
        ("done", _) => Ok(()),
        (_, Some(error)) => Err(CommandError::RunFailed(error)),
        (status, None) => Err(CommandError::RunFailed(format!(
            "it is {status}; its folder has what was measured until then"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_with_what_it_does_or_why_it_failed() {
        let progress = RunProgress {
            phase: "injection".into(),
            t_s: 12,
            of_s: 30,
            ops: 1000,
            faults: vec!["delay 100ms on etcd/etcd1 (leader)".into()],
            ..RunProgress::default()
        };
        let mut run = RunStatus {
            id: "r1".into(),
            cluster: "etcd".into(),
            label: "mid".into(),
            status: "running".into(),
            folder: "20260304_050607_mid".into(),
            begun_at: "2026-03-04T05:06:07Z".into(),
            user: 0,
            detached: true,
            progress: Some(progress),
            error: None,
        };
        let shown = text(&run);
        assert!(shown.contains("now      injection, second 12 of 30: 1000 ops/s, 0 errors"), "{shown}");
        assert!(shown.ends_with("fault    delay 100ms on etcd/etcd1 (leader)"), "{shown}");
        assert_eq!(row(&run)[4..6], ["injection", "12/30"]);
        (run.progress, run.error) = (None, Some("a member ended".into()));
        assert!(text(&run).ends_with("because  a member ended"), "{}", text(&run));
        assert_eq!(row(&run)[4..6], ["-", "-"]);
    }
}
