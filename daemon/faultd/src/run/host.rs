//! What the machine of a run was, for its metadata: results without it compare with nothing.

use std::{fs, thread};

use faultd_results::metadata::Host;

/// Describes this machine; what cannot be read is zero or missing.
#[must_use]
pub fn describe(storage: &str) -> Host {
    Host {
        kernel_release: kernel_release(),
        cpus: thread::available_parallelism()
            .map_or(0, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        cpu_limit: cpu_limit(),
        memory_bytes: memory_bytes(),
        data_file_system: Some(storage.to_owned()),
    }
}

/// Release of the running kernel, as `uname -r` says it.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// CPUs that our control group may use, from `cpu.max` of cgroup v2 (`QUOTA PERIOD`).
fn cpu_limit() -> Option<f64> {
    let group = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?;
    let limit = fs::read_to_string(format!("/sys/fs/cgroup{path}/cpu.max")).ok()?;
    let (quota, period) = limit.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_kernel_cpus_and_memory() {
        let host = describe("memory");
        assert!(!host.kernel_release.is_empty() && host.cpus > 0 && host.memory_bytes > 1 << 20);
    }
}
