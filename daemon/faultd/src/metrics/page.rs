//! The HTTP page: `/metrics`, and `/healthz` for those who only want to know whether we live.

use std::{convert::Infallible, io, net::SocketAddr};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Metrics;
use crate::engine::EngineHandle;

/// The text format of Prometheus, as its content type names it.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be served on {address}: {source}; choose another place with --metrics ADDRESS:PORT")]
pub struct MetricsError {
    address: SocketAddr,
    source: io::Error,
}

/// Takes the port.
///
/// # Errors
/// When the port is in use or the address is not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, MetricsError> {
    TcpListener::bind(address).await.map_err(|source| MetricsError { address, source })
}

/// Serves the page until the task is dropped.
pub async fn serve(listener: TcpListener, metrics: Metrics, engine: EngineHandle) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a scrape could not be accepted");
                // Out of descriptors, most likely: asking again at once would only burn the CPU.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (metrics, engine) = (metrics.clone(), engine.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, metrics.clone(), engine.clone()));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a scrape ended early");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    metrics: Metrics,
    engine: EngineHandle,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match request.uri().path() {
        "/metrics" => page(&metrics, &engine).await,
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "here are /metrics and /healthz\n"),
    })
}

async fn page(metrics: &Metrics, engine: &EngineHandle) -> Response<Full<Bytes>> {
    match engine.list().await {
        Ok(faults) => metrics.set_faults(&faults),
        Err(error) => return plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}\n")),
    }
    match metrics.text() {
        Ok(text) => plain(StatusCode::OK, &text),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    response
}
