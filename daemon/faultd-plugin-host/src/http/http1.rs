//! One connection of HTTP/1.1.

use std::error::Error;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::driven::driven;
use super::{failed, texts, too_long};
use crate::bindings::driver::faultd::plugin::failures::Failure;
use crate::bindings::driver::faultd::plugin::http::Response;
use crate::error::one_line;

pub(super) struct Http1Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Boxed, since it must stay where it is while it is polled, and moves with the client.
    driver: Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

impl Http1Connection {
    pub(super) async fn new(stream: TcpStream) -> Result<Self, Failure> {
        let (sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        Ok(Self { sender, driver: Box::pin(driver) })
    }

    /// Itself, unless the member has closed it meanwhile.
    pub(super) fn if_alive(mut self) -> Option<Self> {
        // Polled with nobody to wake: the next exchange polls again.
        let closed = (&mut self.driver).now_or_never().is_some();
        (!closed).then_some(self)
    }

    pub(super) async fn exchange(
        &mut self,
        request: hyper::Request<Bytes>,
        response_bytes: usize,
    ) -> Result<Response, Failure> {
        let answer = send_and_read(&mut self.sender, request.map(Full::new), response_bytes);
        driven(answer, &mut self.driver).await
    }
}

async fn send_and_read(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
    response_bytes: usize,
) -> Result<Response, Failure> {
    sender.ready().await.map_err(hyper_failure)?;
    let (head, body) = sender.send_request(request).await.map_err(hyper_failure)?.into_parts();
    let body = Limited::new(body, response_bytes).collect().await.map_err(|error| match error
        .downcast::<LengthLimitError>()
    {
        Ok(_) => too_long(response_bytes),
        Err(error) => failed(error),
    })?;
    Ok(Response {
        status: head.status.as_u16(),
        headers: texts(&head.headers),
        trailers: body.trailers().map(texts).unwrap_or_default(),
        body: body.to_bytes().to_vec(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn hyper_failure(error: hyper::Error) -> Failure {
    let source = error.source().map_or_else(String::new, |source| format!(": {source}"));
    let text = one_line(&format!("{error}{source}"));
    if error.is_parse() { Failure::Server(text) } else { Failure::Connection(text) }
}
