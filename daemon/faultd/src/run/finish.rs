//! The end of a run: what it has come to, written into its folder.

use faultd_kernel::kill_points;
use faultd_results::{
    folder::{METADATA_JSON, METADATA_TEXT, SUMMARY_JSON, THROUGHPUT_PNG, THROUGHPUT_SVG},
    metadata::Metadata,
    plot,
    recorder::PhaseLatencies,
    summary::{Finding, Measurement, Status, StopReason, Summary},
};

use super::{RunError, injection::InjectionRecord, outputs::RunFolder, record::RunRecord};

/// The last files, written where blocking is allowed: drawing takes a while.
pub(super) struct Finish {
    pub(super) folder: RunFolder,
    pub(super) metadata: Metadata,
    pub(super) record: RunRecord,
    pub(super) done: InjectionRecord,
    pub(super) findings: Vec<Finding>,
    pub(super) latencies: PhaseLatencies,
    pub(super) status: Status,
    pub(super) stopped: Option<StopReason>,
}

impl Finish {
    /// Writes them.
    ///
    /// # Errors
    /// When the folder takes no more.
    pub(super) fn write(self) -> Result<(), RunError> {
        self.record.write_anew_if_incomplete(&self.folder);
        let rows = self.record.rows();
        let mut taints = self.done.taints;
        taints.extend(self.record.failure());
        let summary = Summary {
            leader_changes: self.record.leader_changes(),
            processes: self.done.process_proofs,
            stopped: self.stopped,
            ..Summary::of(Measurement {
                status: self.status,
                tainted: (!taints.is_empty()).then(|| taints.join("; ")),
                rows: &rows,
                latencies: &self.latencies,
                fault_window: self.record.fault_window(),
                rules: self.done.proofs,
                findings: self.findings,
            })
        };
        write_metadata(&self.folder, &self.metadata)?;
        let svg = plot::throughput_svg(&self.metadata, &summary, &rows);
        self.folder.write_file(THROUGHPUT_SVG, svg.as_bytes())?;
        let png = plot::throughput_png(&self.metadata, &summary, &rows)
            .map_err(|error| RunError::Internal(error.to_string()))?;
        self.folder.write_file(THROUGHPUT_PNG, &png)?;
        let text =
            serde_json::to_vec_pretty(&summary).map_err(|error| RunError::Internal(error.to_string()))?;
        kill_points::here("run.plotted");
        // Last: a folder with a summary is whole.
        Ok(self.folder.write_file(SUMMARY_JSON, &text)?)
    }
}

/// What is known when the run begins, and again at its end.
///
/// # Errors
/// When the folder takes no more.
pub(super) fn write_metadata(folder: &RunFolder, metadata: &Metadata) -> Result<(), RunError> {
    let text = serde_json::to_vec_pretty(metadata).map_err(|error| RunError::Internal(error.to_string()))?;
    folder.write_file(METADATA_JSON, &text)?;
    Ok(folder.write_file(METADATA_TEXT, metadata.to_text().as_bytes())?)
}
