//! `faultctl fault show`: what was asked for against what was measured.

use faultd_api::{
    fault::FaultStatus,
    units::{duration_text, share_text},
};

use crate::{output::table, process_report};

/// The report for people.
pub(crate) fn text(fault: &FaultStatus) -> String {
    let mut lines = vec![
        ["fault".to_owned(), format!("{} on {}{}", fault.id, fault.target, direction_text(fault))],
        ["asked for".to_owned(), fault.text.clone()],
        ["state".to_owned(), fault.state.clone()],
        ["carried out by".to_owned(), format!("{} ({})", fault.backend, fault.backend_reason)],
    ];
    if fault.processes.is_none() {
        lines.push(["interface".to_owned(), fault.interface.clone()]);
        lines.push(["seed".to_owned(), fault.seed.to_string()]);
    }
    lines.extend(fault.network.iter().map(|network| ["network".to_owned(), network.clone()]));
    let followed = Some(fault.follows).filter(|follows| *follows > 0);
    lines.extend(followed.map(|follows| ["followed its container".to_owned(), times_text(follows)]));
    lines.extend(fault.peers.iter().map(|peer| ["peer".to_owned(), peer.clone()]));
    lines.extend(fault.onset_ns.map(|onset| {
        let what = if fault.processes.is_some() { "first stood still" } else { "first packet affected" };
        [what.to_owned(), format!("{} after the request", duration_text(onset))]
    }));
    lines.extend(process_report::lines(fault));
    if fault.processes.is_none() {
        lines.extend(delay_lines(fault));
        lines.extend(packet_lines(fault));
    }
    table(["WHAT", "VALUE"], lines)
}

fn direction_text(fault: &FaultStatus) -> String {
    fault.direction.map_or(String::new(), |direction| format!(" ({})", direction.text()))
}

fn times_text(times: u64) -> String {
    if times == 1 { "once".to_owned() } else { format!("{times} times") }
}

fn delay_lines(fault: &FaultStatus) -> Vec<[String; 2]> {
    let Some(held) = fault.held else { return Vec::new() };
    let asked = fault.delay_ns.map_or(String::new(), |delay| format!(", {} asked for", duration_text(delay)));
    let late = format!(
        "mean {}, half within {}, 99 % within {}, {} too early",
        duration_text(held.late_mean_ns),
        duration_text(held.late_p50_ns),
        duration_text(held.late_p99_ns),
        held.early
    );
    vec![
        [
            "held for".to_owned(),
            format!("{} on average of {} packets{asked}", duration_text(held.mean_ns), held.count),
        ],
        ["later than due".to_owned(), late],
    ]
}

fn packet_lines(fault: &FaultStatus) -> Vec<[String; 2]> {
    let packets = &fault.packets;
    let shares = [
        ("dropped", packets.dropped, fault.loss_ratio),
        ("duplicated", packets.duplicated, fault.shape.duplicate_ratio),
        ("corrupted", packets.corrupted, fault.shape.corrupt_ratio),
    ];
    let shares = shares.into_iter().filter(|(_, count, asked)| *count > 0 || asked.is_some());
    let share = |(what, count, asked): (&str, u64, Option<f64>)| {
        [what.to_owned(), share_line(count, packets.matched, asked)]
    };
    let counts = [
        ("held back", packets.delayed),
        ("of those delivered", packets.returned),
        ("sent ahead", packets.reordered),
        ("dropped by a full queue", packets.overflowed),
        ("super-packets cut", packets.cut),
        ("after the lease", packets.expired),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let matched = ["matched".to_owned(), format!("{} of {} packets seen", packets.matched, packets.seen)];
    let unintended = ["lost unintendedly".to_owned(), packets.unintended.to_string()];
    let rest = shares.map(share).chain(counts.map(|(what, count)| [what.to_owned(), count.to_string()]));
    std::iter::once(matched).chain(rest).chain([unintended]).collect()
}

/// The share that was measured, with the interval in which that of the fault itself lies at 99.9 %.
fn share_line(count: u64, matched: u64, asked: Option<f64>) -> String {
    let asked = asked.map_or(String::new(), |asked| format!(", {} asked for", share_text(asked)));
    if matched == 0 {
        return format!("{count}{asked}");
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let (count_, matched) = (count as f64, matched as f64);
    let ratio = count_ / matched;
    let margin = 3.29 * (ratio * (1.0 - ratio) / matched).sqrt();
    format!("{count}, which is {:.3}% +- {:.3}%{asked}", ratio * 100.0, margin * 100.0)
}

#[cfg(test)]
mod tests {
    use super::share_line;

    #[test]
    fn a_share_comes_with_its_interval() {
        assert_eq!(share_line(200, 1000, Some(0.2)), "200, which is 20.000% +- 4.162%, 20% asked for");
        assert_eq!(share_line(0, 0, Some(0.2)), "0, 20% asked for");
    }
}
