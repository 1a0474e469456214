//! Loss that is not random for each packet on its own: bursts, every n-th, or exactly these.

use std::{ops::RangeInclusive, sync::Arc};

use faultd_api::{quantities::parse_packets, shape::FaultShape, units::share_text};
use faultd_kernel::datapath::{Loss as Pattern, LossTrace};

use super::{FaultError, Loss};

/// The loss that is asked for, of which there can be only one.
///
/// # Errors
/// When more than one is asked for, or a parameter is out of its range.
pub fn checked(random: Option<Loss>, shape: &FaultShape) -> Result<Option<Pattern>, FaultError> {
    let mut patterns: Vec<Pattern> = random.map(|loss| Pattern::Random(loss.ratio())).into_iter().collect();
    if let Some(model) = shape.loss_gilbert_elliott {
        let ratios = [model.good_to_bad, model.bad_to_good, model.lost_when_good, model.lost_when_bad];
        let wrong = ratios.into_iter().find(|ratio| !(0.0..=1.0).contains(ratio));
        wrong.map_or(Ok(()), |ratio| Err(FaultError::LossOutOfRange(ratio)))?;
        let [good_to_bad, bad_to_good, lost_when_good, lost_when_bad] = ratios;
        patterns.push(Pattern::GilbertElliott { good_to_bad, bad_to_good, lost_when_good, lost_when_bad });
    }
    if let Some(number) = shape.loss_every {
        patterns.push(Pattern::EveryNth(if number == 0 {
            Err(FaultError::EveryZeroth)
        } else {
            Ok(number)
        }?));
    }
    if let Some(list) = &shape.loss_packets {
        patterns.push(Pattern::Trace(trace(list, shape.loss_packets_repeat_after)?));
    }
    if patterns.len() > 1 { Err(FaultError::SeveralLosses) } else { Ok(patterns.pop()) }
}

fn trace(list: &str, repeat_after: Option<u64>) -> Result<LossTrace, FaultError> {
    let ranges = parse_packets(list).map_err(FaultError::Quantity)?;
    let last = ranges.iter().map(|range| *range.end()).max().unwrap_or(0);
    let length = repeat_after.unwrap_or(last);
    if length < last || length > faultd_api::quantities::MOST_PACKETS {
        return Err(FaultError::RepeatOutOfRange(length));
    }
    let mut lost = vec![false; usize::try_from(length).unwrap_or(0)];
    mark(&mut lost, ranges);
    Ok(LossTrace { lost: Arc::from(lost), repeats: repeat_after.is_some() })
}

/// Marks the packets of some ranges, each only once: a short list can name the same millions again and again.
fn mark(lost: &mut [bool], mut ranges: Vec<RangeInclusive<u64>>) {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut marked = 0;
    for range in ranges {
        let first = usize::try_from((*range.start()).max(marked + 1)).unwrap_or(usize::MAX);
        let last = usize::try_from(*range.end()).unwrap_or(usize::MAX);
        if let Some(fates) = lost.get_mut(first.saturating_sub(1)..last) {
            fates.fill(true);
        }
        marked = marked.max(*range.end());
    }
}

/// For people: `loss 20%`, `loss of every 7th`.
#[must_use]
pub fn text(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Random(ratio) => format!("loss {}", share_text(*ratio)),
        Pattern::GilbertElliott { good_to_bad, bad_to_good, lost_when_good, lost_when_bad } => format!(
            "loss in bursts (p {}, r {}, bad {}, good {})",
            share_text(*good_to_bad),
            share_text(*bad_to_good),
            share_text(*lost_when_bad),
            share_text(*lost_when_good)
        ),
        Pattern::EveryNth(number) => format!("loss of every {number}th"),
        Pattern::Trace(trace) => {
            let lost = trace.lost.iter().filter(|lost| **lost).count();
            let again = if trace.repeats { ", again and again" } else { "" };
            format!("loss of {lost} among {} packets{again}", trace.lost.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_which_packets_are_lost() {
        let shape = FaultShape { loss_packets: Some("1,3-4".into()), ..FaultShape::default() };
        let Some(Pattern::Trace(trace)) = checked(None, &shape).unwrap() else { panic!("a trace") };
        assert_eq!((trace.lost.as_ref(), trace.repeats), (&[true, false, true, true][..], false));
        let again = FaultShape { loss_packets_repeat_after: Some(10), ..shape.clone() };
        let pattern = checked(None, &again).unwrap().unwrap();
        assert_eq!(text(&pattern), "loss of 3 among 10 packets, again and again");
        let too_soon = FaultShape { loss_packets_repeat_after: Some(3), ..shape };
        assert_eq!(checked(None, &too_soon), Err(FaultError::RepeatOutOfRange(3)));
    }

    /// Each packet is marked once; a few kilobytes could otherwise keep the daemon busy for minutes.
    #[test]
    fn a_list_may_name_packets_again_and_in_any_order() {
        let list = |text: &str| FaultShape { loss_packets: Some(text.into()), ..FaultShape::default() };
        let Some(Pattern::Trace(trace)) = checked(None, &list("8,5-6,2-5,3,2-4")).unwrap() else {
            panic!("a trace")
        };
        let lost: Vec<usize> =
            (1..).zip(trace.lost.iter()).filter(|(_, lost)| **lost).map(|(place, _)| place).collect();
        assert_eq!(lost, [2, 3, 4, 5, 6, 8]);
        let again_and_again = vec!["1-4194304"; 5000].join(",");
        let Some(Pattern::Trace(trace)) = checked(None, &list(&again_and_again)).unwrap() else {
            panic!("a trace")
        };
        assert!(trace.lost.len() == 4_194_304 && trace.lost.iter().all(|lost| *lost));
    }

    #[test]
    fn only_one_loss_at_a_time() {
        let shape = FaultShape { loss_every: Some(7), ..FaultShape::default() };
        assert_eq!(text(&checked(None, &shape).unwrap().unwrap()), "loss of every 7th");
        let random = Some(Loss::checked(0.1).unwrap());
        assert_eq!(checked(random, &shape), Err(FaultError::SeveralLosses));
        let zeroth = FaultShape { loss_every: Some(0), ..FaultShape::default() };
        assert_eq!(checked(None, &zeroth), Err(FaultError::EveryZeroth));
    }
}
