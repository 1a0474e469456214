//! Which backend carries out a rule: what was asked for, against what probing found. Pure.

use std::time::Duration;

use faultd_api::fault::Backend;
use faultd_kernel::{
    datapath::{Delay, Effects, HoldingKind},
    probe::{Capabilities, Support},
};

use super::FaultSpec;

/// The decision for one fault, with the reason that people are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenBackend {
    /// The device that holds packets back; nothing where packets are only dropped.
    pub holding: Option<HoldingKind>,
    /// `ebpf`, `relay`, `netem`, or `ebpf+relay` for loss and delay together; `cgroup` for a fault on processes.
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
    if spec.processes.is_some() {
        return Ok(ChosenBackend {
            holding: None,
            name: "cgroup".to_owned(),
            reason: "it is on processes: the kernel does it to their control group".to_owned(),
        });
    }
    if let Err(why) = available(&host.programs) {
        return Err(NoBackend(format!("this kernel does not load our eBPF programs: {why}")));
    }
    if let (Err(tcx), Err(clsact)) = (available(&host.tcx), available(&host.clsact)) {
        return Err(NoBackend(format!("this kernel runs no traffic control programs: {tcx}; {clsact}")));
    }
    if !spec.effects.holds() && !spec.effects.needs_relay() {
        return Ok(ChosenBackend {
            holding: None,
            name: "ebpf".to_owned(),
            reason: "nothing waits: the program does it itself".to_owned(),
        });
    }
    let (holding, reason) = choose_holding(spec.backend, &spec.effects, host)?;
    let name = if spec.effects.loss.is_some() { format!("ebpf+{holding}") } else { holding.to_string() };
    Ok(ChosenBackend { holding: Some(holding), name, reason })
}

/// What would carry out a fault of any kind, for people; nothing where no fault can be.
#[must_use]
pub fn for_any(host: &Capabilities) -> Option<String> {
    let runs = available(&host.tcx).or(available(&host.clsact)).and(available(&host.programs));
    let delay = Some(Delay { base: Duration::from_millis(1), jitter: None });
    let holding = choose_best(&Effects { delay, ..Effects::default() }, host);
    runs.ok().map(|()| holding.map_or("ebpf".to_owned(), |(holding, _reason)| format!("ebpf+{holding}")))
}

/// Chooses the device that holds packets back: the best that is here and can do it.
///
/// # Errors
/// When the kernel lacks what the backend asked for needs, or what any backend needs, or the backend
/// asked for cannot do it.
pub fn choose_holding(
    asked: Backend,
    effects: &Effects,
    host: &Capabilities,
) -> Result<(HoldingKind, String), NoBackend> {
    let kind = match asked {
        Backend::Edt => HoldingKind::Edt,
        Backend::Netem => HoldingKind::Netem,
        Backend::Relay => HoldingKind::Relay,
        Backend::Auto => return choose_best(effects, host),
    };
    match problem(kind, effects, host) {
        None => Ok((kind, "asked for".to_owned())),
        Some(why) => Err(NoBackend(format!("{kind} cannot be used here: {why}; leave --backend out"))),
    }
}

fn choose_best(effects: &Effects, host: &Capabilities) -> Result<(HoldingKind, String), NoBackend> {
    let mut passed_over = Vec::new();
    for kind in HoldingKind::ALL {
        match problem(kind, effects, host) {
            None if passed_over.is_empty() => return Ok((kind, "the kernel has sch_fq".to_owned())),
            None => return Ok((kind, passed_over.join("; "))),
            Some(why) => passed_over.push(format!("no {kind}: {why}")),
        }
    }
    Err(NoBackend(format!("nothing here can hold packets back: {}", passed_over.join("; "))))
}

/// What stands in the way of a device.
fn problem(kind: HoldingKind, effects: &Effects, host: &Capabilities) -> Option<String> {
    let support = match kind {
        HoldingKind::Edt => &host.fq,
        HoldingKind::Netem => &host.netem,
        HoldingKind::Relay => &host.tap,
    };
    match available(support) {
        Err(why) => Some(why.to_owned()),
        Ok(()) => kind.cannot(effects).map(|what| format!("it cannot {what}")),
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
    use faultd_api::{fault::FaultRequest, shape::FaultShape};

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
    fn what_waits_takes_the_best_device_that_the_kernel_has_and_that_can_do_it() {
        let delay = spec(Some(1), None, Backend::Auto);
        assert_eq!(name(&delay, &host(true, true)), Ok("netem".into()));
        assert_eq!(name(&delay, &host(true, false)), Ok("relay".into()));
        let with_fq = Capabilities { fq: Support::Available, ..host(true, true) };
        assert_eq!(name(&delay, &with_fq), Ok("edt".into()));
        let rate = FaultShape { rate_bytes_per_second: Some(1000), ..FaultShape::default() };
        let request = FaultRequest { target: "x".into(), shape: rate, ..FaultRequest::default() };
        assert_eq!(name(&FaultSpec::checked(&request).unwrap(), &host(true, true)), Ok("relay".into()));
        assert_eq!(
            name(&spec(Some(1), Some(0.1), Backend::Auto), &host(true, false)),
            Ok("ebpf+relay".into())
        );
    }

    #[test]
    fn a_fault_on_processes_needs_nothing_of_what_packets_need() {
        let shape = FaultShape { cpus: Some(0.2), ..FaultShape::default() };
        let request = FaultRequest { target: "x".into(), shape, ..FaultRequest::default() };
        let missing = || Support::Missing { reason: "no".into() };
        let nothing = Capabilities { programs: missing(), clsact: missing(), ..host(false, false) };
        assert_eq!(name(&FaultSpec::checked(&request).unwrap(), &nothing), Ok("cgroup".into()));
    }

    #[test]
    fn a_backend_that_was_asked_for_is_never_replaced_in_silence() {
        let error = name(&spec(Some(1), None, Backend::Netem), &host(true, false)).unwrap_err();
        assert!(error.contains("netem cannot be used here: no netem"), "{error}");
        let error = name(&spec(Some(1), None, Backend::Auto), &host(false, false)).unwrap_err();
        assert!(error.contains("no netem: no netem; no relay: no tap"), "{error}");
    }
}
