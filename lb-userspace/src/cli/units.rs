//! Numbers as people read them. Programs get the exact ones, as JSON.

/// `1234567` as `1.23M`: three digits that count.
pub(super) fn count(number: u64) -> String {
    scaled(number, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

/// `1536` as `1.50KiB`.
pub(super) fn bytes(number: u64) -> String {
    scaled(number, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// `0.25` as `25.0%`.
pub(super) fn percent(part: f64) -> String {
    format!("{:.1}%", part * 100.0)
}

/// `93784` as `1d 2h`: the two largest units.
pub(super) fn seconds(total: u64) -> String {
    let parts = [(total / 86_400, "d"), (total / 3600 % 24, "h"), (total / 60 % 60, "m"), (total % 60, "s")];
    let first = parts.iter().position(|(value, _)| *value > 0).unwrap_or(parts.len() - 1);
    let words: Vec<String> =
        parts[first..].iter().take(2).map(|(value, unit)| format!("{value}{unit}")).collect();
    words.join(" ")
}

/// Cut, not rounded: a number is never shown as more than it is. In tenths and hundredths of the unit, so that no
/// precision is lost on the way.
fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let mut size = 1_u64;
    let mut unit = 0;
    while number / size >= step && unit + 1 < units.len() {
        size *= step;
        unit += 1;
    }
    let hundredths = u128::from(number) * 100 / u128::from(size);
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match whole {
        _ if unit == 0 => format!("{whole}{}", units[unit]),
        0..10 => format!("{whole}.{rest:02}{}", units[unit]),
        10..100 => format!("{whole}.{}{}", rest / 10, units[unit]),
        _ => format!("{whole}{}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, percent, seconds};

    #[test]
    fn numbers_keep_three_digits() {
        let counts = [(0, "0"), (999, "999"), (1000, "1.00k"), (12_345, "12.3k"), (999_999, "999k")];
        for (number, expected) in counts {
            assert_eq!(count(number), expected);
        }
        assert_eq!(count(1_234_567), "1.23M");
        assert_eq!(count(u64::MAX), "18.4E");
        assert_eq!(
            (bytes(0).as_str(), bytes(1023).as_str(), bytes(1536).as_str()),
            ("0B", "1023B", "1.50KiB")
        );
        assert_eq!(bytes(u64::MAX), "15.9EiB");
        assert_eq!((percent(0.0).as_str(), percent(1.0 / 3.0).as_str()), ("0.0%", "33.3%"));
    }

    #[test]
    fn times_keep_two_units() {
        let times =
            [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3661, "1h 1m"), (93_784, "1d 2h"), (86_400, "1d 0h")];
        for (total, expected) in times {
            assert_eq!(seconds(total), expected);
        }
    }
}
