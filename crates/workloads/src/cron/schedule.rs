//! When a schedule is due. Pure.
//!
//! ```text
//! schedule := '@yearly' | '@annually' | '@monthly' | '@weekly' | '@daily' | '@midnight' | '@hourly' | '@every' duration
//!           | minute ' ' hour ' ' day ' ' month ' ' weekday
//! ```
//!
//! Where day and weekday are both restricted, a day that fits either is due; otherwise it has to fit both
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>).

use k8s_openapi::jiff::{Timestamp, civil::Date, tz::TimeZone};
use std::time::Duration;

/// How far is looked ahead: 29 February comes back within eight years.
const MAX_DAYS: usize = 366 * 9;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A schedule in a time zone.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    zone: TimeZone,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Every(Duration),
    Fields(Fields),
}

/// The values that are due, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether day or weekday is left open.
    any_day: bool,
}

impl Schedule {
    /// Reads `spec.schedule` and `spec.timeZone`.
    ///
    /// # Errors
    /// What is wrong, for people. The API server refuses such schedules; zones it may not know.
    pub(super) fn parse(text: &str, zone: Option<&str>) -> Result<Self, String> {
        let (mut zone_name, mut rest) = (zone.map(str::to_owned), text.trim());
        for prefix in ["TZ=", "CRON_TZ="] {
            if let Some((name, tail)) = rest.strip_prefix(prefix).and_then(|zoned| zoned.split_once(' ')) {
                (zone_name, rest) = (Some(name.to_owned()), tail.trim());
            }
        }
        let zone = match zone_name {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(&name).map_err(|_| format!("unknown time zone {name}"))?,
        };
        Ok(Self { zone, rule: rule(rest)? })
    }

    /// The first time after `after`; none when there is none in years.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(delay) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*delay).ok()
            }
            Rule::Fields(fields) => {
                let mut date = after.to_zoned(self.zone.clone()).date();
                for _ in 0..MAX_DAYS {
                    if fields.has_date(date)
                        && let Some(found) = self.within(fields, date, after)
                    {
                        return Some(found);
                    }
                    date = date.tomorrow().ok()?;
                }
                None
            }
        }
    }

    fn within(&self, fields: &Fields, date: Date, after: Timestamp) -> Option<Timestamp> {
        let bits = |set: u64| (0..64i8).filter(move |bit| set & (1 << bit) != 0);
        let times = bits(fields.hours).flat_map(|hour| bits(fields.minutes).map(move |minute| (hour, minute)));
        times
            .filter_map(|(hour, minute)| self.zone.to_timestamp(date.at(hour, minute, 0, 0)).ok())
            .find(|time| *time > after)
    }

    /// The last time that is due after `since` and not after `now`, and whether more than a hundred were missed.
    pub(super) fn latest(&self, since: Timestamp, now: Timestamp) -> Option<(Timestamp, bool)> {
        let mut last = self.next(since).filter(|first| *first <= now)?;
        let mut missed = 1;
        while let Some(next) = self.next(last).filter(|next| *next <= now) {
            (last, missed) = (next, missed + 1);
            if missed > 100 {
                return Some((self.latest_before(now).unwrap_or(last), true));
            }
        }
        Some((last, false))
    }

    /// Goes back in ever larger steps, so that years of missed minutes are not gone through.
    fn latest_before(&self, now: Timestamp) -> Option<Timestamp> {
        let mut back = Duration::from_secs(60);
        while back < Duration::from_secs(10 * 366 * 24 * 3600) {
            let mut found = self.next(now.checked_sub(back).ok()?).filter(|first| *first <= now);
            if found.is_some() {
                while let Some(next) = found.and_then(|last| self.next(last)).filter(|next| *next <= now) {
                    found = Some(next);
                }
                return found;
            }
            back *= 2;
        }
        None
    }
}

impl Fields {
    fn has_date(&self, date: Date) -> bool {
        let has = |set: u64, value: i8| set & (1 << value) != 0;
        let weekday = date.weekday().to_sunday_zero_offset();
        let (day, weekday) = (has(self.days, date.day()), has(self.weekdays, weekday));
        has(self.months, date.month()) && if self.any_day { day && weekday } else { day || weekday }
    }
}

fn rule(text: &str) -> Result<Rule, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => match other.strip_prefix("@every ") {
            Some(duration) => return every(duration).map(Rule::Every),
            None => other,
        },
    };
    let parts: Vec<&str> = fields.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
        return Err(format!("expected exactly 5 fields, found {}: {text:?}", parts.len()));
    };
    let open = |field: &str| field.starts_with(['*', '?']);
    Ok(Rule::Fields(Fields {
        minutes: set(minutes, 0, 59, &[])?,
        hours: set(hours, 0, 23, &[])?,
        days: set(days, 1, 31, &[])?,
        months: set(months, 1, 12, &MONTHS)?,
        weekdays: set(weekdays, 0, 6, &DAYS)?,
        any_day: open(days) || open(weekdays),
    }))
}

/// A field: ranges with steps, separated by commas.
fn set(field: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let mut bits = 0;
    for part in field.split(',').filter(|part| !part.is_empty()) {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (from, to) = match range {
            "*" | "?" => (least, most),
            _ => match range.split_once('-') {
                Some((from, to)) => (value(from, least, names)?, value(to, least, names)?),
                None => {
                    let one = value(range, least, names)?;
                    (one, if step.is_some() { most } else { one })
                }
            },
        };
        let step: u32 = step.unwrap_or("1").parse().map_err(|_| format!("the step of {part:?} is no number"))?;
        if from < least || to > most || from > to || step == 0 {
            return Err(format!("{part:?} is not within {least}-{most}"));
        }
        for number in (from..=to).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            bits |= 1 << number;
        }
    }
    Ok(bits)
}

fn value(text: &str, least: u32, names: &[&str]) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(index) = names.iter().position(|name| *name == lower) {
        return Ok(u32::try_from(index).unwrap_or_default() + least);
    }
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// A duration such as `1h30m`, a second at least.
fn every(text: &str) -> Result<Duration, String> {
    let malformed = || format!("{text:?} is no duration");
    let (mut rest, mut seconds) = (text.trim(), 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(malformed)?;
        let number: f64 = rest[..digits].parse().map_err(|_| malformed())?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        seconds += number
            * match &rest[digits..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(malformed()),
            };
        rest = &rest[unit..];
    }
    let whole = Duration::try_from_secs_f64(seconds).map_err(|_| malformed())?;
    Ok(Duration::from_secs(whole.as_secs().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_next_time_is_found_across_days_months_and_leap_years() {
        let table = [
            ("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:45:00Z", "2026-01-01T01:00:00Z"),
            ("5/20 8-10,22 * * *", "2026-01-01T10:46:00Z", "2026-01-01T22:05:00Z"),
            ("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("0 0 29 feb ?", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 12 * * mon-fri", "2026-01-02T13:00:00Z", "2026-01-05T12:00:00Z"),
            // Either the 13th or a Friday.
            ("0 0 13 * 5", "2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
            ("TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ];
        for (text, after, expected) in table {
            let schedule = Schedule::parse(text, None).unwrap();
            assert_eq!(schedule.next(at(after)), Some(at(expected)), "{text}");
        }
        assert_eq!(Schedule::parse("0 0 30 feb *", None).unwrap().next(at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in
            ["", "* * * *", "60 * * * *", "* * * * mon-", "*/0 * * * *", "@sometimes", "@every soon", "5-1 * * * *"]
        {
            assert!(Schedule::parse(text, None).is_err(), "{text}");
        }
        assert!(Schedule::parse("* * * * *", Some("Nowhere/Land")).is_err());
    }

    #[test]
    fn only_the_last_of_what_was_missed_counts() {
        let schedule = Schedule::parse("*/10 * * * *", None).unwrap();
        let since = at("2026-01-01T00:00:00Z");
        assert_eq!(schedule.latest(since, at("2026-01-01T00:09:00Z")), None);
        assert_eq!(schedule.latest(since, at("2026-01-01T00:35:00Z")), Some((at("2026-01-01T00:30:00Z"), false)));
        assert_eq!(schedule.latest(since, at("2029-01-01T00:35:00Z")), Some((at("2029-01-01T00:30:00Z"), true)));
    }
}
