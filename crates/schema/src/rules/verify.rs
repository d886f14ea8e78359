//! Rules when a definition is written (`ValidateCustomResourceDefinitionOpenAPISchema`, the CEL part).

use super::compile::{self, Rule};
use super::run;
use crate::path::{child, index, key};
use crate::structural::Structural;
use orrery_cel::Budget;
use orrery_machinery::status::{FieldError, FieldReason};
use std::sync::Arc;

/// What one rule may cost at most for one object, with all values that it can apply to; `StaticEstimatedCostLimit`.
const RULE_COST_LIMIT: u64 = 10_000_000;
/// What all rules of a schema may cost together; `StaticEstimatedCRDCostLimit`.
const SCHEMA_COST_LIMIT: u64 = 100_000_000;
/// How many rules are blamed when all together are too expensive.
const MOST_EXPENSIVE: usize = 4;

/// Checks the rules of a schema that stands at `path` and is well-formed otherwise.
#[must_use]
pub fn check(schema: &Structural, path: &str) -> Vec<FieldError> {
    if !compile::has_rules(schema) {
        return Vec::new();
    }
    let mut check = Check { errors: Vec::new(), costs: Vec::new() };
    let place = Place { whole: true, cardinality: Some(1), uncorrelatable: None };
    check.node(schema, path, &place);
    check.total(path);
    if check.errors.is_empty() {
        defaults(schema, true, path, &mut check.errors);
    }
    check.errors
}

/// Where a node stands.
#[derive(Clone)]
struct Place {
    whole: bool,
    /// How often there can be such a value; nothing when that is not bounded.
    cardinality: Option<u64>,
    /// The list above whose items have no old self.
    uncorrelatable: Option<String>,
}

struct Check {
    errors: Vec<FieldError>,
    costs: Vec<(u64, String)>,
}

impl Check {
    fn node(&mut self, schema: &Structural, path: &str, place: &Place) {
        let multiplied = |limit: Option<i64>| -> Option<u64> {
            let limit = u64::try_from(limit?).unwrap_or(0);
            Some(place.cardinality?.saturating_mul(limit))
        };
        let below = |schema: &Structural| Place { whole: schema.extensions.embedded_resource, ..place.clone() };
        if let Some(items) = &schema.items {
            let uncorrelatable = (!schema.is_list_map()).then(|| path.to_owned());
            let inner = Place {
                cardinality: multiplied(schema.values.max_items),
                uncorrelatable: place.uncorrelatable.clone().or(uncorrelatable),
                ..below(items)
            };
            self.node(items, &child(path, "items"), &inner);
        }
        if let Some(additional) = schema.additional_schema() {
            let inner = Place { cardinality: multiplied(schema.values.max_properties), ..below(additional) };
            self.node(additional, &child(path, "additionalProperties"), &inner);
        }
        for (name, property) in &schema.properties {
            self.node(property, &key(&child(path, "properties"), name), &below(property));
        }
        if !schema.extensions.validations.is_empty() {
            self.rules(schema, path, place);
        }
    }

    fn rules(&mut self, schema: &Structural, path: &str, place: &Place) {
        let field = child(path, "x-kubernetes-validations");
        let Some(decl) = schema.decl(place.whole).map(Arc::new) else {
            let message = format!(
                "Internal error: rule declared on schema that does not support validation rules type: '{}' \
                 x-kubernetes-preserve-unknown-fields: '{}'",
                schema.kind, schema.extensions.preserve_unknown_fields
            );
            self.errors.push(FieldError { reason: FieldReason::Invalid, field, message });
            return;
        };
        for (i, rule) in compile::rules(schema, &decl).into_iter().enumerate() {
            self.rule(&rule, &index(&field, i), place.cardinality.unwrap_or_else(|| decl.max_cardinality()));
            self.old_self(&rule, &index(&field, i), place);
        }
    }

    fn rule(&mut self, rule: &Rule, path: &str, cardinality: u64) {
        let shown = rule.source.to_json();
        match &rule.program {
            Err(why) => self.errors.push(FieldError::invalid(child(path, "rule"), &shown, why)),
            Ok(Some(program)) => {
                let cost = program.max_cost().saturating_mul(cardinality);
                self.cost(cost, child(path, "rule"), "estimated rule cost");
            }
            Ok(None) => {}
        }
        match &rule.message {
            Err(why) => self.errors.push(FieldError::invalid(child(path, "messageExpression"), &shown, why)),
            Ok(Some(program)) => {
                self.cost(program.max_cost(), child(path, "messageExpression"), "estimated messageExpression cost");
            }
            Ok(None) => {}
        }
    }

    fn cost(&mut self, cost: u64, path: String, what: &str) {
        if cost > RULE_COST_LIMIT {
            self.errors.push(FieldError::forbidden(&*path, &too_expensive(what, cost, RULE_COST_LIMIT)));
        }
        self.costs.push((cost, path));
    }

    fn old_self(&mut self, rule: &Rule, path: &str, place: &Place) {
        if rule.program.is_err() {
            return;
        }
        match (rule.uses_old, &place.uncorrelatable, rule.source.optional_old_self) {
            (true, Some(list), _) => {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
                let shown = rule.source.rule.as_str().into();
                self.errors.push(FieldError::invalid(child(path, "rule"), &shown, &why));
            }
            (false, _, Some(flag)) => {
                let why = "may not be set if oldSelf is not used in rule";
                self.errors.push(FieldError::invalid(child(path, "optionalOldSelf"), &flag.into(), why));
            }
            (true, None, _) | (false, _, None) => {}
        }
    }

    fn total(&mut self, path: &str) {
        let total = self.costs.iter().fold(0, |total: u64, (cost, _)| total.saturating_add(*cost));
        if total <= SCHEMA_COST_LIMIT {
            return;
        }
        self.costs.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, rule) in self.costs.iter().take(MOST_EXPENSIVE) {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.errors.push(FieldError::forbidden(rule.as_str(), why));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.errors.push(FieldError::forbidden(path, &too_expensive(what, total, SCHEMA_COST_LIMIT)));
    }
}

fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// Defaults obey the rules of their nodes.
fn defaults(schema: &Structural, whole: bool, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(default) = &schema.default
        && let Some(node) = compile::node(schema, whole)
    {
        let outcome = run::run(&node, default, Some(default), &child(path, "default"), &mut Budget::default());
        errors.extend(outcome.errors);
        errors.extend(outcome.warnings);
    }
    if let Some(items) = &schema.items {
        defaults(items, items.extensions.embedded_resource, &child(path, "items"), errors);
    }
    for (name, property) in &schema.properties {
        let field = key(&child(path, "properties"), name);
        defaults(property, property.extensions.embedded_resource, &field, errors);
    }
}
