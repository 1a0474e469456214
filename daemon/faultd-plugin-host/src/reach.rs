//! Whom a client can reach: the members of its cluster, by index, and nobody else. Addresses are resolved
//! before a client is made and never again, so that no name can come to mean another address.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use faultd_plugin_manifest::{NetworkLimits, NetworkUse, Reachable as Reachability};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::error::Refusal;

/// A connection that is being made.
pub type ConnectFuture = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Opens the connections of clients, for example from within a network namespace.
pub trait Connector: Send + Sync {
    /// Connects to a member. The caller gives up after the operation's time limit and drops the future.
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

/// The members that one client can reach, and how.
pub(crate) struct Reach {
    members: Vec<Reachable>,
    connector: Arc<dyn Connector>,
    time_limit: Duration,
    /// What the plugin's manifest allows.
    network: NetworkLimits,
    serving: usize,
}

struct Reachable {
    address: SocketAddr,
    not_before: Option<Instant>,
}

impl Reach {
    pub(crate) fn new(members: &[Member], connector: Arc<dyn Connector>, time_limit: Duration) -> Self {
        let reachable = |member: &Member| Reachable { address: member.address, not_before: None };
        let members = members.iter().map(reachable).collect();
        Self { members, connector, time_limit, network: NetworkLimits::default(), serving: 0 }
    }

    /// The same, for a client that a member serves and a plugin that asked for no more than this.
    pub(crate) fn limited_to(self, network: NetworkLimits, serving: usize) -> Self {
        Self { network, serving, ..self }
    }

    /// Refuses a way to speak that the manifest does not name.
    pub(crate) fn check_use(&self, wanted: NetworkUse) -> Result<(), Refusal> {
        if self.network.uses.contains(&wanted) {
            Ok(())
        } else {
            Err(Refusal::NotInManifest("this protocol"))
        }
    }

    /// For plugins that have no network.
    pub(crate) fn none() -> Self {
        Self::new(&[], Arc::new(NoConnector), Duration::ZERO)
    }

    /// How long an operation may take.
    pub(crate) fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// The position and address of the member that a plugin names.
    pub(crate) fn member(&self, index: u32) -> Result<(usize, SocketAddr), Refusal> {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let member = self.members.get(position);
        let member = member.ok_or(Refusal::NoSuchMember { member: index, count: self.members.len() })?;
        if self.network.members == Reachability::Serving && position != self.serving {
            return Err(Refusal::NotInManifest("a member that does not serve it"));
        }
        Ok((position, member.address))
    }

    /// Connects to the member at a position, after a pause if that failed just now.
    pub(crate) async fn connect(&mut self, position: usize) -> io::Result<TcpStream> {
        let member = self.members.get_mut(position).ok_or(io::ErrorKind::NotFound)?;
        if let Some(not_before) = member.not_before {
            sleep_until(not_before).await;
        }
        let connected = self.connector.connect(member.address).await;
        member.not_before = connected.is_err().then(|| Instant::now() + PAUSE_AFTER_REFUSAL);
        let stream = connected?;
        // Requests are smaller than a segment: waiting for more of them would be measured as latency.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
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

    #[test]
    fn a_driver_reaches_no_more_than_its_manifest_says() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let member = |name: &str| Member { name: name.to_owned(), address };
        let reach = Reach::new(&[member("a"), member("b")], Arc::new(NoConnector), Duration::ZERO);
        let network = NetworkLimits { uses: vec![NetworkUse::Streams], members: Reachability::Serving };
        let reach = reach.limited_to(network, 1);
        assert_eq!((reach.member(1), reach.check_use(NetworkUse::Streams)), (Ok((1, address)), Ok(())));
        assert!(matches!(reach.member(0), Err(Refusal::NotInManifest(_))));
        assert!(matches!(reach.check_use(NetworkUse::Http1), Err(Refusal::NotInManifest(_))));
    }

    #[test]
    fn a_member_that_there_is_not_is_refused() {
        let refusal = Reach::none().member(3).unwrap_err();
        assert_eq!(refusal, Refusal::NoSuchMember { member: 3, count: 0 });
    }
}
