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
const TCA_FQ_PLIMIT: u16 = 1;
const TCA_FQ_FLOW_PLIMIT: u16 = 2;
const TCA_FQ_RATE_ENABLE: u16 = 5;
const TCA_FQ_TIMER_SLACK: u16 = 13;
const TCA_FQ_HORIZON: u16 = 14;
const TCA_FQ_HORIZON_DROP: u16 = 15;
/// fq looks for due packets that much late at most; 10 us unless it is told.
const FQ_TIMER_SLACK_NS: u32 = 1_000;

const TCA_NETEM_DELAY_DIST: u16 = 2;
const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_RATE64: u16 = 8;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
/// What stands for 1 in a table of netem's.
const NETEM_DISTRIBUTION_ONE: f64 = 8192.0;
/// Bytes a second at which no packet takes a nanosecond.
const ENDLESS_RATE: u64 = 1 << 60;

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

/// How fq keeps packets: nothing of its own choosing, only the times that they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FqOptions {
    /// Packets that may wait at a time, of all flows together and of each one.
    pub(crate) limit: u32,
}

/// Adds fq as a link's root queueing discipline.
pub(crate) fn add_fq(netlink: &Netlink, link_index: u32, options: FqOptions) -> Result<(), NetlinkError> {
    add_qdisc(netlink, link_index, "fq", TcHandle::ROOT, TcHandle::UNSPEC, Some(options.attributes()))
}

/// Changes the options of a link's root fq; packets that wait stay.
pub(crate) fn change_fq(netlink: &Netlink, link_index: u32, options: FqOptions) -> Result<(), NetlinkError> {
    change_qdisc(netlink, link_index, "fq", options.attributes())
}

impl FqOptions {
    /// The kernel drops packets beyond 10 s and flows beyond 100 packets unless it is told otherwise,
    /// and lets sockets believe for ever that somebody paces them.
    fn attributes(self) -> Vec<u8> {
        let numbers = [
            (TCA_FQ_PLIMIT, self.limit),
            (TCA_FQ_FLOW_PLIMIT, self.limit),
            (TCA_FQ_RATE_ENABLE, 0),
            (TCA_FQ_TIMER_SLACK, FQ_TIMER_SLACK_NS),
            (TCA_FQ_HORIZON, u32::MAX),
        ];
        let mut bytes: Vec<u8> =
            numbers.into_iter().flat_map(|(kind, value)| attribute(kind, &value.to_ne_bytes())).collect();
        bytes.extend(attribute(TCA_FQ_HORIZON_DROP, &[0]));
        bytes
    }
}

/// How netem keeps packets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NetemOptions {
    /// Packets that may wait at a time.
    pub(crate) limit: u32,
    /// Delay of each packet; the mean, where there is jitter.
    pub(crate) delay: Duration,
    /// What one unit of the distribution stands for; at most 2.1 s.
    pub(crate) jitter: Duration,
    /// Deviations in units of the jitter, from -4 to 4; without them they are uniform from -1 to 1.
    pub(crate) distribution: Vec<f64>,
    /// Whether no packet may overtake another.
    pub(crate) keeps_order: bool,
    /// Ratio of packets that leave at once, and how many wait at least before one does.
    pub(crate) reorder: Option<(f64, u32)>,
}

/// Adds netem as a link's root queueing discipline.
pub(crate) fn add_netem(
    netlink: &Netlink,
    link_index: u32,
    options: &NetemOptions,
) -> Result<(), NetlinkError> {
    add_qdisc(netlink, link_index, "netem", TcHandle::ROOT, TcHandle::UNSPEC, Some(options.attributes()))
}

/// Changes the options of a link's root netem for packets that come from now on.
pub(crate) fn change_netem(
    netlink: &Netlink,
    link_index: u32,
    options: &NetemOptions,
) -> Result<(), NetlinkError> {
    change_qdisc(netlink, link_index, "netem", options.attributes())
}

impl NetemOptions {
    /// A C struct with attributes after it, not attributes alone.
    fn attributes(&self) -> Vec<u8> {
        let gap = self.reorder.map_or(0, |(_ratio, gap)| gap);
        // Latency, limit, loss, gap, duplicate, jitter: times in old clock ticks, which the 64-bit
        // attributes rule over.
        let mut bytes: Vec<u8> =
            [0, self.limit, 0, gap, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let signed = |time: Duration| i64::try_from(clock::nanoseconds(time)).unwrap_or(i64::MAX);
        bytes.extend(attribute(TCA_NETEM_LATENCY64, &signed(self.delay).to_ne_bytes()));
        bytes.extend(attribute(TCA_NETEM_JITTER64, &signed(self.jitter).to_ne_bytes()));
        if let Some((ratio, _gap)) = self.reorder {
            let probability = [netem_probability(ratio), 0];
            bytes.extend(attribute(TCA_NETEM_REORDER, &probability.map(u32::to_ne_bytes).concat()));
        }
        // With a rate netem keeps the order, and this one takes no time that could be measured. Absent
        // attributes keep their values in a change, so that "no rate" has to be said.
        let rate = if self.keeps_order { ENDLESS_RATE } else { 0 };
        let narrow = u32::try_from(rate).unwrap_or(u32::MAX);
        bytes.extend(attribute(TCA_NETEM_RATE, &[narrow, 0, 0, 0].map(u32::to_ne_bytes).concat()));
        if rate > 0 {
            bytes.extend(attribute(TCA_NETEM_RATE64, &rate.to_ne_bytes()));
        }
        if !self.distribution.is_empty() {
            let table: Vec<u8> =
                self.distribution.iter().flat_map(|value| netem_deviation(*value).to_ne_bytes()).collect();
            bytes.extend(attribute(TCA_NETEM_DELAY_DIST, &table));
        }
        bytes
    }
}

fn netem_probability(ratio: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let probability = (ratio.clamp(0.0, 1.0) * f64::from(u32::MAX)).round() as u32;
    probability
}

fn netem_deviation(value: f64) -> i16 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to what fits")]
    let deviation =
        (value * NETEM_DISTRIBUTION_ONE).round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16;
    deviation
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute = DefaultNla::new(kind, value.to_vec());
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

fn change_qdisc(
    netlink: &Netlink,
    link_index: u32,
    kind: &str,
    options: Vec<u8>,
) -> Result<(), NetlinkError> {
    let mut message = message(link_index, TcHandle::ROOT, TcHandle::UNSPEC)?;
    message.attributes =
        vec![TcAttribute::Kind(kind.to_owned()), TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options))];
    let request = RouteNetlinkMessage::NewQueueDiscipline(message);
    netlink.change(format!("change the queueing discipline {kind}"), request, 0)
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

    use super::{FqOptions, NetemOptions, netem_deviation};

    #[test]
    fn netem_options_carry_limit_delay_and_jitter_in_kernel_layout() {
        let delay = Duration::from_millis(2);
        let options = NetemOptions { delay, limit: 1000, reorder: Some((1.0, 5)), ..NetemOptions::default() };
        let bytes = options.attributes();
        assert_eq!(bytes[4..8], 1000_u32.to_ne_bytes());
        assert_eq!(bytes[12..16], 5_u32.to_ne_bytes());
        assert_eq!(bytes[24..28], [12, 0, 10, 0]);
        assert_eq!(bytes[28..36], 2_000_000_i64.to_ne_bytes());
        assert_eq!(bytes[36..48], [12, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[48..60], [12, 0, 3, 0, 255, 255, 255, 255, 0, 0, 0, 0]);
        assert_eq!(bytes.len(), 60 + 20, "an empty rate at the end");
    }

    #[test]
    fn order_is_kept_by_an_endless_rate_and_tables_are_in_units_of_a_8192nd() {
        let options =
            NetemOptions { keeps_order: true, distribution: vec![-4.5, 0.5], ..NetemOptions::default() };
        let bytes = options.attributes();
        assert_eq!(bytes[68..80], [&[12, 0, 8, 0][..], &(1_u64 << 60).to_ne_bytes()].concat());
        assert_eq!(bytes[80..84], [8, 0, 2, 0]);
        assert_eq!((netem_deviation(-4.5), netem_deviation(0.5)), (i16::MIN, 4096));
    }

    #[test]
    fn fq_neither_drops_what_waits_long_nor_paces() {
        let bytes = FqOptions { limit: 7 }.attributes();
        assert_eq!(bytes[..16], [8, 0, 1, 0, 7, 0, 0, 0, 8, 0, 2, 0, 7, 0, 0, 0]);
        assert_eq!(bytes[16..24], [8, 0, 5, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[bytes.len() - 8..], [5, 0, 15, 0, 0, 0, 0, 0]);
    }
}
