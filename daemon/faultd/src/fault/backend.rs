//! Which backend carries out a rule: what was asked for, against what probing found. Pure.

use faultd_api::fault::Backend;
use faultd_kernel::{
    datapath::HoldingKind,
    probe::{Capabilities, Support},
};

use super::FaultSpec;

/// The decision for one fault, with the reason that people are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenBackend {
    /// The device that holds packets back; nothing where packets are only dropped.
    pub holding: Option<HoldingKind>,
    /// `ebpf`, `relay`, `netem`, or `ebpf+relay` for loss and delay together.
    pub name: String,
    /// Why this one.
    pub reason: String,
}

/// The host cannot do what was asked; the text says what is missing.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0}")]
pub struct NoBackend(String);

/// Chooses the backend of a fault.
///
/// # Errors
/// When the kernel lacks what the fault, or the backend asked for, needs.
pub fn choose(spec: &FaultSpec, host: &Capabilities) -> Result<ChosenBackend, NoBackend> {
    if let Err(why) = available(&host.programs) {
        return Err(NoBackend(format!("this kernel does not load our eBPF programs: {why}")));
    }
    if let (Err(tcx), Err(clsact)) = (available(&host.tcx), available(&host.clsact)) {
        return Err(NoBackend(format!("this kernel runs no traffic control programs: {tcx}; {clsact}")));
    }
    if spec.delay.is_none() {
        return Ok(ChosenBackend {
            holding: None,
            name: "ebpf".to_owned(),
            reason: "loss needs no holding device: the program drops the packet itself".to_owned(),
        });
    }
    let (holding, reason) = choose_holding(spec.backend, host)?;
    let device = holding_name(holding);
    let name = if spec.loss.is_some() { format!("ebpf+{device}") } else { device.to_owned() };
    Ok(ChosenBackend { holding: Some(holding), name, reason })
}

/// Chooses the device that holds packets back.
///
/// # Errors
/// When the kernel lacks what the backend asked for needs, or what any backend needs.
pub fn choose_holding(asked: Backend, host: &Capabilities) -> Result<(HoldingKind, String), NoBackend> {
    let relay = available(&host.tap);
    let netem = available(&host.netem);
    match asked {
        Backend::Relay => match relay {
            Ok(()) => Ok((HoldingKind::Relay, "asked for".to_owned())),
            Err(why) => Err(NoBackend(format!("the relay cannot run here: {why}"))),
        },
        Backend::Netem => match netem {
            Ok(()) => Ok((HoldingKind::Netem, "asked for".to_owned())),
            Err(why) => Err(NoBackend(format!("netem cannot be used here: {why}; leave --backend out"))),
        },
        Backend::Auto => match (netem, relay) {
            (Ok(()), _) => Ok((HoldingKind::Netem, "the kernel has sch_netem".to_owned())),
            (Err(_), Ok(())) => Ok((
                HoldingKind::Relay,
                "this kernel has no sch_netem, and the TAP delay line needs none".to_owned(),
            )),
            (Err(netem), Err(relay)) => {
                Err(NoBackend(format!("nothing here can hold packets back: {netem}; {relay}")))
            }
        },
    }
}

/// The name of a holding device's backend.
#[must_use]
pub fn holding_name(kind: HoldingKind) -> &'static str {
    match kind {
        HoldingKind::Relay => "relay",
        HoldingKind::Netem => "netem",
    }
}

fn available(support: &Support) -> Result<(), &str> {
    match support {
        Support::Available => Ok(()),
        Support::Missing { reason } => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use faultd_api::fault::FaultRequest;

    use super::*;

    fn host(tap: bool, netem: bool) -> Capabilities {
        let support = |there: bool, what: &str| {
            if there { Support::Available } else { Support::Missing { reason: format!("no {what}") } }
        };
        Capabilities {
            kernel_release: "6.1".into(),
            btf: support(false, "btf"),
            programs: support(true, "programs"),
            tcx: support(false, "tcx"),
            clsact: support(true, "clsact"),
            tap: support(tap, "tap"),
            fq: support(false, "fq"),
            netem: support(netem, "netem"),
        }
    }

    fn spec(delay_ns: Option<u64>, loss_ratio: Option<f64>, backend: Backend) -> FaultSpec {
        let request =
            FaultRequest { target: "x".into(), delay_ns, loss_ratio, backend, ..FaultRequest::default() };
        FaultSpec::checked(&request).unwrap()
    }

    fn name(spec: &FaultSpec, host: &Capabilities) -> Result<String, String> {
        choose(spec, host).map(|chosen| chosen.name).map_err(|error| error.to_string())
    }

    #[test]
    fn loss_is_dropped_by_the_program_whatever_the_kernel_has() {
        assert_eq!(name(&spec(None, Some(0.2), Backend::Auto), &host(false, false)), Ok("ebpf".into()));
    }

    #[test]
    fn delay_takes_netem_where_the_kernel_has_it_and_the_relay_where_not() {
        let delay = spec(Some(1), None, Backend::Auto);
        assert_eq!(name(&delay, &host(true, true)), Ok("netem".into()));
        assert_eq!(name(&delay, &host(true, false)), Ok("relay".into()));
        assert_eq!(
            name(&spec(Some(1), Some(0.1), Backend::Auto), &host(true, false)),
            Ok("ebpf+relay".into())
        );
    }

    #[test]
    fn a_backend_that_was_asked_for_is_never_replaced_in_silence() {
        let error = name(&spec(Some(1), None, Backend::Netem), &host(true, false)).unwrap_err();
        assert!(error.contains("netem cannot be used here: no netem"), "{error}");
        let error = name(&spec(Some(1), None, Backend::Auto), &host(false, false)).unwrap_err();
        assert!(error.contains("no netem; no tap"), "{error}");
    }
}
