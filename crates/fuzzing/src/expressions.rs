//! CEL.

use crate::input::Source;
use orrery_schema::cel::{Activation, Budget, Environment, PER_CALL_LIMIT, PER_OBJECT_BUDGET, Type, Val};
use orrery_schema::structural::Structural;
use serde_json::json;

/// Lines: an expression, a value for `self`, one for `oldSelf`.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (text, value, old) = (source.text(), source.value(), source.value());
    let environment = Environment::new().with("self", Type::Dyn).with("oldSelf", Type::Dyn).with_mutation();
    if let Ok(program) = environment.compile(&text) {
        let evaluate = |budget: &mut Budget| {
            let activation = Activation::new().with("self", Val::dynamic(&value)).with("oldSelf", Val::dynamic(&old));
            format!("{:?}", program.evaluate(&activation, budget))
        };
        let mut budget = Budget::default();
        let first = evaluate(&mut budget);
        assert!(budget.remaining() <= PER_OBJECT_BUDGET);
        assert!(PER_OBJECT_BUDGET - budget.remaining() <= PER_CALL_LIMIT || budget.remaining() == 0, "each is bounded");
        let mut again = Budget::default();
        assert_eq!(evaluate(&mut again), first, "the same expression has the same value");
        assert_eq!(again, budget, "at the same cost");
        let mut little = Budget::new(10, 10);
        drop(evaluate(&mut little));
    }
    // As a rule of a schema, whose types are known.
    let rules = json!([{"rule": text}]);
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-validations": rules, "properties": {
            "replicas": {"type": "integer"}, "name": {"type": "string", "maxLength": 20},
            "list": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 20}},
            "map": {"type": "object", "maxProperties": 10, "additionalProperties": {"type": "string"}},
        }},
    }});
    let _ = Structural::parse(&schema);
}
