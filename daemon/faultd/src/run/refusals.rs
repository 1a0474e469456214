//! What can be known to fail before anything is measured fails before anything is made.

use std::time::Duration;

use faultd_kernel::probe::Capabilities;
use faultd_plugin_host::MemberRole;

use super::{RunError, spec::RunSpec};
use crate::{cluster::Cluster, fault::FaultSpec, policy::Permits};

/// What is asked for, and of whom.
pub(super) struct Asked<'a> {
    pub(super) spec: &'a RunSpec,
    pub(super) cluster: &'a Cluster,
    pub(super) roles: &'a [MemberRole],
    /// The members that serve the clients, by position.
    pub(super) serving: &'a [usize],
}

impl Asked<'_> {
    /// A fault on a member that there is, and by means that there are.
    ///
    /// # Errors
    /// When nobody has the role or name, or the host cannot do it.
    pub(super) fn refuse_impossible(&self, capabilities: &Capabilities) -> Result<(), RunError> {
        if let Some(fault) = &self.spec.fault {
            self.cluster.member(&fault.target, self.roles, self.serving)?;
            crate::fault::backend::choose(fault, capabilities)?;
        }
        Ok(())
    }

    /// The fault of the command line, for as long as its window is, on the member that has the role now.
    ///
    /// # Errors
    /// When the operator does not allow it.
    pub(super) async fn refuse_forbidden(&self, permits: &Permits) -> Result<(), RunError> {
        let Some(fault) = &self.spec.fault else { return Ok(()) };
        let begin = Duration::from_nanos(self.spec.request.inject_at_ns.unwrap_or_default());
        let to_the_end = self.spec.duration.saturating_sub(begin);
        let window = self.spec.request.hold_for_ns.map_or(to_the_end, Duration::from_nanos);
        let fault = FaultSpec { hold_for: Some(window), ..fault.clone() };
        let (member, _role) = self.cluster.member(&fault.target, self.roles, self.serving)?;
        permits.of_fault(&fault, &member.target, Some(self.cluster.target_names())).await?;
        Ok(())
    }
}
