//! A number that was measured, and how it is printed.

use serde::Serialize;
use std::time::Duration;

/// One line of a benchmark's result. What there is none of is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Measure {
    pub(super) name: String,
    pub(super) value: f64,
    /// `s`, `ms`, `MiB`, `MiB/s`, or `1` for a bare number.
    pub(super) unit: &'static str,
    /// What the value should stay below, or reach, in the same unit; `met` knows which.
    pub(super) goal: Option<f64>,
    /// What the peer took in the same run, in the same unit.
    pub(super) peer: Option<f64>,
    /// Value through peer.
    pub(super) ratio: Option<f64>,
    /// Whether the goal is met.
    pub(super) met: Option<bool>,
}

impl Measure {
    pub(super) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let value = rounded(value);
        Self { name: name.into(), value, unit, goal: None, peer: None, ratio: None, met: None }
    }

    pub(super) fn seconds(name: impl Into<String>, value: Duration) -> Self {
        Self::new(name, value.as_secs_f64(), "s")
    }

    /// Measured beside a peer.
    pub(super) fn beside(mut self, peer: f64) -> Self {
        self.peer = Some(rounded(peer));
        self.ratio = (peer > 0.0).then(|| rounded(self.value / peer));
        self
    }

    /// With a goal that the value has to reach.
    pub(super) fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(rounded(goal));
        self.met = Some(self.value >= goal);
        self
    }

    /// With a goal that the value has to stay below.
    pub(super) fn below(mut self, goal: f64) -> Self {
        self.goal = Some(rounded(goal));
        self.met = Some(self.value < goal);
        self
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are JSON")
    }

    fn cells(&self) -> [String; 7] {
        let number = |value: f64| if self.unit == "MiB" { format!("{value:.1}") } else { format!("{value:.2}") };
        let met = self.met.map(|met| if met { "yes" } else { "no" }.to_owned());
        let dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        [
            self.name.clone(),
            number(self.value),
            self.unit.to_owned(),
            dash(self.goal.map(number)),
            dash(self.peer.map(number)),
            dash(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            dash(met),
        ]
    }
}

/// To a thousandth: more is noise.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// What of the machine one has to know to read the rest.
#[allow(clippy::cast_precision_loss, reason = "a machine has few processors")]
pub(super) fn machine() -> Vec<Measure> {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get) as f64;
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0);
    vec![
        Measure::new("machine: processors", processors, "1"),
        Measure::new("machine: load of the last minute, before", load, "1"),
    ]
}

/// For people.
pub(super) fn table(measures: &[Measure]) -> String {
    let head = ["WHAT", "VALUE", "UNIT", "GOAL", "PEER", "RATIO", "MET"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(measures.iter().map(Measure::cells)).collect();
    let width = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
    let line = |[name, value, unit, goal, peer, ratio, met]: &[String; 7]| {
        format!("{name:<width$}  {value:>9} {unit:<5} {goal:>9} {peer:>9} {ratio:>6} {met:>4}")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The middle and the ends of some durations, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    /// The 95th percentile: the least that nineteen of twenty do not exceed.
    pub(super) high: f64,
    pub(super) most: f64,
}

impl Spread {
    /// None of nothing.
    pub(super) fn of(durations: &[Duration]) -> Option<Self> {
        let mut sorted: Vec<f64> = durations.iter().map(Duration::as_secs_f64).collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        let place = (sorted.len() * 95).div_ceil(100) - 1;
        Some(Self { least, median: f64::midpoint(low, high), high: sorted[place], most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_none_of_is_null() {
        let expected = r#"{"name":"a","value":1.235,"unit":"s","goal":null,"peer":null,"ratio":null,"met":null}"#;
        assert_eq!(Measure::new("a", 1.2345678, "s").json(), expected);
    }

    #[test]
    fn the_ratio_is_value_through_peer() {
        let measure = Measure::new("a", 3.0, "s").beside(2.0);
        assert_eq!((measure.peer, measure.ratio), (Some(2.0), Some(1.5)));
        assert_eq!(Measure::new("a", 3.0, "s").beside(0.0).ratio, None);
    }

    #[test]
    fn the_table_has_a_line_for_each_and_a_dash_for_nothing() {
        let text = table(&[Measure::new("short", 1.0, "s").beside(2.0), Measure::new("a longer one", 20.25, "MiB")]);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["short", "1.00", "s", "-", "2.00", "0.50", "-"]);
        assert_eq!(words[2][3..], ["20.2", "MiB", "-", "-", "-", "-"]);
        assert_eq!(words.len(), 3);
    }

    #[test]
    fn one_of_twenty_lies_beyond_the_95th_percentile() {
        let seconds: Vec<Duration> = (1..=100).map(Duration::from_secs).collect();
        assert_eq!(Spread::of(&seconds).unwrap().high, 95.0);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let of =
            |seconds: &[u64]| Spread::of(&seconds.iter().map(|value| Duration::from_secs(*value)).collect::<Vec<_>>());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3]), Some(Spread { least: 3.0, median: 3.0, high: 3.0, most: 3.0 }));
        assert_eq!(of(&[9, 1, 2]), Some(Spread { least: 1.0, median: 2.0, high: 9.0, most: 9.0 }));
        assert_eq!(of(&[4, 1, 2, 9]), Some(Spread { least: 1.0, median: 3.0, high: 9.0, most: 9.0 }));
    }
}
