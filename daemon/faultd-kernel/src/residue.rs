//! What an earlier faultd that was killed may have left: links, clsact filters and named namespaces
//! that carry our names. What a living one uses looks the same: ask at start only.

use std::fmt;

use crate::{
    LINK_NAME_PREFIX, NAMESPACE_NAME_PREFIX,
    datapath::{DatapathError, Hook, attachment::FILTER_NAME_PREFIX},
    link::{self, Link},
    namespace::{self, Namespace},
    netlink::{Netlink, NetlinkError},
    traffic_control,
};

/// One thing that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Residue {
    /// A link of ours.
    Link {
        /// Where it is.
        namespace: Namespace,
        /// The link.
        link: Link,
    },
    /// A program of ours at a clsact hook. It does nothing any more, for its leases are over.
    Filter {
        /// Where it is.
        namespace: Namespace,
        /// The link that it is attached to.
        link: Link,
        /// The side of the link.
        hook: Hook,
    },
    /// A namespace of ours.
    Namespace {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Residue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { link, .. } => write!(formatter, "link {}", link.name),
            Self::Filter { link, hook, .. } => write!(formatter, "filter at the {hook:?} of {}", link.name),
            Self::Namespace { name } => write!(formatter, "network namespace {name}"),
        }
    }
}

/// Finds what was left in the given namespaces, and all named namespaces of ours.
pub fn find(namespaces: &[Namespace]) -> Result<Vec<Residue>, NetlinkError> {
    let mut found = Vec::new();
    for namespace in namespaces {
        found.extend(find_in(namespace)?);
    }
    let ours = namespace::list_named().into_iter().filter(|name| name.starts_with(NAMESPACE_NAME_PREFIX));
    found.extend(ours.map(|name| Residue::Namespace { name }));
    Ok(found)
}

/// Finds links and filters that were left in one namespace.
pub fn find_in(namespace: &Namespace) -> Result<Vec<Residue>, NetlinkError> {
    let mut found = Vec::new();
    for link in link::list(namespace)? {
        if link.name.starts_with(LINK_NAME_PREFIX) {
            found.push(Residue::Link { namespace: namespace.clone(), link });
        } else {
            found.extend(find_filters(namespace, &link)?);
        }
    }
    Ok(found)
}

fn find_filters(namespace: &Namespace, link: &Link) -> Result<Vec<Residue>, NetlinkError> {
    let netlink = Netlink::of(namespace);
    let mut found = Vec::new();
    for hook in Hook::ALL {
        let filters = match traffic_control::list_filters(&netlink, link.index, hook) {
            // The kernel refuses to list where there is no queueing discipline.
            Err(NetlinkError::Refused { .. }) => continue,
            filters => filters?,
        };
        let ours = |name: &String| name.starts_with(FILTER_NAME_PREFIX);
        if filters.iter().filter_map(|filter| filter.program_name.as_ref()).any(ours) {
            found.push(Residue::Filter { namespace: namespace.clone(), link: link.clone(), hook });
        }
    }
    Ok(found)
}

/// Removes what [`find`] found. A clsact stays where it is: it may be somebody's, and does nothing.
///
/// # Errors
/// [`DatapathError`], also when it is gone only in part.
pub fn remove(residue: &Residue) -> Result<(), DatapathError> {
    match residue {
        Residue::Link { namespace, link } => Ok(link::delete(namespace, link.index)?),
        Residue::Filter { namespace, link, hook } => {
            let deleted = traffic_control::delete_filter(&Netlink::of(namespace), link.index, *hook);
            match deleted {
                Err(error) if !error.means_absent() => Err(error.into()),
                _ => Ok(()),
            }
        }
        Residue::Namespace { name } => Ok(namespace::remove_named(name)?),
    }
}
