//! `$((A % B))` and `$(expr A % B)`: integers, variables, `+ - * / %`, from left to right with the usual precedence.

use std::collections::BTreeMap;

/// The value of an expression; none when it is not understood or has none.
pub(super) fn value(text: &str, variables: &BTreeMap<String, String>) -> Option<i64> {
    let spaced: String =
        text.chars().map(|c| if "+-*/%".contains(c) { format!(" {c} ") } else { c.to_string() }).collect();
    let mut words = spaced.split_whitespace();
    let number = |words: &mut std::str::SplitWhitespace<'_>| operand(words.next()?, variables);
    let (mut sum, mut product) = (0_i64, number(&mut words)?);
    while let Some(operator) = words.next() {
        // `expr 2 \* 3` hides the star from the shell.
        let operator = if operator == "\\" { words.next()? } else { operator };
        let next = number(&mut words)?;
        match operator {
            "*" => product = product.checked_mul(next)?,
            "/" => product = product.checked_div(next)?,
            "%" => product = product.checked_rem(next)?,
            "+" | "-" => {
                sum = sum.checked_add(product)?;
                product = if operator == "+" { next } else { next.checked_neg()? };
            }
            _ => return None,
        }
    }
    sum.checked_add(product)
}

fn operand(word: &str, variables: &BTreeMap<String, String>) -> Option<i64> {
    let word = word.trim_matches('"');
    let name = word.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
    match variables.get(name) {
        Some(value) => value.parse().ok(),
        None => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_the_values_that_a_shell_gives_them() {
        let variables = BTreeMap::from([("I".to_owned(), "5".to_owned())]);
        let table = [
            ("1 + 2 * 3", Some(7)),
            ("$I % 2", Some(1)),
            ("${I}-1", Some(4)),
            ("I / 2", Some(2)),
            ("10 - 2 - 3", Some(5)),
            ("1 / 0", None),
            ("J + 1", None),
            ("1 +", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(value(text, &variables), expected, "{text}");
        }
    }
}
