//! Numbers, and what has a number and a unit.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A backend's largest weight.
const MAX_WEIGHT: u16 = 1000;
/// A backend's weight when none is given.
pub(in crate::config) const DEFAULT_WEIGHT: u16 = 1;
/// Most successes or failures in a row that a check may want.
const MAX_IN_A_ROW: u32 = 1000;
/// Flows that the flow table may have room for.
pub(in crate::config) const MAX_FLOWS: RangeInclusive<u32> = 1 << 10..=1 << 24;
/// Fragmented packets that may be remembered at a time.
pub(in crate::config) const MAX_FRAGMENTS: RangeInclusive<u32> = 1 << 9..=1 << 20;
/// Connections in mode fullnat that may be remembered at a time.
const MAX_NAT_FLOWS: RangeInclusive<u32> = 1 << 10..=1 << 22;
/// Connections that a source may open at once.
const MAX_BURST: u32 = 1_000_000;
/// Connections that a source may open: one a minute to a million a second, in one a minute.
const RATES_A_MINUTE: RangeInclusive<u64> = 1..=60_000_000;

/// Between which times a duration must be, for the rule and in words.
pub(in crate::config) struct Times {
    range: RangeInclusive<Duration>,
    words: &'static str,
}

/// Of a check; one more often than this measures its own load.
pub(in crate::config) const CHECK_TIMES: Times =
    Times { range: Duration::from_millis(10)..=Duration::from_secs(3600), words: "10ms to 60m" };
/// Of a silent flow, whose age has 16 bits of seconds in the kernel, with room for the time between two looks at it.
const IDLE_TIMES: Times =
    Times { range: Duration::from_secs(1)..=Duration::from_secs(8 * 3600), words: "1s to 8h" };

pub(in crate::config) fn port(key: &str, typed: i64) -> Result<u16, String> {
    between(key, typed, 1..=u16::MAX)
}

pub(in crate::config) fn weight(typed: i64) -> Result<u16, String> {
    between("weight", typed, 0..=MAX_WEIGHT)
}

pub(in crate::config) fn server_id(typed: i64) -> Result<u16, String> {
    between("server_id", typed, 0..=u16::MAX)
}

pub(in crate::config) fn in_a_row(key: &str, typed: i64) -> Result<u32, String> {
    between(key, typed, 1..=MAX_IN_A_ROW)
}

pub(in crate::config) fn nat_flows(typed: i64) -> Result<u32, String> {
    between("max_nat_flows", typed, MAX_NAT_FLOWS)
}

pub(in crate::config) fn rate_burst(typed: i64) -> Result<u32, String> {
    between("rate_burst", typed, 1..=MAX_BURST)
}

fn between<T>(key: &str, typed: i64, range: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    match T::try_from(typed) {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!(
            "{key} {typed} is out of range: choose one from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// The size of a table that is indexed by bits of a hash; `range` begins and ends with a power of two.
pub(in crate::config) fn power_of_two(
    key: &str,
    typed: i64,
    range: &RangeInclusive<u32>,
) -> Result<u32, String> {
    match u32::try_from(typed) {
        Ok(size) if range.contains(&size) => {
            if size.is_power_of_two() {
                return Ok(size);
            }
            Err(format!("{key} {size} is not a power of two: the next one is {}", size.next_power_of_two()))
        }
        Ok(_) | Err(_) => Err(format!(
            "{key} {typed} is out of range: choose a power of two from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// A whole number and its unit, as in `500ms`.
pub(in crate::config) fn duration(key: &str, typed: &str, times: &Times) -> Result<Duration, String> {
    let digits = typed.find(|c: char| !c.is_ascii_digit()).unwrap_or(typed.len());
    let (count, unit) = typed.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    match count.parse::<u64>() {
        Ok(count) if unit_ms > 0 => {
            let duration = Duration::from_millis(count.saturating_mul(unit_ms));
            if times.range.contains(&duration) {
                return Ok(duration);
            }
            Err(format!("{key} {typed} is out of range: choose {}", times.words))
        }
        Ok(_) | Err(_) => Err(format!(
            "{key} {typed:?} is not a duration: write a whole number and a unit, such as 500ms, 1s or 2m"
        )),
    }
}

/// The kernel counts the age of a flow in seconds.
pub(in crate::config) fn idle_timeout(typed: &str) -> Result<Duration, String> {
    let duration = duration("idle_timeout", typed, &IDLE_TIMES)?;
    if duration.subsec_nanos() > 0 {
        return Err(format!(
            "idle_timeout {typed} is no whole number of seconds: write {}s",
            duration.as_secs() + 1
        ));
    }
    Ok(duration)
}

/// A whole number for each second or minute, as in `100/s`; in thousandths a second, rounded to the nearest.
pub(in crate::config) fn rate(typed: &str) -> Result<u64, String> {
    let read = |(count, unit): (&str, &str)| {
        let a_minute = match unit {
            "s" => 60,
            "m" => 1,
            _ => return None,
        };
        // A sign would be read too, and is no part of a count.
        if !count.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        Some(count.parse::<u64>().ok()?.saturating_mul(a_minute))
    };
    match typed.split_once('/').and_then(read) {
        Some(a_minute) if RATES_A_MINUTE.contains(&a_minute) => Ok((a_minute * 1000 + 30) / 60),
        Some(_) => Err(format!("rate_limit {typed} is out of range: choose 1/m to 1000000/s")),
        None => Err(format!(
            "rate_limit {typed:?} is not a rate: write a whole number for each second or minute, such as 100/s or 30/m"
        )),
    }
}

/// What a rate lets through in a second, at least 1; never more than may be asked for.
pub(in crate::config) fn default_burst(per_second_milli: u64) -> u32 {
    u32::try_from(per_second_milli / 1000).unwrap_or(MAX_BURST).clamp(1, MAX_BURST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |typed| duration("interval", typed, &CHECK_TIMES);
        assert_eq!(check("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(check("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(check("2m"), Ok(Duration::from_secs(120)));
        assert_eq!((check("1h"), check("60m")), (check("3600s"), Ok(Duration::from_secs(3600))));
        for bad in ["", "1", "s", "1.5s", "-1s", "1 s", "2h", "0s", "9ms", "61m", "99999999999999999999s"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check("18446744073709551615m").is_err(), "a product that overflows");
    }

    #[test]
    fn a_silent_flow_ends_within_what_the_kernel_can_count() {
        assert_eq!(idle_timeout("1000ms"), Ok(Duration::from_secs(1)));
        assert_eq!(idle_timeout("8h"), Ok(Duration::from_secs(28_800)));
        assert!(Duration::from_secs(u64::from(u16::MAX)) > *IDLE_TIMES.range.end() * 2);
        for bad in ["999ms", "1001ms", "9h", "481m", "28801s", "0s"] {
            assert!(idle_timeout(bad).is_err(), "{bad}");
        }
        assert!(idle_timeout("1001ms").unwrap_err().ends_with("write 2s"));
    }

    #[test]
    fn rates_are_thousandths_a_second() {
        for (typed, thousandths) in [
            ("1/m", 17),
            ("30/m", 500),
            ("60/m", 1000),
            ("1/s", 1000),
            ("100/s", 100_000),
            ("1000000/s", 1_000_000_000),
            ("60000000/m", 1_000_000_000),
        ] {
            assert_eq!(rate(typed), Ok(thousandths), "{typed}");
        }
        for bad in ["", "100", "/s", "s", "1/h", "1.5/s", "-1/s", "+1/s", "1 /s", "1/s ", "1/s/s"] {
            assert!(rate(bad).unwrap_err().contains("is not a rate"), "{bad}");
        }
        for bad in ["0/s", "0/m", "1000001/s", "60000001/m", "18446744073709551615/s"] {
            assert!(rate(bad).unwrap_err().contains("is out of range"), "{bad}");
        }
    }

    #[test]
    fn a_burst_is_one_second_by_default() {
        for (typed, burst) in
            [("1/m", 1), ("90/m", 1), ("120/m", 2), ("100/s", 100), ("1000000/s", 1_000_000)]
        {
            assert_eq!(default_burst(rate(typed).unwrap()), burst, "{typed}");
            assert_eq!(rate_burst(burst.into()), Ok(burst));
        }
    }

    #[test]
    fn every_size_that_is_refused_names_an_allowed_one() {
        for range in [MAX_FLOWS, MAX_FRAGMENTS] {
            let judged = |typed: u32| power_of_two("max", i64::from(typed), &range);
            let (first, last) = (*range.start(), *range.end());
            assert!(first.is_power_of_two() && last.is_power_of_two());
            assert!(judged(first - 1).is_err() && judged(last + 1).is_err());
            assert!(
                power_of_two("max", -1, &range).is_err() && power_of_two("max", 1 << 40, &range).is_err()
            );
            for typed in (first..4 * first).chain([last - 1, last]) {
                assert_eq!(judged(typed).is_ok(), typed.is_power_of_two(), "{typed}");
                if let Err(text) = judged(typed) {
                    let next = text.rsplit(' ').next().unwrap().parse().unwrap();
                    assert_eq!(judged(next), Ok(typed.next_power_of_two()), "{text}");
                }
            }
        }
    }

    #[test]
    fn ranges_have_a_first_and_a_last() {
        assert_eq!((port("port", 1), port("port", 65_535)), (Ok(1), Ok(65_535)));
        assert!(port("port", 0).is_err() && port("port", 65_536).is_err());
        assert_eq!((server_id(0), server_id(65_535)), (Ok(0), Ok(65_535)));
        assert!(server_id(-1).is_err() && server_id(65_536).is_err());
        assert_eq!((nat_flows(1024), nat_flows(4_194_304)), (Ok(1024), Ok(4_194_304)));
        assert!(nat_flows(1023).is_err() && nat_flows(4_194_305).is_err());
        assert_eq!((rate_burst(1), rate_burst(1_000_000)), (Ok(1), Ok(1_000_000)));
        assert!(rate_burst(0).is_err() && rate_burst(1_000_001).is_err());
    }
}
