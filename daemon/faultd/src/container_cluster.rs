//! A cluster of containers that somebody else has brought up: found as it is, nothing is started or changed.
//!
//! Its clients are on the host, as those of the shell scripts are, and reach a member by its address on a network
//! of the engine. What they send crosses the host's side of the member's interface, where faults are.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use faultd_api::run::ContainerMembers;
use faultd_plugin_host::{ConnectFuture, Connector};
use faultd_results::folder::{Label, LabelError};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    cluster::{Cluster, ClusterMember},
    target::{ResolvedTarget, TargetError, Targets},
};

/// More members than this are a selector that means too much.
const MOST_MEMBERS: usize = 50;
/// How long a member may take to accept a connection.
const ACCEPTS_WITHIN: Duration = Duration::from_secs(2);

/// Why containers are no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ContainerClusterError {
    /// The cluster's name goes into metrics and files.
    #[error("--cluster: {0}")]
    Name(#[from] LabelError),
    /// A member is not there, or cannot be faulted.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Too many of them.
    #[error("{0} containers are meant, a cluster has at most {MOST_MEMBERS}: name its members")]
    TooMany(usize),
    /// Something else than a container.
    #[error("'{0}' is no container: a lab is named as 'faultctl lab status' shows it (--cluster etcd)")]
    NoContainer(String),
    /// Its packets cannot be told from the host's.
    #[error(
        "'{0}' is in the network of the host, where its packets cannot be told from others: use a bridge"
    )]
    SharesHost(String),
    /// Nobody serves there.
    #[error("container '{member}' accepts no connection at {}: {reason}", endpoints_text(endpoints))]
    NotServing {
        /// Its name.
        member: String,
        /// Where it was tried.
        endpoints: Vec<SocketAddr>,
        /// How the last try failed.
        reason: String,
    },
}

/// Finds the members, each of which serves clients at this moment.
///
/// # Errors
/// When a selector means nothing that is a running container with a network of its own, or a member does not accept
/// a connection.
pub async fn find(
    name: &str,
    asked: &ContainerMembers,
    targets: &Targets,
) -> Result<Cluster, ContainerClusterError> {
    let name = Label::new(name)?.as_str().to_owned();
    let selected = targets.select(&asked.members, &Default::default()).await?.targets;
    if selected.len() > MOST_MEMBERS {
        return Err(ContainerClusterError::TooMany(selected.len()));
    }
    let mut members = Vec::with_capacity(selected.len());
    for container in selected {
        let target = targets.resolve(&container).await?;
        members.push(member(target, asked.client_port).await?);
    }
    Ok(Cluster {
        name,
        driver: asked.driver.clone(),
        members,
        connector: Arc::new(FromHost),
        storage: "container".to_owned(),
    })
}

async fn member(target: ResolvedTarget, port: u16) -> Result<ClusterMember, ContainerClusterError> {
    if target.container.is_none() {
        return Err(ContainerClusterError::NoContainer(target.name));
    }
    if target.shares_host {
        return Err(ContainerClusterError::SharesHost(target.name));
    }
    let endpoints: Vec<SocketAddr> = target.addresses.iter().map(|address| (*address, port).into()).collect();
    match serving(&endpoints).await {
        Ok(endpoint) => Ok(ClusterMember { name: target.name.clone(), endpoint, target }),
        Err(error) => Err(ContainerClusterError::NotServing {
            member: target.name,
            endpoints,
            reason: error.to_string(),
        }),
    }
}

/// The first of a member's addresses where it accepts a connection.
async fn serving(endpoints: &[SocketAddr]) -> io::Result<SocketAddr> {
    let mut failure = io::Error::other("it has no address");
    for endpoint in endpoints {
        match timeout(ACCEPTS_WITHIN, TcpStream::connect(endpoint)).await {
            Ok(Ok(_connection)) => return Ok(*endpoint),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::other(format!("no answer within {} s", ACCEPTS_WITHIN.as_secs())),
        }
    }
    Err(failure)
}

fn endpoints_text(endpoints: &[SocketAddr]) -> String {
    endpoints.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" or ")
}

/// Connections from the network of the host. To whom is checked by the plugin host.
struct FromHost;

impl Connector for FromHost {
    fn connect(&self, address: SocketAddr) -> ConnectFuture {
        Box::pin(TcpStream::connect(address))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_member_is_reached_at_the_first_address_that_accepts() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let there = listener.local_addr().unwrap();
        let nobody = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let refused = nobody.local_addr().unwrap();
        drop(nobody);
        assert_eq!(serving(&[refused, there]).await.unwrap(), there);
        assert_eq!(serving(&[refused]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(serving(&[]).await.is_err());
    }

    #[test]
    fn what_does_not_serve_is_told_with_where_it_was_tried() {
        let error = ContainerClusterError::NotServing {
            member: "etcd0".into(),
            endpoints: vec![([172, 18, 0, 2], 2379).into(), ([172, 19, 0, 2], 2379).into()],
            reason: "connection refused".into(),
        };
        let text = "container 'etcd0' accepts no connection at 172.18.0.2:2379 or 172.19.0.2:2379: connection refused";
        assert_eq!(error.to_string(), text);
    }
}
