//! What this kernel can do, found out by doing it in a scratch namespace, never by version numbers.

use std::{error::Error, fs, path::Path, time::Duration};

use aya::Ebpf;
use thiserror::Error;

use crate::{
    datapath::{AttachKind, DatapathError, Hook, attachment::Attacher, instance, object},
    link::{self, Link},
    namespace::{Namespace, NamespaceError},
    netlink::{Netlink, NetlinkError},
    tap,
    traffic_control::{self, FqOptions, NetemOptions},
};

const PROBE_LINK: &str = "fltd-probe0";
const PROBE_PEER: &str = "fltd-probe1";
const PROBE_TAP: &str = "fltd-probe2";

/// Capability bits of `/proc/self/status`, with their names. CAP_SYS_ADMIN is for entering
/// namespaces; it also stands for CAP_BPF.
const NEEDED_CAPABILITIES: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

/// Whether something works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// It was tried and worked.
    Available,
    /// It was tried and failed.
    Missing {
        /// What the kernel or the file system answered.
        reason: String,
    },
}

/// What this kernel can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The kernel's release, for people.
    pub kernel_release: String,
    /// Type information of the kernel; wished for, not needed.
    pub btf: Support,
    /// Whether the kernel loads faultd's own programs.
    pub programs: Support,
    /// Attaching by TCX links.
    pub tcx: Support,
    /// Attaching by clsact filters.
    pub clsact: Support,
    /// TAP devices, for the relay.
    pub tap: Support,
    /// The queueing discipline fq.
    pub fq: Support,
    /// The queueing discipline netem.
    pub netem: Support,
}

/// Why nothing could be found out.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The process may not do what faultd does.
    #[error("not enough privileges: {} missing; run faultd as root", .0.join(" and "))]
    Privileges(Vec<&'static str>),
    /// No scratch namespace.
    #[error("cannot make a scratch network namespace to probe the kernel in")]
    Namespace(#[from] NamespaceError),
    /// No scratch interfaces.
    #[error("cannot make a veth pair in a scratch network namespace (is the module veth there?)")]
    Veth(#[from] NetlinkError),
}

impl Capabilities {
    /// How programs are best attached: TCX, else clsact, else not at all.
    pub fn attach_kind(&self) -> Option<AttachKind> {
        if self.tcx == Support::Available {
            Some(AttachKind::Tcx)
        } else {
            (self.clsact == Support::Available).then_some(AttachKind::Clsact)
        }
    }
}

/// Tries everything with the given eBPF object in a scratch namespace, of which nothing is left.
///
/// # Errors
/// [`ProbeError`] where privileges or the scratch namespace are missing.
pub fn probe(ebpf_object: &[u8]) -> Result<Capabilities, ProbeError> {
    check_privileges()?;
    let scratch = Namespace::create_anonymous()?;
    let veth = link::create_veth(&scratch, PROBE_LINK, &scratch, PROBE_PEER)?;
    let netlink = Netlink::of(&scratch);
    // The verifier takes its time: what is loaded once is attached in both ways.
    let mut loaded = object::load_object(ebpf_object);
    Ok(Capabilities {
        kernel_release: fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        btf: probe_btf(),
        programs: support(loaded.as_ref().map(drop)),
        tcx: probe_attach(&mut loaded, &scratch, &veth, AttachKind::Tcx),
        clsact: probe_attach(&mut loaded, &scratch, &veth, AttachKind::Clsact),
        tap: probe_tap(&scratch),
        fq: discipline("sch_fq", traffic_control::add_fq(&netlink, veth.index, FqOptions { limit: 1000 })),
        // On the other end, for a root queueing discipline is not added where there is one.
        netem: discipline("sch_netem", probe_netem(&netlink, &scratch)),
    })
}

/// The error with all of its causes, in one line.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    std::iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn support<T, E: Error>(result: Result<T, E>) -> Support {
    match result {
        Ok(_) => Support::Available,
        Err(error) => Support::Missing { reason: error_chain(&error) },
    }
}

/// The kernel says "no such file" of a queueing discipline that it does not have.
fn discipline(module: &str, added: Result<(), NetlinkError>) -> Support {
    match added {
        Err(error) if error.means_absent() => {
            Support::Missing { reason: format!("this kernel has no {module}, built in or as a module") }
        }
        added => support(added),
    }
}

fn check_privileges() -> Result<(), ProbeError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(u64::MAX);
    let lacks = |bit: u32| effective & (1 << bit) == 0;
    let missing: Vec<_> =
        NEEDED_CAPABILITIES.iter().filter(|(bit, _name)| lacks(*bit)).map(|&(_bit, name)| name).collect();
    if missing.is_empty() { Ok(()) } else { Err(ProbeError::Privileges(missing)) }
}

fn probe_btf() -> Support {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        Support::Available
    } else {
        Support::Missing { reason: "the kernel shows no /sys/kernel/btf/vmlinux".to_owned() }
    }
}

fn probe_attach(
    loaded: &mut Result<Ebpf, DatapathError>,
    scratch: &Namespace,
    veth: &Link,
    kind: AttachKind,
) -> Support {
    let ebpf = match loaded {
        Ok(ebpf) => ebpf,
        Err(error) => return Support::Missing { reason: error_chain(error) },
    };
    let mut attacher = Attacher::new(scratch.clone(), kind);
    let program = instance::hook_program(Hook::Ingress);
    let attached = attacher.attach(ebpf, program, veth.index, Hook::Ingress);
    support(attached.and_then(|attachment| attacher.detach(attachment)))
}

fn probe_tap(scratch: &Namespace) -> Support {
    match scratch.run(|| tap::create(PROBE_TAP)) {
        Ok(created) => support(created),
        Err(error) => support::<(), _>(Err(error)),
    }
}

fn probe_netem(netlink: &Netlink, scratch: &Namespace) -> Result<(), NetlinkError> {
    let peer = link::find(scratch, PROBE_PEER)?;
    let peer = peer.ok_or_else(|| NetlinkError::Missing(PROBE_PEER.to_owned()))?;
    let options = NetemOptions { delay: Duration::from_millis(1), limit: 1000, ..NetemOptions::default() };
    traffic_control::add_netem(netlink, peer.index, &options)
}
