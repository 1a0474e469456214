//! What a plugin may use, propose and reach. The same limits are the caps of the operator's policy.

use serde::{Deserialize, Serialize};

/// What one instance of a plugin may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceLimits {
    /// Linear memory, in bytes.
    pub memory_bytes: u64,
    /// Fuel for each call, about one unit for each WebAssembly instruction.
    pub fuel_per_call: u64,
    /// Bytes that one call may hand to the host: a request, an answer, all log lines together.
    pub transfer_bytes: u64,
    /// Requests to members, and openings, reads and writes of streams, in one call.
    pub exchanges_per_call: u32,
    /// Log lines in the life of an instance.
    pub log_lines: u32,
}

impl Default for ResourceLimits {
    /// Enough for values of a megabyte; an endless loop ends within about a second.
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            fuel_per_call: 500_000_000,
            transfer_bytes: 16 << 20,
            exchanges_per_call: 10_000,
            log_lines: 1_000,
        }
    }
}

impl ResourceLimits {
    /// As much as can be written in TOML: what an operator caps it to who caps nothing. The host's own limits
    /// hold all the same.
    #[must_use]
    pub const fn widest() -> Self {
        Self {
            memory_bytes: i64::MAX.unsigned_abs(),
            fuel_per_call: i64::MAX.unsigned_abs(),
            transfer_bytes: i64::MAX.unsigned_abs(),
            exchanges_per_call: u32::MAX,
            log_lines: u32::MAX,
        }
    }

    /// What is allowed by both.
    #[must_use]
    pub fn capped_by(&self, cap: &Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.min(cap.memory_bytes),
            fuel_per_call: self.fuel_per_call.min(cap.fuel_per_call),
            transfer_bytes: self.transfer_bytes.min(cap.transfer_bytes),
            exchanges_per_call: self.exchanges_per_call.min(cap.exchanges_per_call),
            log_lines: self.log_lines.min(cap.log_lines),
        }
    }

    /// Refuses what cannot be a limit.
    ///
    /// # Errors
    /// In one line: which key, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("memory_bytes", self.memory_bytes),
            ("fuel_per_call", self.fuel_per_call),
            ("transfer_bytes", self.transfer_bytes),
        ];
        match numbers.iter().find(|(_, number)| *number == 0) {
            Some((name, _)) => Err(format!("{name} is at least 1")),
            None => Ok(()),
        }
    }
}

/// What an effect of a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectKind {
    /// Packets arrive later.
    Delay,
    /// Delays vary.
    Jitter,
    /// Packets are lost.
    Loss,
    /// Packets arrive twice.
    Duplicate,
    /// Packets are spoilt.
    Corrupt,
    /// Only so many bytes pass.
    Rate,
}

impl EffectKind {
    /// The name in files and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Jitter => "jitter",
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Corrupt => "corrupt",
            Self::Rate => "rate",
        }
    }
}

/// What a schedule may propose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultLimits {
    /// What its rules may do.
    pub effects: Vec<EffectKind>,
    /// The longest delay and jitter, in milliseconds.
    pub longest_delay_ms: f64,
    /// The highest share of packets that are lost, 0 to 1; also of those that are spoilt or come twice.
    pub most_loss: f64,
    /// The lowest rate, in bytes a second.
    pub least_rate: u64,
    /// For how long faults may hold in one run, all in all, in seconds.
    pub longest_s: f64,
    /// Whom rules may name: names of members and roles, `*` stands for any part of a name.
    pub targets: Vec<String>,
    /// How many rules may hold at once.
    pub most_at_once: u32,
}

impl Default for FaultLimits {
    /// Delay and loss up to what a run may ask for, on anybody.
    fn default() -> Self {
        Self {
            effects: vec![EffectKind::Delay, EffectKind::Loss],
            longest_delay_ms: 60_000.0,
            most_loss: 1.0,
            least_rate: 100,
            longest_s: 86_400.0,
            targets: vec!["*".to_owned()],
            most_at_once: 16,
        }
    }
}

impl FaultLimits {
    /// Everything that can be proposed at all: what an operator caps it to who caps nothing.
    #[must_use]
    pub fn widest() -> Self {
        use EffectKind::{Corrupt, Delay, Duplicate, Jitter, Loss, Rate};
        Self {
            effects: vec![Delay, Jitter, Loss, Duplicate, Corrupt, Rate],
            longest_delay_ms: f64::MAX,
            longest_s: f64::MAX,
            least_rate: 0,
            most_at_once: 64,
            ..Self::default()
        }
    }

    /// What is allowed by both. Targets are those of the plugin that the policy has too; see
    /// [`Self::allows_target`].
    #[must_use]
    pub fn capped_by(&self, cap: &Self) -> Self {
        let effects = self.effects.iter().filter(|effect| cap.effects.contains(effect)).copied().collect();
        Self {
            effects,
            longest_delay_ms: self.longest_delay_ms.min(cap.longest_delay_ms),
            most_loss: self.most_loss.min(cap.most_loss),
            least_rate: self.least_rate.max(cap.least_rate),
            longest_s: self.longest_s.min(cap.longest_s),
            targets: self.targets.clone(),
            most_at_once: self.most_at_once.min(cap.most_at_once),
        }
    }

    /// Whether a rule may name this target.
    #[must_use]
    pub fn allows_target(&self, name: &str) -> bool {
        self.targets.iter().any(|pattern| matches(pattern, name))
    }

    /// Refuses what cannot be a limit.
    ///
    /// # Errors
    /// In one line: which key, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        if !(self.longest_delay_ms >= 0.0 && self.longest_s >= 0.0) {
            return Err("longest_delay_ms and longest_s are at least 0".to_owned());
        }
        if !(0.0..=1.0).contains(&self.most_loss) {
            return Err("most_loss is a share, 0 to 1".to_owned());
        }
        if self.targets.len() > 64 || self.targets.iter().any(|target| target.len() > 128) {
            return Err("at most 64 targets of 128 characters".to_owned());
        }
        Ok(())
    }
}

/// Whether a pattern in which `*` stands for anything stands for a name. No backtracking over more than one star
/// at a time: linear but for the searches of the parts.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last: Option<&str> = None;
    for part in parts {
        if let Some(earlier) = last.replace(part) {
            let Some(found) = rest.find(earlier) else { return false };
            rest = rest.get(found + earlier.len()..).unwrap_or_default();
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

/// Protocols that a driver may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkUse {
    /// The interface `http`, version 1.1.
    Http1,
    /// The interface `http`, version 2.
    Http2,
    /// The interface `streams`.
    Streams,
}

/// The members that a driver may reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachable {
    /// Every member of the cluster.
    #[default]
    All,
    /// Only the one that serves the client.
    Serving,
}

impl NetworkUse {
    /// The name in files and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Streams => "streams",
        }
    }
}

impl Reachable {
    /// The name in files and for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Serving => "serving",
        }
    }
}

/// What a driver may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkLimits {
    /// How it may speak.
    pub uses: Vec<NetworkUse>,
    /// With whom.
    pub members: Reachable,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self { uses: vec![NetworkUse::Http1], members: Reachable::All }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_part_of_a_name() {
        let cases = [
            ("*", "etcd0", true),
            ("etcd0", "etcd0", true),
            ("etcd0", "etcd01", false),
            ("etcd*", "etcd01", true),
            ("*0", "etcd0", true),
            ("*0", "etcd1", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("a*a", "a", false),
            ("", "", true),
            ("", "x", false),
            ("**", "x", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_cap_only_takes_away() {
        let cap = FaultLimits { effects: vec![EffectKind::Loss], most_loss: 0.1, ..FaultLimits::widest() };
        let capped = FaultLimits::default().capped_by(&cap);
        assert_eq!((capped.effects.as_slice(), capped.most_loss), (&[EffectKind::Loss][..], 0.1));
        assert!((capped.longest_delay_ms - 60_000.0).abs() < 1e-9);
        let small = ResourceLimits { memory_bytes: 1, ..ResourceLimits::default() };
        assert_eq!(ResourceLimits::default().capped_by(&small).memory_bytes, 1);
    }
}
