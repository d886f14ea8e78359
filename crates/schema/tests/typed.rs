//! Expressions on values of which a schema is known.

use orrery_cel::{Activation, Budget, Decl, Environment, PER_OBJECT_BUDGET, Val};
use orrery_schema::structural::Structural;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

/// `self` of a schema and a value of it.
fn typed(schema: &Value) -> (Environment, Arc<Decl>) {
    let decl = Arc::new(Structural::read(schema).expect("a readable schema").decl(true).expect("a visible schema"));
    (Environment::new().with_declared("self", decl.clone()), decl)
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let (environment, _) = typed(&json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "s": {"type": "string"}, "l": {"type": "array", "items": {"type": "integer"}},
        "io": {"x-kubernetes-int-or-string": true}, "my-field": {"type": "string"}, "namespace": {"type": "string"},
        "d": {"type": "string", "format": "date-time"},
    }}));
    let table = [
        ("self.x == 1", "ERROR: <input>:1:5: undefined field 'x'\n | self.x == 1\n | ....^"),
        ("foo", "ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo\n | ^"),
        ("foo(1)", "ERROR: <input>:1:4: undeclared reference to 'foo' (in container '')\n | foo(1)\n | ...^"),
        (
            "self.n + self.s == ''",
            "ERROR: <input>:1:8: found no matching overload for '_+_' applied to '(int, string)'\n | self.n + self.s == ''\n | .......^",
        ),
        (
            "self.n.contains('a')",
            "ERROR: <input>:1:16: found no matching overload for 'contains' applied to 'int.(string)'\n | self.n.contains('a')\n | ...............^",
        ),
        ("self.n.x", "ERROR: <input>:1:7: type 'int' does not support field selection\n | self.n.x\n | ......^"),
        ("[1, 'a'] == []", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a'] == []\n | ....^"),
        (
            "self.n.all(x, true)",
            "ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | self.n.all(x, true)\n | ....^",
        ),
        (
            "self.l.all(x, x)",
            "ERROR: <input>:1:11: found no matching overload for '_&&_' applied to '(bool, int)'\n | self.l.all(x, x)\n | ..........^",
        ),
        (
            "self.l.all(1, true)",
            "ERROR: <input>:1:12: argument must be a simple name\n | self.l.all(1, true)\n | ...........^",
        ),
        ("has(self)", "ERROR: <input>:1:4: invalid argument to has() macro\n | has(self)\n | ...^"),
        (
            "1 +",
            "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', \
            'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^",
        ),
        ("(1", "ERROR: <input>:1:3: Syntax error: mismatched input '<EOF>' expecting ')'\n | (1\n | ..^"),
        ("1 # 2", "ERROR: <input>:1:3: Syntax error: token recognition error at: '#'\n | 1 # 2\n | ..^"),
        ("'a'.matches('(')", "ERROR: <input>:1:13: invalid matches argument\n | 'a'.matches('(')\n | ............^"),
        (
            "duration('x') == duration('1s')",
            "ERROR: <input>:1:10: invalid duration argument\n | duration('x') == duration('1s')\n | .........^",
        ),
        ("if == 1", "ERROR: <input>:1:1: reserved identifier: if\n | if == 1\n | ^"),
        ("true &&\nself.x", "ERROR: <input>:2:5: undefined field 'x'\n | self.x\n | ....^"),
        (
            "Object{} == Object{}",
            "ERROR: <input>:1:7: undeclared reference to 'Object' (in container '')\n | Object{} == Object{}\n | ......^\n\
            ERROR: <input>:1:19: undeclared reference to 'Object' (in container '')\n | Object{} == Object{}\n | ..................^",
        ),
    ];
    for (source, expected) in table {
        match environment.compile(source) {
            Ok(program) => panic!("{source} compiles as {}", program.ty()),
            Err(error) => assert_eq!(error.to_string(), expected, "{source}"),
        }
    }
    let good = [
        ("self.n > 1 && self.s != ''", "bool"),
        ("self.io == 1 || self.io == 'a'", "bool"),
        ("self.my__dash__field + self.__namespace__", "string"),
        ("self.d > timestamp('2020-01-01T00:00:00Z')", "bool"),
        ("self.l.map(x, string(x))", "list(string)"),
        ("self.?s", "optional_type(string)"),
        ("{'a': self.l}", "map(string, list(int))"),
        ("has(self.s) ? self.s : 'x'", "string"),
        ("self.metadata.name", "string"),
    ];
    for (source, ty) in good {
        let program = environment.compile(source).unwrap_or_else(|e| panic!("{source}: {e}"));
        assert_eq!(program.ty().to_string(), ty, "{source}");
    }
}

#[test]
fn typed_values_are_what_their_schema_says() {
    let (environment, decl) = typed(&json!({"type": "object", "properties": {
        "d": {"type": "string", "format": "date-time"}, "day": {"type": "string", "format": "date"},
        "p": {"type": "string", "format": "duration"}, "b": {"type": "string", "format": "byte"},
        "io": {"x-kubernetes-int-or-string": true}, "f": {"type": "number"},
        "set": {"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "set"},
        "map": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
        "a.b-c": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    }}));
    let value = json!({"d": "2020-01-02T03:04:05Z", "day": "2020-01-02", "p": "1m", "b": "YWI=", "io": 5, "f": 2,
        "set": [1, 2], "map": [{"k": "a", "v": 1}, {"k": "b", "v": 2}], "a.b-c": "x", "hidden": 1, "labels": {"l": "v"}});
    let expressions = [
        "self.d.getFullYear() == 2020 && self.day == timestamp('2020-01-02T00:00:00Z') && self.p == duration('60s')",
        "self.b == b'ab' && self.io == 5 && type(self.io) == int && self.f == 2.0",
        "self.set == [2, 1] && self.set + [2, 3] == [1, 2, 3]",
        "self.a__dot__b__dash__c == 'x' && self.labels.l == 'v' && self.labels['l'] == 'v' && !has(self.labels.z)",
        "self.map.exists(m, m.k == 'b' && m.v == 2) && self == self",
    ];
    for source in expressions {
        let program = environment.compile(source).unwrap_or_else(|e| panic!("{source}: {e}"));
        let activation = Activation::new().with("self", Val::declared(&value, &decl).unwrap());
        let result = program.evaluate(&activation, &mut Budget::default());
        assert_eq!(result, Ok(Val::Bool(true)), "{source}");
    }
    assert!(environment.compile("self.hidden == 1").is_err());
}

#[test]
fn the_worst_case_is_known_beforehand() {
    let (environment, _) = typed(&json!({"type": "object", "properties": {
        "open": {"type": "array", "items": {"type": "string"}},
        "short": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}},
        "s": {"type": "string", "maxLength": 100}, "n": {"type": "integer"},
    }}));
    let cost = |source: &str| environment.compile(source).unwrap_or_else(|e| panic!("{source}: {e}")).max_cost();
    assert!(cost("self.n > 1") < 10);
    assert!(cost("self.short.all(x, x.startsWith('a'))") < 200);
    assert!(cost("self.short.all(x, self.short.all(y, x == y))") < 3_000);
    assert!(cost("self.open.all(x, x.startsWith('a'))") > 10_000_000);
    assert!(cost("self.open.all(x, self.open.all(y, x == y))") > 1_000_000_000);
    assert!(cost("['a', 'b'].all(x, self.s.contains(x))") < 1_000);
    assert!(cost("self.s.matches('^[a-z]+$')") < 200);
    assert!(cost("self.short.map(x, x + 'a').join(',').size() > 3") < 1_000);
}

proptest! {
    #[test]
    fn what_is_charged_is_at_most_what_was_estimated(list in prop::collection::vec("[a-c]{0,10}", 0..10), n in 0i64..9) {
        let (environment, decl) = typed(&json!({"type": "object", "properties": {
            "l": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}}, "n": {"type": "integer"}}}));
        let value = json!({"l": list, "n": n});
        for source in [
            "self.l.all(x, x.size() > self.n)",
            "self.l.all(x, self.l.exists(y, x == y))",
            "self.l.map(x, x + 'a').exists(x, x.contains('ab'))",
            "self.n > 3 ? self.l.exists(x, x.matches('^a+b')) : self.l == self.l",
            "self.l.filter(x, x.startsWith('a')).size() < self.n",
        ] {
            let program = environment.compile(source).unwrap();
            let activation = Activation::new().with("self", Val::declared(&value, &decl).unwrap());
            let mut budget = Budget::default();
            program.evaluate(&activation, &mut budget).unwrap();
            let spent = PER_OBJECT_BUDGET - budget.remaining();
            prop_assert!(spent <= program.max_cost().saturating_mul(2), "{source}: {spent} > {}", program.max_cost());
        }
    }
}
