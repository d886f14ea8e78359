//! Schedules of cron jobs, in the form that upstream's parser takes (`github.com/robfig/cron/v3`, `ParseStandard`):
//!
//! ```text
//! schedule := '@yearly' | '@annually' | '@monthly' | '@weekly' | '@daily' | '@midnight' | '@hourly' | '@every' duration
//!           | minute ' ' hour ' ' day ' ' month ' ' weekday
//! field    := range (',' range)*
//! range    := ('*' | '?' | value | value '-' value) ('/' step)?
//! ```

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The values that a field takes, and names for some of them.
struct Bounds {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Bounds; 5] = [
    Bounds { least: 0, most: 59, names: &[] },
    Bounds { least: 0, most: 23, names: &[] },
    Bounds { least: 1, most: 31, names: &[] },
    Bounds { least: 1, most: 12, names: &MONTHS },
    Bounds { least: 0, most: 6, names: &DAYS },
];

/// What is wrong with a schedule, in upstream's words; none when it is fine.
pub(super) fn problem(schedule: &str) -> Option<String> {
    let mut rest = schedule;
    for prefix in ["TZ=", "CRON_TZ="] {
        if let Some(zoned) = schedule.strip_prefix(prefix) {
            rest = zoned.split_once(' ').map_or("", |(_, rest)| rest.trim());
        }
    }
    if rest.is_empty() {
        return Some("empty spec string".to_owned());
    }
    if rest.starts_with('@') {
        return descriptor_problem(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let parts = fields.iter().zip(&FIELDS).flat_map(|(field, bounds)| field.split(',').map(move |part| (part, bounds)));
    parts.filter(|(part, _)| !part.is_empty()).find_map(|(part, bounds)| range_problem(part, bounds))
}

fn descriptor_problem(descriptor: &str) -> Option<String> {
    match descriptor {
        "@yearly" | "@annually" | "@monthly" | "@weekly" | "@daily" | "@midnight" | "@hourly" => None,
        _ => match descriptor.strip_prefix("@every ") {
            Some(duration) if is_duration(duration) => None,
            Some(duration) => {
                let why = format!("time: invalid duration {duration:?}");
                Some(format!("failed to parse duration {descriptor}: {why}"))
            }
            None => Some(format!("unrecognized descriptor: {descriptor}")),
        },
    }
}

/// Whether Go reads this as a duration, such as `1h30m`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let after = &rest[number..];
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let fine = rest[..number].parse::<f64>().is_ok()
            && matches!(&after[..unit], "h" | "m" | "s" | "ms" | "us" | "µs" | "ns");
        if !fine {
            return false;
        }
        rest = &after[unit..];
    }
    true
}

fn range_problem(expression: &str, bounds: &Bounds) -> Option<String> {
    let steps: Vec<&str> = expression.split('/').collect();
    let limits: Vec<&str> = steps[0].split('-').collect();
    let single = limits.len() == 1;
    let (start, mut end) = if matches!(limits[0], "*" | "?") {
        (bounds.least, bounds.most)
    } else {
        let parsed = limits.iter().take(2).map(|limit| value(limit, bounds)).collect::<Result<Vec<u32>, String>>();
        match (parsed, limits.len()) {
            (Err(why), _) => return Some(why),
            (Ok(values), 1 | 2) => (values[0], values[values.len() - 1]),
            (Ok(_), _) => return Some(format!("too many hyphens: {expression}")),
        }
    };
    let mut step = 1;
    match steps[..] {
        [_] => {}
        [_, every] => {
            match every.parse::<u32>() {
                Ok(number) => step = number,
                Err(_) => return Some(not_a_number(every)),
            }
            if single {
                end = bounds.most;
            }
        }
        _ => return Some(format!("too many slashes: {expression}")),
    }
    match () {
        () if start < bounds.least => {
            Some(format!("beginning of range ({start}) below minimum ({}): {expression}", bounds.least))
        }
        () if end > bounds.most => Some(format!("end of range ({end}) above maximum ({}): {expression}", bounds.most)),
        () if start > end => Some(format!("beginning of range ({start}) beyond end of range ({end}): {expression}")),
        () if step == 0 => Some(format!("step of range should be a positive number: {expression}")),
        () => None,
    }
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    match bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        Some(index) => Ok(bounds.least + u32::try_from(index).unwrap_or_default()),
        None => text.parse().map_err(|_| not_a_number(text)),
    }
}

fn not_a_number(text: &str) -> String {
    format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_upstream_reads_them() {
        for schedule in [
            "* * * * *",
            "*/5 0-6,12 1 jan-mar MON",
            "0 0 ? * 6",
            "@hourly",
            "@every 1h30m",
            "5/15 * * * *",
            "TZ=UTC @daily",
        ] {
            assert_eq!(problem(schedule), None, "{schedule}");
        }
        for (schedule, why) in [
            ("", "empty spec string"),
            ("error", "expected exactly 5 fields, found 1: [error]"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            assert_eq!(problem(schedule).as_deref(), Some(why), "{schedule}");
        }
        assert!(problem("@every soon").unwrap().contains("failed to parse duration"));
    }
}
