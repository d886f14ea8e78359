//! Times as people say them (`k8s.io/apimachinery/pkg/util/duration`).

/// RFC 3339 as Unix seconds; none for what is no time.
#[must_use]
pub fn unix_seconds(timestamp: &str) -> Option<i64> {
    timestamp.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// How long ago `timestamp` (RFC 3339) was at `now` (Unix seconds), such as `5m`; `<unknown>` for what is no time.
#[must_use]
pub fn age(timestamp: &str, now: i64) -> String {
    unix_seconds(timestamp).map_or_else(|| "<unknown>".to_owned(), |then| human_duration(now - then))
}

/// A duration with about two digits that matter, such as `95s`, `2m5s`, `3h`, `10d`.
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |large: i64, unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{small_unit}") }
    };
    match () {
        // Clocks differ a little: what is just ahead is now.
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => pair(days, 'd', hours % 24, 'h'),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => pair(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_upstream_writes_them() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        let table = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (70, "70s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (600, "10m"),
            (2 * HOUR + 59, "120m"),
            (3 * HOUR, "3h"),
            (7 * HOUR + 23 * 60, "7h23m"),
            (8 * HOUR, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY, "8d"),
            (700 * DAY, "700d"),
            (730 * DAY, "2y"),
            (731 * DAY, "2y1d"),
            (3000 * DAY, "8y"),
        ];
        for (seconds, expected) in table {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
        assert_eq!(age("", 0), "<unknown>");
        assert_eq!(age("1970-01-01T00:00:10.5Z", 70), "60s");
    }
}
