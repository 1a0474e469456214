//! What a driver may not do with what the host lends it.

use faultd_plugin_sdk::driver::{Failure, Outcome, Request, Version, outcome, send};
use faultd_plugin_sdk::stream::Stream;

pub(crate) fn operate(mode: &str) -> Outcome {
    let result = match mode {
        "foreign-member" => exchange(&Request { member: 99, ..request("/") }),
        "foreign-stream" => Stream::open(u32::MAX).map(drop),
        "other-member" => exchange(&Request { member: 1, ..request("/") }),
        "other-stream" => Stream::open(1).map(drop),
        "absolute-url" => exchange(&request("http://127.0.0.1:1/")),
        "two-slashes" => exchange(&request("//localhost:1/x")),
        "at-sign" => exchange(&request("/@localhost:1/x")),
        "host-header" => exchange(&with_header("Host", "localhost:1")),
        "forwarded-host" => exchange(&with_header("Forwarded", "host=localhost")),
        "header-in-header" => exchange(&with_header("a", "b\r\nHost: localhost:1")),
        "connect" => exchange(&Request { method: "CONNECT".to_owned(), ..request("/") }),
        "http2" => exchange(&Request { version: Version::Http2, ..request("/") }),
        "many-streams" => open_streams(),
        "many-exchanges" => exchange_for_ever(),
        "long-body" => exchange(&Request { body: vec![b'x'; 20_000_000], ..request("/") }),
        _ => exchange(&request("/")),
    };
    outcome("get", result)
}

fn request(path: &str) -> Request {
    Request {
        member: 0,
        version: Version::Http1,
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

fn with_header(name: &str, value: &str) -> Request {
    Request { headers: vec![(name.to_owned(), value.to_owned())], ..request("/") }
}

fn exchange(request: &Request) -> Result<(), Failure> {
    let response = send(request)?;
    if response.status == 200 { Ok(()) } else { Err(Failure::Server(format!("status {}", response.status))) }
}

fn open_streams() -> Result<(), Failure> {
    let streams = (0..1_000).map(|_| Stream::open(0)).collect::<Result<Vec<_>, _>>();
    streams.map(drop)
}

fn exchange_for_ever() -> Result<(), Failure> {
    loop {
        exchange(&request("/"))?;
    }
}
