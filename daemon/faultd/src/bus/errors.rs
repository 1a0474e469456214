//! From what went wrong to the name that it has on the bus: the one table.

use faultd_api::{dictionary::DictionaryError, error::Error};

use crate::{
    container_cluster::ContainerClusterError,
    engine::EngineError,
    fault::{FaultError, backend::NoBackend},
    lab::LabError,
    plugins::PluginProblem,
    policy::FaultRefusal,
    run::{RunError, stop::prometheus::PrometheusError},
    target::{
        TargetError, containers::ContainerError, interface::InterfaceProblem, interfaces::InterfacesError,
    },
};

pub(super) fn of_dictionary(error: &DictionaryError) -> Error {
    Error::InvalidRequest(error.to_string())
}

pub(super) fn of_fault(error: &FaultError) -> Error {
    Error::InvalidRequest(error.to_string())
}

pub(super) fn of_refusal(refusal: &FaultRefusal) -> Error {
    let text = refusal.to_string();
    match refusal {
        FaultRefusal::Unknown { .. } => Error::Failed(text),
        FaultRefusal::TooSevere { .. }
        | FaultRefusal::Kind(_)
        | FaultRefusal::Protected(_)
        | FaultRefusal::NotAllowed(_) => Error::Denied(text),
    }
}

pub(super) fn of_backend(error: &NoBackend) -> Error {
    Error::NotSupported(error.to_string())
}

pub(super) fn of_engine(error: &EngineError) -> Error {
    let text = error.to_string();
    match error {
        EngineError::Occupied { .. } | EngineError::SameKind { .. } | EngineError::ClearedMeanwhile(_) => {
            Error::Busy(text)
        }
        EngineError::BudgetSpent(_) => Error::Denied(text),
        EngineError::NoSuchFault(_) => Error::NotFound(text),
        EngineError::NotTheSame(_) => Error::InvalidRequest(text),
        EngineError::NotApplied { .. }
        | EngineError::NotChanged { .. }
        | EngineError::NotPrepared(_)
        | EngineError::Stopping => Error::Failed(text),
    }
}

pub(super) fn of_target(error: &TargetError) -> Error {
    let text = error.to_string();
    match error {
        TargetError::NotFound { .. }
        | TargetError::NoNamespace(_)
        | TargetError::NoProcess(_)
        | TargetError::NoInterface(_)
        | TargetError::Container(ContainerError::NotFound) => Error::NotFound(text),
        TargetError::NoAddress(_)
        | TargetError::NoContainer(_)
        | TargetError::NoSelector
        | TargetError::TooFew { .. }
        | TargetError::Container(
            ContainerError::Ambiguous { .. } | ContainerError::Selector(_) | ContainerError::NoNetwork { .. },
        )
        | TargetError::BadProcess(_)
        | TargetError::SharesHost(_)
        | TargetError::Ambiguous { .. } => Error::InvalidRequest(text),
        TargetError::Interface(InterfaceProblem::Down(_)) => Error::Failed(text),
        TargetError::Interface(_)
        | TargetError::NoProcesses(_)
        | TargetError::Interfaces(InterfacesError::None(_))
        | TargetError::Container(ContainerError::Interfaces(InterfacesError::None(_))) => {
            Error::NotSupported(text)
        }
        TargetError::Interfaces(_) | TargetError::Container(_) => Error::Failed(text),
    }
}

pub(super) fn of_lab(error: &LabError) -> Error {
    let text = error.to_string();
    match error {
        LabError::Description(_) => Error::InvalidRequest(text),
        LabError::Busy(_) | LabError::Foreign(_) => Error::Busy(text),
        LabError::NotFound(_) => Error::NotFound(text),
        LabError::Plugin(problem) => of_plugin(problem),
        LabError::Namespace(_)
        | LabError::Netlink(_)
        | LabError::Journal(_)
        | LabError::Directory { .. }
        | LabError::Start { .. }
        | LabError::NotServing { .. }
        | LabError::MemberEnded { .. }
        | LabError::Incomplete(_)
        | LabError::Traces { .. } => Error::Failed(text),
    }
}

pub(super) fn of_run(error: &RunError) -> Error {
    let text = error.to_string();
    match error {
        RunError::Spec(_) | RunError::Prometheus(PrometheusError::Refused { .. }) => {
            Error::InvalidRequest(text)
        }
        RunError::NoCluster(_) | RunError::NoSuchRun(_) => Error::NotFound(text),
        RunError::Role(crate::cluster::RoleError::NoSuchMember { .. }) => Error::NotFound(text),
        RunError::ClusterBusy { .. } => Error::Busy(text),
        RunError::Backend(problem) => of_backend(problem),
        RunError::Plugin(problem) => of_plugin(problem),
        RunError::Peer(problem) => of_target(problem),
        RunError::Lab(problem) => of_lab(problem),
        RunError::Containers(problem) => of_container_cluster(problem),
        RunError::Engine(problem) => of_engine(problem),
        RunError::Refused(refusal) => of_refusal(refusal),
        RunError::Role(_)
        | RunError::Prometheus(PrometheusError::Silent { .. })
        | RunError::Outputs(_)
        | RunError::Internal(_) => Error::Failed(text),
    }
}

fn of_container_cluster(error: &ContainerClusterError) -> Error {
    let text = error.to_string();
    match error {
        ContainerClusterError::Target(problem) => of_target(problem),
        ContainerClusterError::Name(_)
        | ContainerClusterError::TooMany(_)
        | ContainerClusterError::NoContainer(_)
        | ContainerClusterError::SharesHost(_) => Error::InvalidRequest(text),
        ContainerClusterError::NotServing { .. } => Error::Failed(text),
    }
}

pub(super) fn of_plugin(problem: &PluginProblem) -> Error {
    let text = problem.to_string();
    match problem {
        PluginProblem::Name(_) | PluginProblem::Transcript(_) => Error::InvalidRequest(text),
        PluginProblem::NotFound { .. } => Error::NotFound(text),
        PluginProblem::Unreadable { .. } | PluginProblem::Host(_) => Error::PluginFailed(text),
    }
}
