//! What one instance of a plugin may use.

use faultd_plugin_manifest::ResourceLimits;
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};

/// The most that one instance of a plugin may use, whatever its manifest asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLimits {
    /// Linear memory, in bytes.
    pub memory_bytes: usize,
    /// Fuel for each call, about one unit for each WebAssembly instruction.
    pub fuel_per_call: u64,
    /// Fuel after which a call lets other tasks of the executor run.
    pub fuel_between_yields: u64,
    /// Bytes that one call may hand to the host: a request, an answer, all log lines together.
    pub transfer_bytes: usize,
    /// Requests to members, and openings, reads and writes of streams, in one call.
    pub exchanges_per_call: u32,
    /// Longest answer of a member that is read, in bytes.
    pub response_bytes: usize,
    /// Log lines in the life of the instance.
    pub log_lines: u32,
}

impl Default for PluginLimits {
    /// Enough for values of a megabyte and for languages with a run time of their own; an endless loop ends
    /// within some seconds.
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            fuel_per_call: 2_000_000_000,
            fuel_between_yields: 500_000,
            transfer_bytes: 16 << 20,
            exchanges_per_call: 10_000,
            response_bytes: 16 << 20,
            log_lines: 10_000,
        }
    }
}

impl PluginLimits {
    /// What these limits and those of a manifest or a policy both allow.
    #[must_use]
    pub fn capped_by(&self, asked: &ResourceLimits) -> Self {
        let bytes = |asked: u64| usize::try_from(asked).unwrap_or(usize::MAX);
        Self {
            memory_bytes: self.memory_bytes.min(bytes(asked.memory_bytes)),
            fuel_per_call: self.fuel_per_call.min(asked.fuel_per_call),
            transfer_bytes: self.transfer_bytes.min(bytes(asked.transfer_bytes)),
            exchanges_per_call: self.exchanges_per_call.min(asked.exchanges_per_call),
            log_lines: self.log_lines.min(asked.log_lines),
            ..self.clone()
        }
    }
}

/// A plugin wants more memory than it may have.
#[derive(Debug, thiserror::Error)]
#[error("more than {bytes} bytes of memory")]
pub(crate) struct MemoryExceeded {
    pub(crate) bytes: usize,
}

/// Stops a plugin that wants too much memory, instead of telling it: allocators of guests only abort then,
/// and the trap would not say why.
pub(crate) struct MemoryGuard {
    limits: StoreLimits,
    bytes: usize,
}

impl MemoryGuard {
    pub(crate) fn new(limits: &PluginLimits) -> Self {
        const TABLE_ELEMENTS: usize = 100_000;
        const INSTANCES: usize = 32;
        let store_limits = StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes)
            .table_elements(TABLE_ELEMENTS)
            .memories(1)
            .tables(INSTANCES)
            .instances(INSTANCES)
            .build();
        Self { limits: store_limits, bytes: limits.memory_bytes }
    }
}

impl ResourceLimiter for MemoryGuard {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if self.limits.memory_growing(current, desired, maximum)? {
            return Ok(true);
        }
        Err(MemoryExceeded { bytes: self.bytes }.into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}
