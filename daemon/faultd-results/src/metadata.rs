//! `metadata.json` and `metadata.txt`: what was asked, what it was resolved to, and where it ran.

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The value of `schema` in `metadata.json`.
pub const SCHEMA: &str = "faultd/v1/metadata";

/// Everything that one has to know to repeat a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// [`SCHEMA`].
    pub schema: String,
    /// The name that the person gave to the run.
    pub label: String,
    /// The system under test.
    pub cluster: String,
    /// Its members.
    pub members: Vec<Member>,
    /// The plugin that produced the load.
    pub driver: String,
    /// The plugin that said when faults hold; none without one.
    pub schedule: Option<String>,
    /// The faults; none for a baseline.
    pub faults: Vec<FaultRecord>,
    /// Number of clients, each in a closed loop.
    pub clients: u32,
    /// Which members served the clients: `leader`, `follower`, `all` or a member's name.
    pub via: String,
    /// Load before the measured time, in seconds.
    pub warm_up_s: f64,
    /// The measured time as asked for, in seconds.
    pub duration_s: f64,
    /// When the faults were to begin, in seconds since the start of the measured time.
    pub inject_at_s: Option<f64>,
    /// How long the faults were to hold, in seconds.
    pub inject_for_s: Option<f64>,
    /// What all randomness of the run was drawn from.
    pub seed: u64,
    /// Start of the measured time.
    pub started_at: Timestamp,
    /// Version of the daemon.
    pub faultd_version: String,
    /// Where it ran.
    pub host: Host,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its IP address.
    pub address: String,
    /// Its role when the run began.
    pub role: Option<String>,
}

/// A fault as it was asked for and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// The target as asked for: a role, or a member's name.
    pub target: String,
    /// `egress` leaves the target, `ingress` enters it, or `both`.
    pub direction: String,
    /// Added to each packet, 0 for no delay.
    pub delay_ns: u64,
    /// Share of packets that are dropped, 0 to 1.
    pub loss_ratio: f64,
    /// What it was resolved to at the moment of injection; none if that moment never came.
    pub resolved: Option<ResolvedFault>,
}

/// What a fault was resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedFault {
    /// The engine's name for the fault.
    pub fault: String,
    /// The member, container or interface that was hit.
    pub target: String,
    /// Its role at that moment; none outside a cluster.
    pub role: Option<String>,
    /// How it was carried out.
    pub backend: String,
    /// Why this backend.
    pub backend_reason: String,
}

/// The machine under the cluster. The CPU limit is a first-order variable of every result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// As `uname -r` says.
    pub kernel_release: String,
    /// Processors that are online.
    pub cpus: u32,
    /// Processors that the control group allows; none for no limit.
    pub cpu_limit: Option<f64>,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// Kind of file system that the cluster writes to.
    pub data_file_system: Option<String>,
}

impl FaultRecord {
    /// Kind and parameters in words, such as `delay 100 ms, loss 20 %`.
    #[must_use]
    pub fn kind_in_words(&self) -> String {
        let delay = Duration::from_nanos(self.delay_ns);
        let delay = (!delay.is_zero()).then(|| format!("delay {}", duration_in_words(delay)));
        let loss = (self.loss_ratio > 0.0).then(|| format!("loss {} %", round(self.loss_ratio * 100.0)));
        let kinds: Vec<String> = delay.into_iter().chain(loss).collect();
        if kinds.is_empty() { "no effect".to_owned() } else { kinds.join(", ") }
    }

    /// The target in words, such as `leader (etcd1)` or `etcd1 (leader)`.
    #[must_use]
    pub fn target_in_words(&self) -> String {
        let Some(resolved) = &self.resolved else {
            return format!("{} (not resolved)", self.target);
        };
        match &resolved.role {
            Some(role) if *role != self.target => format!("{} ({role})", resolved.target),
            Some(role) => format!("{role} ({})", resolved.target),
            None => resolved.target.clone(),
        }
    }
}

impl Metadata {
    /// The faults in one line, such as `delay 100 ms on leader (etcd1), egress`; `no fault` for a
    /// baseline.
    #[must_use]
    pub fn faults_in_words(&self) -> String {
        let in_words = |fault: &FaultRecord| {
            format!("{} on {}, {}", fault.kind_in_words(), fault.target_in_words(), fault.direction)
        };
        let faults: Vec<String> = self.faults.iter().map(in_words).collect();
        if faults.is_empty() { "no fault".to_owned() } else { faults.join("; ") }
    }

    /// The text of `metadata.txt`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<13} {value}");
        }
        text
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let schedule = self.schedule.as_deref().unwrap_or("none");
        let mut lines = vec![
            ("label", self.label.clone()),
            ("started", self.started_at.to_string()),
            ("cluster", self.cluster.clone()),
        ];
        lines.extend(self.members.iter().map(|member| ("member", member_in_words(member))));
        lines.push(("fault", self.faults_in_words()));
        let resolved = self.faults.iter().filter_map(|fault| fault.resolved.as_ref());
        lines.extend(
            resolved.map(|fault| ("backend", format!("{}: {}", fault.backend, fault.backend_reason))),
        );
        lines.extend([
            ("load", format!("driver {}, {} clients via {}", self.driver, self.clients, self.via)),
            ("schedule", format!("{schedule}; {}", self.times_in_words())),
            ("seed", self.seed.to_string()),
            ("faultd", self.faultd_version.clone()),
            ("host", host_in_words(&self.host)),
        ]);
        lines
    }

    fn times_in_words(&self) -> String {
        let mut words = format!("{} s after {} s of warm-up", round(self.duration_s), round(self.warm_up_s));
        if let Some(at) = self.inject_at_s {
            let _ = write!(words, ", faults from {} s", round(at));
        }
        if let Some(length) = self.inject_for_s {
            let _ = write!(words, " for {} s", round(length));
        }
        words
    }
}

fn member_in_words(member: &Member) -> String {
    let role = member.role.as_ref().map_or_else(String::new, |role| format!(" ({role})"));
    format!("{} {}{role}", member.name, member.address)
}

fn host_in_words(host: &Host) -> String {
    let limit = host.cpu_limit.map_or_else(|| "no limit".to_owned(), |cpus| format!("limit {}", round(cpus)));
    let memory_gib = round(host.memory_bytes as f64 / f64::from(1 << 30));
    let file_system = host.data_file_system.as_deref().unwrap_or("unknown");
    format!(
        "Linux {}, {} CPUs ({limit}), {memory_gib} GiB of memory, data on {file_system}",
        host.kernel_release, host.cpus
    )
}

/// A duration in its largest unit that leaves no fraction below a thousandth: `100 us`, `1.5 s`.
fn duration_in_words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match duration.as_nanos() {
        1_000_000_000.. => (seconds, "s"),
        1_000_000.. => (seconds * 1e3, "ms"),
        1_000.. => (seconds * 1e6, "us"),
        _ => (seconds * 1e9, "ns"),
    };
    format!("{} {unit}", round(value))
}

/// To three decimals, so that 0.1 * 3 is not shown as 0.30000000000000004.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run with a slow leader, for the tests of this crate.
    pub(crate) fn slow_leader() -> Metadata {
        let member = |name: &str, address: &str, role: &str| Member {
            name: name.into(),
            address: address.into(),
            role: Some(role.into()),
        };
        Metadata {
            schema: SCHEMA.into(),
            label: "leader_delay100_mid".into(),
            cluster: "etcd".into(),
            members: vec![
                member("etcd1", "10.90.0.1", "follower"),
                member("etcd2", "10.90.0.2", "leader"),
                member("etcd3", "10.90.0.3", "follower"),
            ],
            driver: "etcd-kv".into(),
            schedule: Some("window".into()),
            faults: vec![FaultRecord {
                target: "leader".into(),
                direction: "egress".into(),
                delay_ns: 100_000_000,
                loss_ratio: 0.0,
                resolved: Some(ResolvedFault {
                    fault: "f1".into(),
                    target: "etcd2".into(),
                    role: Some("leader".into()),
                    backend: "relay".into(),
                    backend_reason: "the kernel has neither fq nor netem".into(),
                }),
            }],
            clients: 10,
            via: "all".into(),
            warm_up_s: 5.0,
            duration_s: 30.0,
            inject_at_s: Some(10.0),
            inject_for_s: Some(10.0),
            seed: 42,
            started_at: "2026-03-04T05:06:07Z".parse().unwrap(),
            faultd_version: "0.1.0".into(),
            host: Host {
                kernel_release: "6.18.0".into(),
                cpus: 2,
                cpu_limit: Some(1.5),
                memory_bytes: 8 << 30,
                data_file_system: Some("ext4".into()),
            },
        }
    }

    #[test]
    fn the_text_says_what_was_done_and_where() {
        let expected = "\
label         leader_delay100_mid
started       2026-03-04T05:06:07Z
cluster       etcd
member        etcd1 10.90.0.1 (follower)
member        etcd2 10.90.0.2 (leader)
member        etcd3 10.90.0.3 (follower)
fault         delay 100 ms on leader (etcd2), egress
backend       relay: the kernel has neither fq nor netem
load          driver etcd-kv, 10 clients via all
schedule      window; 30 s after 5 s of warm-up, faults from 10 s for 10 s
seed          42
faultd        0.1.0
host          Linux 6.18.0, 2 CPUs (limit 1.5), 8 GiB of memory, data on ext4
";
        assert_eq!(slow_leader().to_text(), expected);
    }

    #[test]
    fn json_is_read_back() {
        let metadata = slow_leader();
        let json = serde_json::to_string_pretty(&metadata).unwrap();
        assert!(json.contains(r#""schema": "faultd/v1/metadata""#), "{json}");
        assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
    }

    #[test]
    fn faults_are_said_in_words() {
        let mut metadata = slow_leader();
        let fault = &mut metadata.faults[0];
        (fault.delay_ns, fault.loss_ratio) = (1_500_000, 0.07);
        assert_eq!(fault.kind_in_words(), "delay 1.5 ms, loss 7 %");
        (fault.delay_ns, fault.loss_ratio) = (100_000, 0.0);
        assert_eq!(fault.kind_in_words(), "delay 100 us");
        fault.target = "etcd2".into();
        assert_eq!(fault.target_in_words(), "etcd2 (leader)");
        fault.resolved = None;
        assert_eq!(fault.target_in_words(), "etcd2 (not resolved)");
        metadata.faults.clear();
        assert_eq!(metadata.faults_in_words(), "no fault");
    }
}
