//! A real Prometheus scrapes a real run; then every expression of the Grafana dashboard must have
//! data behind it, and the values that were asked for. Loopback and the lab's own network only.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot be set up has failed, JSON is indexed by what must be there, and the tools \
              that a test measures with are programs"
)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use faultd_testkit::{
    command::{Running, run, wait_until},
    daemon_under_test::DaemonUnderTest,
    skip,
};
use rustix::process::Signal;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(30);
/// Where faultd serves its metrics when nobody says otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9920";

/// Debian's Prometheus with the configuration that ships, stopped with the test.
struct Prometheus {
    process: Running,
    address: SocketAddr,
    data: PathBuf,
}

impl Prometheus {
    /// Starts one that scrapes a daemon; all of it lies in `directory`.
    fn start(directory: &Path, scraped: SocketAddr) -> Self {
        let shipped = fs::read_to_string(grafana("prometheus.yml")).expect("the configuration that ships");
        assert!(shipped.contains(DEFAULT_ADDRESS));
        let (configuration, data) = (directory.join("prometheus.yml"), directory.join("prometheus"));
        let changed = shipped.replace(DEFAULT_ADDRESS, &scraped.to_string());
        fs::write(&configuration, changed).expect("a configuration");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", configuration.display()));
        command.arg(format!("--storage.tsdb.path={}", data.display()));
        command.arg("--web.listen-address=127.0.0.1:0");
        let mut process = Running::start(command);
        let ready = || process.has_ended() || process.stderr().contains("Server is ready");
        assert!(wait_until(PATIENCE, ready), "Prometheus is not ready: {}", process.stderr());
        let log = process.stderr();
        let said = log.lines().find_map(|line| line.split_once("\"Listening on\" address="));
        let address = said.and_then(|(_, address)| address.trim().parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("no address: {log}")), process, data }
    }

    /// The series of an expression, a point for each second.
    fn query(&self, expression: &str, begin: u64, end: u64) -> Result<Vec<Series>, String> {
        let query = percent_encoded(expression);
        let path = format!("/api/v1/query_range?query={query}&start={begin}&end={end}&step=1");
        let answer = get(self.address, &path);
        let document: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
        if document["status"] != "success" {
            return Err(document["error"].to_string());
        }
        let result = document["data"]["result"].as_array().ok_or("no result")?;
        Ok(result.iter().map(Series::new).collect())
    }

    /// Whether the daemon was scraped.
    fn has_scraped(&self) -> bool {
        let now = seconds_now();
        self.query("faultd_build_info", now - 5, now).is_ok_and(|series| !series.is_empty())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.signal(Signal::TERM);
        let _ended = self.process.ends_within(PATIENCE);
        // What cannot be removed lies in a directory for temporary files.
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// The labels of a series, and those of its values that are numbers, with their second.
#[derive(Debug)]
struct Series {
    labels: Value,
    points: Vec<(f64, f64)>,
}

impl Series {
    fn new(result: &Value) -> Self {
        let point = |point: &Value| {
            let value: f64 = point[1].as_str()?.parse().ok()?;
            value.is_finite().then_some((point[0].as_f64()?, value))
        };
        let points = result["values"].as_array().expect("values").iter().filter_map(point).collect();
        Self { labels: result["metric"].clone(), points }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, value)| *value)
    }
}

/// What is asked by a panel or an annotation, with the variables filled in.
struct Query {
    title: String,
    expression: String,
}

/// Everything in the dashboard that asks Prometheus.
fn queries() -> Vec<Query> {
    let text = fs::read_to_string(grafana("dashboards/run.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("a dashboard in JSON");
    let of = |kind: &str, title: &Value, target: &Value| Query {
        title: format!("{kind} {}", title.as_str().expect("a title")),
        expression: filled_in(target["expr"].as_str().expect("an expression"), &dashboard),
    };
    let panels = items(&dashboard, "/panels").iter();
    let of_panel =
        |panel| items(panel, "/targets").iter().map(move |target| ("panel", &panel["title"], target));
    let annotations =
        items(&dashboard, "/annotations/list").iter().filter(|annotation| annotation["builtIn"] != 1);
    let of_annotations = annotations.map(|annotation| ("shade", &annotation["name"], annotation));
    panels
        .flat_map(of_panel)
        .chain(of_annotations)
        .map(|(kind, title, target)| of(kind, title, target))
        .collect()
}

/// As Grafana does it when "All" is chosen, at a scrape interval of a second.
fn filled_in(expression: &str, dashboard: &Value) -> String {
    let mut filled = expression.replace("$__rate_interval", "4s");
    for variable in items(dashboard, "/templating/list") {
        if let (Some(name), Some(all)) = (variable["name"].as_str(), variable["allValue"].as_str()) {
            filled = filled.replace(&format!("${name}"), all);
        }
    }
    assert!(!filled.contains('$'), "nobody fills in {filled}");
    filled
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn grafana(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../grafana").join(file)
}

/// The body of an answer. HTTP/1.0 ends it by the end of the connection.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a body")
}

fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encoded).collect()
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

fn is_installed(test_name: &str, program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).exists());
    if !found {
        skip(test_name, &format!("there is no {program} (Debian package prometheus)"));
    }
    found
}

/// `promtool check metrics` reads stdin; what it has to say fails the test.
fn assert_promtool_is_content(page: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool");
    promtool.stdin.take().expect("its stdin").write_all(page.as_bytes()).expect("a page to check");
    let output = promtool.wait_with_output().expect("its end");
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.is_empty(), "promtool: {said}\n{page}");
}

/// A run with a delay, and after it the other kinds of fault on the other members.
fn faulted_run(daemon: &DaemonUnderTest, lab: &str) {
    let words = "--target etcd1 --delay 50ms --duration 20s --inject-at 6s --for 7s --label scraped";
    daemon.faultctl(&format!("run --cluster {lab} {words}")).succeeded();
    for (member, fault) in [("etcd0", "--loss 1%"), ("etcd2", "--delay 10ms --loss 1%")] {
        daemon.faultctl(&format!("fault add {lab}/{member} {fault} --for 3s")).succeeded();
    }
    let nothing = || daemon.faultctl("-o json fault ls").json()["faults"] == serde_json::json!([]);
    assert!(wait_until(PATIENCE, nothing));
    // Two scrapes more, to see the end of them.
    std::thread::sleep(Duration::from_secs(2));
}

/// What each panel and annotation got, and a line for each that got nothing.
fn ask_all(prometheus: &Prometheus, begin: u64, end: u64) -> (Vec<(String, Vec<Series>)>, Vec<String>) {
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for Query { title, expression } in queries() {
        match prometheus.query(&expression, begin, end) {
            Ok(series) if series.iter().any(|series| !series.points.is_empty()) => {
                answers.push((title, series));
            }
            Ok(_) => problems.push(format!("'{title}' shows nothing: {expression}")),
            Err(error) => problems.push(format!("'{title}' is refused: {error}: {expression}")),
        }
    }
    (answers, problems)
}

#[test]
fn the_scrape_configuration_that_ships_is_valid() {
    if is_installed("the_scrape_configuration_that_ships_is_valid", "promtool") {
        let mut command = Command::new("promtool");
        command.args(["check", "config"]).arg(grafana("prometheus.yml"));
        run(command, PATIENCE).succeeded();
    }
}

#[test]
fn every_panel_of_the_dashboard_shows_what_happened_in_a_real_run() {
    let name = "every_panel_of_the_dashboard_shows_what_happened_in_a_real_run";
    if !["prometheus", "promtool", "etcd"].iter().all(|program| is_installed(name, program)) {
        return;
    }
    let daemon = DaemonUnderTest::start(FAULTD);
    assert_promtool_is_content(&get(daemon.metrics_address(), "/metrics"));
    let lab = daemon.lab_up();
    let prometheus = Prometheus::start(daemon.directory(), daemon.metrics_address());
    assert!(wait_until(PATIENCE, || prometheus.has_scraped()), "{}", prometheus.process.stderr());
    let begin = seconds_now();
    faulted_run(&daemon, &lab);
    assert_promtool_is_content(&get(daemon.metrics_address(), "/metrics"));

    let (answers, problems) = ask_all(&prometheus, begin, seconds_now());
    assert!(problems.is_empty(), "{problems:#?}");
    let of = |title: &str| &answers.iter().find(|(of, _)| of == title).expect("something of that title").1;
    let most = |title: &str| of(title).iter().flat_map(Series::values).fold(0.0, f64::max);
    assert_eq!(of("panel Run")[0].labels["label"], "scraped");
    assert_eq!(most("panel Clients"), 10.0);
    assert!(most("panel Throughput") > 10.0 && most("panel Latency") > 0.0);
    assert_eq!((most("panel Delay"), most("panel Loss"), most("panel Faults")), (0.05, 0.01, 2.0));
    assert_eq!(most("panel Clean-up failures"), 0.0);
    let leaders = of("panel Member roles").iter().filter(|member| member.values().any(|role| role == 2.0));
    assert!(leaders.count() >= 1 && of("panel Member roles").len() == 3, "{:?}", of("panel Member roles"));
    let shaded = of("shade Delay").iter().flat_map(Series::values).filter(|on| *on == 1.0).count();
    assert!((5..=9).contains(&shaded), "7 s with a delay are shaded for {shaded} s");
    let phases: Vec<f64> = of("panel Run phase").iter().flat_map(Series::values).collect();
    assert!((1..=5).all(|phase| phases.contains(&f64::from(phase))), "{phases:?}");
}
