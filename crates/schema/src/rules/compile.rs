//! Rules with their programs.

use crate::structural::{Structural, ValidationRule, find_field};
use orrery_cel::{Decl, Environment, Program, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules of a node and of those below it; nodes without rules are left out.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) rules: Vec<Rule>,
    pub(super) decl: Arc<Decl>,
    /// The schema's type, which errors show as the value.
    pub(super) kind: String,
    /// The keys of a list that is a map.
    pub(super) keys: Option<Structural>,
    pub(super) items: Option<Box<Node>>,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) additional: Option<Box<Node>>,
}

/// A rule and what became of it.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) source: ValidationRule,
    /// Nothing for an empty rule.
    pub(super) program: Result<Option<Program>, String>,
    pub(super) message: Result<Option<Program>, String>,
    pub(super) uses_old: bool,
    /// Where below the node the error stands.
    pub(super) field: Option<String>,
}

/// Compiles what stands on `schema` and below; nothing when there are no rules. `whole` says that it is a whole object.
pub(super) fn node(schema: &Structural, whole: bool) -> Option<Node> {
    if !has_rules(schema) {
        return None;
    }
    let decl = Arc::new(schema.decl(whole)?);
    let below = |schema: &Structural| node(schema, schema.extensions.embedded_resource);
    let properties = schema.properties.iter().filter_map(|(name, property)| Some((name.clone(), below(property)?)));
    Some(Node {
        rules: rules(schema, &decl),
        kind: schema.kind.clone(),
        keys: schema
            .is_list_map()
            .then(|| Structural { extensions: schema.extensions.clone(), ..Structural::default() }),
        items: schema.items.as_deref().and_then(below).map(Box::new),
        properties: properties.collect(),
        additional: schema.additional_schema().and_then(below).map(Box::new),
        decl,
    })
}

/// Whether there are rules on `schema` or below.
pub(super) fn has_rules(schema: &Structural) -> bool {
    !schema.extensions.validations.is_empty()
        || schema.items.as_deref().is_some_and(has_rules)
        || schema.additional_schema().is_some_and(has_rules)
        || schema.properties.values().any(has_rules)
}

/// The rules of one node.
pub(super) fn rules(schema: &Structural, decl: &Arc<Decl>) -> Vec<Rule> {
    let known = Environment::new().with_declared("self", decl.clone());
    let old = known.clone().with_declared("oldSelf", decl.clone());
    let maybe_old = known.with_optional("oldSelf", decl.clone());
    let rules = &schema.extensions.validations;
    let environment = |rule: &ValidationRule| if rule.optional_old_self == Some(true) { &maybe_old } else { &old };
    rules.iter().map(|rule| compile(rule, environment(rule), schema)).collect()
}

fn compile(source: &ValidationRule, environment: &Environment, schema: &Structural) -> Rule {
    let program = expression(
        &source.rule,
        environment,
        &Type::Bool,
        "compilation failed: ",
        "cel expression must evaluate to a bool",
    );
    let message = expression(
        &source.message_expression,
        environment,
        &Type::String,
        "messageExpression compilation failed: ",
        "messageExpression must evaluate to a string",
    );
    let uses_old = program.as_ref().is_ok_and(|program| program.as_ref().is_some_and(|p| p.uses("oldSelf")));
    let field = (!source.field_path.is_empty()).then(|| find_field(schema, source.field_path.trim(), true).ok());
    Rule { source: source.clone(), program, message, uses_old, field: field.flatten().map(|(path, _)| path) }
}

fn expression(
    source: &str,
    environment: &Environment,
    expected: &Type,
    failed: &str,
    mistyped: &str,
) -> Result<Option<Program>, String> {
    if source.trim().is_empty() {
        return Ok(None);
    }
    let program = environment.compile(source).map_err(|error| format!("{failed}{error}"))?;
    if *program.ty() != *expected {
        return Err(mistyped.to_owned());
    }
    Ok(Some(program))
}
