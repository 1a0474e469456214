//! The import `http`: keep-alive connections of one client to the cluster's members.
//!
//! There is no task for a connection: it is driven while a request waits on it, so that a client is one task
//! and dropping the client closes its connections.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::bindings::driver::faultd::plugin::http;
use crate::error::{Refusal, one_line};

/// A connection that is being made.
pub type ConnectFuture = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Opens the connections of clients, for example from within a network namespace.
pub trait Connector: Send + Sync {
    /// Connects to a member. The caller gives up after the request's time limit and drops the future.
    fn connect(&self, address: SocketAddr) -> ConnectFuture;
}

/// A member of the cluster under test, as drivers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name in the cluster's description.
    pub name: String,
    /// Where it serves clients.
    pub address: SocketAddr,
}

/// How long a client waits after a connection could not be made before it tries the same member again, so that
/// a member that is down does not make the load generator spin.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// Headers that the host sets itself, or that would change what the connection is.
const HEADERS_OF_THE_HOST: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
];

/// The connections of one client.
pub(crate) struct MemberConnections {
    members: Vec<MemberConnection>,
    connector: Arc<dyn Connector>,
    request_timeout: Duration,
    response_bytes: usize,
}

struct MemberConnection {
    address: SocketAddr,
    host: HeaderValue,
    open: Option<OpenConnection>,
    not_before: Option<Instant>,
}

struct OpenConnection {
    sender: SendRequest<Full<Bytes>>,
    /// Boxed, since it must stay where it is while it is polled, and moves with the client.
    driver: Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

impl MemberConnections {
    pub(crate) fn new(
        members: &[Member],
        connector: Arc<dyn Connector>,
        request_timeout: Duration,
        response_bytes: usize,
    ) -> Self {
        let members = members.iter().map(|member| MemberConnection::new(member.address)).collect();
        Self { members, connector, request_timeout, response_bytes }
    }

    /// For plugins that have no `http`.
    pub(crate) fn none() -> Self {
        Self::new(&[], Arc::new(NoConnector), Duration::ZERO, 0)
    }

    pub(crate) async fn post(
        &mut self,
        request: http::Request,
    ) -> Result<Result<http::Response, http::Failure>, Refusal> {
        let count = self.members.len();
        let index = usize::try_from(request.member).unwrap_or(usize::MAX);
        let member =
            self.members.get_mut(index).ok_or(Refusal::NoSuchMember { member: request.member, count })?;
        let request = checked(request, &member.host)?;
        let exchange = member.exchange(&*self.connector, request, self.response_bytes);
        Ok(timeout(self.request_timeout, exchange).await.unwrap_or(Err(http::Failure::Timeout)))
    }
}

impl MemberConnection {
    fn new(address: SocketAddr) -> Self {
        // The text of a socket address is always a valid header value.
        let host = HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("member"));
        Self { address, host, open: None, not_before: None }
    }

    /// The connection is taken out for the exchange and put back only after a complete answer: a failure, a
    /// time-out and a dropped future all close it.
    async fn exchange(
        &mut self,
        connector: &dyn Connector,
        request: hyper::Request<Full<Bytes>>,
        response_bytes: usize,
    ) -> Result<http::Response, http::Failure> {
        let mut connection = match self.open.take().and_then(OpenConnection::if_alive) {
            Some(connection) => connection,
            None => self.connect(connector).await.map_err(|error| connection_failure(&error))?,
        };
        let response = connection.exchange(request, response_bytes).await?;
        self.open = Some(connection);
        Ok(response)
    }

    async fn connect(&mut self, connector: &dyn Connector) -> io::Result<OpenConnection> {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
        }
        let connected = self.handshake(connector).await;
        self.not_before = connected.is_err().then(|| Instant::now() + PAUSE_AFTER_REFUSAL);
        connected
    }

    async fn handshake(&self, connector: &dyn Connector) -> io::Result<OpenConnection> {
        let stream = connector.connect(self.address).await?;
        // Requests are smaller than a segment: waiting for more of them would be measured as latency.
        stream.set_nodelay(true)?;
        let (sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(OpenConnection { sender, driver: Box::pin(driver) })
    }
}

impl OpenConnection {
    /// Itself, unless the member has closed it meanwhile.
    fn if_alive(mut self) -> Option<Self> {
        // Polled with nobody to wake: the next exchange polls again.
        let closed = (&mut self.driver).now_or_never().is_some();
        (!closed).then_some(self)
    }

    async fn exchange(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
        response_bytes: usize,
    ) -> Result<http::Response, http::Failure> {
        let answer = Box::pin(send_and_read(&mut self.sender, request, response_bytes));
        match select(answer, &mut self.driver).await {
            Either::Left((response, _)) => response,
            // The connection has ended; whether the answer was complete before that, only its reader knows.
            Either::Right((_, answer)) => answer.await,
        }
    }
}

async fn send_and_read(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
    response_bytes: usize,
) -> Result<http::Response, http::Failure> {
    sender.ready().await.map_err(hyper_failure)?;
    let response = sender.send_request(request).await.map_err(hyper_failure)?;
    let status = response.status().as_u16();
    let body =
        Limited::new(response.into_body(), response_bytes).collect().await.map_err(|error| {
            match error.downcast::<LengthLimitError>() {
                Ok(_) => http::Failure::Server(format!("the answer is longer than {response_bytes} bytes")),
                Err(error) => http::Failure::Connection(one_line(&error.to_string())),
            }
        })?;
    Ok(http::Response { status, body: body.to_bytes().to_vec() })
}

fn connection_failure(error: &io::Error) -> http::Failure {
    http::Failure::Connection(one_line(&error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn hyper_failure(error: hyper::Error) -> http::Failure {
    let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
    let text = one_line(&format!("{error}{source}"));
    if error.is_parse() { http::Failure::Server(text) } else { http::Failure::Connection(text) }
}

/// The request as it goes out, if the plugin may send it.
pub(crate) fn checked(
    request: http::Request,
    host: &HeaderValue,
) -> Result<hyper::Request<Full<Bytes>>, Refusal> {
    let bad = |what: &str, text: &str| Refusal::BadRequest(format!("{what} {:?}", one_line(text)));
    if !request.path.starts_with('/') {
        return Err(bad("path", &request.path));
    }
    let mut builder = hyper::Request::post(&request.path).header(header::HOST, host);
    for (name, value) in &request.headers {
        let parsed = HeaderName::try_from(name).map_err(|_| bad("header", name))?;
        let value = HeaderValue::try_from(value).map_err(|_| bad("value of header", name))?;
        if HEADERS_OF_THE_HOST.contains(&parsed) {
            return Err(bad("header, it is the host's:", name));
        }
        builder = builder.header(parsed, value);
    }
    builder.body(Full::from(request.body)).map_err(|_| bad("path", &request.path))
}

/// Reaches nothing.
struct NoConnector;

impl Connector for NoConnector {
    fn connect(&self, _address: SocketAddr) -> ConnectFuture {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &str, headers: &[(&str, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = http::Request { member: 0, path: path.to_owned(), headers, body: Vec::new() };
        checked(request, &HeaderValue::from_static("member")).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn an_ordinary_request_passes() {
        assert_eq!(refusal("/v3/kv/put?a=b", &[("Content-Type", "application/json")]), None);
    }

    #[test]
    fn a_path_that_names_another_address_is_refused() {
        for path in ["http://127.0.0.1/", "", "v3", "/a b", "/a\r\nHost: x"] {
            assert!(refusal(path, &[]).is_some_and(|text| text.contains("bad path")), "{path:?}");
        }
    }

    #[test]
    fn headers_of_the_host_and_headers_that_are_none_are_refused() {
        for (name, value) in
            [("Host", "x"), ("Transfer-Encoding", "chunked"), ("a b", ""), ("a", "b\r\nc: d")]
        {
            assert!(refusal("/", &[(name, value)]).is_some_and(|text| text.contains("header")), "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_member_that_there_is_not_is_refused() {
        let request = http::Request { member: 3, path: "/".to_owned(), headers: vec![], body: vec![] };
        let refusal = MemberConnections::none().post(request).await.unwrap_err();
        assert_eq!(refusal, Refusal::NoSuchMember { member: 3, count: 0 });
    }
}
