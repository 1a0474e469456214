//! Rates, sizes, ports and lists of packets as people write them.

use std::ops::RangeInclusive;

/// Why a text is no rate, size, port or list.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QuantityError {
    /// Not a number with a unit of rate.
    #[error("'{0}' is no rate: write a number and a unit, as in 10mbit, 2.5gbit or 500kbyte")]
    Rate(String),
    /// Not a number with a unit of size.
    #[error("'{0}' is no size: write a number of bytes, with a unit if wanted, as in 1514, 64kb or 1mb")]
    Size(String),
    /// Not a port or a range of ports.
    #[error("'{0}' is no port: write a number from 1 to 65535 or a range, as in 2379 or 2379-2380")]
    Ports(String),
    /// Not a list of packets.
    #[error("'{0}' is no list of packets: write numbers from 1 on and ranges, as in 3,17,40-50")]
    Packets(String),
    /// A list that reaches too far.
    #[error("packet {0} is too far: a list can name packets up to {MOST_PACKETS}")]
    PacketTooFar(u64),
}

/// The last packet that a list can name.
pub const MOST_PACKETS: u64 = 1 << 22;

/// Bits a second for each unit of rate.
const RATE_UNITS: [(&str, f64); 8] = [
    ("kbit", 1e3),
    ("mbit", 1e6),
    ("gbit", 1e9),
    ("kbyte", 8e3),
    ("mbyte", 8e6),
    ("gbyte", 8e9),
    ("byte", 8.0),
    ("bit", 1.0),
];

const SIZE_UNITS: [(&str, f64); 4] = [("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("b", 1.0)];

/// Parses a rate into bytes a second: at least 100, at most 1e12.
///
/// # Errors
/// When the text has no unit of rate, or is out of range.
pub fn parse_rate(text: &str) -> Result<u64, QuantityError> {
    let failed = || QuantityError::Rate(text.to_owned());
    let lower = text.to_ascii_lowercase();
    let (number, bits) = RATE_UNITS
        .iter()
        .find_map(|(unit, bits)| lower.strip_suffix(unit).map(|number| (number, bits)))
        .ok_or_else(failed)?;
    let number: f64 = number.trim().parse().map_err(|_| failed())?;
    whole(number * bits / 8.0, 100.0, 1e12).ok_or_else(failed)
}

/// Parses a size into bytes: at most 1e12.
///
/// # Errors
/// When the text is no number with a unit of size, or is out of range.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    let failed = || QuantityError::Size(text.to_owned());
    let lower = text.to_ascii_lowercase();
    let found =
        SIZE_UNITS.iter().find_map(|(unit, bytes)| lower.strip_suffix(unit).map(|number| (number, *bytes)));
    let (number, bytes) = found.unwrap_or((&lower, 1.0));
    let number: f64 = number.trim().parse().map_err(|_| failed())?;
    whole(number * bytes, 0.0, 1e12).ok_or_else(failed)
}

fn whole(number: f64, least: f64, most: f64) -> Option<u64> {
    let in_range = number >= least && number <= most;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
    in_range.then(|| number.round() as u64)
}

/// A rate as people write it: in the largest unit of bits in which it is at least 1.
#[must_use]
pub fn rate_text(bytes_per_second: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bits = bytes_per_second as f64 * 8.0;
    let units = [(1e9, "gbit"), (1e6, "mbit"), (1e3, "kbit")];
    let (size, unit) = units.into_iter().find(|(size, _)| bits >= *size).unwrap_or((1.0, "bit"));
    format!("{}{unit}", bits / size)
}

/// Parses a port or a range of ports.
///
/// # Errors
/// When the text is neither, or the range is empty.
pub fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, QuantityError> {
    let failed = || QuantityError::Ports(text.to_owned());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let range = port(first).ok_or_else(failed)?..=port(last).ok_or_else(failed)?;
    if range.is_empty() { Err(failed()) } else { Ok(range) }
}

/// Parses a list of packets, counted from 1, into ranges.
///
/// # Errors
/// When the text is no list of numbers and ranges, or one of them is beyond [`MOST_PACKETS`].
pub fn parse_packets(text: &str) -> Result<Vec<RangeInclusive<u64>>, QuantityError> {
    let failed = || QuantityError::Packets(text.to_owned());
    let number = |part: &str| part.trim().parse::<u64>().ok().filter(|number| *number > 0);
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = number(first).ok_or_else(failed)?..=number(last).ok_or_else(failed)?;
        if range.is_empty() {
            return Err(failed());
        }
        if *range.end() > MOST_PACKETS {
            return Err(QuantityError::PacketTooFar(*range.end()));
        }
        ranges.push(range);
    }
    Ok(ranges)
}

/// Writes which packets are lost as a list of numbers and ranges, from a trace with `true` for lost.
#[must_use]
pub fn packets_text(lost: &[bool]) -> String {
    let mut parts = Vec::new();
    let mut place = 0;
    while let Some(begin) = lost.iter().skip(place).position(|lost| *lost).map(|found| place + found) {
        let length = lost.iter().skip(begin).take_while(|lost| **lost).count();
        let (first, last) = (begin + 1, begin + length);
        parts.push(if first == last { first.to_string() } else { format!("{first}-{last}") });
        place = begin + length;
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_sizes_are_read_with_their_units_and_written_back() {
        assert_eq!(parse_rate("10mbit"), Ok(1_250_000));
        assert_eq!(parse_rate("2.5Gbit"), Ok(312_500_000));
        assert_eq!(parse_rate("500kbyte"), Ok(500_000));
        for wrong in ["10", "mbit", "-1mbit", "NaNmbit", "infgbit", "1bit", "1e30gbit", ""] {
            assert_eq!(parse_rate(wrong), Err(QuantityError::Rate(wrong.into())), "{wrong}");
        }
        for text in ["10mbit", "2.5gbit", "800bit", "1.6kbit"] {
            assert_eq!(rate_text(parse_rate(text).unwrap()), text);
        }
        assert_eq!(
            (parse_size("1514"), parse_size("64kb"), parse_size("1.5MB")),
            (Ok(1514), Ok(64_000), Ok(1_500_000))
        );
        assert!(parse_size("-1").is_err() && parse_size("many").is_err() && parse_size("").is_err());
    }

    #[test]
    fn ports_are_one_or_a_range() {
        assert_eq!(parse_ports("2379"), Ok(2379..=2379));
        assert_eq!(parse_ports("2379-2380"), Ok(2379..=2380));
        for wrong in ["0", "65536", "5-4", "", "-", "1-2-3", "http"] {
            assert!(parse_ports(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_of_packets_are_read_and_written_the_same_way() {
        assert_eq!(parse_packets("3,17,40-50"), Ok(vec![3..=3, 17..=17, 40..=50]));
        for wrong in ["", "0", "1,,2", "5-4", "a", "-3"] {
            assert!(parse_packets(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_packets("1-99999999"), Err(QuantityError::PacketTooFar(99_999_999)));
        // Every trace of ten packets, through its text and back.
        for bits in 0..1024_u32 {
            let lost: Vec<bool> = (0..10).map(|bit| bits >> bit & 1 == 1).collect();
            let text = packets_text(&lost);
            let mut read = vec![false; 10];
            for range in parse_packets(&text).into_iter().flatten() {
                range.for_each(|packet| read[usize::try_from(packet).unwrap() - 1] = true);
            }
            assert_eq!(read, lost, "{text}");
        }
    }
}
