//! Durations and timestamps.

use super::ast::Call;
use super::error::EvalError;
use super::function::{Cost, Function, Meter, T, global, member};
use super::lib_core::function;
use super::value::Val;
use crate::format::go_duration;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

macro_rules! of_timestamp {
    ($name:expr, $run:expr) => {
        function!(
            $name,
            Cost::Fixed(1),
            $run,
            &[member(&[T::Timestamp], T::Int), member(&[T::Timestamp, T::String], T::Int),]
        )
    };
}

macro_rules! of_both {
    ($name:expr, $run:expr) => {
        function!(
            $name,
            Cost::Fixed(1),
            $run,
            &[
                member(&[T::Timestamp], T::Int),
                member(&[T::Timestamp, T::String], T::Int),
                member(&[T::Duration], T::Int),
            ]
        )
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    function!(
        "duration",
        Cost::Fixed(1),
        duration,
        &[global(&[T::String], T::Duration), global(&[T::Duration], T::Duration), global(&[T::Int], T::Duration),]
    ),
    function!(
        "timestamp",
        Cost::Fixed(1),
        timestamp,
        &[global(&[T::String], T::Timestamp), global(&[T::Timestamp], T::Timestamp), global(&[T::Int], T::Timestamp),]
    ),
    of_timestamp!("getFullYear", full_year),
    of_timestamp!("getMonth", month),
    of_timestamp!("getDate", date),
    of_timestamp!("getDayOfMonth", day_of_month),
    of_timestamp!("getDayOfWeek", day_of_week),
    of_timestamp!("getDayOfYear", day_of_year),
    of_both!("getHours", hours),
    of_both!("getMinutes", minutes),
    of_both!("getSeconds", seconds),
    of_both!("getMilliseconds", milliseconds),
];

type Ran<'a> = Result<Val<'a>, EvalError>;

/// Reads RFC 3339.
pub(super) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    (bytes.len() >= 20 && bytes[10] == b'T').then(|| text.parse().ok()).flatten()
}

fn duration<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Duration(nanos) => Ok(Val::Duration(*nanos)),
        Val::Int(nanos) => Ok(Val::Duration(*nanos)),
        Val::String(text) => {
            let bad = || EvalError::new(format!("time: invalid duration {:?}", &**text));
            go_duration(text).map(Val::Duration).ok_or_else(bad)
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn timestamp<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Timestamp(time) => Ok(Val::Timestamp(*time)),
        Val::Int(seconds) => {
            Timestamp::from_second(*seconds).map(Val::Timestamp).map_err(|_| EvalError::new("timestamp overflow"))
        }
        Val::String(text) => {
            let layout = "2006-01-02T15:04:05Z07:00";
            let bad =
                || EvalError::new(format!("parsing time {0:?} as {layout:?}: cannot parse {0:?} as \"2006\"", &**text));
            parse_timestamp(text).map(Val::Timestamp).ok_or_else(bad)
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// A timestamp in a zone: an IANA name, or an offset as `+02:00`; UTC when nothing is said.
fn zoned(args: &[Val<'_>]) -> Result<Zoned, EvalError> {
    let Val::Timestamp(time) = &args[0] else { return Err(EvalError::no_such_overload()) };
    let zone = match args.get(1).map(|zone| zone.as_text()) {
        None => TimeZone::UTC,
        Some(None) => return Err(EvalError::no_such_overload()),
        Some(Some(name)) => match offset(name) {
            Some(offset) => TimeZone::fixed(offset),
            None => TimeZone::get(if name.is_empty() { "UTC" } else { name })
                .map_err(|_| EvalError::new(format!("unknown time zone {name}")))?,
        },
    };
    Ok(time.to_zoned(zone))
}

fn offset(text: &str) -> Option<Offset> {
    let (hours, minutes) = text.split_once(':')?;
    let negative = hours.starts_with('-');
    let hours: i32 = hours.trim_start_matches(['+', '-']).parse().ok().filter(|h: &i32| (0..=24).contains(h))?;
    let minutes: i32 = minutes.parse().ok().filter(|m: &i32| (0..60).contains(m))?;
    let seconds = hours * 3600 + minutes * 60;
    Offset::from_seconds(if negative { -seconds } else { seconds }).ok()
}

macro_rules! part {
    ($name:ident, $zoned:expr) => {
        fn $name<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
            let part: fn(&Zoned) -> i64 = $zoned;
            Ok(Val::Int(part(&zoned(args)?)))
        }
    };
    ($name:ident, $zoned:expr, $nanos:expr) => {
        fn $name<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
            let of_duration: fn(i64) -> i64 = $nanos;
            if let (Val::Duration(nanos), 1) = (&args[0], args.len()) {
                return Ok(Val::Int(of_duration(*nanos)));
            }
            let part: fn(&Zoned) -> i64 = $zoned;
            Ok(Val::Int(part(&zoned(args)?)))
        }
    };
}

part!(full_year, |time| i64::from(time.year()));
part!(month, |time| i64::from(time.month()) - 1);
part!(date, |time| i64::from(time.day()));
part!(day_of_month, |time| i64::from(time.day()) - 1);
part!(day_of_week, |time| i64::from(time.weekday().to_sunday_zero_offset()));
part!(day_of_year, |time| i64::from(time.day_of_year()) - 1);
part!(hours, |time| i64::from(time.hour()), |nanos| nanos / 3_600_000_000_000);
part!(minutes, |time| i64::from(time.minute()), |nanos| nanos / 60_000_000_000);
part!(seconds, |time| i64::from(time.second()), |nanos| nanos / 1_000_000_000);
part!(milliseconds, |time| i64::from(time.millisecond()), |nanos| nanos / 1_000_000 % 1000);

/// Sums that involve time.
pub(super) fn add<'a>(a: &Val<'a>, b: &Val<'a>) -> Ran<'a> {
    match (a, b) {
        (Val::Duration(a), Val::Duration(b)) => a.checked_add(*b).map(Val::Duration).ok_or_else(EvalError::overflow),
        (Val::Timestamp(time), Val::Duration(nanos)) | (Val::Duration(nanos), Val::Timestamp(time)) => {
            let moved = time.checked_add(SignedDuration::from_nanos(*nanos));
            moved.map(Val::Timestamp).map_err(|_| EvalError::new("timestamp overflow"))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Differences that involve time.
pub(super) fn subtract<'a>(a: &Val<'a>, b: &Val<'a>) -> Ran<'a> {
    match (a, b) {
        (Val::Duration(a), Val::Duration(b)) => a.checked_sub(*b).map(Val::Duration).ok_or_else(EvalError::overflow),
        (Val::Timestamp(time), Val::Duration(nanos)) => {
            let moved = time.checked_sub(SignedDuration::from_nanos(*nanos));
            moved.map(Val::Timestamp).map_err(|_| EvalError::new("timestamp overflow"))
        }
        (Val::Timestamp(a), Val::Timestamp(b)) => {
            let nanos = a.as_nanosecond() - b.as_nanosecond();
            i64::try_from(nanos).map(Val::Duration).map_err(|_| EvalError::overflow())
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

/// RFC 3339 in UTC, with as much of a fraction as there is.
pub(super) fn timestamp_text(time: Timestamp) -> String {
    time.to_string()
}

/// Seconds, with as much of a fraction as there is: `90.5s`.
pub(super) fn duration_text(nanos: i64) -> String {
    let (whole, fraction) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let sign = if nanos < 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}s");
    }
    let fraction = format!("{fraction:09}");
    format!("{sign}{whole}.{}s", fraction.trim_end_matches('0'))
}
