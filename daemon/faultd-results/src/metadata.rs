//! `metadata.json` and `metadata.txt`: what was asked, what it was resolved to, and where it ran.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The value of `schema` in `metadata.json`.
pub const SCHEMA: &str = "faultd/v1/metadata";

/// More different faults than this are counted instead of named where people read.
const MOST_FAULTS_IN_WORDS: usize = 4;

/// Everything that one has to know to repeat a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Versions of the plugins, by name, as their manifests say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub plugin_versions: BTreeMap<String, String>,
    /// Settings of the driver, as they were given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_settings: BTreeMap<String, String>,
    /// Settings of the schedule, as they were given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedule_settings: BTreeMap<String, String>,
    /// What the clients do.
    #[serde(default)]
    pub load: Load,
    /// Number of clients.
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
    /// The conditions that would have stopped the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_if: Vec<String>,
    /// Whether one of them would have ended it too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_at_once: bool,
    /// What all randomness of the run was drawn from.
    pub seed: u64,
    /// Start of the measured time.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub started_at: Timestamp,
    /// Version of the daemon.
    pub faultd_version: String,
    /// Where it ran.
    pub host: Host,
}

/// What the clients do, and how fast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Load {
    /// Operations that became due a second; none for a closed loop.
    pub arrivals_per_second: Option<f64>,
    /// In a closed loop, what a client waited between operations, in seconds.
    pub think_time_s: f64,
    /// Over how long the clients began, in seconds.
    pub client_ramp_s: f64,
    /// `uniform`, `zipfian` or `sequential`.
    pub key_distribution: String,
    /// Number of keys.
    pub keys: u64,
    /// Size of a value, in bytes.
    pub value_bytes: u64,
    /// Share of the operations that read, 0 to 1.
    pub read_ratio: f64,
    /// The command that was the load; the rest then says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<LoadCommand>,
}

/// A command of the user's that was the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LoadCommand {
    /// Program and arguments.
    pub words: Vec<String>,
    /// The load generator as which its output was read; none for a pattern.
    pub tool: Option<String>,
    /// The pattern by which it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

impl Load {
    /// In words, such as `closed loop, 50 % reads, 100 byte values, 10000 keys (uniform)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        if let Some(LoadCommand { words, tool, .. }) = &self.command {
            let reading = tool.as_ref().map_or("by a pattern".to_owned(), |tool| format!("as {tool}"));
            return format!("command {}, read {reading}", words.join(" "));
        }
        let pace = match self.arrivals_per_second {
            Some(rate) => format!("open loop, {} arrivals/s", round(rate)),
            None if self.think_time_s > 0.0 => {
                format!("closed loop, {} s between operations", round(self.think_time_s))
            }
            None => "closed loop".to_owned(),
        };
        let reads = round(self.read_ratio * 100.0);
        let Self { value_bytes, keys, key_distribution, .. } = self;
        format!("{pace}, {reads} % reads, {value_bytes} byte values, {keys} keys ({key_distribution})")
    }
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FaultRecord {
    /// The target as asked for: a role, or a member's name.
    pub target: String,
    /// `egress` leaves the target, `ingress` enters it, or `both`; empty for a fault on processes.
    pub direction: String,
    /// Added to each packet, 0 for no delay.
    pub delay_ns: u64,
    /// Share of packets that are dropped, 0 to 1.
    pub loss_ratio: f64,
    /// All that it does to packets, and to which, in words; none where that is a delay, a loss or both, to all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_full: Option<String>,
    /// What is done to the processes of the target; none for a fault on packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_processes: Option<ProcessFaultRecord>,
    /// What it was resolved to at the moment of injection; none if that moment never came.
    pub resolved: Option<ResolvedFault>,
}

/// A fault on processes as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ProcessFaultRecord {
    /// How long the processes stand still each time.
    pub pause_ns: Option<u64>,
    /// From the begin of one pause to that of the next; none for one alone.
    pub pause_every_ns: Option<u64>,
    /// Processors that they may use together.
    pub cpus: Option<f64>,
}

impl ProcessFaultRecord {
    fn in_words(&self) -> Option<String> {
        let words = |nanoseconds| duration_in_words(Duration::from_nanos(nanoseconds));
        let pause = self.pause_ns.map(|length| match self.pause_every_ns {
            Some(every) => format!("pause {} every {}", words(length), words(every)),
            None => format!("pause {} once", words(length)),
        });
        pause.or_else(|| self.cpus.map(|cpus| format!("{} CPUs", round(cpus))))
    }
}

/// What a fault was resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
        if let Some(in_full) = &self.in_full {
            return in_full.clone();
        }
        let delay = Duration::from_nanos(self.delay_ns);
        let delay = (!delay.is_zero()).then(|| format!("delay {}", duration_in_words(delay)));
        let loss = (self.loss_ratio > 0.0).then(|| format!("loss {} %", round(self.loss_ratio * 100.0)));
        let on_processes = self.on_processes.as_ref().and_then(ProcessFaultRecord::in_words);
        let kinds: Vec<String> = delay.into_iter().chain(loss).chain(on_processes).collect();
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
            let direction =
                if fault.direction.is_empty() { String::new() } else { format!(", {}", fault.direction) };
            format!("{} on {}{direction}", fault.kind_in_words(), fault.target_in_words())
        };
        // A schedule may have a fault come and go: what is the same in words is said once.
        let mut faults: Vec<String> = Vec::new();
        for fault in self.faults.iter().map(in_words) {
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        let more = faults.len().saturating_sub(MOST_FAULTS_IN_WORDS);
        faults.truncate(MOST_FAULTS_IN_WORDS);
        match (faults.is_empty(), more) {
            (true, _) => "no fault".to_owned(),
            (false, 0) => faults.join("; "),
            (false, more) => format!("{}; and {more} more", faults.join("; ")),
        }
    }

    /// The different backends of the faults, each with its reason, in the order in which they came.
    #[must_use]
    pub fn backends(&self) -> Vec<(&str, &str)> {
        let mut backends = Vec::new();
        for fault in self.faults.iter().filter_map(|fault| fault.resolved.as_ref()) {
            let backend = (fault.backend.as_str(), fault.backend_reason.as_str());
            if !backends.contains(&backend) {
                backends.push(backend);
            }
        }
        backends
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
        let backends = self.backends();
        lines.extend(backends.iter().map(|(name, reason)| ("backend", format!("{name}: {reason}"))));
        lines.extend([
            (
                "load",
                format!(
                    "driver {}{}, {} clients via {}",
                    self.driver,
                    in_brackets(&self.driver_settings),
                    self.clients,
                    self.via
                ),
            ),
            ("operations", self.load.in_words()),
            (
                "schedule",
                format!("{schedule}{}; {}", in_brackets(&self.schedule_settings), self.times_in_words()),
            ),
        ]);
        lines.extend(self.stop_in_words().map(|words| ("stop if", words)));
        lines.extend([
            ("plugins", in_words(&self.plugin_versions)),
            ("seed", self.seed.to_string()),
            ("faultd", self.faultd_version.clone()),
            ("host", host_in_words(&self.host)),
        ]);
        lines
    }

    fn stop_in_words(&self) -> Option<String> {
        let at_once = if self.stop_at_once { ", at once" } else { "" };
        (!self.stop_if.is_empty()).then(|| format!("{}{at_once}", self.stop_if.join(" or ")))
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

/// Names with versions, such as `etcd-kv 0.2.0, flap 0.2.0`.
fn in_words(versions: &BTreeMap<String, String>) -> String {
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    versions.join(", ")
}

/// Settings, such as ` (duty=50%, period=2s)`; nothing where there are none.
fn in_brackets(settings: &BTreeMap<String, String>) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let settings: Vec<String> =
        settings.iter().map(|(name, value)| format!("{name}={}", shortened(value))).collect();
    format!(" ({})", settings.join(", "))
}

/// One line of at most 60 characters: the whole value is in `metadata.json`.
fn shortened(value: &str) -> String {
    const LONGEST: usize = 60;
    let line = value.replace(char::is_control, " ");
    if line.chars().count() <= LONGEST {
        line
    } else {
        line.chars().take(LONGEST).chain("...".chars()).collect()
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
                in_full: None,
                on_processes: None,
                resolved: Some(ResolvedFault {
                    fault: "f1".into(),
                    target: "etcd2".into(),
                    role: Some("leader".into()),
                    backend: "relay".into(),
                    backend_reason: "the kernel has neither fq nor netem".into(),
                }),
            }],
            plugin_versions: [("etcd-kv".to_owned(), "0.2.0".to_owned())].into(),
            driver_settings: BTreeMap::new(),
            schedule_settings: [("duty".to_owned(), "50%".to_owned())].into(),
            load: Load {
                key_distribution: "uniform".into(),
                keys: 10_000,
                value_bytes: 100,
                ..Load::default()
            },
            clients: 10,
            via: "all".into(),
            warm_up_s: 5.0,
            duration_s: 30.0,
            inject_at_s: Some(10.0),
            inject_for_s: Some(10.0),
            stop_if: Vec::new(),
            stop_at_once: false,
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
operations    closed loop, 0 % reads, 100 byte values, 10000 keys (uniform)
schedule      window (duty=50%); 30 s after 5 s of warm-up, faults from 10 s for 10 s
plugins       etcd-kv 0.2.0
seed          42
faultd        0.1.0
host          Linux 6.18.0, 2 CPUs (limit 1.5), 8 GiB of memory, data on ext4
";
        assert_eq!(slow_leader().to_text(), expected);
        let stop_if = ["errors>5", "leader-change"].map(str::to_owned).into();
        let guarded = Metadata { stop_if, stop_at_once: true, ..slow_leader() };
        let line = "\nstop if       errors>5 or leader-change, at once\nplugins ";
        assert!(guarded.to_text().contains(line), "{}", guarded.to_text());
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
        (fault.delay_ns, fault.direction) = (0, String::new());
        fault.on_processes = Some(ProcessFaultRecord {
            pause_ns: Some(200_000_000),
            pause_every_ns: Some(1_000_000_000),
            cpus: None,
        });
        assert_eq!(metadata.faults_in_words(), "pause 200 ms every 1 s on leader (etcd2)");
        let fault = &mut metadata.faults[0];
        fault.on_processes = Some(ProcessFaultRecord { cpus: Some(0.25), ..ProcessFaultRecord::default() });
        assert_eq!(fault.kind_in_words(), "0.25 CPUs");
        fault.in_full = Some("rate 10mbit port 2380".into());
        assert_eq!(fault.kind_in_words(), "rate 10mbit port 2380");
        fault.target = "etcd2".into();
        assert_eq!(fault.target_in_words(), "etcd2 (leader)");
        fault.resolved = None;
        assert_eq!(fault.target_in_words(), "etcd2 (not resolved)");
        metadata.faults.clear();
        assert_eq!(metadata.faults_in_words(), "no fault");
    }
}
