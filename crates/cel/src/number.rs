//! Numbers as Go prints them.

/// `%v` of a `float64`, which is also `strconv.FormatFloat(value, 'g', -1, 64)`: the shortest digits that read back as the
/// same number, with an exponent when that is under -4 or over 5 (a million is `1e+06`).
#[must_use]
pub fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_go() {
        let table = [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e6, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (1.5e-7, "1.5e-07"),
            (-2.5, "-2.5"),
            (99_999.5, "99999.5"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, text) in table {
            assert_eq!(go_float(value), text);
        }
    }
}
