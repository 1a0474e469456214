//! What Prometheus sees: one registry, its families, and the page that serves them.
//!
//! Counters and histograms are fed when things happen; gauges that mirror a state (faults, roles)
//! are set from that state when the page is asked for.

mod faults;
mod page;
mod processes;
mod roles;
mod workload;

use std::sync::Arc;

use prometheus::{GaugeVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

use self::faults::FaultFamilies;
use self::workload::WorkloadFamilies;
pub use self::{
    page::{MetricsError, bind, serve},
    roles::RoleMetrics,
    workload::RunMetrics,
};
use faultd_api::fault::FaultStatus;

/// A handle to the registry and its families; clones share them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Families>,
}

struct Families {
    registry: Registry,
    faults: FaultFamilies,
    transitions: IntCounterVec,
    cleanup_failures: IntCounter,
    workload: WorkloadFamilies,
    roles: GaugeVec,
}

impl Metrics {
    /// Makes the registry with every family, zero-initialised where the labels are known.
    ///
    /// # Errors
    /// Only when two families have one name, which is a mistake in this module.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let build = gauges(&registry, "faultd_build_info", "Version of the daemon; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let transitions = counters(
            &registry,
            "faultd_fault_transitions_total",
            "Faults that were added, removed, expired or cleared at the stop of the daemon, by result.",
            &["action", "result"],
        )?;
        for action in ["add", "remove", "expire", "stop"] {
            for result in ["ok", "failed"] {
                transitions.with_label_values(&[action, result]);
            }
        }
        let cleanup_failures = IntCounter::new(
            "faultd_cleanup_failures_total",
            "Rules, and things left by an earlier life, that could not be undone altogether.",
        )?;
        registry.register(Box::new(cleanup_failures.clone()))?;
        let inner = Families {
            faults: FaultFamilies::register(&registry)?,
            transitions,
            cleanup_failures,
            workload: WorkloadFamilies::register(&registry)?,
            roles: gauges(
                &registry,
                "faultd_cluster_member_role",
                "1 for the role that a member of a cluster has now, 0 for the others.",
                &["cluster", "member", "role"],
            )?,
            registry,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Counts a fault that was added, removed, expired or stopped.
    pub fn fault_transition(&self, action: &str, ok: bool) {
        self.inner.transitions.with_label_values(&[action, if ok { "ok" } else { "failed" }]).inc();
    }

    /// Counts a rule, or something that an earlier life left, that could not be undone altogether.
    pub fn cleanup_failure(&self) {
        self.inner.cleanup_failures.inc();
    }

    /// Counts a fault on this target that followed its peers to other addresses.
    pub fn peers_moved(&self, target: &str) {
        self.inner.faults.peers_moved(target);
    }

    /// Counts a fault that followed its container of this name to other interfaces.
    pub fn target_followed(&self, target: &str) {
        self.inner.faults.target_followed(target);
    }

    /// Shows the faults that hold now.
    pub fn set_faults(&self, faults: &[FaultStatus]) {
        self.inner.faults.set(faults);
    }

    /// Shows a fault's last counts, and that it holds no more.
    pub fn fault_ended(&self, status: &FaultStatus) {
        self.inner.faults.ended(status);
    }

    /// The roles of a cluster's members, shown for as long as somebody asks for them.
    #[must_use]
    pub fn roles(&self, cluster: &str) -> RoleMetrics {
        RoleMetrics::new(self.inner.roles.clone(), cluster)
    }

    /// The families of one run.
    #[must_use]
    pub fn run(&self, id: &str) -> RunMetrics {
        self.inner.workload.run(id)
    }

    /// The page in the text format of Prometheus.
    ///
    /// # Errors
    /// When a family is inconsistent, which is a mistake in this module.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        self.inner.faults.forget_old();
        self.inner.workload.forget_old();
        TextEncoder::new().encode_to_string(&self.inner.registry.gather())
    }
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    let family = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let family = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

#[cfg(test)]
mod tests {
    use faultd_api::fault::{Direction, PacketCounts};

    use super::*;

    fn fault() -> FaultStatus {
        FaultStatus {
            id: "f1".into(),
            target: "web".into(),
            network: None,
            kind: "delay".into(),
            text: String::new(),
            shape: faultd_api::shape::FaultShape::default(),
            peers: Vec::new(),
            onset_ns: None,
            held: None,
            delay_ns: Some(50_000_000),
            loss_ratio: None,
            direction: Some(Direction::Egress),
            backend: "relay".into(),
            backend_reason: String::new(),
            interface: "veth0".into(),
            seed: 1,
            run: None,
            remaining_ns: Some(1_000_000_000),
            begun_ns: None,
            state: "effective".into(),
            follows: 0,
            packets: PacketCounts { matched: 3, ..PacketCounts::default() },
            processes: None,
        }
    }

    #[test]
    fn a_list_of_faults_from_before_its_end_does_not_revive_a_fault() {
        let metrics = Metrics::new().unwrap();
        metrics.set_faults(&[fault()]);
        let shown =
            |value| format!(r#"direction="egress",fault="f1",kind="delay",run="",target="web"}} {value}"#);
        assert!(metrics.text().unwrap().contains(&shown(1)));
        metrics.fault_ended(&fault());
        metrics.set_faults(&[fault()]);
        let page = metrics.text().unwrap();
        assert!(page.contains(&shown(0)) && !page.contains(&shown(1)), "{page}");
        assert!(!page.contains("faultd_fault_lease_remaining_seconds{"), "{page}");
    }

    #[test]
    fn roles_are_shown_for_as_long_as_somebody_asks_for_them() {
        let metrics = Metrics::new().unwrap();
        let mut roles = metrics.roles("etcd");
        roles.set("etcd0", "leader");
        let leads = r#"faultd_cluster_member_role{cluster="etcd",member="etcd0",role="leader"} 1"#;
        assert!(metrics.text().unwrap().contains(leads));
        drop(roles);
        assert!(!metrics.text().unwrap().contains("faultd_cluster_member_role{"));
    }
}
