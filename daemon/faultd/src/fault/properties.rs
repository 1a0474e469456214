//! What holds for every request and every host: nothing gets through that is out of range, and nothing is
//! planned that the host or the device cannot do.

use std::time::Duration;

use faultd_api::{
    fault::{Backend, Direction, FaultRequest},
    quantities::MOST_PACKETS,
    shape::{CorruptKind, Distribution, FaultShape, GilbertElliott, Unit},
    units::{LONGEST_DELAY, LONGEST_DURATION},
};
use faultd_kernel::{
    datapath::{Effects, HoldingKind, Loss},
    probe::{Capabilities, Support},
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, prop_assert_ne, proptest,
    test_runner::TestCaseError,
};

use super::{FaultSpec, Peer, ProcessFault, Selection, backend};

/// Ratios around both bounds, and what is no ratio at all.
fn a_ratio() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 1e-6..=1.0_f64,
        1 => any::<f64>(),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(1.000_001), Just(f64::NAN), Just(f64::INFINITY)],
    ]
}

/// Times around their bounds.
fn nanoseconds() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 1..1_000_000_000_000_u64,
        1 => any::<u64>(),
        1 => prop_oneof![Just(0), Just(600_000_000_000), Just(600_000_000_001), Just(604_800_000_000_001)],
    ]
}

fn a_count() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 1..1_000_000_u64, 1 => any::<u64>(), 1 => 0..3_u64]
}

fn a_peer() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(10[.]0[.]0[.][0-9]{1,3}|fd00::[0-9a-f]{1,4}|[a-z]{1,8}|[a-z]{1,4}/[a-z]{1,4})(/[0-9]{1,3})?(:[0-9]{1,5}(-[0-9]{1,5})?)?",
        2 => "\\[[0-9a-f:.]{2,12}\\](:[0-9]{1,5})?",
        1 => "\\PC*",
        1 => "[0-9a-f.:/\\[\\]%@ -]{0,16}",
    ]
}

fn a_channel() -> impl Strategy<Value = GilbertElliott> {
    (a_ratio(), a_ratio(), a_ratio(), a_ratio()).prop_map(
        |(good_to_bad, bad_to_good, lost_when_bad, lost_when_good)| GilbertElliott {
            good_to_bad,
            bad_to_good,
            lost_when_bad,
            lost_when_good,
        },
    )
}

fn a_distribution() -> impl Strategy<Value = Distribution> {
    prop_oneof![
        Just(Distribution::Uniform),
        Just(Distribution::Normal),
        Just(Distribution::Pareto),
        Just(Distribution::Paretonormal)
    ]
}

fn lateness() -> impl Strategy<Value = FaultShape> {
    let table = prop_oneof![4 => Just(Vec::new()), 1 => vec(prop_oneof![4 => 0.0..600_000.0_f64, 1 => any::<f64>()], 0..5)];
    let correlation = prop_oneof![3 => 0.0..1.0_f64, 1 => a_ratio()];
    (
        option::of(nanoseconds()),
        option::weighted(0.3, a_distribution()),
        table,
        option::weighted(0.2, correlation),
        any::<bool>(),
        option::weighted(0.3, a_ratio()),
        option::weighted(0.2, 0..10_u32),
    )
        .prop_map(
            |(jitter_ns, distribution, delay_table_ms, jitter_correlation, may_reorder, ratio, gap)| {
                FaultShape {
                    jitter_ns,
                    distribution,
                    delay_table_ms,
                    jitter_correlation,
                    may_reorder: may_reorder && jitter_ns.is_some(),
                    reorder_ratio: ratio,
                    reorder_gap: gap,
                    ..FaultShape::default()
                }
            },
        )
}

fn losses() -> impl Strategy<Value = FaultShape> {
    let list = prop_oneof![2 => "[1-9][0-9]{0,3}(-[1-9][0-9]{4})?(,[0-9]{1,4}){0,3}", 1 => "\\PC*"];
    let repeat = prop_oneof![4 => 1..20_000_u64, 1 => any::<u64>()];
    (
        option::weighted(0.2, a_channel()),
        option::weighted(0.2, a_count()),
        option::weighted(0.2, list),
        option::weighted(0.2, repeat),
    )
        .prop_map(|(loss_gilbert_elliott, loss_every, loss_packets, loss_packets_repeat_after)| {
            FaultShape {
                loss_gilbert_elliott,
                loss_every,
                loss_packets,
                loss_packets_repeat_after,
                ..FaultShape::default()
            }
        })
}

fn the_rest() -> impl Strategy<Value = FaultShape> {
    let rate = (
        option::weighted(0.3, a_count()),
        option::weighted(0.1, any::<u64>()),
        option::weighted(0.1, any::<u64>()),
    );
    let shares =
        (option::weighted(0.3, a_ratio()), option::weighted(0.3, a_ratio()), any::<bool>(), any::<bool>());
    let port = option::weighted(0.2, prop_oneof!["[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?", "\\PC*"]);
    let protocol = option::weighted(0.2, prop_oneof!["(tcp|udp|icmp|icmpv6|sctp|[0-9]{1,3})", "\\PC*"]);
    let peers = prop_oneof![2 => Just(Vec::new()), 1 => vec(a_peer(), 1..4)];
    (rate, shares, peers, port, protocol, any::<u32>()).prop_map(
        |((rate, burst, queue), (duplicate, corrupt, silent, skb), to, port, protocol, priority)| {
            FaultShape {
                rate_bytes_per_second: rate,
                burst_bytes: burst,
                queue_bytes: queue,
                duplicate_ratio: duplicate,
                corrupt_ratio: corrupt,
                corrupt_kind: if silent { CorruptKind::Silent } else { CorruptKind::Detected },
                unit: if skb { Unit::Skb } else { Unit::Wire },
                to,
                port,
                protocol,
                neighbours: skb,
                priority,
                ..FaultShape::default()
            }
        },
    )
}

/// Pauses and shares of processors around their bounds.
fn on_processes() -> impl Strategy<Value = FaultShape> {
    let processors = prop_oneof![4 => 0.01..8.0_f64, 1 => any::<f64>(), 1 => prop_oneof![Just(0.0), Just(f64::NAN), Just(4097.0)]];
    let pause = || prop_oneof![4 => 1_000_000..2_000_000_000_u64, 1 => any::<u64>(), 1 => Just(999_999)];
    let shape = |pause_ns, pause_every_ns, cpus| FaultShape {
        pause_ns,
        pause_every_ns,
        cpus,
        ..FaultShape::default()
    };
    prop_oneof![
        4 => (pause(), option::of(pause())).prop_map(move |(length, every)| shape(Some(length), every, None)),
        2 => processors.clone().prop_map(move |processors| shape(None, None, Some(processors))),
        1 => (option::of(pause()), option::of(pause()), option::of(processors))
            .prop_map(move |(length, every, processors)| shape(length, every, processors)),
    ]
}

/// A request for a fault on processes, now and then with something of one on packets.
fn a_request_on_processes() -> impl Strategy<Value = FaultRequest> {
    let direction = prop_oneof![8 => Just(Direction::Egress), 1 => Just(Direction::Both)];
    (on_processes(), option::weighted(0.1, nanoseconds()), direction, option::weighted(0.1, a_peer()))
        .prop_map(|(shape, delay_ns, direction, peer)| FaultRequest {
            target: "web".to_owned(),
            delay_ns,
            direction,
            shape: FaultShape { to: peer.into_iter().collect(), ..shape },
            ..FaultRequest::default()
        })
}

fn a_request() -> impl Strategy<Value = FaultRequest> {
    let words = (
        prop_oneof![Just(Direction::Egress), Just(Direction::Ingress), Just(Direction::Both)],
        prop_oneof![Just(Backend::Auto), Just(Backend::Edt), Just(Backend::Relay), Just(Backend::Netem)],
    );
    let own =
        (option::of(nanoseconds()), option::weighted(0.4, a_ratio()), option::weighted(0.3, nanoseconds()));
    let target = prop_oneof![9 => "[a-z/]{1,8}", 1 => "\\PC{0,4}"];
    let shapes = (option::of(lateness()), option::of(losses()), option::of(the_rest()));
    (target, own, shapes, words, option::of(any::<u64>())).prop_map(
        |(target, (delay_ns, loss_ratio, hold_for_ns), (late, lost, rest), (direction, backend), seed)| {
            let late = late.unwrap_or_default();
            let lost = lost.unwrap_or_default();
            let shape = FaultShape {
                jitter_ns: late.jitter_ns,
                distribution: late.distribution,
                delay_table_ms: late.delay_table_ms,
                jitter_correlation: late.jitter_correlation,
                may_reorder: late.may_reorder,
                reorder_ratio: late.reorder_ratio,
                reorder_gap: late.reorder_gap,
                loss_gilbert_elliott: lost.loss_gilbert_elliott,
                loss_every: lost.loss_every,
                loss_packets: lost.loss_packets,
                loss_packets_repeat_after: lost.loss_packets_repeat_after,
                ..rest.unwrap_or_default()
            };
            let detach = false;
            FaultRequest {
                target,
                network: None,
                delay_ns,
                loss_ratio,
                shape,
                direction,
                backend,
                hold_for_ns,
                begin_at_ns: None,
                seed,
                detach,
            }
        },
    )
}

fn support() -> impl Strategy<Value = Support> {
    prop_oneof![
        3 => Just(Support::Available),
        1 => Just(Support::Missing { reason: "it is not there".to_owned() })
    ]
}

fn a_host() -> impl Strategy<Value = Capabilities> {
    let ways = (support(), support(), support(), support());
    (ways, support(), support(), support()).prop_map(|((btf, programs, tcx, clsact), tap, fq, netem)| {
        Capabilities { kernel_release: "6.1".to_owned(), btf, programs, tcx, clsact, tap, fq, netem }
    })
}

fn is_share(ratio: f64) -> bool {
    ratio > 0.0 && ratio <= 1.0
}

fn loss_is_in_range(loss: &Loss) -> bool {
    match loss {
        Loss::Random(ratio) => is_share(*ratio),
        Loss::GilbertElliott { good_to_bad, bad_to_good, lost_when_good, lost_when_bad } => {
            [good_to_bad, bad_to_good, lost_when_good, lost_when_bad]
                .into_iter()
                .all(|ratio| (0.0..=1.0).contains(ratio))
        }
        Loss::EveryNth(number) => *number > 0,
        Loss::Trace(trace) => {
            let most = usize::try_from(MOST_PACKETS).unwrap();
            !trace.lost.is_empty() && trace.lost.len() <= most && trace.lost.contains(&true)
        }
    }
}

fn check_effects(effects: &Effects) -> Result<(), TestCaseError> {
    prop_assert!(effects.loss.as_ref().is_none_or(loss_is_in_range), "{:?}", effects.loss);
    if let Some(delay) = &effects.delay {
        prop_assert!(delay.base <= LONGEST_DELAY, "{:?}", delay);
        if let Some(jitter) = &delay.jitter {
            prop_assert!(jitter.spread <= LONGEST_DELAY, "{:?}", delay);
            prop_assert!((0.0..1.0).contains(&jitter.correlation), "{:?}", jitter);
        }
    }
    let shares =
        [effects.duplicate, effects.corrupt.map(|corrupt| corrupt.ratio), effects.reorder.map(|r| r.ratio)];
    prop_assert!(shares.into_iter().flatten().all(is_share), "{:?}", shares);
    prop_assert!(effects.rate.is_none_or(|rate| rate.bytes_per_second >= 100));
    prop_assert!(effects.reorder.is_none_or(|reorder| reorder.gap > 0 && effects.delay.is_some()));
    prop_assert_ne!(effects, &Effects::default());
    let checked = effects.check().map_err(|error| error.to_string());
    prop_assert_eq!(checked, Ok(()), "the kernel's side must take what this side let through");
    Ok(())
}

fn check_selection(selection: &Selection) -> Result<(), TestCaseError> {
    prop_assert!(selection.target_ports.0.start() <= selection.target_ports.0.end());
    prop_assert_ne!(selection.protocol, Some(0));
    for (peer, ports) in &selection.peers {
        prop_assert!(ports.0.start() <= ports.0.end());
        if let Peer::Target(name) = peer {
            prop_assert!(!name.is_empty() && !name.contains([':', '[', ']', ' ']), "{}", name);
        }
    }
    Ok(())
}

fn is_available(kind: HoldingKind, host: &Capabilities) -> bool {
    let support = match kind {
        HoldingKind::Edt => &host.fq,
        HoldingKind::Netem => &host.netem,
        HoldingKind::Relay => &host.tap,
    };
    *support == Support::Available
}

fn asked_kind(backend: Backend) -> Option<HoldingKind> {
    match backend {
        Backend::Auto => None,
        Backend::Edt => Some(HoldingKind::Edt),
        Backend::Netem => Some(HoldingKind::Netem),
        Backend::Relay => Some(HoldingKind::Relay),
    }
}

/// What can be used for these effects on this host, said as plainly as possible.
fn usable(spec: &FaultSpec, host: &Capabilities) -> Vec<HoldingKind> {
    let asked = asked_kind(spec.backend);
    let fits = |kind: &HoldingKind| {
        is_available(*kind, host)
            && kind.cannot(&spec.effects).is_none()
            && asked.is_none_or(|asked| asked == *kind)
    };
    HoldingKind::ALL.into_iter().filter(fits).collect()
}

fn check_choice(spec: &FaultSpec, host: &Capabilities) -> Result<(), TestCaseError> {
    let attaches = [&host.tcx, &host.clsact].contains(&&Support::Available);
    let works = attaches && host.programs == Support::Available;
    let waits = spec.effects.holds() || spec.effects.needs_relay();
    let usable = usable(spec, host);
    match backend::choose(spec, host) {
        Ok(chosen) => {
            prop_assert!(works);
            prop_assert!(!chosen.name.is_empty() && !chosen.reason.is_empty());
            prop_assert_eq!(chosen.holding.is_some(), waits);
            prop_assert!(chosen.holding.is_none_or(|kind| usable.contains(&kind)), "{:?}", chosen);
        }
        Err(error) => {
            prop_assert!(!works || waits && usable.is_empty(), "{} although {:?} could do it", error, usable);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_let_through_is_within_all_bounds_and_planned_only_where_it_can_be_done(
        request in a_request(),
        host in a_host(),
    ) {
        let Ok(spec) = FaultSpec::checked(&request) else { return Ok(()) };
        prop_assert_eq!(&spec.target, &request.target);
        prop_assert!(spec.hold_for.is_none_or(|time| time > Duration::ZERO && time <= LONGEST_DURATION));
        check_effects(&spec.effects)?;
        check_selection(&spec.selection)?;
        prop_assert!(!spec.text().is_empty() && !spec.kind().is_empty());
        check_choice(&spec, &host)?;
    }

    #[test]
    fn a_fault_on_processes_is_within_its_bounds_and_has_nothing_of_one_on_packets(
        request in a_request_on_processes(),
        host in a_host(),
    ) {
        let Ok(spec) = FaultSpec::checked(&request) else { return Ok(()) };
        // What is asked for may be a delay and nothing else.
        let Some(processes) = spec.processes else { return Ok(()) };
        prop_assert_eq!(&spec.effects, &Effects::default());
        prop_assert_eq!((spec.delay, spec.loss, spec.direction), (None, None, Direction::Egress));
        prop_assert_eq!(&spec.selection, &Selection::default());
        match processes {
            ProcessFault::Pause(pause) => {
                prop_assert!(pause.length() >= Duration::from_millis(1) && pause.length() <= LONGEST_DELAY);
                prop_assert!(pause.every().is_none_or(|every| every > pause.length()));
            }
            ProcessFault::Cpu(share) => prop_assert!((0.01..=4096.0).contains(&share.processors())),
        }
        prop_assert_eq!(backend::choose(&spec, &host).map(|chosen| chosen.holding), Ok(None));
    }

    #[test]
    fn every_peer_is_refused_or_makes_a_selector(texts in vec(a_peer(), 1..5)) {
        let Ok(selection) = Selection::checked(&FaultShape { to: texts.clone(), ..FaultShape::default() }) else {
            return Ok(());
        };
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        let selectors = selection.selectors(|_name| vec![address]);
        let peers: usize = selectors.iter().map(|selector| selector.peers.len()).sum();
        prop_assert_eq!(peers, texts.len(), "each stands in exactly one selector");
        for (one, selector) in selectors.iter().enumerate() {
            prop_assert!(!selectors[..one].iter().any(|other| other.peer_ports == selector.peer_ports));
        }
    }
}

/// Otherwise the property above would say little.
#[test]
fn a_good_part_of_the_requests_is_let_through() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = a_request();
    let mut draw = || proptest::strategy::ValueTree::current(&strategy.new_tree(&mut runner).unwrap());
    let accepted = (0..2000).filter(|_case| FaultSpec::checked(&draw()).is_ok()).count();
    let mut others = proptest::test_runner::TestRunner::deterministic();
    let on_processes = a_request_on_processes();
    let mut draw_other =
        || proptest::strategy::ValueTree::current(&on_processes.new_tree(&mut others).unwrap());
    let accepted_others = (0..2000).filter(|_case| FaultSpec::checked(&draw_other()).is_ok()).count();
    assert!(accepted_others > 200, "only {accepted_others} of 2000 on processes were let through");
    println!("{accepted} of 2000 requests were let through");
    assert!(accepted > 200, "only {accepted} of 2000 were let through");
}
