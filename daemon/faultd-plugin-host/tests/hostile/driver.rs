//! A driver that breaks one rule each time, against members of a few lines on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use faultd_plugin_host::{
    ClientOptions, ConnectFuture, Connector, DriverClient, DriverPlugin, Failure, Member, Operation, Outcome,
    PluginError, Problem, Refusal,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    ENGINE, component, hostile_driver, problem, settings, while_others_go_on, with_manifest,
};

const FUEL: u64 = 100_000_000;
const GET: Operation = Operation { key: 0, reads: true };
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// A server that keeps what it is told.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heard: Arc<Mutex<String>>,
}

impl Server {
    /// Gives `answer` to each request; requests are small enough to come in one piece.
    async fn with(answer: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, connections: Arc::default(), heard: Arc::default() };
        let kept = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                kept.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, answer.clone(), kept.clone()));
            }
        });
        server
    }

    async fn new() -> Self {
        Self::with(ANSWER.to_owned()).await
    }

    fn member(&self, name: &str) -> Member {
        Member { name: name.to_owned(), address: self.address }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: String, server: Server) {
    let mut request = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut request).await {
        server.heard.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..length]));
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Connects as any program does, and writes down where to.
#[derive(Default)]
struct Witness {
    asked: Mutex<Vec<SocketAddr>>,
}

impl Connector for Witness {
    fn connect(&self, address: SocketAddr) -> ConnectFuture {
        self.asked.lock().unwrap().push(address);
        Box::pin(async move {
            if address.ip().is_loopback() {
                TcpStream::connect(address).await
            } else {
                Err(io::ErrorKind::Other.into())
            }
        })
    }
}

fn options(mode: &str, members: Vec<Member>) -> ClientOptions {
    ClientOptions {
        members,
        serving: 0,
        keys: 10,
        value_bytes: 8,
        settings: settings(mode),
        seed: 1,
        operation_timeout: Duration::from_secs(2),
        connector: Arc::new(Witness::default()),
    }
}

async fn client_of(plugin: &DriverPlugin, mode: &str, members: &[&Server]) -> DriverClient {
    let members = members.iter().map(|server| server.member("odd")).collect();
    plugin.client(options(mode, members)).await.unwrap()
}

/// What one operation of a mode gives.
async fn operation(plugin: &DriverPlugin, mode: &str, members: &[&Server]) -> Result<Outcome, PluginError> {
    while_others_go_on(async { client_of(plugin, mode, members).await.operate(GET).await }).await
}

/// What one operation of a mode is refused for; the client is then unusable.
async fn refusal_by(plugin: &DriverPlugin, mode: &str, members: &[&Server]) -> Refusal {
    let found = while_others_go_on(async {
        let mut client = client_of(plugin, mode, members).await;
        let found = problem(client.operate(GET).await.unwrap_err());
        assert_eq!(problem(client.operate(GET).await.unwrap_err()), Problem::Unusable);
        found
    })
    .await;
    match found {
        Problem::Refused { call: "operate", refusal } => refusal,
        other => panic!("{mode}: {other}"),
    }
}

async fn refusal(mode: &str, members: &[&Server]) -> Refusal {
    refusal_by(&hostile_driver(), mode, members).await
}

/// The hostile driver with another manifest.
fn driver_with(old: &str, new: &str) -> DriverPlugin {
    let bytes = with_manifest(&component("hostile-plugins/hostile-driver"), &[(old, new)]);
    ENGINE.load_driver("hostile-driver", &bytes).unwrap()
}

#[tokio::test]
async fn a_hostile_driver_that_breaks_no_rule_is_a_driver() {
    let server = Server::new().await;
    let outcome = operation(&hostile_driver(), "good", &[&server]).await.unwrap();
    assert_eq!((&*outcome.operation, outcome.failure), ("get", None));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_member_that_there_is_not_is_refused_through_http_and_streams() {
    let server = Server::new().await;
    let beyond = |member| Refusal::NoSuchMember { member, count: 1 };
    assert_eq!(refusal("foreign-member", &[&server]).await, beyond(99));
    assert_eq!(refusal("foreign-stream", &[&server]).await, beyond(u32::MAX));
    assert_eq!(refusal("other-member", &[&server]).await, beyond(1));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_member_that_does_not_serve_the_client_is_refused_where_the_manifest_says_so() {
    let (serving, other) = (Server::new().await, Server::new().await);
    let plugin = driver_with("members = \"all\"", "members = \"serving\"");
    for mode in ["other-member", "other-stream"] {
        let refusal = refusal_by(&plugin, mode, &[&serving, &other]).await;
        assert_eq!(refusal, Refusal::NotInManifest("a member that does not serve it"));
    }
    assert_eq!(other.connections(), 0);
    assert_eq!(operation(&plugin, "good", &[&serving, &other]).await.unwrap().failure, None);
    // The same plugin with the manifest that allows it.
    assert_eq!(
        operation(&hostile_driver(), "other-member", &[&serving, &other]).await.unwrap().failure,
        None
    );
    assert_eq!(other.connections(), 1);
}

#[tokio::test]
async fn a_protocol_that_is_not_in_the_manifest_is_refused() {
    let server = Server::new().await;
    assert_eq!(refusal("http2", &[&server]).await, Refusal::NotInManifest("this protocol"));
    let plugin = driver_with("uses = [\"http1\", \"streams\"]", "uses = [\"http2\", \"streams\"]");
    assert_eq!(refusal_by(&plugin, "good", &[&server]).await, Refusal::NotInManifest("this protocol"));
    assert_eq!(server.connections(), 0);
}

#[test]
fn an_interface_that_is_not_in_the_manifest_is_not_lent() {
    for uses in ["[\"http1\"]", "[\"streams\"]", "[]"] {
        let changes = [("[\"http1\", \"streams\"]", uses)];
        let bytes = with_manifest(&component("hostile-plugins/hostile-driver"), &changes);
        let found = problem(ENGINE.load_driver("hostile-driver", &bytes).err().unwrap());
        assert!(
            matches!(&found, Problem::NotAsInManifest(why) if why.contains("[network] does not name")),
            "{found}"
        );
    }
}

#[tokio::test]
async fn an_absolute_address_is_no_path() {
    let server = Server::new().await;
    let found = refusal("absolute-url", &[&server]).await.to_string();
    assert_eq!(found, "it sends an HTTP request with a bad path \"http://127.0.0.1:1/\"");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_path_that_looks_like_an_address_goes_to_the_member_as_a_path() {
    for (mode, path) in [("two-slashes", "//localhost:1/x"), ("at-sign", "/@localhost:1/x")] {
        let server = Server::new().await;
        assert_eq!(operation(&hostile_driver(), mode, &[&server]).await.unwrap().failure, None);
        let heard = server.heard().to_lowercase();
        assert!(heard.starts_with(&format!("get {path} http/1.1\r\n")), "{heard}");
        assert!(heard.contains(&format!("host: {}\r\n", server.address)), "{heard}");
    }
}

#[tokio::test]
async fn headers_of_the_host_and_tunnels_are_refused() {
    let server = Server::new().await;
    for (mode, what) in [
        ("host-header", "it is the host's"),
        ("header-in-header", "value of header"),
        ("connect", "bad method"),
    ] {
        let found = refusal(mode, &[&server]).await.to_string();
        assert!(found.contains(what), "{mode}: {found}");
    }
    assert_eq!(server.connections(), 0);
    // A header that means nothing to the host is the member's business.
    assert_eq!(operation(&hostile_driver(), "forwarded-host", &[&server]).await.unwrap().failure, None);
}

#[tokio::test]
async fn a_redirect_of_a_member_is_an_answer_and_not_followed() {
    let elsewhere = Server::new().await;
    for status in [301, 302, 307, 308] {
        let location = format!("location: http://{}/\r\ncontent-length: 0\r\n\r\n", elsewhere.address);
        let member = Server::with(format!("HTTP/1.1 {status} Elsewhere\r\n{location}")).await;
        let outcome = operation(&hostile_driver(), "good", &[&member]).await.unwrap();
        assert_eq!(outcome.failure, Some(Failure::Server(format!("status {status}"))));
        assert_eq!(member.connections(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// There is no name that could come to mean another address between two requests: members are addresses before
/// the plugin starts, their names are only shown, and the plugin says nothing but an index.
#[tokio::test]
async fn dns_rebinding_has_no_name_to_rebind() {
    let server = Server::new().await;
    for name in ["localhost", "169.254.169.254:80", "rebind.invalid", "http://[::1]/", "", "odd\r\nHost: x"] {
        let witness = Arc::new(Witness::default());
        let members = vec![server.member(name)];
        let options = ClientOptions { connector: witness.clone(), ..options("good", members) };
        while_others_go_on(async {
            let mut client = hostile_driver().client(options).await.unwrap();
            for _ in 0..3 {
                assert_eq!(client.operate(GET).await.unwrap().failure, None);
            }
        })
        .await;
        assert_eq!(witness.asked.lock().unwrap()[..], [server.address], "{name}");
    }
    let host = format!("host: {}\r\n", server.address);
    assert_eq!(server.heard().to_lowercase().matches("host: ").count(), 18);
    assert_eq!(server.heard().to_lowercase().matches(&host).count(), 18);
}

#[tokio::test]
async fn a_thousand_streams_at_once_are_too_many() {
    let server = Server::new().await;
    assert_eq!(refusal("many-streams", &[&server]).await, Refusal::TooManyStreams(16));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.connections(), 16);
}

#[tokio::test]
async fn more_exchanges_than_a_call_may_make_are_refused() {
    let server = Server::new().await;
    assert_eq!(refusal("many-exchanges", &[&server]).await, Refusal::TooManyExchanges(2_000));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_request_larger_than_a_call_may_hand_over_is_not_sent() {
    let server = Server::new().await;
    let found = problem(operation(&hostile_driver(), "long-body", &[&server]).await.unwrap_err());
    assert_eq!(found, Problem::TooMuchData { call: "operate", bytes: 16 << 20 });
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_seventeenth_kind_of_operation_is_refused() {
    let server = Server::new().await;
    let found = while_others_go_on(async {
        let mut client = client_of(&hostile_driver(), "many-kinds", &[&server]).await;
        for number in 1..=16 {
            assert_eq!(*client.operate(GET).await.unwrap().operation, *format!("kind-{number}"));
        }
        problem(client.operate(GET).await.unwrap_err())
    })
    .await;
    let reason = "operation \"kind-17\", or too many kinds of operations".to_owned();
    assert_eq!(found, Problem::BadAnswer { call: "operate", reason });
}

#[tokio::test]
async fn names_of_operations_that_cannot_be_labels_are_refused() {
    let server = Server::new().await;
    for (mode, told) in
        [("bad-name", "operation \"NOT A NAME\""), ("long-name", "xxx\""), ("no-name", "operation \"\"")]
    {
        let found = problem(operation(&hostile_driver(), mode, &[&server]).await.unwrap_err());
        assert!(
            matches!(&found, Problem::BadAnswer { call: "operate", reason } if reason.contains(told)),
            "{found}"
        );
    }
}

#[tokio::test]
async fn roles_that_are_too_few_or_too_many_are_refused() {
    let server = Server::new().await;
    for (mode, told) in [("no-roles", "0 roles for 1 members"), ("many-roles", "100000 roles for 1 members")]
    {
        let found = while_others_go_on(async {
            let mut client = client_of(&hostile_driver(), mode, &[&server]).await;
            problem(client.roles().await.unwrap_err())
        })
        .await;
        assert_eq!(found, Problem::BadAnswer { call: "roles", reason: told.to_owned() });
    }
}

#[tokio::test]
async fn an_error_of_many_lines_is_cut_to_one() {
    let server = Server::new().await;
    let mut client = client_of(&hostile_driver(), "long-error", &[&server]).await;
    for _ in 0..2 {
        let found = problem(client.roles().await.unwrap_err());
        assert!(
            matches!(&found, Problem::Failed { call: "roles", message } if message.len() <= 500),
            "{found}"
        );
    }
}

#[tokio::test]
async fn no_call_can_go_on_for_ever() {
    let server = Server::new().await;
    for call in ["start", "prepare", "fill", "operate", "roles", "clean"] {
        let began = Instant::now();
        let found = while_others_go_on(never_ending(call, &server)).await;
        assert_eq!(problem(found), Problem::OutOfFuel { call, fuel: FUEL });
        assert!(began.elapsed() < Duration::from_secs(20), "{call}: {:?}", began.elapsed());
    }
}

async fn never_ending(call: &str, server: &Server) -> PluginError {
    let plugin = hostile_driver();
    let client = plugin.client(options(&format!("endless:{call}"), vec![server.member("odd")])).await;
    let mut client = match client {
        Ok(client) => client,
        Err(error) => return error,
    };
    match call {
        "prepare" => client.prepare().await.unwrap_err(),
        "fill" => client.fill(0, 1).await.unwrap_err(),
        "operate" => client.operate(GET).await.unwrap_err(),
        "roles" => client.roles().await.unwrap_err(),
        _ => client.clean().await.unwrap_err(),
    }
}

#[tokio::test]
async fn a_setting_that_is_not_in_the_manifest_never_reaches_the_driver() {
    let server = Server::new().await;
    let unknown = vec![("address".to_owned(), "localhost:1".to_owned())];
    let options = ClientOptions { settings: unknown, ..options("", vec![server.member("odd")]) };
    let found = problem(while_others_go_on(hostile_driver().client(options)).await.err().unwrap());
    assert_eq!(found, Problem::UnknownSetting("unknown setting \"address\": known are mode".to_owned()));
}

#[tokio::test]
async fn a_call_that_is_dropped_in_the_middle_leaves_an_unusable_client() {
    let silent = Server::with(String::new()).await;
    while_others_go_on(async {
        let mut client = client_of(&hostile_driver(), "good", &[&silent]).await;
        let dropped = tokio::time::timeout(Duration::from_millis(50), client.operate(GET)).await;
        assert!(dropped.is_err());
        assert_eq!(problem(client.operate(GET).await.unwrap_err()), Problem::Unusable);
    })
    .await;
}
