//! Interfaces of the daemon's own namespace: `interface/NAME`. What leaves such an interface leaves the
//! target, wherever it comes from.

use std::net::IpAddr;

use faultd_api::target::TargetStatus;
use faultd_kernel::{
    LINK_NAME_PREFIX,
    link::{self, Link},
    namespace::Namespace,
};

use super::{
    FoundPeer, ResolvedTarget, TargetError,
    interfaces::{InterfacesError, here},
    status,
};
use crate::error_chain;

/// Names of such targets start with this.
pub(super) const PREFIX: &str = "interface/";

/// Why an interface cannot be faulted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceProblem {
    /// It carries what the host says to itself.
    #[error(
        "interface '{0}' is the loopback device: what the host says to itself, faultd included, is not faulted"
    )]
    Loopback(String),
    /// It carries nothing.
    #[error("interface '{0}' is down: switch it on first ('ip link set {0} up')")]
    Down(String),
    /// Its packets cannot be read by our programs.
    #[error("interface '{0}' carries no Ethernet frames, which faultd needs: name the interface below it")]
    NotEthernet(String),
    /// It is a part of a fault.
    #[error("interface '{0}' is a device of faultd itself: name the interface under fault")]
    Ours(String),
}

/// Finds an interface by its name, without the prefix.
pub(super) async fn find(name: &str) -> Result<ResolvedTarget, TargetError> {
    let (host, links) = links().await?;
    checked(&host, &named(name, links)?)
}

/// Its addresses.
pub(super) async fn peer(name: &str) -> Result<FoundPeer, TargetError> {
    let (_host, links) = links().await?;
    Ok(FoundPeer::elsewhere(addresses(&named(name, links)?), None))
}

/// All but loopback and our own.
pub(super) async fn list() -> Vec<TargetStatus> {
    let Ok((host, links)) = links().await else { return Vec::new() };
    let shown = links.into_iter().filter(|link| !link.loopback && !link.name.starts_with(LINK_NAME_PREFIX));
    shown
        .map(|link| {
            let addresses = addresses(&link).iter().map(IpAddr::to_string).collect();
            let name = format!("{PREFIX}{}", link.name);
            TargetStatus { addresses, ..status("interface", name, checked(&host, &link)) }
        })
        .collect()
}

async fn links() -> Result<(Namespace, Vec<Link>), InterfacesError> {
    let look = || {
        let host = Namespace::current().map_err(|error| error_chain(&error))?;
        let links = link::list(&host).map_err(|error| error_chain(&error))?;
        Ok((host, links))
    };
    let found = super::blocking(look).await.and_then(|found| found);
    found.map_err(|reason| InterfacesError::Kernel { of: "the host".to_owned(), reason })
}

fn named(name: &str, links: Vec<Link>) -> Result<Link, TargetError> {
    let found = links.into_iter().find(|link| link.name == name);
    found.ok_or_else(|| TargetError::NoInterface(name.to_owned()))
}

fn checked(host: &Namespace, link: &Link) -> Result<ResolvedTarget, TargetError> {
    if let Some(problem) = problem(link) {
        return Err(problem.into());
    }
    let name = format!("{PREFIX}{}", link.name);
    let interfaces = vec![here(host, link)];
    let addresses = addresses(link);
    Ok(ResolvedTarget { name, interfaces, addresses, shares_host: false, container: None, processes: None })
}

fn problem(link: &Link) -> Option<InterfaceProblem> {
    let problems = [
        (link.loopback, InterfaceProblem::Loopback as fn(String) -> InterfaceProblem),
        (link.name.starts_with(LINK_NAME_PREFIX), InterfaceProblem::Ours),
        (!link.up, InterfaceProblem::Down),
        (!link.ethernet, InterfaceProblem::NotEthernet),
    ];
    let found = problems.into_iter().find(|(is_so, _problem)| *is_so);
    found.map(|(_, problem)| problem(link.name.clone()))
}

fn addresses(link: &Link) -> Vec<IpAddr> {
    link.addresses.iter().map(|(address, _prefix)| *address).collect()
}
