//! Members of a few lines, on loopback, that behave as a test wants them to.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use faultd_plugin_host::Member;
use hyper::{HeaderMap, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How many connections a member has accepted.
#[derive(Clone, Default)]
pub(crate) struct Accepted(Arc<AtomicUsize>);

impl Accepted {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A member that serves each connection as told.
pub(crate) async fn member<Served>(serve: impl Fn(TcpStream) -> Served + Send + 'static) -> (Member, Accepted)
where
    Served: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Accepted::default();
    let counter = accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Answers in pieces would wait for each other.
            stream.set_nodelay(true).unwrap();
            counter.0.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(stream));
        }
    });
    (Member { name: "odd".to_owned(), address }, accepted)
}

/// A member that gives `answer` to each piece of bytes that comes, on each connection to at most
/// `per_connection` of them, and then closes it. Requests are small enough to come in one piece.
pub(crate) async fn answering(answer: &'static [u8], per_connection: usize) -> (Member, Accepted) {
    member(move |mut stream| async move {
        let mut request = [0; 4096];
        for _ in 0..per_connection {
            match stream.read(&mut request).await {
                Ok(1..) => stream.write_all(answer).await.unwrap(),
                _ => return,
            }
        }
    })
    .await
}

/// A member that accepts and says nothing.
pub(crate) async fn silent() -> (Member, Accepted) {
    answering(b"", usize::MAX).await
}

/// An answer of HTTP/2.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) body: &'static [u8],
    pub(crate) trailers: &'static [(&'static str, &'static str)],
    /// After how many answers the connection is closed, as a server does that goes away.
    pub(crate) per_connection: usize,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, headers: &[], body: b"", trailers: &[], per_connection: usize::MAX }
    }
}

/// A member that speaks HTTP/2 without TLS.
pub(crate) async fn http2_member(answer: Answer) -> (Member, Accepted) {
    member(move |stream| serve_http2(stream, answer)).await
}

async fn serve_http2(stream: TcpStream, answer: Answer) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut answered = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer_http2(request.into_body(), respond, answer));
        answered += 1;
        if answered == answer.per_connection {
            connection.graceful_shutdown();
        }
    }
}

async fn answer_http2(
    mut request: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    answer: Answer,
) {
    while let Some(Ok(chunk)) = request.data().await {
        request.flow_control().release_capacity(chunk.len()).unwrap();
    }
    let mut head = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        head = head.header(*name, *value);
    }
    let head = head.body(()).unwrap();
    if answer.body.is_empty() && answer.trailers.is_empty() {
        respond.send_response(head, true).unwrap();
        return;
    }
    let mut sending = respond.send_response(head, false).unwrap();
    sending.send_data(Bytes::from_static(answer.body), answer.trailers.is_empty()).unwrap();
    if !answer.trailers.is_empty() {
        let trailers =
            answer.trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        sending.send_trailers(trailers.collect::<HeaderMap>()).unwrap();
    }
}
