//! What expressions give, and how they fail.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn untyped() -> Environment {
    Environment::new().with("object", Type::Dyn)
}

/// What `source` gives for `object`, as text: true, false, or the error.
fn outcome(source: &str, object: &Value) -> String {
    let program = match untyped().compile(source) {
        Ok(program) => program,
        Err(error) => return format!("{error}"),
    };
    let activation = Activation::new().with("object", Val::dynamic(object));
    match program.evaluate(&activation, &mut Budget::default()) {
        Ok(Val::Bool(flag)) => flag.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

fn all_true(expressions: &[&str]) {
    let object = json!({
        "n": 3, "f": 1.5, "s": "text", "b": true, "nothing": null, "list": [1, 2, 3], "names": ["a", "b"],
        "map": {"a": 1, "b": 2}, "objects": [{"name": "x", "v": 1}, {"name": "y", "v": 2}],
    });
    for source in expressions {
        assert_eq!(outcome(source, &object), "true", "{source}");
    }
}

#[test]
fn the_language_itself() {
    all_true(&[
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 / 2 == 3 && 7 % 4 == 3 && -7 / 2 == -3",
        "1.5 + 1.5 == 3.0 && 2u + 3u == 5u && -(-3) == 3 && --3 == 3 && !!true",
        "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]",
        r#"'\n\x41\u0042\101\'' == "\nABA'" && r'\d' == '\\d' && '''a"'b''' == "a\"'b""#,
        "0x10 == 16 && 1e3 == 1000.0 && .5 == 0.5 && -9223372036854775808 < 0 && 18446744073709551615u > 1u",
        "1 < 2 && 1 < 1.5 && 2u > 1 && 'a' < 'b' && b'a' < b'b' && false < true && 1 <= 1 && 2 >= 1 && 1 != 2",
        "(true ? 1 : 2) == 1 && (false ? 1 : 2) == 2",
        "true || object.missing && false || object.n == 3",
        "object.missing || true",
        "!(object.missing && false)",
        "has(object.n) && !has(object.missing) && has(object.nothing) && object.nothing == null",
        "object.n == 3 && object['n'] == 3 && object.list[0] == 1 && object.map['b'] == 2 && object.f == 1.5",
        "2 in object.list && 'a' in object.map && !('z' in object.map) && !(9 in object.list)",
        "size(object.list) == 3 && object.s.size() == 4 && size('äöü') == 3 && size(b'abc') == 3 && size({'a': 1}) == 1",
        "object.list.all(x, x > 0) && object.list.exists(x, x == 2) && object.list.exists_one(x, x == 2)",
        "object.list.map(x, x * 2) == [2, 4, 6] && object.list.map(x, x > 1, x * 2) == [4, 6]",
        "object.list.filter(x, x > 1) == [2, 3] && object.map.all(k, object.map[k] > 0)",
        "object.objects.exists(o, o.name == 'y' && o.v == 2)",
        "[1, 2].exists(x, x / 0 == 1 || x == 2)",
        "{'a': [1], 'b': [2]} == {'b': [2], 'a': [1]} && [[1], [2]] == [[1], [2]] && [1, dyn('a')] == [dyn(1), 'a']",
        "type(1) == int && type('a') == string && type(1.0) == double && type([]) == list && type({}) == map",
        "type(object.n) == int && type(timestamp('2020-01-01T00:00:00Z')) == google.protobuf.Timestamp",
        "int('3') == 3 && int(3.9) == 3 && uint(3) == 3u && double(3) == 3.0 && string(3) == '3' && string(1.5) == '1.5'",
        "bool('true') && string(b'ab') == 'ab' && bytes('ab') == b'ab' && string(true) == 'true' && dyn(1) == 1",
        "int(timestamp('1970-01-01T00:01:00Z')) == 60",
    ]);
}

#[test]
fn optionals_and_two_variables() {
    all_true(&[
        "object.?n.hasValue() && !object.?missing.hasValue() && object.?missing.orValue(5) == 5",
        "object.?missing.?deeper.orValue('x') == 'x' && object[?'n'].value() == 3 && object.list[?9].orValue(0) == 0",
        "optional.of(1).value() == 1 && optional.none().orValue(2) == 2 && !optional.ofNonZeroValue('').hasValue()",
        "optional.of(1).or(optional.of(2)).value() == 1 && object.?n.optMap(x, x + 1).value() == 4",
        "object.?missing.optMap(x, x + 1).orValue(0) == 0 && object.?n.optFlatMap(x, optional.of(x)).value() == 3",
        "[1, ?optional.none(), ?optional.of(3)] == [1, 3] && {?'a': optional.none(), 'b': 1} == {'b': 1}",
        "object.list.all(i, x, x == i + 1) && object.map.all(k, v, v > 0) && object.map.exists(k, v, k == 'b' && v == 2)",
        "object.list.existsOne(i, x, i == 0 && x == 1)",
        "object.list.transformList(i, x, i * x) == [0, 2, 6] && object.map.transformMap(k, v, v * 2) == {'a': 2, 'b': 4}",
        "object.list.transformList(i, x, x > 1, x) == [2, 3] && object.map.transformMap(k, v, k == 'a', v) == {'a': 1}",
        "object.names.transformMapEntry(i, n, {n: i}) == {'a': 0, 'b': 1}",
    ]);
}

#[test]
fn texts_and_lists() {
    all_true(&[
        "'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.matches('^a.c$')",
        "matches('abc', 'b') && 'abc'.matches(object.s + '|b') && !'abc'.matches('^b')",
        "'a-b-c'.split('-') == ['a', 'b', 'c'] && 'a-b-c'.split('-', 2) == ['a', 'b-c'] && 'ab'.split('') == ['a', 'b']",
        "['a', 'b'].join() == 'ab' && ['a', 'b'].join('-') == 'a-b' && 'aXbX'.replace('X', '-') == 'a-b-'",
        "'aXbX'.replace('X', '-', 1) == 'a-bX' && ' a '.trim() == 'a' && 'ÄaB'.lowerAscii() == 'Äab' && 'ab'.upperAscii() == 'AB'",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && 'äbc'.charAt(1) == 'b' && 'a'.charAt(1) == ''",
        "'hello mellow'.indexOf('ello') == 1 && 'hello mellow'.indexOf('ello', 2) == 7 && 'a'.indexOf('z') == -1",
        "'hello mellow'.lastIndexOf('ello') == 7 && 'hello mellow'.lastIndexOf('ello', 6) == 1",
        "'%s is %d'.format(['a', 3]) == 'a is 3' && '%.2f %x %b %o %%'.format([1.005, 255, 5, 8]) == '1.00 ff 101 10 %'",
        "'%s'.format([[1, 'a', null]]) == '[1, \"a\", null]' && '%s'.format([{'k': 1}]) == '{\"k\": 1}' && '%e'.format([1234.5]) == '1.234500e+03'",
        "strings.quote('a\"b\\n') == '\"a\\\\\"b\\\\n\"'",
        "'abc 123'.find('[0-9]+') == '123' && 'a1b2'.findAll('[0-9]') == ['1', '2'] && 'a1b2'.findAll('[0-9]', 1) == ['1']",
        "[1, 2, 3].isSorted() && ![2, 1].isSorted() && [1, 2].sum() == 3 && [1.5, 2.0].max() == 2.0 && ['b', 'a'].min() == 'a'",
        "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [1].indexOf(5) == -1",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 2, 2], [2, 1]) && sets.intersects([1], [1, 2]) && !sets.intersects([1], [2])",
        "jsonpatch.escapeKey('a/b~c') == 'a~1b~0c'",
    ]);
}

#[test]
fn time() {
    all_true(&[
        "duration('1h30m') == duration('90m') && duration('1.5s') < duration('2s') && string(duration('90.5s')) == '90.5s'",
        "timestamp('2020-01-02T03:04:05Z') + duration('1h') == timestamp('2020-01-02T04:04:05Z')",
        "timestamp('2020-01-02T00:00:00Z') - timestamp('2020-01-01T00:00:00Z') == duration('24h')",
        "timestamp('2020-01-02T03:04:05.006Z').getFullYear() == 2020 && timestamp('2020-01-02T03:04:05Z').getMonth() == 0",
        "timestamp('2020-01-02T03:04:05.006Z').getMilliseconds() == 6 && timestamp('2020-01-05T00:00:00Z').getDayOfWeek() == 0",
        "timestamp('2020-01-02T03:04:05Z').getHours('+02:00') == 5 && timestamp('2020-03-01T00:00:00Z').getDayOfYear() == 60",
        "timestamp('2020-01-02T03:04:05Z').getDate() == 2 && timestamp('2020-01-02T03:04:05Z').getDayOfMonth() == 1",
        "duration('90m').getHours() == 1 && duration('90m').getMinutes() == 90 && string(timestamp('2020-01-02T03:04:05Z')) == '2020-01-02T03:04:05Z'",
    ]);
}

#[test]
fn libraries_of_kubernetes() {
    all_true(&[
        "quantity('1.5G').isGreaterThan(quantity('1Gi')) && quantity('200M').compareTo(quantity('0.2G')) == 0",
        "quantity('50k').add(20).sub(quantity('100k')).sub(-50000) == quantity('20') && quantity('50k').asInteger() == 50000",
        "isQuantity('1.3Gi') && !isQuantity('200K') && quantity('-1').sign() == -1 && quantity('1.5').asApproximateFloat() == 1.5",
        "!quantity('0.5').isInteger() && quantity('50Mi').isLessThan(quantity('100Mi'))",
        "ip('127.0.0.1').family() == 4 && ip('::1').isLoopback() && isIP('::1') && !isIP('::ffff:1.2.3.4') && !isIP('x')",
        "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD') && ip('224.0.0.1').isLinkLocalMulticast()",
        "ip('169.254.1.1').isLinkLocalUnicast() && ip('192.168.0.1').isGlobalUnicast() && ip('0.0.0.0').isUnspecified()",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))",
        "cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24') && cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24')",
        "cidr('::1/128').prefixLength() == 128 && cidr('192.168.0.1/24').ip() == ip('192.168.0.1') && !isCIDR('10.0.0.0/33')",
        "string(ip('::1')) == '::1' && string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && type(ip('::1')) == net.IP",
        "url('https://user:pass@example.com:80/a b?k=a&k=b').getHost() == 'example.com:80' && isURL('/path') && !isURL('../x')",
        "url('https://[::1]:80/').getHostname() == '::1' && url('https://example.com:80/').getPort() == '80'",
        "url('https://example.com/a b/').getEscapedPath() == '/a%20b/' && url('https://e.com/?k=a&k=b').getQuery() == {'k': ['a', 'b']}",
        "url('/p').getScheme() == '' && !isURL('https://a:b:c/')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-alpha').compareTo(semver('1.0.0')) == -1",
        "semver('v1.0', true) == semver('1.0.0') && isSemver('01.01.01', true) && !isSemver('v1.0.0') && semver('1.2.3').minor() == 2",
        "!format.dns1123Label().validate('my-name').hasValue() && format.dns1123Label().validate('A').hasValue()",
        "format.named('uuid').value().validate('x').value() == ['does not match the UUID format']",
        "!format.named('unheard').hasValue() && !format.dns1123LabelPrefix().validate('a-').hasValue()",
        "!format.date().validate('2021-01-01').hasValue() && !format.uri().validate('http://example.com').hasValue()",
    ]);
}

#[test]
fn errors_of_evaluation_have_the_words_of_cel_go() {
    let table = [
        ("object.missing == 1", "no such key: missing"),
        ("object.map['z'] == 1", "no such key: z"),
        ("object.list[9] == 1", "index out of bounds: 9"),
        ("1 / object.zero == 1", "division by zero"),
        ("object.n + 9223372036854775807 > 0", "integer overflow"),
        ("object.n + 'a' == ''", "no such overload"),
        ("object.n.contains('a')", "no such overload"),
        ("int(object.s) == 1", "type conversion error from 'string' to 'int'"),
        ("optional.none().value() == 1", "optional.none() dereference"),
        ("{'a': 1, object.a: 2} == {}", "Failed with repeated key: a"),
        (
            "quantity('x') == quantity('y')",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("[].max() == 1", "max called on empty list"),
        ("'abc'.substring(2, 1) == ''", "invalid substring range. start: 2, end: 1"),
    ];
    let object = json!({"n": 3, "s": "text", "zero": 0, "a": "a", "map": {}, "list": [1]});
    for (source, expected) in table {
        let found = outcome(source, &object);
        // An empty list's type is open, so that any of its overloads fits.
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn an_expensive_expression_is_stopped() {
    let list: Vec<i64> = (0..2000).collect();
    let object = json!({"list": list, "text": "a".repeat(100_000), "big": {"k": vec!["x"; 5000]}});
    let mut object = object;
    object["long"] = json!({"k".repeat(1_000_000): 1});
    object["wide"] = (0..5000).map(|i| (format!("k{i}"), json!(i))).collect::<serde_json::Map<_, _>>().into();
    let constants = format!("object.list.map(a, [{}]).size() > 0", vec!["1"; 20_000].join(","));
    let expensive = [
        constants.as_str(),
        "object.list.all(a, object.list.all(b, object.list.all(c, a + b + c >= 0)))",
        "object.list.all(a, object.list.exists(b, object.list.exists(c, a + b == -c - 1)))",
        "object.list.all(a, object.text.contains(object.text + 'b') || true)",
        "object.list.all(a, object.text.matches('(a*)*b') || true)",
        "object.list.all(a, 'x'.matches(string(a) + '(a{50}){20}') || true)",
        "object.list.all(a, object.big == object.big)",
        "object.list.map(a, object.text.replace('', object.text)).size() > 0",
        "object.list.map(a, object.text + object.text + object.text).size() > 0",
        "object.list.map(a, object.list + object.list).map(b, b + b).size() > 0",
        "object.list.map(a, '%s'.format([object.big])).size() > 0",
        "object.list.map(a, object.list.map(b, object.text)).map(c, c.join(object.text)).size() > 0",
        "sets.contains(object.list + object.list, object.list + object.list)",
        "object.list.all(a, object.list.all(b, object.text.size() > 0))",
        "object.list.all(a, object.list.all(b, object.wide.exists(k, true)))",
        "object.list.all(a, object.list.all(b, !(object.text in object.wide)))",
        "object.list.all(a, object.list.all(b, object.long.exists(k, true)))",
        "object.list.all(a, object.list.all(b, object.long == object.long))",
    ];
    // A tenth of what is allowed, for the sake of the time that it takes.
    for source in expensive {
        let program = untyped().compile(source).unwrap();
        let activation = Activation::new().with("object", Val::dynamic(&object));
        let mut budget = Budget::new(PER_OBJECT_BUDGET, PER_CALL_LIMIT / 10);
        let result = program.evaluate(&activation, &mut budget);
        assert_eq!(result, Err(EvalError::CostExceeded), "{source}");
    }
    let program = untyped().compile("object.list.all(a, a >= 0)").unwrap();
    let activation = Activation::new().with("object", Val::dynamic(&object));
    let mut budget = Budget::new(20_000, PER_CALL_LIMIT);
    assert_eq!(program.evaluate(&activation, &mut budget), Ok(Val::Bool(true)));
    let spent = 20_000 - budget.remaining();
    assert!((8_000..20_000).contains(&spent), "{spent}");
    assert_eq!(program.evaluate(&activation, &mut budget), Err(EvalError::BudgetExhausted));
    assert_eq!(budget.remaining(), 0);
}

#[test]
fn nesting_and_length_are_bounded_before_anything_recurses() {
    let deep = [
        format!("{}1{} == 1", "(".repeat(50_000), ")".repeat(49_000)),
        format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000)),
        format!("{}true{}", "{1: ".repeat(1_000), "}".repeat(1_000)),
        vec!["1"; 5_000].join(" + "),
        format!("object{}", ".a".repeat(5_000)),
        format!("object{}", "[0]".repeat(5_000)),
        format!("{}1", "true ? 1 : ".repeat(5_000)),
        format!("{}object", "f(".repeat(10_000)),
        format!("{}true{}", "object.all(x, ".repeat(1_000), ")".repeat(1_000)),
    ];
    for source in deep {
        let error = untyped().compile(&source).unwrap_err().to_string();
        assert!(error.contains("max recursion depth exceeded"), "{}", &error[..error.len().min(200)]);
    }
    let long = format!("'{}' == ''", "a".repeat(MAX_LENGTH));
    assert!(untyped().compile(&long).unwrap_err().to_string().contains("expression code point size exceeds limit"));
    // Many terms are no nesting.
    assert_eq!(outcome(&vec!["true"; 2_000].join(" && "), &json!({})), "true");
    assert_eq!(outcome(&format!("{}true", "!".repeat(10_000)), &json!({})), "true");
    // As deep as it may be.
    let nested = format!("{}1{} == 1", "(".repeat(MAX_DEPTH - 2), ")".repeat(MAX_DEPTH - 2));
    assert_eq!(outcome(&nested, &json!({})), "true");
    let nested = format!("{}true{}", "[1].all(x, ".repeat(60), ")".repeat(60));
    assert_eq!(outcome(&nested, &json!({})), "true");
}

/// A text that looks like an expression, often a good one.
fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "2u",
        "1.5",
        "'a'",
        "b'b'",
        "true",
        "null",
        "object",
        "object.a",
        "object.?b",
        "[1, 2]",
        "{'a': 1}",
        "[]",
        "object.list",
        "timestamp('2020-01-01T00:00:00Z')",
        "duration('1s')",
        "quantity('1k')",
        "ip('::1')",
        "x",
        "y",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        let operators = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let functions = prop::sample::select(vec![
            "size()",
            "all(x, x == 1)",
            "map(x, x)",
            "filter(y, y)",
            "contains('a')",
            "split('')",
            "max()",
            "hasValue()",
            "orValue(1)",
            "matches('a+')",
            "substring(1)",
            "indexOf('b')",
            "sum()",
            "getHours()",
            "transformMap(x, y, y)",
            "join('-')",
            "format([1])",
            "optMap(x, x)",
            "existsOne(x, y, true)",
            "replace('a', 'bb')",
            "charAt(0)",
        ]);
        prop_oneof![
            (pair.clone(), operators).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            (inner.clone(), functions).prop_map(|(a, call)| format!("{a}.{call}")),
            (pair.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            pair.clone().prop_map(|(a, b)| format!("[{a}, ?{b}]")),
            pair.clone().prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            pair.prop_map(|(a, b)| format!("{a}[{b}]")),
            inner.clone().prop_map(|a| format!("has({a}.a)")),
            inner.clone().prop_map(|a| format!("dyn({a})")),
            inner.prop_map(|a| format!("string({a})")),
        ]
    })
}

proptest! {
    #[test]
    fn any_expression_is_evaluated_or_refused_without_panic(source in any_expression()) {
        let object = json!({"a": "text", "b": 3, "list": [1, "b", null, {"a": [1.5]}]});
        let environment = untyped().with("x", Type::Dyn).with("y", Type::Dyn);
        if let Ok(program) = environment.compile(&source) {
            let activation = Activation::new()
                .with("object", Val::dynamic(&object))
                .with("x", Val::Int(1))
                .with("y", Val::Null);
            if let Ok(value) = program.evaluate(&activation, &mut Budget::default()) {
                let _ = value.to_json(&mut 10_000);
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused_without_panic(source in "[a-z0-9 .,()\\[\\]{}?:+*/%<>=!&|\"'\\\\-]{0,40}") {
        let _ = untyped().compile(&source);
    }
}
