//! Connections into a lab: sockets are opened inside of the switch's namespace, where nothing but
//! the lab's hosts can be reached.

use std::{future::Future, io, net::SocketAddr, pin::Pin};

use faultd_kernel::namespace::Namespace;
use faultd_plugin_host::Connector;
use tokio::net::{TcpSocket, TcpStream};

pub(super) struct LabConnector {
    switch: Namespace,
}

impl LabConnector {
    pub(super) fn new(switch: Namespace) -> Self {
        Self { switch }
    }
}

impl Connector for LabConnector {
    fn connect(&self, address: SocketAddr) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> {
        let switch = self.switch.clone();
        Box::pin(async move {
            // A socket belongs to the namespace of the thread that opens it, for its whole life.
            let open = move || switch.run(TcpSocket::new_v4).map_err(io::Error::other)?;
            let socket = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
            socket.connect(address).await
        })
    }
}
