//! Names of signals, as Linux on x86-64 counts them.

/// `SIGTERM`: the signal that asks a container to end unless its image or its pod names another.
pub const TERM: i32 = 15;
/// `SIGKILL`: the signal that ends a container for good.
pub const KILL: i32 = 9;

const NAMES: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// The first and the last real-time signal.
const REAL_TIME: (i32, i32) = (34, 64);

/// The number of a signal written as `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `RTMAX-1`; none when it is no signal.
#[must_use]
pub fn number(text: &str) -> Option<i32> {
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=REAL_TIME.1).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let (first, last) = REAL_TIME;
    let real_time = match name {
        "RTMIN" => Some(first),
        "RTMAX" => Some(last),
        _ => {
            let up = name.strip_prefix("RTMIN+").and_then(|n| n.parse::<i32>().ok()).map(|n| first.saturating_add(n));
            up.or_else(|| {
                name.strip_prefix("RTMAX-").and_then(|n| n.parse::<i32>().ok()).map(|n| last.saturating_sub(n))
            })
        }
    };
    match real_time {
        Some(number) => (first..=last).contains(&number).then_some(number),
        None => NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        let table = [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGQUIT", Some(3)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGRTMIN+99", None),
            ("0", None),
            ("65", None),
            ("SIGNONE", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
