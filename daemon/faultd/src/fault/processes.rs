//! Faults on the processes of a target. One fault is of one such kind, and has nothing of one on packets.

use faultd_api::{
    fault::{Backend, Direction, FaultRequest},
    shape::FaultShape,
};
use faultd_kernel::control_group::ControlEffect;

use super::{FaultError, Pause, ProcessorShare};

/// What is done to processes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProcessFault {
    /// They stand still now and then.
    Pause(Pause),
    /// They may use so much of the processors.
    Cpu(ProcessorShare),
}

impl ProcessFault {
    /// What is asked for; nothing for a fault on packets.
    ///
    /// # Errors
    /// When a parameter is out of its range, or a fault is to be of more than one kind.
    pub fn checked(request: &FaultRequest) -> Result<Option<Self>, FaultError> {
        let shape = &request.shape;
        let pause = Pause::checked(shape)?;
        let share = shape.cpus.map(ProcessorShare::checked).transpose()?;
        let fault = match (pause, share) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(FaultError::PauseAndShare),
            (Some(pause), None) => Self::Pause(pause),
            (None, Some(share)) => Self::Cpu(share),
        };
        if is_about_packets(request) {
            Err(FaultError::PacketsAndProcesses(fault.kind()))
        } else {
            Ok(Some(fault))
        }
    }

    /// `pause` or `cpu`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Pause(_) => "pause",
            Self::Cpu(_) => "cpu",
        }
    }

    /// For people: `pause 200ms every 1s`, `cpus 0.2`.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Pause(pause) => pause.text(),
            Self::Cpu(share) => share.text(),
        }
    }

    /// What the kernel is to do.
    #[must_use]
    pub fn effect(self) -> ControlEffect {
        match self {
            Self::Pause(pause) => ControlEffect::Pause { length: pause.length(), every: pause.every() },
            Self::Cpu(share) => ControlEffect::Processors(share.processors()),
        }
    }
}

/// Whether anything is asked for that is about packets, or about how those are caught.
fn is_about_packets(request: &FaultRequest) -> bool {
    let FaultRequest { network, delay_ns, loss_ratio, shape, direction, backend, .. } = request;
    let without_processes = FaultShape { pause_ns: None, pause_every_ns: None, cpus: None, ..shape.clone() };
    network.is_some()
        || delay_ns.is_some()
        || loss_ratio.is_some()
        || *direction != Direction::default()
        || *backend != Backend::default()
        || !without_processes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut FaultRequest)) -> FaultRequest {
        let shape = FaultShape { pause_ns: Some(5_000_000), ..FaultShape::default() };
        let mut request = FaultRequest { target: "web".into(), shape, ..FaultRequest::default() };
        change(&mut request);
        request
    }

    #[test]
    fn a_fault_is_on_packets_or_on_processes() {
        let pause = ProcessFault::checked(&request(|_| {})).unwrap().unwrap();
        assert_eq!((pause.kind(), pause.text().as_str()), ("pause", "pause 5ms once"));
        let mixed: [fn(&mut FaultRequest); 7] = [
            |request| request.delay_ns = Some(1),
            |request| request.loss_ratio = Some(0.1),
            |request| request.network = Some("back".into()),
            |request| request.direction = Direction::Both,
            |request| request.backend = Backend::Relay,
            |request| request.shape.to = vec!["db".into()],
            |request| request.shape.port = Some("80".into()),
        ];
        for change in mixed {
            let refused = ProcessFault::checked(&request(change)).unwrap_err();
            assert_eq!(refused, FaultError::PacketsAndProcesses("pause"));
            assert!(refused.to_string().contains("add two faults"), "{refused}");
        }
        let both = ProcessFault::checked(&request(|request| request.shape.cpus = Some(0.5)));
        assert_eq!(both, Err(FaultError::PauseAndShare));
        let packets = FaultRequest { target: "web".into(), delay_ns: Some(1), ..FaultRequest::default() };
        assert_eq!(ProcessFault::checked(&packets), Ok(None));
    }
}
