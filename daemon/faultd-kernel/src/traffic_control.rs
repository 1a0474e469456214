//! Queueing disciplines and filters: clsact with our eBPF filters in it, netem and fq.

use std::{
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Duration,
};

use netlink_packet_core::{DefaultNla, Emitable as _, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption, TcStats2, TcStatsQueue},
};
use rustix::io::Errno;

use crate::{
    clock,
    datapath::Hook,
    netlink::{Netlink, NetlinkError},
};

const CLSACT: &str = "clsact";
const CLSACT_HANDLE: TcHandle = TcHandle { major: 0xffff, minor: 0 };

/// First in order, because a filter of others that accepts a packet ends the chain; ours never does.
const FILTER_PRIORITY: u32 = 1;

/// Tells our filter from others of the same priority. The kernel's own choice starts at 1.
const FILTER_HANDLE: TcHandle = TcHandle { major: 0xfa, minor: 0x017d };

/// `ETH_P_ALL` in network byte order: the filter sees packets of every protocol.
const ALL_PROTOCOLS: u32 = 0x0003_u16.to_be() as u32;

const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
const TCA_NETEM_LATENCY64: u16 = 10;
/// Length of the kernel's `struct tc_netem_qopt`.
const NETEM_OPTIONS_LENGTH: usize = 24;

/// A filter at a clsact hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The name given to its eBPF program, if it is such a filter.
    pub(crate) program_name: Option<String>,
}

/// Adds clsact to a link; false if there was one.
pub(crate) fn add_clsact(netlink: &Netlink, link_index: u32) -> Result<bool, NetlinkError> {
    match add_qdisc(netlink, link_index, CLSACT, TcHandle::CLSACT, CLSACT_HANDLE, None) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the clsact of a link.
pub(crate) fn delete_clsact(netlink: &Netlink, link_index: u32) -> Result<(), NetlinkError> {
    let mut message = message(link_index, TcHandle::CLSACT, CLSACT_HANDLE)?;
    message.attributes = vec![TcAttribute::Kind(CLSACT.to_owned())];
    netlink.change("delete clsact", RouteNetlinkMessage::DelQueueDiscipline(message), 0)
}

/// Adds fq as a link's root queueing discipline.
pub(crate) fn add_fq(netlink: &Netlink, link_index: u32) -> Result<(), NetlinkError> {
    add_qdisc(netlink, link_index, "fq", TcHandle::ROOT, TcHandle::UNSPEC, None)
}

/// Adds netem as a link's root queueing discipline: every packet waits for `delay`, and at most
/// `limit` packets wait at a time.
pub(crate) fn add_netem(
    netlink: &Netlink,
    link_index: u32,
    delay: Duration,
    limit: u32,
) -> Result<(), NetlinkError> {
    let options = netem_options(delay, limit);
    add_qdisc(netlink, link_index, "netem", TcHandle::ROOT, TcHandle::UNSPEC, Some(options))
}

/// The options of netem are a C struct with attributes after it, not attributes alone.
fn netem_options(delay: Duration, limit: u32) -> Vec<u8> {
    let mut options = vec![0; NETEM_OPTIONS_LENGTH];
    if let Some(field) = options.get_mut(4..8) {
        field.copy_from_slice(&limit.to_ne_bytes());
    }
    // The 64-bit attribute rules over the field of the struct, which counts in old clock ticks.
    let nanoseconds = i64::try_from(clock::nanoseconds(delay)).unwrap_or(i64::MAX);
    let latency = DefaultNla::new(TCA_NETEM_LATENCY64, nanoseconds.to_ne_bytes().to_vec());
    let mut attribute = vec![0; latency.buffer_len()];
    latency.emit(&mut attribute);
    options.extend(attribute);
    options
}

fn add_qdisc(
    netlink: &Netlink,
    link_index: u32,
    kind: &str,
    parent: TcHandle,
    handle: TcHandle,
    options: Option<Vec<u8>>,
) -> Result<(), NetlinkError> {
    let mut message = message(link_index, parent, handle)?;
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    let options = options.map(|bytes| TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, bytes)));
    message.attributes.extend(options);
    let request = RouteNetlinkMessage::NewQueueDiscipline(message);
    netlink.change(format!("add the queueing discipline {kind}"), request, NLM_F_CREATE | NLM_F_EXCL)
}

/// What a root queueing discipline tells about its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Packets that wait at this moment.
    pub(crate) waiting: u64,
    /// Packets for which there was no room.
    pub(crate) drops: u64,
}

/// Looks at the root queueing discipline of a link.
pub(crate) fn root_queue(netlink: &Netlink, link_index: u32) -> Result<Queue, NetlinkError> {
    let request = message(link_index, TcHandle::UNSPEC, TcHandle::UNSPEC)?;
    let index = request.header.index;
    // Kernels list those of all links, whichever is asked for.
    let answers =
        netlink.dump("list queueing disciplines", RouteNetlinkMessage::GetQueueDiscipline(request))?;
    let root = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewQueueDiscipline(found)
            if found.header.index == index && found.header.parent == TcHandle::ROOT =>
        {
            Some(found)
        }
        _ => None,
    });
    let root =
        root.ok_or_else(|| NetlinkError::Missing("queueing discipline on a holding device".to_owned()))?;
    Ok(queue_of(root)
        .map_or_else(Queue::default, |queue| Queue { waiting: queue.qlen.into(), drops: queue.drops.into() }))
}

fn queue_of(message: TcMessage) -> Option<TcStatsQueue> {
    let statistics = message.attributes.into_iter().find_map(|attribute| match attribute {
        TcAttribute::Stats2(statistics) => Some(statistics),
        _ => None,
    });
    statistics?.into_iter().find_map(|part| match part {
        TcStats2::Queue(queue) => Some(queue),
        _ => None,
    })
}

/// Attaches a program to a clsact hook under the given name.
pub(crate) fn add_filter(
    netlink: &Netlink,
    link_index: u32,
    hook: Hook,
    program: BorrowedFd<'_>,
    name: &str,
) -> Result<(), NetlinkError> {
    let mut message = filter_message(link_index, hook)?;
    let descriptor = u32::try_from(program.as_raw_fd()).unwrap_or(u32::MAX);
    let flags = DefaultNla::new(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes().to_vec());
    message.attributes = vec![
        TcAttribute::Kind("bpf".to_owned()),
        TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(descriptor)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Other(flags)),
        ]),
    ];
    let request = RouteNetlinkMessage::NewTrafficFilter(message);
    netlink.change("attach a program with clsact", request, NLM_F_CREATE | NLM_F_EXCL)
}

/// Removes our filter from a clsact hook.
pub(crate) fn delete_filter(netlink: &Netlink, link_index: u32, hook: Hook) -> Result<(), NetlinkError> {
    let mut message = filter_message(link_index, hook)?;
    message.attributes = vec![TcAttribute::Kind("bpf".to_owned())];
    netlink.change("detach a program from clsact", RouteNetlinkMessage::DelTrafficFilter(message), 0)
}

/// All filters at a clsact hook, ours and others'; none where there is no clsact.
pub(crate) fn list_filters(
    netlink: &Netlink,
    link_index: u32,
    hook: Hook,
) -> Result<Vec<Filter>, NetlinkError> {
    let message = message(link_index, hook_parent(hook), TcHandle::UNSPEC)?;
    let answers = netlink.dump("list filters", RouteNetlinkMessage::GetTrafficFilter(message))?;
    Ok(answers.into_iter().filter_map(filter_of).collect())
}

fn filter_of(answer: RouteNetlinkMessage) -> Option<Filter> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = answer else { return None };
    let options = message.attributes.into_iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    // The dump begins with an entry for the priority itself, which carries no options.
    let program_name = options?.into_iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name),
        _ => None,
    });
    Some(Filter { program_name })
}

fn filter_message(link_index: u32, hook: Hook) -> Result<TcMessage, NetlinkError> {
    let mut message = message(link_index, hook_parent(hook), FILTER_HANDLE)?;
    message.header.info = (FILTER_PRIORITY << 16) | ALL_PROTOCOLS;
    Ok(message)
}

fn hook_parent(hook: Hook) -> TcHandle {
    let minor = match hook {
        Hook::Ingress => TcHandle::MIN_INGRESS,
        Hook::Egress => TcHandle::MIN_EGRESS,
    };
    TcHandle { major: CLSACT_HANDLE.major, minor }
}

fn message(link_index: u32, parent: TcHandle, handle: TcHandle) -> Result<TcMessage, NetlinkError> {
    let index = i32::try_from(link_index)
        .map_err(|_too_large| NetlinkError::Missing(format!("network interface with index {link_index}")))?;
    Ok(TcMessage::from_parts(TcHeader { index, parent, handle, ..TcHeader::default() }, Vec::new()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn netem_options_carry_limit_and_delay_in_kernel_layout() {
        let options = super::netem_options(Duration::from_millis(2), 1000);
        assert_eq!(options.len(), 24 + 12);
        assert_eq!(options[4..8], 1000_u32.to_ne_bytes());
        assert_eq!(options[24..28], [12, 0, 10, 0]);
        assert_eq!(options[28..], 2_000_000_i64.to_ne_bytes());
    }
}
