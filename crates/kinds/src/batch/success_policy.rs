//! `successPolicy` of a job: which indexes have to succeed for it to be done.

use crate::fields::{elements, is_set, size, text};
use orrery_machinery::status::FieldError;
use serde_json::Value;

const MOST_RULES: usize = 20;
/// Characters of one list of indexes.
const MOST_INDEXES: usize = 64 * 1024;

/// Checks the policy of a job's spec; it stands at `field`.
pub(super) fn check(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let policy = &spec["successPolicy"];
    if !is_set(policy) {
        return;
    }
    if spec["completionMode"] != "Indexed" {
        errors.push(FieldError::invalid(field, policy, "requires indexed completion mode"));
        return;
    }
    let field = format!("{field}.rules");
    match size(&policy["rules"]) {
        0 => errors.push(FieldError::required(
            field.as_str(),
            "at least one rules must be specified when the successPolicy is specified",
        )),
        count if count > MOST_RULES => errors.push(FieldError::too_many(field.as_str(), count, MOST_RULES)),
        _ => {}
    }
    let completions = spec["completions"].as_i64().unwrap_or_default();
    for (index, rule) in elements(&policy["rules"]).enumerate() {
        self::rule(rule, completions, &format!("{field}[{index}]"), errors);
    }
}

fn rule(rule: &Value, completions: i64, field: &str, errors: &mut Vec<FieldError>) {
    let (count, indexes) = (&rule["succeededCount"], &rule["succeededIndexes"]);
    if !is_set(count) && !is_set(indexes) {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(field, why));
    }
    let mut listed = None;
    if is_set(indexes) {
        let at = format!("{field}.succeededIndexes");
        if text(indexes).len() > MOST_INDEXES {
            errors.push(FieldError::too_long(at.as_str(), MOST_INDEXES));
        }
        match count_indexes(text(indexes), completions) {
            Ok(number) => listed = Some(number),
            Err(why) => {
                let why = format!("error parsing succeededIndexes: {why}");
                errors.push(FieldError::invalid(at, indexes, &why));
            }
        }
    }
    let Some(wanted) = count.as_i64() else { return };
    let at = format!("{field}.succeededCount");
    if wanted < 0 {
        errors.push(FieldError::invalid(at.as_str(), count, "must be greater than or equal to 0"));
    }
    if wanted > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(FieldError::invalid(at.as_str(), count, &why));
    }
    if let Some(listed) = listed.filter(|listed| wanted > *listed) {
        let why = format!(
            "must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(FieldError::invalid(at, count, &why));
    }
}

/// How many indexes a list such as `1,3-5` has.
fn count_indexes(list: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for interval in list.split(',').filter(|_| !list.is_empty()) {
        let limits: Vec<&str> = interval.split('-').collect();
        if limits.len() > 2 {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at \
                                most two parts separated by '-'"
            ));
        }
        let mut bounds = Vec::new();
        for limit in &limits {
            let bound: i64 =
                limit.parse().map_err(|_| format!("cannot convert string to integer for index: {limit:?}"))?;
            if bound >= completions {
                return Err(format!("too large index: {limit:?}"));
            }
            bounds.push(bound);
        }
        let (first, end) = (bounds[0], bounds[bounds.len() - 1]);
        if last.is_some_and(|last| first <= last) {
            return Err(format!("non-increasing order, previous: {}, current: {first}", last.unwrap_or_default()));
        }
        if limits.len() == 2 && end <= first {
            return Err(format!("non-increasing order, previous: {first}, current: {end}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_listed_in_order_and_below_the_completions() {
        for (list, expected) in [
            ("", Ok(0)),
            ("0,2-4", Ok(4)),
            ("1,1", Err("non-increasing")),
            ("3-2", Err("non-increasing")),
            ("5", Err("too large index")),
            ("a", Err("cannot convert string to integer for index: \"a\"")),
            ("1-2-3", Err("at most two parts")),
        ] {
            match (count_indexes(list, 5), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{list}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{list}: {found}"),
                (found, expected) => panic!("{list}: {found:?}, not {expected:?}"),
            }
        }
    }
}
