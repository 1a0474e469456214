//! `faultctl run`: one measured experiment, watched from its start to its end.

use std::{
    io::PipeReader,
    path::{Path, PathBuf},
};

use faultd_api::{
    dictionary,
    error::Error as BusError,
    names::BUS_NAME,
    proxy::{ManagerProxy, RunProxy},
    run::{RunProgress, RunRequest, RunResult, RunStatus},
};
use faultd_results::{
    folder::{self, FolderError, Run},
    metadata::Metadata,
    summary::Summary,
};
use futures_util::{FutureExt, StreamExt};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;
use zbus::OwnedFd;

use super::{other_machines::OtherMachines, results::summary_text, run_plan};
pub(crate) use crate::run_flags::RunArguments;
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    interrupt::Interrupts,
    load_command::{StartedCommand, no_pipe},
    output::{Format, say},
    outputs_directory::{OUTPUTS, OutputsDirectory},
    progress::ProgressDisplay,
};

pub(crate) const EXAMPLES: &str = "Examples:
  faultctl run --cluster etcd --duration 20s --label baseline
  faultctl run --cluster etcd --target leader --delay 100ms --duration 30s --inject-at 10s --for 10s
  faultctl run workloads/etcd/experiments/leader_delay100_mid.toml
  faultctl run --cluster etcd --target leader --loss 5% --dry-run
  faultctl run --cluster etcd --target follower --delay 50ms --no-wait
  faultctl run --cluster redis --target leader --delay 1ms -- redis-benchmark -t set -n 1000000";

/// A run that was not waited for.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BegunRun {
    /// Its id, as for `runs show`.
    id: String,
    /// Its folder.
    folder: PathBuf,
}

/// What `-o json` prints at the end.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunDocument<'a> {
    id: &'a str,
    status: &'a str,
    error: Option<&'a str>,
    folder: PathBuf,
    #[serde(flatten)]
    kept: Option<Kept>,
}

/// The documents in a run's folder.
#[derive(Debug, Serialize, JsonSchema)]
struct Kept {
    summary: Summary,
    metadata: Metadata,
}

pub(crate) async fn run(
    mut arguments: RunArguments,
    bus: &BusAddress,
    output: Format,
) -> Result<(), CommandError> {
    arguments.check_other_machines()?;
    let RunArguments { dry_run, no_wait, .. } = arguments;
    let also_on = std::mem::take(&mut arguments.also_on);
    let request = arguments.into_request()?;
    // What is refused elsewhere is refused before anything begins, and in a dry run too.
    let others = OtherMachines::connect(&also_on, &request).await?;
    if dry_run {
        return run_plan::show(&request, others, bus, output).await;
    }
    if no_wait {
        return begin(RunRequest { detach: true, ..request }, bus, output).await;
    }
    make(&request, &others, bus, output).await
}

/// Begins a run that goes on by itself, and prints what it is.
async fn begin(request: RunRequest, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let mut interrupts = Interrupts::catch()?;
    let manager = bus.connect().await?;
    let (outputs, descriptor) = OutputsDirectory::open(Path::new(OUTPUTS))?;
    let begun = tokio::select! {
        begun = start(&manager, &request, descriptor, None) => begun,
        () = interrupts.next() => Err(CommandError::Interrupted),
    };
    outputs.remove_if_made_here_and_empty();
    let path = begun?.inner().path().to_string();
    let id = path.rsplit('/').next().unwrap_or_default();
    let run: RunStatus = dictionary::decode(manager.show_run(id).await?)?;
    let begun = BegunRun { id: run.id, folder: outputs.folder(&run.folder) };
    output.one("run-begun", &begun, |begun| {
        let BegunRun { id, folder } = begun;
        format!("run {id} goes on, see 'faultctl runs show {id}'; its folder is {}", folder.display())
    })
}

/// Makes one run and prints what it left behind.
pub(super) async fn make(
    request: &RunRequest,
    others: &OtherMachines,
    bus: &BusAddress,
    output: Format,
) -> Result<(), CommandError> {
    let mut interrupts = Interrupts::catch()?;
    let manager = bus.connect().await?;
    let (outputs, descriptor) = OutputsDirectory::open(Path::new(OUTPUTS))?;
    let ended = measure(&manager, request, others, descriptor, &mut interrupts, output).await;
    outputs.remove_if_made_here_and_empty();
    finish(&ended?, &outputs, output)
}

/// Starts a run and watches it to its end.
pub(super) async fn measure(
    manager: &ManagerProxy<'_>,
    request: &RunRequest,
    others: &OtherMachines,
    outputs: OwnedFd,
    interrupts: &mut Interrupts,
    output: Format,
) -> Result<RunResult, CommandError> {
    say(&format!("starting run {} on cluster {}", request.label, request.cluster));
    let (reader, writer) = match &request.command {
        Some(_) => std::io::pipe().map(|(reader, writer)| (Some(reader), Some(writer))).map_err(no_pipe)?,
        None => (None, None),
    };
    let started = tokio::select! {
        started = start(manager, request, outputs, reader) => started,
        () = interrupts.next() => Err(CommandError::Interrupted),
    };
    let run = started?;
    let (Some(command), Some(writer)) = (&request.command, writer) else {
        return watch_run(&run, others, interrupts, output).await;
    };
    let command = StartedCommand::start(&command.words, &writer);
    drop(writer);
    let command = match command {
        Ok(command) => command,
        Err(error) => {
            // The run waits for its load, and nobody shall wait for the run.
            let _ = run.stop().await;
            let _ = run.wait().await;
            return Err(error);
        }
    };
    let ended = watch_run(&run, others, interrupts, output).await;
    command.end().await;
    ended
}

/// Starts a run; with a pipe, what comes out of it is the output of its load command.
async fn start(
    manager: &ManagerProxy<'_>,
    request: &RunRequest,
    outputs: OwnedFd,
    output_of_command: Option<PipeReader>,
) -> Result<RunProxy<'static>, CommandError> {
    let request = dictionary::encode(request)?;
    let path = match output_of_command {
        Some(pipe) => {
            let pipe = std::os::fd::OwnedFd::from(pipe);
            manager.start_run_of_command(request, outputs, pipe.into()).await?
        }
        None => manager.start_run(request, outputs).await?,
    };
    Ok(RunProxy::builder(manager.inner().connection()).destination(BUS_NAME).path(path).build().await?)
}

/// Shows the run's progress until it has ended. The first Ctrl-C ends it early, the second only this
/// process; the daemon then ends the run because its caller is gone.
async fn watch_run(
    run: &RunProxy<'_>,
    others: &OtherMachines,
    interrupts: &mut Interrupts,
    output: Format,
) -> Result<RunResult, CommandError> {
    let mut display = ProgressDisplay::new(output);
    let mut seconds = run.receive_progress().await?;
    let mut end = std::pin::pin!(run.wait());
    let mut is_stopping = false;
    let (begins, begins_told) = watch::channel(None);
    let mut others = std::pin::pin!(others.play(run, begins_told).fuse());
    loop {
        tokio::select! {
            ended = &mut end => {
                display.clear();
                return Ok(dictionary::decode(ended?)?);
            }
            Some(second) = seconds.next() => {
                let progress = second.args().map_err(CommandError::from)?.progress;
                let progress: RunProgress = dictionary::decode(progress)?;
                display.show(&progress)?;
                begins.send_replace(progress.begins_ns);
            }
            () = &mut others => {}
            () = interrupts.next() => {
                display.clear();
                if is_stopping {
                    return Err(CommandError::Interrupted);
                }
                is_stopping = true;
                stop(run, interrupts).await?;
            }
        }
    }
}

async fn stop(run: &RunProxy<'_>, interrupts: &mut Interrupts) -> Result<(), CommandError> {
    say("ending the run and clearing its faults; Ctrl-C again does not wait for it");
    tokio::select! {
        // It may have ended by itself in this moment; what counts is what Wait answers.
        stopped = run.stop() => match stopped {
            Ok(()) | Err(BusError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        },
        () = interrupts.next() => Err(CommandError::Interrupted),
    }
}

/// Prints what the run left behind, also of one that was interrupted or failed.
fn finish(result: &RunResult, outputs: &OutputsDirectory, output: Format) -> Result<(), CommandError> {
    let folder = outputs.folder(&result.folder);
    let (kept, unreadable) = match folder::read(&folder) {
        Ok(Run { metadata, summary }) => (Some(Kept { summary, metadata }), None),
        Err(error) => (None, Some(error)),
    };
    let verdict = verdict(result, &folder, unreadable);
    let RunResult { id, status, error, .. } = result;
    let document = RunDocument { id, status, error: error.as_deref(), folder, kept };
    if output != Format::Table || document.kept.is_some() {
        output.one("run", &document, text)?;
    }
    verdict
}

fn text(document: &RunDocument<'_>) -> String {
    let text = |kept: &Kept| summary_text(&document.folder, &kept.metadata, &kept.summary);
    document.kept.as_ref().map(text).unwrap_or_default()
}

fn verdict(result: &RunResult, folder: &Path, unreadable: Option<FolderError>) -> Result<(), CommandError> {
    match (result.status.as_str(), unreadable) {
        ("done", None) => Ok(()),
        ("done", Some(error)) => Err(error.into()),
        ("stopped", _) => Err(stopped(result, folder)),
        ("interrupted", unreadable) => {
            let kept = format!("what was measured until then is in {}", folder.display());
            let kept = if unreadable.is_none() { kept } else { "nothing was measured".to_owned() };
            say(&format!("interrupted; {kept}"));
            Err(CommandError::Interrupted)
        }
        _ => Err(failure(result)),
    }
}

/// Why a run was stopped.
pub(super) fn stopped(result: &RunResult, folder: &Path) -> CommandError {
    let reason = result.error.clone().unwrap_or_else(|| "one of its conditions".to_owned());
    CommandError::Stopped { reason, folder: folder.display().to_string() }
}

/// Why a run has failed.
pub(super) fn failure(result: &RunResult) -> CommandError {
    CommandError::RunFailed(
        result.error.clone().unwrap_or_else(|| "no reason was given; see the daemon's log".to_owned()),
    )
}
