//! One connection of HTTP/2 without TLS, with one request at a time on it.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::{Connection, SendRequest};
use tokio::net::TcpStream;

use super::driven::driven;
use super::{failed, texts, too_long};
use crate::bindings::driver::faultd::plugin::failures::Failure;
use crate::bindings::driver::faultd::plugin::http::Response;

/// What a member may send before it is acknowledged: answers of a megabyte take no extra round trips.
const WINDOW_BYTES: u32 = 1 << 20;

pub(super) struct Http2Connection {
    sender: SendRequest<Bytes>,
    /// Boxed, since it must stay where it is while it is polled, and moves with the client.
    driver: Pin<Box<Connection<TcpStream, Bytes>>>,
}

impl Http2Connection {
    pub(super) async fn new(stream: TcpStream) -> Result<Self, Failure> {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        builder.enable_push(false);
        let (sender, driver) = builder.handshake(stream).await.map_err(failed)?;
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
        let answer = send_and_read(self.sender.clone(), request, response_bytes);
        driven(answer, &mut self.driver).await
    }
}

async fn send_and_read(
    sender: SendRequest<Bytes>,
    request: hyper::Request<Bytes>,
    response_bytes: usize,
) -> Result<Response, Failure> {
    let mut sender = sender.ready().await.map_err(failed)?;
    let (head, body) = request.into_parts();
    let request = hyper::Request::from_parts(head, ());
    let (response, mut sending) = sender.send_request(request, body.is_empty()).map_err(failed)?;
    if !body.is_empty() {
        sending.send_data(body, true).map_err(failed)?;
    }
    let (head, mut incoming) = response.await.map_err(failed)?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = incoming.data().await {
        let chunk = chunk.map_err(failed)?;
        incoming.flow_control().release_capacity(chunk.len()).map_err(failed)?;
        if body.len() + chunk.len() > response_bytes {
            return Err(too_long(response_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    let trailers = incoming.trailers().await.map_err(failed)?;
    Ok(Response {
        status: head.status.as_u16(),
        headers: texts(&head.headers),
        body,
        trailers: trailers.as_ref().map(texts).unwrap_or_default(),
    })
}
