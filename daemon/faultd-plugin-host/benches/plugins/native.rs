//! The requests of `etcd-kv` from native code: one HTTP/2 connection a client, one put at a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::{Done, VALUE_BYTES, next_key};

struct Client {
    sender: SendRequest<Bytes>,
    authority: String,
    key: u64,
}

pub(crate) struct Clients {
    idle: Vec<Client>,
}

impl Clients {
    pub(crate) async fn new(address: SocketAddr, count: usize) -> Self {
        let mut idle = Vec::new();
        for number in 0..count {
            let stream = TcpStream::connect(address).await.expect("etcd");
            stream.set_nodelay(true).expect("a socket");
            let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            idle.push(Client { sender, authority: address.to_string(), key: number as u64 });
        }
        Self { idle }
    }

    pub(crate) async fn work(&mut self, turn: Duration) -> Done {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for client in self.idle.drain(..) {
            tasks.spawn(client.work(began + turn));
        }
        let mut latencies = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let (client, its) = ended.expect("a client");
            self.idle.push(client);
            latencies.extend(its);
        }
        Done::of(latencies, began.elapsed())
    }
}

impl Client {
    async fn work(mut self, until: Instant) -> (Self, Vec<Duration>) {
        let mut latencies = Vec::new();
        while Instant::now() < until {
            let began = Instant::now();
            self.put().await;
            latencies.push(began.elapsed());
        }
        (self, latencies)
    }

    async fn put(&mut self) {
        self.key = next_key(self.key);
        let uri = format!("http://{}/etcdserverpb.KV/Put", self.authority);
        let request = hyper::Request::post(uri).header("content-type", "application/grpc");
        let request = request.header("te", "trailers").body(()).expect("a request");
        let mut sender = self.sender.clone().ready().await.expect("a connection");
        let (response, mut body) = sender.send_request(request, false).expect("a stream");
        body.send_data(message(self.key), true).expect("a body");
        let mut incoming = response.await.expect("an answer").into_body();
        while let Some(chunk) = incoming.data().await {
            let length = chunk.expect("a chunk").len();
            incoming.flow_control().release_capacity(length).expect("a window");
        }
        let trailers = incoming.trailers().await.expect("trailers").expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
    }
}

/// A gRPC message with a `PutRequest`: key and value are its fields 1 and 2.
fn message(key: u64) -> Bytes {
    let key = format!("faultd/{key:012}");
    let value = vec![0x5a; VALUE_BYTES as usize];
    let mut put = BytesMut::new();
    for (tag, field) in [(0x0a, key.as_bytes()), (0x12, value.as_slice())] {
        put.put_u8(tag);
        put.put_u8(u8::try_from(field.len()).expect("a short field"));
        put.put_slice(field);
    }
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(put.len()).expect("a short message"));
    message.put_slice(&put);
    message.freeze()
}
