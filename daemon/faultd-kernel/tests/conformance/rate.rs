//! A bottleneck with its burst and queue.

use std::time::Duration;

use faultd_kernel::datapath::{Effects, Rate};
use faultd_testkit::flight::in_order;

use crate::{flight, on_every_backend};

/// Bytes of a packet of the flight: payload, UDP, IPv4 and Ethernet.
const FRAME: u64 = 64 + 8 + 20 + 14;

fn limited(rate: Rate) -> Effects {
    Effects { rate: Some(rate), ..Effects::default() }
}

#[test]
fn packets_pass_a_bottleneck_one_after_the_other() {
    // 1000 packets a second; 300 packets sent much faster than that.
    let rate = Rate { bytes_per_second: FRAME * 1000, burst_bytes: 0, queue_bytes: FRAME * 1000 };
    let effects = limited(rate);
    on_every_backend("rate", &effects, |scene, kind| {
        let (arrivals, counters) = scene.fly(scene.plan(effects.clone(), Some(kind)), flight(300, 0));
        assert_eq!(arrivals.len(), 300, "{counters:?}");
        assert!(in_order(&arrivals));
        let first = arrivals.first().unwrap();
        let last = arrivals.last().unwrap();
        let all = last.at - first.at;
        println!("  first {:?}, all within {all:?}", first.delay);
        assert!(first.delay >= Duration::from_millis(1));
        // A busy machine may bring the first late, and the last, but not all 299 of the others early.
        assert!(all > Duration::from_millis(230), "{all:?}");
        assert!(all < Duration::from_millis(2000), "{all:?}");
        assert_eq!((counters.overflowed, counters.unintended), (0, 0));
    });
}

#[test]
fn a_burst_passes_at_once_and_a_full_queue_drops_on_purpose() {
    let rate = Rate { bytes_per_second: FRAME * 100, burst_bytes: FRAME * 20, queue_bytes: FRAME * 10 };
    let effects = limited(rate);
    on_every_backend("burst and queue", &effects, |scene, kind| {
        let (arrivals, counters) = scene.fly(scene.plan(effects.clone(), Some(kind)), flight(100, 0));
        let at_once = arrivals.iter().filter(|arrival| arrival.delay < Duration::from_millis(8)).count();
        println!("  {} arrived, {at_once} at once, {} overflowed", arrivals.len(), counters.overflowed);
        assert_eq!(arrivals.len() as u64, 100 - counters.overflowed);
        // 20 in the burst, 10 or so in the queue, and a few for the time that it takes to send them all.
        assert!((30..=100).contains(&arrivals.len()), "{} arrived", arrivals.len());
        assert_eq!(counters.unintended, 0);
    });
}
