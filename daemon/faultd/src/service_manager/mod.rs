//! The service manager: is told when the daemon is ready, that it is alive, and that it reads its policy anew or stops,
//! by systemd's protocol of datagrams. Where there is none, nothing is told and nobody misses it.

mod journal_lines;
mod reload;

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{ffi::OsStrExt, net::SocketAddr, net::UnixDatagram},
    },
    process,
    time::Duration,
};

use faultd_api::units::nanoseconds;
use faultd_kernel::clock;

pub use self::{
    journal_lines::{JournalLines, stderr_is_the_journal},
    reload::{PolicySource, Reload},
};

/// Where a service's manager listens; a path, or with an `@` in front a name without a file.
const SOCKET: &str = "NOTIFY_SOCKET";
/// After how many microseconds of silence the manager ends the daemon.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whom that concerns.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";
/// The manager hears of us so many times within its patience.
const TIMES_HEARD: u32 = 2;

/// The service manager that started the daemon, if one did.
#[derive(Debug, Default)]
pub struct ServiceManager {
    there: Option<(UnixDatagram, SocketAddr)>,
    patience: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names.
    #[must_use]
    pub fn of_environment() -> Self {
        let value = |name: &str| env::var(name).ok();
        let Some(address) = env::var_os(SOCKET) else { return Self::default() };
        let manager = Self::at(&address);
        Self { patience: patience(value(WATCHDOG), value(WATCHDOG_PROCESS), process::id()), ..manager }
    }

    fn at(address: &OsStr) -> Self {
        let connect = || Ok((socket()?, address_of(address)?));
        let there: io::Result<_> = connect();
        let there = there.inspect_err(|error| tracing::warn!(%error, "{SOCKET} cannot be used"));
        Self { there: there.ok(), patience: None }
    }

    /// Everything is served.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The policy is read anew; [`Self::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock::monotonic_ns() / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the policy anew"));
    }

    /// Faults are cleared, and then the daemon ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=clearing faults");
    }

    /// Says again and again that the daemon is alive, as long as something proves it: one that is stuck cannot remove a
    /// fault, and the manager should start another. Never returns.
    pub async fn keep_telling(&self, is_alive: impl AsyncFn() -> bool) {
        let Some(patience) = self.patience.filter(|_| self.there.is_some()) else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(patience / TIMES_HEARD);
        loop {
            ticks.tick().await;
            if is_alive().await {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = &self.there else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}

/// Never waits: a manager that does not read must not stop the daemon.
fn socket() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn address_of(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(address),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    }
}

fn patience(microseconds: Option<String>, concerned: Option<String>, this: u32) -> Option<Duration> {
    let is_of_another = |process: String| process.parse() != Ok(this);
    if concerned.is_some_and(is_of_another) {
        return None;
    }
    let patience = Duration::from_micros(microseconds?.parse().ok()?);
    (nanoseconds(patience) > 0).then_some(patience)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1000];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_in_its_own_words_at_a_path_and_at_an_abstract_name() {
        let path = env::temp_dir().join(format!("faultd-notify-{}", process::id()));
        let name = format!("faultd-notify-{}", process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (listening, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str().to_owned()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}").into()),
        ] {
            let manager = ServiceManager::at(&address);
            manager.ready("serving");
            assert_eq!(heard(&listening), "READY=1\nSTATUS=serving");
            manager.reloading();
            let said = heard(&listening);
            assert!(said.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{said}");
            manager.stopping();
            assert!(heard(&listening).starts_with("STOPPING=1\n"));
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_manager_that_is_not_there_or_does_not_read_holds_nobody_up() {
        ServiceManager::default().ready("serving");
        ServiceManager::at(OsStr::new("/nonexistent/notify")).ready("serving");
        ServiceManager::at(OsStr::new("vsock:2:1234")).ready("serving");
        let path = env::temp_dir().join(format!("faultd-notify-deaf-{}", process::id()));
        let _deaf = UnixDatagram::bind(Path::new(&path)).unwrap();
        let manager = ServiceManager::at(path.as_os_str());
        for _ in 0..2000 {
            manager.stopping();
        }
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_prove_to_be_alive_is_not_heard_of_any_more() {
        let path = env::temp_dir().join(format!("faultd-notify-watchdog-{}", process::id()));
        let listening = UnixDatagram::bind(&path).unwrap();
        listening.set_nonblocking(true).unwrap();
        let mut manager = ServiceManager::at(path.as_os_str());
        manager.patience = Some(Duration::from_secs(10));
        let times_heard = || std::iter::from_fn(|| listening.recv(&mut [0; 100]).ok()).count();
        let tell = async |is_alive: bool| {
            let proof = async || if is_alive { true } else { std::future::pending().await };
            let told = tokio::time::timeout(Duration::from_secs(51), manager.keep_telling(proof));
            told.await.unwrap_err();
        };
        tell(true).await;
        assert_eq!(times_heard(), 11);
        tell(false).await;
        assert_eq!(times_heard(), 0);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_watchdog_is_for_the_process_that_it_names() {
        let of = |time: &str, process: Option<&str>| {
            patience(Some(time.to_owned()), process.map(str::to_owned), 42)
        };
        assert_eq!(of("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(of("3000000", Some("42")), Some(Duration::from_secs(3)));
        assert_eq!(of("3000000", Some("43")), None);
        assert_eq!((of("0", None), of("soon", None), patience(None, None, 42)), (None, None, None));
    }
}
