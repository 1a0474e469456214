//! The import `http`: keep-alive connections of one client to the cluster's members.
//!
//! There is no task for a connection: it is driven while a request waits on it, so that a client is one task
//! and dropping the client closes its connections.

mod driven;
mod http1;
mod http2;

use bytes::Bytes;
use faultd_plugin_manifest::NetworkUse;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use tokio::time::timeout;

use self::http1::Http1Connection;
use self::http2::Http2Connection;
use crate::bindings::driver::faultd::plugin::failures::Failure;
use crate::bindings::driver::faultd::plugin::http::{Request, Response, Version};
use crate::error::{Refusal, one_line};
use crate::reach::Reach;

/// Headers that the host sets itself, or that would change what the connection is.
const HEADERS_OF_THE_HOST: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TRAILER,
];

/// The idle connections of one client, by member: at most one of each version.
pub(crate) struct HttpConnections {
    idle: Vec<Idle>,
    response_bytes: usize,
}

#[derive(Default)]
struct Idle {
    http1: Option<Http1Connection>,
    http2: Option<Http2Connection>,
}

impl HttpConnections {
    pub(crate) fn new(members: usize, response_bytes: usize) -> Self {
        Self { idle: std::iter::repeat_with(Idle::default).take(members).collect(), response_bytes }
    }

    pub(crate) async fn send(
        &mut self,
        reach: &mut Reach,
        request: Request,
    ) -> Result<Result<Response, Failure>, Refusal> {
        let (position, address) = reach.member(request.member)?;
        let version = request.version;
        reach.check_use(match version {
            Version::Http1 => NetworkUse::Http1,
            Version::Http2 => NetworkUse::Http2,
        })?;
        let request = checked(request, &address.to_string())?;
        let limit = reach.time_limit();
        let exchange = async {
            match version {
                Version::Http1 => self.over_http1(reach, position, request).await,
                Version::Http2 => self.over_http2(reach, position, request).await,
            }
        };
        Ok(timeout(limit, exchange).await.unwrap_or(Err(Failure::Timeout)))
    }

    /// The connection is taken out for the exchange and put back only after a complete answer: a failure, a
    /// time-out and a dropped future all close it.
    async fn over_http1(
        &mut self,
        reach: &mut Reach,
        position: usize,
        request: hyper::Request<Bytes>,
    ) -> Result<Response, Failure> {
        let idle = self.idle.get_mut(position).and_then(|idle| idle.http1.take());
        let mut connection = match idle.and_then(Http1Connection::if_alive) {
            Some(connection) => connection,
            None => Http1Connection::new(reach.connect(position).await.map_err(failed)?).await?,
        };
        let response = connection.exchange(request, self.response_bytes).await?;
        if let Some(idle) = self.idle.get_mut(position) {
            idle.http1 = Some(connection);
        }
        Ok(response)
    }

    async fn over_http2(
        &mut self,
        reach: &mut Reach,
        position: usize,
        request: hyper::Request<Bytes>,
    ) -> Result<Response, Failure> {
        let idle = self.idle.get_mut(position).and_then(|idle| idle.http2.take());
        let mut connection = match idle.and_then(Http2Connection::if_alive) {
            Some(connection) => connection,
            None => Http2Connection::new(reach.connect(position).await.map_err(failed)?).await?,
        };
        let response = connection.exchange(request, self.response_bytes).await?;
        if let Some(idle) = self.idle.get_mut(position) {
            idle.http2 = Some(connection);
        }
        Ok(response)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn failed(error: impl ToString) -> Failure {
    Failure::Connection(one_line(&error.to_string()))
}

fn too_long(response_bytes: usize) -> Failure {
    Failure::Server(format!("the answer is longer than {response_bytes} bytes"))
}

/// Headers for the plugin; those whose values are no text are left out.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

/// The request as it goes out, if the plugin may send it. `authority` is the address of the member.
pub(crate) fn checked(request: Request, authority: &str) -> Result<hyper::Request<Bytes>, Refusal> {
    let bad = |what: &str, text: &str| Refusal::BadRequest(format!("{what} {:?}", one_line(text)));
    if !request.path.starts_with('/') {
        return Err(bad("path", &request.path));
    }
    let method = Method::try_from(request.method.as_str()).ok().filter(|method| method != Method::CONNECT);
    let method = method.ok_or_else(|| bad("method", &request.method))?;
    let uri = match request.version {
        Version::Http1 => Uri::try_from(&request.path),
        // HTTP/2 has no header `host`: the address is part of what is asked for.
        Version::Http2 => Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(&request.path)
            .build()
            .map_err(|_| bad("path", &request.path))
            .map(Ok)?,
    };
    let uri = uri.map_err(|_| bad("path", &request.path))?;
    let mut builder = hyper::Request::builder().method(method).uri(uri);
    if request.version == Version::Http1 {
        builder = builder.header(header::HOST, authority);
    }
    for (name, value) in &request.headers {
        let parsed = HeaderName::try_from(name).map_err(|_| bad("header", name))?;
        let value = HeaderValue::try_from(value).map_err(|_| bad("value of header", name))?;
        let takes_trailers = request.version == Version::Http2 && value == "trailers";
        if HEADERS_OF_THE_HOST.contains(&parsed) || (parsed == header::TE && !takes_trailers) {
            return Err(bad("header, it is the host's:", name));
        }
        builder = builder.header(parsed, value);
    }
    builder.body(Bytes::from(request.body)).map_err(|_| bad("path", &request.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, headers: &[(&str, &str)]) -> Request {
        Request {
            member: 0,
            version: Version::Http1,
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: Vec::new(),
        }
    }

    fn refusal(request: Request) -> Option<String> {
        checked(request, "10.0.0.1:80").err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn an_ordinary_request_passes() {
        assert_eq!(refusal(request("/v3/kv/put?a=b", &[("Content-Type", "application/json")])), None);
        let http2 = Request { version: Version::Http2, ..request("/a/b", &[("te", "trailers")]) };
        assert_eq!(checked(http2, "10.0.0.1:80").unwrap().uri(), "http://10.0.0.1:80/a/b");
    }

    #[test]
    fn a_path_that_names_another_address_is_refused_or_stays_a_path() {
        for path in ["http://127.0.0.1/", "", "v3", "/a b", "/a\r\nHost: x"] {
            for version in [Version::Http1, Version::Http2] {
                let refused = refusal(Request { version, ..request(path, &[]) });
                assert!(refused.is_some_and(|text| text.contains("bad path")), "{path:?}");
            }
        }
        let http2 = Request { version: Version::Http2, ..request("//evil.example/x", &[]) };
        assert_eq!(checked(http2, "10.0.0.1:80").unwrap().uri().host(), Some("10.0.0.1"));
    }

    #[test]
    fn headers_of_the_host_and_headers_that_are_none_are_refused() {
        for (name, value) in [
            ("Host", "x"),
            ("Transfer-Encoding", "chunked"),
            ("te", "trailers"),
            ("a b", ""),
            ("a", "b\r\nc: d"),
        ] {
            let refused = refusal(request("/", &[(name, value)]));
            assert!(refused.is_some_and(|text| text.contains("header")), "{name:?}");
        }
    }

    #[test]
    fn a_tunnel_and_a_method_that_is_none_are_refused() {
        for method in ["CONNECT", "", "GET /", "A\r\n"] {
            let refused = refusal(Request { method: method.to_owned(), ..request("/", &[]) });
            assert!(refused.is_some_and(|text| text.contains("bad method")), "{method:?}");
        }
    }
}
