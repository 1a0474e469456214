//! What faultd's tests share: two hosts on a bridge, measurements between them, the eBPF object,
//! counted skips, and a comparison of the host before and after. For tests only.
#![forbid(unsafe_code)]
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a test that cannot be set up has failed, and says best where"
)]

pub mod command;
pub mod daemon_under_test;
pub mod flight;
pub mod hosts;
pub mod measure;
pub mod message_bus;
pub mod resources;
pub mod rules;
pub mod seeds;
pub mod small_disk;
pub mod snapshot;
pub mod spinning;
pub mod traces;

use std::{
    env, fs,
    io::Write as _,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultd_kernel::probe::{self, Capabilities, Support};

use snapshot::HostSnapshot;

/// How long things may take to disappear after a test: links and namespaces are freed late.
const SETTLE_TIME: Duration = Duration::from_secs(5);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Says that a test cannot run here and why; also writes it into the file that `FAULTD_TEST_SKIPS`
/// names, one line each, so that skips are counted and not forgotten.
pub fn skip(test_name: &str, reason: &str) {
    println!("skipped {test_name}: {reason}");
    let Some(path) = env::var_os("FAULTD_TEST_SKIPS") else { return };
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{test_name}: {reason}"));
    written.expect("FAULTD_TEST_SKIPS names a file that can be written");
}

/// The eBPF object: `FAULTD_EBPF_OBJECT`, or where `cargo xtask ebpf` puts it.
pub fn ebpf_object() -> Vec<u8> {
    let built = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/ebpf/faultd-ebpf"));
    let path = env::var_os("FAULTD_EBPF_OBJECT").map_or_else(built, PathBuf::from);
    fs::read(&path)
        .unwrap_or_else(|error| panic!("no eBPF object, run `cargo xtask ebpf`: {path:?}: {error}"))
}

/// What this kernel can do; nothing, and a counted skip, where faultd cannot work at all.
pub fn capabilities(test_name: &str) -> Option<Capabilities> {
    let found = probe::probe(&ebpf_object());
    found.inspect_err(|error| skip(test_name, &error.to_string())).ok()
}

/// Whether something is supported; a counted skip where it is not.
pub fn supported(test_name: &str, what: &str, support: &Support) -> bool {
    if let Support::Missing { reason } = support {
        skip(test_name, &format!("{what}: {reason}"));
    }
    *support == Support::Available
}

/// Held by a test that measures or leaves traces: no other such test of the same program runs
/// meanwhile, and when it ends everything of this process must be as it was.
pub struct Exclusive {
    before: HostSnapshot,
    _turn: MutexGuard<'static, ()>,
}

/// Waits for the test's turn and looks at what there is.
pub fn exclusive() -> Exclusive {
    // A test that failed has told so already.
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    Exclusive { before: HostSnapshot::take_of_this_process(), _turn: turn }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        let left = self.before.left_over_of_this_process_after(SETTLE_TIME);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "the test left behind: {left:?}");
        }
    }
}
