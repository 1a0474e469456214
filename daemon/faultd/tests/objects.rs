//! The objects on the private socket: they are there when what they stand for is, tell what changes, and go with it.
#![expect(clippy::expect_used, clippy::disallowed_methods, reason = "tests")]

use std::{collections::HashMap, future::Future, process::Command, time::Duration};

use faultd_api::{
    dictionary::{self, Dictionary},
    error::Error,
    fault::FaultRequest,
    names::{BUS_NAME, FAULT_PATH, JOB_PATH, LAB_PATH, PLUGIN_PATH, ROOT_PATH, TARGET_PATH, path_element},
    proxy::{JobProxy, ManagerProxy},
};
use faultd_testkit::{
    command::{Running, run, wait_until},
    daemon_under_test::DaemonUnderTest,
    skip,
};
use futures_util::StreamExt;
use zbus::{
    Connection, OwnedObjectPath, OwnedVariant,
    connection::Builder,
    fdo::{ObjectManagerProxy, PropertiesProxy},
};

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(30);

/// What `GetManagedObjects` answers, by path and interface.
type Managed = HashMap<String, HashMap<String, HashMap<String, OwnedVariant>>>;

struct Client {
    connection: Connection,
}

impl Client {
    async fn connect(daemon: &DaemonUnderTest) -> Self {
        let address = format!("unix:path={}", daemon.socket().display());
        let builder = Builder::address(address.as_str()).p2p();
        Self { connection: builder.build().await.expect("a connection") }
    }

    async fn manager(&self) -> ManagerProxy<'static> {
        let builder = ManagerProxy::builder(&self.connection).destination(BUS_NAME).path(ROOT_PATH);
        builder.build().await.expect("the root object")
    }

    async fn objects(&self) -> ObjectManagerProxy<'static> {
        let builder = ObjectManagerProxy::builder(&self.connection).destination(BUS_NAME).path(ROOT_PATH);
        builder.build().await.expect("the manager of objects")
    }

    async fn properties(&self, path: String) -> PropertiesProxy<'static> {
        let builder = PropertiesProxy::builder(&self.connection).destination(BUS_NAME).path(path);
        builder.build().await.expect("the properties of an object")
    }

    async fn job(&self, path: OwnedObjectPath) -> JobProxy<'static> {
        let builder = JobProxy::builder(&self.connection).destination(BUS_NAME).path(path);
        builder.build().await.expect("a job")
    }

    async fn managed(&self) -> Managed {
        let managed = self.objects().await.get_managed_objects().await.expect("the objects");
        let of_interface =
            |(name, properties): (zbus::names::OwnedInterfaceName, _)| (name.to_string(), properties);
        managed
            .into_iter()
            .map(|(path, interfaces)| (path.to_string(), interfaces.into_iter().map(of_interface).collect()))
            .collect()
    }
}

async fn soon<T>(what: &str, wait: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_default().unwrap_or_else(|| panic_for(what))
}

#[expect(clippy::panic, reason = "tests")]
fn panic_for<T>(what: &str) -> T {
    panic!("not heard: {what}")
}

fn text(value: Option<&OwnedVariant>) -> String {
    value.and_then(|value| <&str>::try_from(&**value).ok()).unwrap_or_default().to_owned()
}

fn delay(target: &str, delay_ms: u64) -> Dictionary {
    let request = FaultRequest {
        target: target.to_owned(),
        delay_ns: Some(delay_ms * 1_000_000),
        hold_for_ns: Some(60_000_000_000),
        ..FaultRequest::default()
    };
    dictionary::encode(&request).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_changes_and_goes_with_its_fault_on_every_connection() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let (client, onlooker) = (Client::connect(&daemon).await, Client::connect(&daemon).await);
    // Nobody is told anything before the first answer.
    onlooker.manager().await.list_faults().await.expect("an answer");
    let mut seen_to_come = onlooker.objects().await.receive_interfaces_added().await.expect("a signal");
    let mut seen_to_go = onlooker.objects().await.receive_interfaces_removed().await.expect("a signal");

    let host = format!("{lab}/etcd0");
    let manager = client.manager().await;
    let added = manager.add_fault(delay(&host, 5)).await.expect("a fault");
    let id = text(added.get("id"));
    let path = format!("{FAULT_PATH}/{id}");
    // Who has added it finds it at once.
    let managed = client.managed().await;
    let shown = managed.get(&path).and_then(|object| object.get("org.faultd.Engine1.Fault"));
    let shown = shown.expect("the object of the fault");
    assert_eq!(text(shown.get("Target")), host);
    assert_eq!(shown.get("DelayNs"), Some(&5_000_000_u64.into()), "{shown:?}");
    // So are the lab, its hosts and the plugins, which come when they have been looked for.
    let lab_path = format!("{LAB_PATH}/{}", path_element(&lab));
    assert!(managed.contains_key(&lab_path), "{:?}", managed.keys());
    for path in [format!("{TARGET_PATH}/{}", path_element(&host)), format!("{PLUGIN_PATH}/window")] {
        let (wanted, client) = (path.clone(), &client);
        let there = async {
            while !client.managed().await.contains_key(&wanted) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Some(())
        };
        soon(&path, there).await;
    }
    // Others hear of it.
    let heard = async {
        loop {
            let signal = seen_to_come.next().await?;
            let arguments = signal.args().ok()?;
            if arguments.object_path().as_str() == path {
                return Some(());
            }
        }
    };
    soon("InterfacesAdded", heard).await;

    // A change is told, with the new values.
    let mut changes =
        onlooker.properties(path.clone()).await.receive_properties_changed().await.expect("a signal");
    manager.set_fault(&id, delay(&host, 7)).await.expect("a change");
    let told = async {
        loop {
            let signal = changes.next().await?;
            let arguments = signal.args().ok()?;
            if let Some(delay) = arguments.changed_properties().get("DelayNs") {
                return u64::try_from(delay).ok();
            }
        }
    };
    assert_eq!(soon("PropertiesChanged", told).await, 7_000_000);

    // The object itself can be told to remove it, and goes.
    let removed = client
        .connection
        .call_method(Some(BUS_NAME), path.as_str(), Some("org.faultd.Engine1.Fault"), "Remove", &())
        .await;
    removed.expect("the removal");
    assert!(!client.managed().await.contains_key(&path));
    let gone = async {
        loop {
            let signal = seen_to_go.next().await?;
            if signal.args().ok()?.object_path().as_str() == path {
                return Some(());
            }
        }
    };
    soon("InterfacesRemoved", gone).await;

    // What takes time is a job, which anybody may wait for.
    let job = manager.begin_lab_down(&lab).await.expect("a job");
    assert!(job.as_str().starts_with(JOB_PATH));
    onlooker_waits(&onlooker, job.clone()).await;
    assert!(!client.managed().await.contains_key(&lab_path), "the lab has gone");
    let again = client.job(manager.begin_lab_down(&lab).await.expect("a job")).await;
    assert!(matches!(again.wait().await, Err(Error::NotFound(_))));
    assert_eq!(again.state().await.expect("a state"), "failed");
}

/// A job that was begun by others may not be on this connection yet.
async fn onlooker_waits(onlooker: &Client, path: OwnedObjectPath) {
    let waits = async {
        while !onlooker.managed().await.contains_key(path.as_str()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        onlooker.job(path.clone()).await.wait().await.ok()
    };
    soon("the end of the job", waits).await;
}

#[test]
fn tools_made_for_any_bus_look_at_the_private_socket() {
    let name = "tools_made_for_any_bus_look_at_the_private_socket";
    if Command::new("busctl").arg("--version").output().is_err() {
        skip(name, "there is no program busctl");
        return;
    }
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let busctl = |words: &str| {
        let mut command = Command::new("busctl");
        command.arg(format!("--address=unix:path={}", daemon.socket().display()));
        command.args(words.split_whitespace());
        command
    };
    let seen = |words: &str| run(busctl(words), PATIENCE).succeeded().stdout;
    let mut monitor = Running::start(busctl("--json=short monitor org.faultd.Engine1"));
    let listens = || monitor.stderr().contains("Monitoring");
    assert!(wait_until(PATIENCE, listens), "{}", monitor.stderr());
    daemon.faultctl(&format!("fault add {lab}/etcd0 --delay 5ms --for 60s --detach")).succeeded();
    let told = || monitor.stdout().contains("InterfacesAdded") && monitor.stdout().contains("/fault/f1");
    assert!(wait_until(PATIENCE, told), "{} {}", monitor.stdout(), monitor.stderr());
    monitor.signal(rustix::process::Signal::TERM);
    assert!(monitor.ends_within(PATIENCE));

    let tree = seen("tree --list org.faultd.Engine1");
    assert!(tree.contains("/org/faultd/Engine1/fault/f1"), "{tree}");
    let fault = "org.faultd.Engine1 /org/faultd/Engine1/fault/f1 org.faultd.Engine1.Fault";
    assert_eq!(seen(&format!("get-property {fault} Target")).trim(), format!("s \"{lab}/etcd0\""));
    assert!(seen("introspect org.faultd.Engine1 /org/faultd/Engine1/fault/f1").contains(".DelayNs"));
    seen(&format!("call {fault} Remove"));
    assert_eq!(daemon.faultctl("-o json fault ls").json()["faults"].as_array().map(Vec::len), Some(0));
}
