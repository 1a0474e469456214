//! A daemon that answers the same always, served over a socket of its own as the real one is.

use std::{
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use faultd_api::{
    dictionary::{Dictionary, decode, encode},
    error::Error,
    fault::{FaultRequest, FaultStatus, PacketCounts},
    names::{ROOT_PATH, run_path},
    run::{RunRequest, RunResult},
    target::{SelectRequest, SelectedTargets},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{net::UnixListener, sync::Notify, task::JoinHandle};
use zbus::{
    Connection, Guid, OwnedFd, OwnedObjectPath, connection::Builder, interface, object_server::SignalEmitter,
};

pub(crate) mod canned;

pub(crate) use canned::FOLDER;

/// How many seconds, here of 50 ms each, a run lasts unless it is stopped.
const SECONDS: i64 = 4;

/// What the daemon was asked for, in words.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// The daemon, in a directory of its own that goes with it.
pub(crate) struct FakeDaemon {
    pub(crate) directory: PathBuf,
    pub(crate) asked: Asked,
    server: JoinHandle<()>,
}

impl FakeDaemon {
    /// Listens in a new directory of that name.
    pub(crate) fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("faultctl-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let listener = UnixListener::bind(directory.join("bus")).unwrap();
        let asked = Asked::default();
        let server = tokio::spawn(serve(listener, asked.clone()));
        Self { directory, asked, server }
    }

    /// What it was asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.server.abort();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn serve(listener: UnixListener, asked: Asked) {
    while let Ok((stream, _)) = listener.accept().await {
        let stream = stream.into_std().unwrap();
        let builder = Builder::unix_stream(stream).server(Guid::generate()).p2p();
        let builder = builder.serve_at(ROOT_PATH, FakeManager { asked: asked.clone() });
        let builder = builder.serve_at("/org/freedesktop/DBus", FakeBus);
        tokio::spawn(async move {
            // A client that only tries the socket is no failure.
            if let Ok(connection) = builder.build().await {
                connection.closed().await;
            }
        });
    }
}

/// As much of a bus as is greeted by whoever comes from another machine.
struct FakeBus;

#[interface(name = "org.freedesktop.DBus")]
impl FakeBus {
    fn hello(&self) -> &'static str {
        ":1.1"
    }
}

struct FakeManager {
    asked: Asked,
}

impl FakeManager {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

#[interface(name = "org.faultd.Engine1.Manager")]
impl FakeManager {
    fn doctor(&self) -> Dictionary {
        encode(&canned::doctor()).unwrap()
    }

    fn clock(&self) -> (u64, u64) {
        let now = clock_gettime(ClockId::Monotonic);
        (u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap(), 0)
    }

    fn list_targets(&self) -> Vec<Dictionary> {
        vec![encode(&canned::target()).unwrap()]
    }

    fn select_targets(&self, selectors: Vec<String>, options: Dictionary) -> Dictionary {
        let options: SelectRequest = decode(options).unwrap();
        self.note(format!("select {} random {:?}", selectors.join(" "), options.random));
        let targets = match selectors.first().map(String::as_str) {
            Some("label:tier") => vec!["web".to_owned(), "api".to_owned()],
            _ => selectors,
        };
        let among = targets.len() as u64;
        encode(&SelectedTargets { targets, among, seed: options.random.and(options.seed.or(Some(42))) })
            .unwrap()
    }

    fn add_fault(&self, request: Dictionary) -> Result<Dictionary, Error> {
        let request: FaultRequest =
            decode(request).map_err(|error| Error::InvalidRequest(error.to_string()))?;
        self.note(format!("add {} detach {}", request.target, request.detach));
        match request.target.as_str() {
            "nobody" => Err(Error::NotFound("no target 'nobody'; see 'faultctl target ls'".into())),
            "forbidden" => Err(Error::Denied("only root may add faults".into())),
            "impossible" => Err(Error::InvalidRequest("the target is on the host's network".into())),
            "taken" => Err(Error::Busy("web has fault f9\nalready".into())),
            _ => Ok(encode(&status_of(request)).unwrap()),
        }
    }

    fn list_faults(&self) -> Vec<Dictionary> {
        let request =
            FaultRequest { target: "web".into(), loss_ratio: Some(0.05), ..FaultRequest::default() };
        vec![encode(&status_of(request)).unwrap()]
    }

    fn show_fault(&self, id: &str) -> Result<Dictionary, Error> {
        if id == "f1" {
            return Ok(self.list_faults().remove(0));
        }
        Err(Error::NotFound(format!("no fault has the id '{id}'; see 'faultctl fault ls'")))
    }

    fn set_fault(&self, id: &str, request: Dictionary) -> Dictionary {
        self.note(format!("set {id}"));
        encode(&status_of(decode(request).unwrap())).unwrap()
    }

    fn plan_fault(&self, request: Dictionary) -> Result<Dictionary, Error> {
        let request: FaultRequest = decode(request).unwrap();
        self.note(format!("plan {}", request.target));
        match request.target.as_str() {
            "forbidden" => Err(Error::Denied("only root may add faults".into())),
            target => Ok(encode(&canned::plan(target)).unwrap()),
        }
    }

    fn remove_fault(&self, id: &str) -> Result<(), Error> {
        self.note(format!("remove {id}"));
        if id == "f1" { Ok(()) } else { Err(Error::NotFound(format!("no fault '{id}'"))) }
    }

    fn clear_faults(&self, target: &str) -> u32 {
        self.note(format!("clear '{target}'"));
        3
    }

    fn clear_all_faults(&self) -> Vec<Dictionary> {
        self.note("clear all".into());
        self.list_faults()
    }

    fn list_runs(&self) -> Vec<Dictionary> {
        ["running", "done"].map(|status| encode(&canned::run(status)).unwrap()).into()
    }

    fn show_run(&self, id: &str) -> Result<Dictionary, Error> {
        canned::run_of(id).map(|run| encode(&run).unwrap())
    }

    fn wait_run(&self, id: &str) -> Result<Dictionary, Error> {
        let run = canned::run_of(id)?;
        let result = RunResult { id: run.id, status: run.status, folder: run.folder, error: run.error };
        Ok(encode(&result).unwrap())
    }

    fn stop_run(&self, id: &str) -> Result<(), Error> {
        self.note(format!("stop {id}"));
        canned::run_of(id).map(drop)
    }

    fn list_plugins(&self) -> Vec<Dictionary> {
        vec![encode(&canned::plugin().plugin).unwrap()]
    }

    fn inspect_plugin(&self, _name: &str) -> Dictionary {
        encode(&canned::plugin()).unwrap()
    }

    fn check_plugin(&self, _name: &str, _request: Dictionary) -> Dictionary {
        encode(&canned::check()).unwrap()
    }

    fn replay_transcript(&self, _transcript: OwnedFd) -> Dictionary {
        encode(&canned::replay()).unwrap()
    }

    fn lab_up(&self, _request: Dictionary) -> Dictionary {
        encode(&canned::lab()).unwrap()
    }

    fn list_labs(&self) -> Vec<Dictionary> {
        vec![encode(&canned::lab()).unwrap()]
    }

    fn lab_down(&self, name: &str) {
        self.note(format!("down {name}"));
    }

    async fn start_run(
        &self,
        request: Dictionary,
        outputs: OwnedFd,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedObjectPath, Error> {
        let request: RunRequest =
            decode(request).map_err(|error| Error::InvalidRequest(error.to_string()))?;
        if request.cluster != "etcd" {
            return Err(Error::NotFound(format!(
                "no cluster '{}'; see 'faultctl lab status'",
                request.cluster
            )));
        }
        let run = Arc::new(RunState { request, outputs, stopped: Notify::new(), ended: Notify::new() });
        self.note(format!("run {} detach {}", run.request.label, run.request.detach));
        let path = run_path("r1");
        let object = FakeRun { asked: self.asked.clone(), run: run.clone() };
        connection.object_server().at(path.as_str(), object).await?;
        tokio::spawn(produce(connection.clone(), run));
        Ok(OwnedObjectPath::try_from(path).unwrap())
    }
}

fn status_of(request: FaultRequest) -> FaultStatus {
    FaultStatus {
        // Not among those that hold: it went as soon as it came.
        id: if request.target == "fleeting" { "f2".into() } else { "f1".into() },
        target: request.target,
        network: request.network,
        kind: "loss".into(),
        text: "loss 5%".into(),
        delay_ns: request.delay_ns,
        loss_ratio: request.loss_ratio,
        shape: request.shape,
        peers: Vec::new(),
        onset_ns: Some(1_000_000),
        held: None,
        direction: Some(request.direction),
        backend: "ebpf".into(),
        backend_reason: "loss needs no holding device".into(),
        interface: "veth0".into(),
        seed: 7,
        run: None,
        remaining_ns: request.hold_for_ns,
        begun_ns: request.begin_at_ns,
        state: "effective".into(),
        follows: 2,
        packets: PacketCounts { seen: 100, matched: 90, dropped: 4, ..PacketCounts::default() },
        processes: None,
    }
}

struct RunState {
    request: RunRequest,
    outputs: OwnedFd,
    stopped: Notify,
    ended: Notify,
}

struct FakeRun {
    asked: Asked,
    run: Arc<RunState>,
}

#[interface(name = "org.faultd.Engine1.Run")]
impl FakeRun {
    async fn wait(&self) -> Dictionary {
        let stopped = tokio::select! {
            () = self.run.ended.notified() => false,
            () = self.run.stopped.notified() => true,
        };
        let outputs = format!("/proc/self/fd/{}", self.run.outputs.as_raw_fd());
        encode(&canned::end_of_run(Path::new(&outputs), &self.run.request, stopped)).unwrap()
    }

    fn stop(&self) {
        self.asked.lock().unwrap().push("stop".into());
        if self.run.request.label != "stuck" {
            self.run.stopped.notify_one();
        }
    }

    #[zbus(signal)]
    async fn progress(emitter: &SignalEmitter<'_>, progress: Dictionary) -> zbus::Result<()>;
}

/// A run of four short seconds. `endless` goes on until it is stopped, `stuck` cannot be stopped, and
/// with `dies` the daemon goes away in the second second.
async fn produce(connection: Connection, run: Arc<RunState>) {
    let emitter = SignalEmitter::new(&connection, run_path("r1")).unwrap();
    let label = run.request.label.as_str();
    for t_s in 0.. {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let sent = FakeRun::progress(&emitter, encode(&canned::progress(t_s)).unwrap()).await;
        match (t_s, label) {
            _ if sent.is_err() => break,
            (1, "dies") => return connection.close().await.unwrap(),
            (SECONDS, label) if !matches!(label, "endless" | "stuck") => break,
            _ => {}
        }
    }
    run.ended.notify_one();
}
