//! /metrics while a run goes on: valid for Prometheus, and true.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use faultd_testkit::{command::wait_until, daemon_under_test::DaemonUnderTest, skip};

const PATIENCE: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A plain request, as any HTTP client makes it: status line, head and body.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: faultd\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

fn scrape(daemon: &DaemonUnderTest) -> String {
    let (head, body) = get(daemon.metrics_address(), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.to_lowercase().contains("text/plain"), "{head}");
    body
}

/// The values of all series of a family whose labels contain a text.
fn values(page: &str, family: &str, labels: &str) -> Vec<f64> {
    let series =
        page.lines().filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(labels));
    series.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

/// What `promtool check metrics` says of a page; nothing where there is no promtool.
fn complaints(page: &str) -> Option<String> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().ok()?;
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some(format!("{}{}", String::from_utf8_lossy(&said), if output.status.success() { "" } else { "failed" }))
}

fn assert_promtool_is_content(page: &str) {
    match complaints(page) {
        Some(complaints) => assert_eq!(complaints, "", "{page}"),
        None => skip(
            "the_page_is_valid_and_shows_the_fault_while_it_holds",
            "there is no promtool (Debian package prometheus)",
        ),
    }
}

#[test]
fn the_page_is_valid_and_shows_the_fault_while_it_holds() {
    let daemon = DaemonUnderTest::start(env!("CARGO_BIN_EXE_faultd"));
    let lab = daemon.lab_up();
    let empty = scrape(&daemon);
    assert!(values(&empty, "faultd_fault_active", "").is_empty(), "{empty}");

    let words = "--target etcd0 --delay 20ms --duration 6s --inject-at 1s --for 3s --warm-up 1s";
    let running = daemon.faultctl_started(&format!("-o json run --cluster {lab} {words}"));
    let target = format!("target=\"{lab}/etcd0\"");
    let mut page = String::new();
    let holds = wait_until(PATIENCE, || {
        page = scrape(&daemon);
        values(&page, "faultd_fault_active", &target) == [1.0]
            && values(&page, "faultd_rule_packets_total", "verdict=\"delayed\"")
                .iter()
                .any(|count| *count > 0.0)
    });
    assert!(holds, "{page}");
    assert_promtool_is_content(&page);
    assert_eq!(values(&page, "faultd_fault_delay_seconds", &target), [0.02]);
    let operations = values(&page, "faultd_workload_operations_total", "result=\"ok\"");
    assert!(operations.iter().sum::<f64>() > 0.0, "{page}");
    for member in ["etcd0", "etcd1", "etcd2"] {
        let roles = values(&page, "faultd_cluster_member_role", &format!("member=\"{member}\""));
        assert_eq!(roles.iter().sum::<f64>(), 1.0, "{member}: {roles:?}");
    }

    running.wait(PATIENCE).json();
    let after = scrape(&daemon);
    assert_promtool_is_content(&after);
    assert_eq!(values(&after, "faultd_fault_active", &target), [0.0]);
    assert_eq!(values(&after, "faultd_fault_delay_seconds", &target), [0.0]);
    assert!(values(&after, "faultd_cleanup_failures_total", "").iter().all(|failures| *failures == 0.0));
}

#[test]
fn other_paths_and_broken_requests_are_refused_and_do_no_harm() {
    let daemon = DaemonUnderTest::start(env!("CARGO_BIN_EXE_faultd"));
    let (head, _) = get(daemon.metrics_address(), "/nothing");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    for garbage in ["\r\n\r\n", "GET\r\n\r\n", "\u{0}\u{1}\u{2}", "POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        let mut stream = TcpStream::connect_timeout(&daemon.metrics_address(), TIMEOUT).unwrap();
        stream.write_all(garbage.as_bytes()).unwrap();
    }
    // Callers that connect and say nothing do not keep others out.
    let silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect_timeout(&daemon.metrics_address(), TIMEOUT).unwrap()).collect();
    assert!(scrape(&daemon).contains("faultd_build_info"));
    drop(silent);
}
