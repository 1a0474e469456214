//! `faultctl search`: the danger zone of a cluster, in one run or with a run for each probe.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use faultd_api::{proxy::ManagerProxy, run::RunResult};
use faultd_danger_zone_search::{Options, Samples, Scale, Search, findings, remarks};
use faultd_results::{
    folder::{self, TIMESERIES_CSV},
    phase::Phase,
    summary::Finding,
    text,
    timeseries::{self, Row},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{other_machines::OtherMachines, run};
pub(crate) use crate::search_flags::SearchArguments;
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    interrupt::Interrupts,
    output::{Format, say, table, to_json},
    outputs_directory::{OUTPUTS, OutputsDirectory},
    search_flags::ProbeRun,
};

pub(crate) const EXAMPLES: &str = "Examples:
  faultctl search --cluster etcd --target leader --delay 50ms
  faultctl search --cluster etcd --target follower --loss 30% --over-runs --probe 10s --within 15m";

/// The schema of the document is `faultd/v1/search`.
const KIND: &str = "search";
/// Runs in a row that say nothing, after which there is no point in going on.
const MOST_SPOILT: usize = 3;

/// One probe: a run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Probe {
    /// Share of the fault that was asked for.
    severity: f64,
    /// Operations a second before the fault.
    before_ops_per_s: f64,
    /// Operations a second under it, once it had settled.
    slow_ops_per_s: f64,
    /// The run's folder.
    folder: PathBuf,
}

/// What the search has found, as it is printed and kept.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SearchDocument {
    cluster: String,
    label: String,
    target: Option<String>,
    probes: Vec<Probe>,
    findings: Vec<Finding>,
    /// What is not known, and why.
    remarks: Vec<String>,
}

/// A search whose probes are runs.
struct OverRuns<'a> {
    manager: &'a ManagerProxy<'a>,
    plan: &'a ProbeRun,
    outputs: &'a OutputsDirectory,
    output: Format,
    search: Search,
    probes: Vec<Probe>,
    runs: usize,
    spoilt_in_a_row: usize,
}

pub(crate) async fn search(
    arguments: SearchArguments,
    bus: &BusAddress,
    output: Format,
) -> Result<(), CommandError> {
    if arguments.over_runs {
        over_runs(arguments, bus, output).await
    } else {
        run::make(&arguments.into_one_run()?, &OtherMachines::none(), bus, output).await
    }
}

async fn over_runs(arguments: SearchArguments, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let options = Options { lowest: arguments.lowest, precision: arguments.precision, ..Options::default() };
    let search = Search::new(options).map_err(CommandError::Usage)?;
    let within_s = arguments.within.as_secs();
    let plan = &arguments.into_probe_run()?;
    let mut interrupts = Interrupts::catch()?;
    let manager = &bus.connect().await?;
    let (outputs, descriptor) = OutputsDirectory::open(Path::new(OUTPUTS))?;
    let probes = Vec::new();
    let mut over =
        OverRuns { manager, plan, outputs: &outputs, output, search, probes, runs: 0, spoilt_in_a_row: 0 };
    let ended = over.play(within_s, &descriptor, &mut interrupts).await;
    let told = over.tell();
    outputs.remove_if_made_here_and_empty();
    // How it ended is worse than what could not be printed.
    ended.and(told)
}

impl OverRuns<'_> {
    /// Makes runs until there is no more to be found out, or no time.
    async fn play(
        &mut self,
        within_s: u64,
        outputs: &zbus::OwnedFd,
        interrupts: &mut Interrupts,
    ) -> Result<(), CommandError> {
        while let Some(severity) = self.search.next_probe() {
            if self.seconds() + self.plan.seconds() > within_s {
                break;
            }
            self.runs += 1;
            let request = self.plan.at(severity, self.runs);
            let descriptor = outputs.as_fd().try_clone_to_owned().map_err(|source| CommandError::File {
                action: format!("open {OUTPUTS} once more"),
                source,
            })?;
            let result = run::measure(
                self.manager,
                &request,
                &OtherMachines::none(),
                descriptor.into(),
                interrupts,
                self.output,
            )
            .await?;
            self.take(severity, &result)?;
        }
        Ok(())
    }

    /// Takes what a run has measured.
    fn take(&mut self, severity: f64, result: &RunResult) -> Result<(), CommandError> {
        let folder = self.outputs.folder(&result.folder);
        match result.status.as_str() {
            "done" => {}
            "interrupted" => return Err(CommandError::Interrupted),
            "stopped" => return Err(run::stopped(result, &folder)),
            _ => return Err(run::failure(result)),
        }
        let run = folder::read(&folder)?;
        let samples = self.plan.samples(&rows(&folder)?);
        if let Some(reason) = spoilt(run.summary.tainted.as_deref(), &samples) {
            say(&format!("probe {} at {:.3} % is left out: {reason}", self.runs, severity * 100.0));
            self.spoilt_in_a_row += 1;
            return if self.spoilt_in_a_row < MOST_SPOILT {
                Ok(())
            } else {
                Err(CommandError::RunFailed(format!("{MOST_SPOILT} in a row say nothing: {reason}")))
            };
        }
        self.spoilt_in_a_row = 0;
        self.search.record(severity, &samples);
        let (before, slow) = (mean(&samples.before), mean(&samples.slow));
        self.probes.push(Probe { severity, before_ops_per_s: before, slow_ops_per_s: slow, folder });
        say(&format!(
            "probe {} at {:.3} % of the fault: {before:.0} ops/s, then {slow:.0}",
            self.runs,
            severity * 100.0
        ));
        Ok(())
    }

    /// Seconds that all runs have taken, with their warm-ups.
    fn seconds(&self) -> u64 {
        self.plan.seconds().saturating_mul(self.runs as u64)
    }

    /// Prints what is known, and keeps it beside the runs; nothing where no run was made.
    fn tell(&self) -> Result<(), CommandError> {
        let Some(first) = self.probes.first() else { return Ok(()) };
        let document = self.document();
        let name = first.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let time = name.get(..folder::TIME_LENGTH).unwrap_or_default();
        let file = format!("{time}_{}_search.json", self.plan.full.label);
        let kept = self.outputs.write(&file, &to_json(KIND, &document, true)?)?;
        self.output.one(KIND, &document, |document| in_words(document, &kept))
    }

    fn document(&self) -> SearchDocument {
        let full = &self.plan.full;
        #[expect(clippy::cast_precision_loss, reason = "a delay in milliseconds for people")]
        let delay = full.delay_ns.map(|delay_ns| Scale::delay(delay_ns as f64 / 1e6));
        let scales: Vec<Scale> =
            [Some(Scale::SEVERITY), delay, full.loss_ratio.map(Scale::loss)].into_iter().flatten().collect();
        let seconds = u32::try_from(self.seconds()).unwrap_or(u32::MAX);
        let found = findings(&self.search, &scales, seconds).into_iter();
        let findings = found.map(|finding| Finding {
            name: finding.name,
            value: finding.value,
            low: finding.low,
            high: finding.high,
            unit: finding.unit.to_owned(),
        });
        SearchDocument {
            cluster: full.cluster.clone(),
            label: full.label.clone(),
            target: full.target.clone(),
            probes: self.probes.clone(),
            findings: findings.collect(),
            remarks: remarks(&self.search),
        }
    }
}

impl ProbeRun {
    /// The seconds of a run that count.
    fn samples(&self, rows: &[Row]) -> Samples {
        #[expect(clippy::cast_precision_loss, reason = "operations a second are far below 2^52")]
        let of = |phase: Phase, seconds: std::ops::Range<i64>| {
            let rows = rows.iter().filter(move |row| row.phase == phase && seconds.contains(&row.t_s));
            rows.map(|row| row.ops as f64).collect()
        };
        Samples {
            before: of(Phase::Baseline, 0..self.inject_at_s),
            slow: of(Phase::Injection, self.settled_at_s..i64::MAX),
            after: Vec::new(),
        }
    }
}

/// Why a run says nothing, if so.
fn spoilt(tainted: Option<&str>, samples: &Samples) -> Option<String> {
    if let Some(reason) = tainted {
        return Some(reason.to_owned());
    }
    let works = samples.before.iter().any(|operations| *operations > 0.0);
    let reason = match (works, samples.slow.is_empty()) {
        (false, _) => "there was no throughput before the fault",
        (_, true) => "there are no seconds under the fault",
        _ => return None,
    };
    Some(reason.to_owned())
}

fn rows(folder: &Path) -> Result<Vec<Row>, CommandError> {
    let path = folder.join(TIMESERIES_CSV);
    let failed =
        |source: std::io::Error| CommandError::File { action: format!("read {}", path.display()), source };
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    timeseries::parse_csv(&text).map_err(|error| failed(std::io::Error::other(error)))
}

#[expect(clippy::cast_precision_loss, reason = "a number of seconds")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn in_words(document: &SearchDocument, kept: &Path) -> String {
    let rows = document.probes.iter().map(|probe| {
        let degradation = 1.0 - probe.slow_ops_per_s / probe.before_ops_per_s;
        [
            format!("{:.3} %", probe.severity * 100.0),
            format!("{:.1}", probe.before_ops_per_s),
            format!("{:.1}", probe.slow_ops_per_s),
            format!("{:.1} %", degradation * 100.0),
            probe.folder.display().to_string(),
        ]
    });
    let header = ["SEVERITY", "BEFORE OPS/S", "SLOW OPS/S", "DEGRADATION", "RUN"];
    let found = document.findings.iter().map(|found| format!("  found   {}", text::finding(found)));
    let remarks = document.remarks.iter().map(|remark| format!("  but     {remark}"));
    let lines: Vec<String> = found.chain(remarks).collect();
    format!("{}\n\n{}\n  output  {}", table(header, rows), lines.join("\n"), kept.display())
}
