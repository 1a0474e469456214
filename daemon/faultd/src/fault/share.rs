//! Faults of a share of packets: some arrive twice, some spoilt, some ahead of others.

use faultd_api::{
    shape::{CorruptKind as Asked, FaultShape},
    units::share_text,
};
use faultd_kernel::datapath::{Corrupt, CorruptKind, Reorder};

use super::FaultError;

/// Which packets arrive twice.
///
/// # Errors
/// When the share is out of its range.
pub fn duplicate(shape: &FaultShape) -> Result<Option<f64>, FaultError> {
    shape.duplicate_ratio.map(|ratio| checked("duplicates", ratio)).transpose()
}

/// Which packets are spoilt.
///
/// # Errors
/// When the share is out of its range.
pub fn corrupt(shape: &FaultShape) -> Result<Option<Corrupt>, FaultError> {
    let kind = match shape.corrupt_kind {
        Asked::Detected => CorruptKind::Detected,
        Asked::Silent => CorruptKind::Silent,
    };
    let ratio = shape.corrupt_ratio.map(|ratio| checked("corruption", ratio)).transpose()?;
    Ok(ratio.map(|ratio| Corrupt { ratio, kind }))
}

/// Which packets leave at once while others wait.
///
/// # Errors
/// When the share or the gap is out of its range, or nothing waits.
pub fn reorder(shape: &FaultShape, something_waits: bool) -> Result<Option<Reorder>, FaultError> {
    let Some(ratio) = shape.reorder_ratio else {
        return if shape.reorder_gap.is_some() { Err(FaultError::ReorderWithoutDelay) } else { Ok(None) };
    };
    let gap = shape.reorder_gap.unwrap_or(1);
    if !something_waits || gap == 0 {
        return Err(FaultError::ReorderWithoutDelay);
    }
    Ok(Some(Reorder { ratio: checked("reordering", ratio)?, gap }))
}

fn checked(what: &'static str, ratio: f64) -> Result<f64, FaultError> {
    // Written so that NaN fails too.
    if ratio > 0.0 && ratio <= 1.0 { Ok(ratio) } else { Err(FaultError::ShareOutOfRange { what, ratio }) }
}

/// For people: `duplicate 1%`, `corrupt 1% silently`, `25% ahead`.
#[must_use]
pub fn texts(duplicate: Option<f64>, corrupt: Option<Corrupt>, reorder: Option<Reorder>) -> Vec<String> {
    let duplicate = duplicate.map(|ratio| format!("duplicate {}", share_text(ratio)));
    let corrupt = corrupt.map(|corrupt| match corrupt.kind {
        CorruptKind::Detected => format!("corrupt {}", share_text(corrupt.ratio)),
        CorruptKind::Silent => format!("corrupt {} silently", share_text(corrupt.ratio)),
    });
    let reorder = reorder.map(|reorder| format!("{} ahead", share_text(reorder.ratio)));
    [duplicate, corrupt, reorder].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_above_zero_and_at_most_one() {
        for ratio in [0.0, -0.1, 1.1, f64::NAN] {
            let shape = FaultShape {
                duplicate_ratio: Some(ratio),
                corrupt_ratio: Some(ratio),
                reorder_ratio: Some(ratio),
                ..FaultShape::default()
            };
            assert!(duplicate(&shape).is_err() && corrupt(&shape).is_err() && reorder(&shape, true).is_err());
        }
    }

    #[test]
    fn packets_only_overtake_others_that_wait() {
        let shape = FaultShape { reorder_ratio: Some(0.25), ..FaultShape::default() };
        assert_eq!(reorder(&shape, false), Err(FaultError::ReorderWithoutDelay));
        assert_eq!(reorder(&shape, true), Ok(Some(Reorder { ratio: 0.25, gap: 1 })));
    }
}
