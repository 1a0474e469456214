//! A message bus of a test's own, which takes the place of the system's.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::Signal;

use crate::command::{Running, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// The bus. It is stopped when this is dropped.
#[derive(Debug)]
pub struct TestBus {
    directory: PathBuf,
    process: Option<Running>,
}

impl TestBus {
    /// Starts one, on which nobody may own a name or call anybody, as on the system's own, but for what our packages
    /// allow.
    pub fn start() -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("faultd-test-{}-bus-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).expect("a directory for a bus");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("open to all");
        let mut bus = Self { directory, process: None };
        fs::write(bus.configuration(), bus.configuration_text()).expect("a configuration");
        bus.begin();
        bus
    }

    /// Starts it again where it was, after [`TestBus::kill`].
    #[expect(clippy::disallowed_methods, reason = "tests start processes")]
    pub fn begin(&mut self) {
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg(format!("--config-file={}", self.configuration().display()));
        let process = Running::start(command);
        let socket = self.socket();
        assert!(wait_until(PATIENCE, || socket.exists()), "no bus: {}", process.stderr());
        self.process = Some(process);
    }

    /// Ends it at once, and all connections with it.
    pub fn kill(&mut self) {
        self.process = None;
        // Those who look for it must not find what it has left.
        let _ = fs::remove_file(self.socket());
    }

    /// Where to connect to.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("bus.conf")
    }

    fn configuration_text(&self) -> String {
        format!(
            "<busconfig><type>system</type><listen>{}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/><deny send_type=\"method_call\"/>\
             <allow send_type=\"signal\"/><allow send_requested_reply=\"true\" send_type=\"method_return\"/>\
             <allow send_requested_reply=\"true\" send_type=\"error\"/><allow receive_type=\"*\"/>\
             <allow send_destination=\"org.freedesktop.DBus\"/>\
             <allow send_destination=\"org.freedesktop.PolicyKit1\"/></policy>\
             <policy user=\"root\"><allow own=\"org.freedesktop.PolicyKit1\"/></policy>\
             <include>{}</include></busconfig>",
            self.address(),
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/org.faultd.Engine1.conf").display()
        )
    }
}

impl Drop for TestBus {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(Signal::TERM);
            process.ends_within(PATIENCE);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
