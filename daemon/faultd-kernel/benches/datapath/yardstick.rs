//! netem as everybody uses it, on the sender's own interface and set by `tc`: what ours is measured against
//! in the same run.

use std::{process::Command, time::Duration};

use faultd_kernel::probe::{Capabilities, Support};
use faultd_testkit::hosts::Host;

/// Packets that may wait there: its own limit of 1000 would lose some.
const LIMIT: &str = "1000000";

/// netem that delays; it is taken away when this is dropped.
pub(crate) struct Yardstick {
    host: Host,
}

impl Yardstick {
    /// Nothing where the kernel has no netem.
    pub(crate) fn delay(capabilities: &Capabilities, host: &Host, delay: Duration) -> Option<Self> {
        if capabilities.netem != Support::Available {
            return None;
        }
        let delay = format!("{}us", delay.as_micros());
        tc(host, &["add", "dev", "eth0", "root", "netem", "limit", LIMIT, "delay", &delay]);
        Some(Self { host: host.clone() })
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        tc(&self.host, &["del", "dev", "eth0", "root"]);
    }
}

fn tc(host: &Host, words: &[&str]) {
    #[expect(clippy::disallowed_methods, reason = "the yardstick is what everybody else calls")]
    let run = || Command::new("tc").arg("qdisc").args(words).status();
    let status = host.namespace.run(run).expect("inside the host").expect("tc, of Debian's iproute2");
    assert!(status.success(), "tc qdisc {words:?}");
}
