//! What any fault may be, whoever asks for it: `[faults]`. Pure; who is meant is looked up elsewhere.

use std::time::Duration;

use faultd_api::{
    quantities::parse_ports,
    units::{LONGEST_DURATION, duration_text, nanoseconds, share_text},
};
use faultd_kernel::{
    datapath::{InterfaceReference, Network, Selector, TargetSide},
    namespace::Namespace,
};
use faultd_plugin_host::manifest::matches;
use serde::Deserialize;

use crate::{
    engine::Budget,
    fault::{FaultSpec, network},
    target::ResolvedTarget,
};

/// The port of SSH: a host that is cut off from it cannot be helped from afar.
const PORT_OF_SSH: &str = "22";
/// Patterns of names and labels, ports and peers, at most so many of each.
const MOST_ENTRIES: usize = 256;
/// What begins a pattern of a container's label.
pub const LABEL: &str = "label:";

/// The section as it is written. A key that is not there limits nothing, but for `protected_ports`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FaultSection {
    targets: Option<Vec<String>>,
    never: Vec<String>,
    kinds: Option<Vec<String>>,
    longest_delay_ms: Option<f64>,
    most_loss: Option<f64>,
    most_pause: Option<f64>,
    least_rate: Option<u64>,
    least_cpus: Option<f64>,
    longest_s: Option<f64>,
    default_s: Option<f64>,
    most_targets: Option<usize>,
    most_of_a_cluster: Option<f64>,
    protected_ports: Vec<String>,
    protected_peers: Vec<String>,
}

impl Default for FaultSection {
    fn default() -> Self {
        Self {
            targets: None,
            never: Vec::new(),
            kinds: None,
            longest_delay_ms: None,
            most_loss: None,
            most_pause: None,
            least_rate: None,
            least_cpus: None,
            longest_s: None,
            default_s: None,
            most_targets: None,
            most_of_a_cluster: None,
            protected_ports: vec![PORT_OF_SSH.to_owned()],
            protected_peers: Vec::new(),
        }
    }
}

/// What any fault may be.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPolicy {
    targets: Option<Vec<String>>,
    never: Vec<String>,
    kinds: Option<Vec<String>>,
    longest_delay: Option<Duration>,
    most_loss: Option<f64>,
    most_pause: Option<f64>,
    least_rate: Option<u64>,
    least_cpus: Option<f64>,
    longest: Option<Duration>,
    default: Option<Duration>,
    most_targets: Option<usize>,
    /// The share of a cluster's members that may be under fault at once.
    pub most_of_a_cluster: Option<f64>,
    protected_ports: Vec<(u16, u16)>,
    protected_peers: Vec<Network>,
}

/// Why a fault may not be: each is one line that names the limit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FaultRefusal {
    /// Beyond a limit.
    #[error("the policy allows {limit}, and this is {given} (policy.toml: [faults] {key})")]
    TooSevere {
        /// The key of the limit.
        key: &'static str,
        /// What is allowed.
        limit: String,
        /// What was asked for.
        given: String,
    },
    /// A kind that is not in the list.
    #[error("the policy allows no faults of the kind {0} (policy.toml: [faults] kinds)")]
    Kind(String),
    /// Nobody may fault this one.
    #[error("the policy protects '{0}' (policy.toml: [faults] never)")]
    Protected(String),
    /// It is not in the list of those that may be faulted.
    #[error("the policy allows no faults on '{0}' (policy.toml: [faults] targets)")]
    NotAllowed(String),
    /// Whether a label fits cannot be found out.
    #[error("whether the policy allows faults on '{target}' cannot be found out: {reason}")]
    Unknown {
        /// The target.
        target: String,
        /// What went wrong.
        reason: String,
    },
}

/// Patterns of targets: names, where `*` stands for any part, and labels of containers.
#[derive(Debug, Clone, Copy)]
pub struct Patterns<'a>(&'a [String]);

impl<'a> Patterns<'a> {
    /// Whether a pattern of a name fits.
    #[must_use]
    pub fn name(self, name: &str) -> bool {
        self.0.iter().any(|pattern| !pattern.starts_with(LABEL) && matches(pattern, name))
    }

    /// The patterns that are about labels, as `faultctl` takes them too.
    pub fn labels(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(String::as_str).filter(|pattern| pattern.starts_with(LABEL))
    }
}

impl FaultPolicy {
    /// The policy of a section.
    ///
    /// # Errors
    /// Which key cannot be, in one line.
    pub(super) fn of(section: FaultSection) -> Result<Self, String> {
        let lists = [&section.never, &section.protected_ports, &section.protected_peers];
        let lists = lists.into_iter().chain(&section.targets).chain(&section.kinds);
        if lists.into_iter().any(|list| list.len() > MOST_ENTRIES) {
            return Err(format!("at most {MOST_ENTRIES} entries in a list"));
        }
        for (key, share) in [
            ("most_loss", section.most_loss),
            ("most_pause", section.most_pause),
            ("most_of_a_cluster", section.most_of_a_cluster),
        ] {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                return Err(format!("{key} is a share, 0 to 1"));
            }
        }
        if section.least_cpus.is_some_and(|cpus| cpus.is_nan() || cpus < 0.0) {
            return Err("least_cpus is at least 0".to_owned());
        }
        let longest = seconds("longest_s", section.longest_s)?;
        let default = seconds("default_s", section.default_s)?;
        if let (Some(longest), Some(default)) = (longest, default)
            && default > longest
        {
            return Err("default_s is at most longest_s".to_owned());
        }
        Ok(Self {
            targets: section.targets,
            never: section.never,
            kinds: section.kinds,
            longest_delay: section.longest_delay_ms.map(milliseconds).transpose()?,
            most_loss: section.most_loss,
            most_pause: section.most_pause,
            least_rate: section.least_rate,
            least_cpus: section.least_cpus,
            longest,
            default,
            most_targets: section.most_targets,
            most_of_a_cluster: section.most_of_a_cluster,
            protected_ports: section
                .protected_ports
                .iter()
                .map(|text| ports(text))
                .collect::<Result<_, _>>()?,
            protected_peers: section
                .protected_peers
                .iter()
                .map(|text| peer(text))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether a fault is within the limits.
    ///
    /// # Errors
    /// The first limit that it is beyond.
    pub fn check(&self, fault: &FaultSpec) -> Result<(), FaultRefusal> {
        self.check_kinds(fault)?;
        at_most("longest_delay_ms", self.longest_delay, &fault.longest_delay(), |delay| {
            format!("a delay of {}", duration_text(nanoseconds(*delay)))
        })?;
        at_most("most_loss", self.most_loss, &fault.share_of_packets(), |share| {
            format!("{} of packets lost, spoilt or twice", share_text(*share))
        })?;
        at_most("most_pause", self.most_pause, &fault.share_of_pauses(), |share| {
            format!("pauses of {} of the time", share_text(*share))
        })?;
        if let Some(rate) = &fault.effects.rate {
            at_least("least_rate", self.least_rate, &rate.bytes_per_second, |rate| {
                format!("a rate of {rate} bytes a second")
            })?;
        }
        if let Some(cpus) = fault.processors_left() {
            at_least("least_cpus", self.least_cpus, &cpus, |cpus| format!("{cpus} processors"))?;
        }
        at_most("longest_s", self.longest, &fault.hold_for.unwrap_or_default(), |hold| {
            format!("a fault for {}", duration_text(nanoseconds(*hold)))
        })
    }

    fn check_kinds(&self, fault: &FaultSpec) -> Result<(), FaultRefusal> {
        let Some(allowed) = &self.kinds else { return Ok(()) };
        let kinds = fault.kind();
        match kinds.split('+').find(|kind| !allowed.iter().any(|allowed| allowed == kind)) {
            Some(kind) => Err(FaultRefusal::Kind(kind.to_owned())),
            None => Ok(()),
        }
    }

    /// For how long a fault holds: as it was asked for, or else by default, or else the longest that is allowed.
    #[must_use]
    pub fn hold_for(&self, asked: Option<Duration>) -> Option<Duration> {
        asked.or(self.default).or(self.longest)
    }

    /// Whom faults may be on; nothing for anybody.
    #[must_use]
    pub fn allowed(&self) -> Option<Patterns<'_>> {
        self.targets.as_deref().map(Patterns)
    }

    /// Whom no fault may be on.
    #[must_use]
    pub fn never(&self) -> Patterns<'_> {
        Patterns(&self.never)
    }

    /// How many targets may be under fault at once, the share of a cluster apart.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget { most_targets: self.most_targets, cluster: None }
    }

    /// The packets of a target that no fault does anything to: those of protected peers, and of protected ports where
    /// they can be those of the host itself, whose namespace is given.
    #[must_use]
    pub fn spared(&self, target: &ResolvedTarget, host: &Namespace) -> Vec<Selector> {
        let peers = (!self.protected_peers.is_empty())
            .then(|| Selector { peers: self.protected_peers.clone(), ..Selector::default() });
        let ports = self.protected_ports.iter().filter(|_ports| is_of_the_host(target, host));
        let ports =
            ports.map(|(first, last)| Selector { target_ports: *first..=*last, ..Selector::default() });
        peers.into_iter().chain(ports).collect()
    }
}

/// Whether the packets of a target can be those of the host itself.
fn is_of_the_host(target: &ResolvedTarget, host: &Namespace) -> bool {
    let is_own =
        |interface: &InterfaceReference| interface.target == TargetSide::Here && interface.namespace == *host;
    target.shares_host || target.interfaces.iter().any(is_own)
}

fn at_most<T: PartialOrd>(
    key: &'static str,
    limit: Option<T>,
    given: &T,
    text: impl Fn(&T) -> String,
) -> Result<(), FaultRefusal> {
    refuse_beyond(key, "at most", limit.filter(|limit| given > limit), given, text)
}

fn at_least<T: PartialOrd>(
    key: &'static str,
    limit: Option<T>,
    given: &T,
    text: impl Fn(&T) -> String,
) -> Result<(), FaultRefusal> {
    refuse_beyond(key, "at least", limit.filter(|limit| given < limit), given, text)
}

/// Refuses what is beyond the limit that is there.
fn refuse_beyond<T>(
    key: &'static str,
    bound: &str,
    limit: Option<T>,
    given: &T,
    text: impl Fn(&T) -> String,
) -> Result<(), FaultRefusal> {
    limit.map_or(Ok(()), |limit| {
        let limit = format!("{bound} {}", text(&limit));
        Err(FaultRefusal::TooSevere { key, limit, given: text(given) })
    })
}

fn seconds(key: &str, given: Option<f64>) -> Result<Option<Duration>, String> {
    let Some(given) = given else { return Ok(None) };
    let duration = Duration::try_from_secs_f64(given).ok();
    let duration = duration.filter(|duration| !duration.is_zero() && *duration <= LONGEST_DURATION);
    duration.map(Some).ok_or_else(|| format!("{key} is more than 0 and at most 7 days"))
}

fn milliseconds(given: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(given / 1000.0).map_err(|_| "longest_delay_ms is at least 0".to_owned())
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let range = parse_ports(text).map_err(|error| format!("protected_ports: {error}"))?;
    Ok(range.into_inner())
}

fn peer(text: &str) -> Result<Network, String> {
    network(text).ok_or_else(|| format!("protected_peers: '{text}' is no address and no network"))
}

#[cfg(test)]
mod tests {
    use faultd_api::fault::FaultRequest;

    use super::*;

    fn policy(text: &str) -> FaultPolicy {
        FaultPolicy::of(toml::from_str(text).unwrap()).unwrap()
    }

    fn wrong(text: &str) -> String {
        FaultPolicy::of(toml::from_str(text).unwrap()).unwrap_err()
    }

    fn spec(change: impl FnOnce(&mut FaultRequest)) -> FaultSpec {
        let mut request = FaultRequest { target: "a".into(), ..FaultRequest::default() };
        change(&mut request);
        FaultSpec::checked(&request).unwrap()
    }

    fn refusal(text: &str, change: impl FnOnce(&mut FaultRequest)) -> String {
        policy(text).check(&spec(change)).map_or_else(|refusal| refusal.to_string(), |()| String::new())
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_by_its_key() {
        type Change = fn(&mut FaultRequest);
        let cases: [(&str, Change, Change, &str); 7] = [
            (
                "longest_delay_ms = 50",
                |r| r.delay_ns = Some(50_000_000),
                |r| r.delay_ns = Some(51_000_000),
                "the policy allows at most a delay of 50ms, and this is a delay of 51ms (policy.toml: [faults] longest_delay_ms)",
            ),
            ("most_loss = 0.1", |r| r.loss_ratio = Some(0.1), |r| r.loss_ratio = Some(0.11), "most_loss"),
            (
                "kinds = [\"delay\"]",
                |r| r.delay_ns = Some(1),
                |r| (r.delay_ns, r.loss_ratio) = (Some(1), Some(0.1)),
                "of the kind loss",
            ),
            (
                "least_rate = 1000",
                |r| r.shape.rate_bytes_per_second = Some(1000),
                |r| r.shape.rate_bytes_per_second = Some(999),
                "at least a rate of 1000",
            ),
            (
                "most_pause = 0.5",
                |r| (r.shape.pause_ns, r.shape.pause_every_ns) = (Some(5_000_000), Some(10_000_000)),
                |r| r.shape.pause_ns = Some(5_000_000),
                "most_pause",
            ),
            ("least_cpus = 0.5", |r| r.shape.cpus = Some(0.5), |r| r.shape.cpus = Some(0.4), "least_cpus"),
            (
                "longest_s = 60",
                |r| (r.delay_ns, r.hold_for_ns) = (Some(1), Some(60_000_000_000)),
                |r| (r.delay_ns, r.hold_for_ns) = (Some(1), Some(60_000_000_001)),
                "longest_s",
            ),
        ];
        for (text, within, beyond, said) in cases {
            assert_eq!(refusal(text, within), "", "{text}");
            let refusal = refusal(text, beyond);
            assert!(refusal.contains(said) && !refusal.contains('\n'), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_fault_without_an_end_gets_the_default_or_the_longest() {
        let s = Duration::from_secs;
        assert_eq!(policy("").hold_for(None), None);
        assert_eq!(policy("longest_s = 60").hold_for(None), Some(s(60)));
        assert_eq!(policy("longest_s = 60\ndefault_s = 10").hold_for(None), Some(s(10)));
        assert_eq!(policy("default_s = 10").hold_for(Some(s(20))), Some(s(20)));
    }

    #[test]
    fn names_fit_with_stars_and_labels_are_told_apart() {
        let policy = policy("targets = [\"lab/*\", \"label:tier=front\"]\nnever = [\"lab/etcd0\"]");
        let allowed = policy.allowed().unwrap();
        assert!(allowed.name("lab/etcd0") && !allowed.name("label:tier=front"));
        assert_eq!(allowed.labels().collect::<Vec<_>>(), ["label:tier=front"]);
        assert!(policy.never().name("lab/etcd0") && !policy.never().name("lab/etcd1"));
        assert!(super::FaultPolicy::of(FaultSection::default()).unwrap().allowed().is_none());
    }

    #[test]
    fn ssh_of_the_host_is_spared_by_default_and_protected_peers_are_everywhere() {
        let here = Namespace::current().unwrap();
        let interface =
            |target| InterfaceReference { namespace: here.clone(), index: 1, name: "eth0".into(), target };
        let target = |side| ResolvedTarget {
            name: "interface/eth0".into(),
            interfaces: vec![interface(side)],
            addresses: Vec::new(),
            shares_host: false,
            container: None,
            processes: None,
        };
        let spared = |text: &str, side| policy(text).spared(&target(side), &here);
        let ssh = Selector { target_ports: 22..=22, ..Selector::default() };
        assert_eq!(spared("", TargetSide::Here), std::slice::from_ref(&ssh));
        assert_eq!(spared("", TargetSide::Beyond), []);
        assert_eq!(spared("protected_ports = []", TargetSide::Here), []);
        let on_the_network = ResolvedTarget { shares_host: true, ..target(TargetSide::Beyond) };
        assert_eq!(policy("").spared(&on_the_network, &here), [ssh]);
        let peers = spared("protected_peers = [\"10.0.0.1\", \"fd00::/8\"]", TargetSide::Beyond);
        assert_eq!(peers.len(), 1);
        assert_eq!(peers[0].peers, [network("10.0.0.1").unwrap(), network("fd00::/8").unwrap()]);
    }

    #[test]
    fn what_cannot_be_a_limit_is_refused_with_its_key() {
        for (text, said) in [
            ("most_loss = 1.5", "most_loss is a share"),
            ("most_of_a_cluster = -0.1", "most_of_a_cluster is a share"),
            ("longest_s = 0", "longest_s is more than 0"),
            ("default_s = 1e9", "default_s is more than 0 and at most 7 days"),
            ("longest_s = 1\ndefault_s = 2", "default_s is at most longest_s"),
            ("longest_delay_ms = -1", "longest_delay_ms"),
            ("protected_ports = [\"http\"]", "protected_ports: "),
            ("protected_peers = [\"10.0.0.0/33\"]", "protected_peers: '10.0.0.0/33' is no address"),
            ("least_cpus = nan", "least_cpus"),
        ] {
            let complaint = wrong(text);
            assert!(complaint.contains(said), "{text}: {complaint}");
        }
    }
}
