//! `MutatingAdmissionPolicy`.

use super::compiler::{Compiler, Expected, Options};
use super::conditions::{Compiled, FailurePolicy, MatchConditions};
use super::input::Input;
use orrery_cel::{Budget, Program, Val};
use serde_json::{Map, Value};

/// How many values a patch may have.
const PATCH_FUEL: u64 = 1_000_000;

/// A compiled policy.
#[derive(Debug, Clone)]
pub struct MutatingPolicy {
    failure: FailurePolicy,
    conditions: MatchConditions,
    variables: Vec<(String, Program)>,
    mutations: Vec<Mutation>,
}

#[derive(Debug, Clone)]
struct Mutation {
    kind: PatchKind,
    expression: Compiled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatchKind {
    ApplyConfiguration,
    JsonPatch,
}

/// What a mutation does to the object.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// Fields to be merged into the object as server-side apply merges them; without `apiVersion` and `kind`, which are
    /// the object's.
    Apply(Value),
    /// Operations of JSON Patch (RFC 6902), a list of objects. When a `test` fails, the object stays as it is.
    Json(Value),
}

impl MutatingPolicy {
    /// Compiles the `spec` of a policy. What does not compile is an error of every request.
    #[must_use]
    pub fn compile(spec: &Value) -> Self {
        let options = Options { params: spec["paramKind"].is_object(), authorizer: true, mutation: true };
        let conditions = MatchConditions::compile(&spec["matchConditions"], &Compiler::new(options));
        let mut compiler = Compiler::new(options);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for variable in spec["variables"].as_array().into_iter().flatten() {
            // An expression that uses one that does not compile fails, and says so.
            let _ = compiler.variable(&text(&variable["name"]), &text(&variable["expression"]));
        }
        let mutations = spec["mutations"].as_array().into_iter().flatten().map(|mutation| {
            let (kind, source, expected) = if mutation["patchType"] == "JSONPatch" {
                (PatchKind::JsonPatch, &mutation["jsonPatch"]["expression"], Expected::JsonPatch)
            } else {
                let source = &mutation["applyConfiguration"]["expression"];
                (PatchKind::ApplyConfiguration, source, Expected::ApplyConfiguration)
            };
            Mutation { kind, expression: Compiled::new(&compiler, &text(source), expected) }
        });
        let mutations = mutations.collect();
        Self { failure: FailurePolicy::read(spec), conditions, mutations, variables: compiler.into_variables() }
    }

    /// What happens when an expression has no value.
    #[must_use]
    pub fn failure_policy(&self) -> FailurePolicy {
        self.failure
    }

    /// How many mutations there are, to be made one after the other: each sees what those before it made.
    #[must_use]
    pub fn mutations(&self) -> usize {
        self.mutations.len()
    }

    /// Whether the policy's conditions hold.
    ///
    /// # Errors
    /// When one has no value and the policy is to fail.
    pub fn matches(&self, input: &Input<'_>) -> Result<bool, String> {
        self.conditions.matches(input, self.failure)
    }

    /// What mutation `index` does to the object.
    ///
    /// # Errors
    /// When its expression has no value, or one that is no patch.
    pub fn patch(&self, index: usize, input: &Input<'_>, budget: &mut Budget) -> Result<Patch, String> {
        let mutation = self.mutations.get(index).ok_or_else(|| format!("there is no mutation {index}"))?;
        let value = mutation.expression.evaluate(input, &self.variables, budget)?;
        let mut fuel = PATCH_FUEL;
        let made = value.to_json(&mut fuel).map_err(|error| format!("type mismatch: {error}"))?;
        match mutation.kind {
            PatchKind::ApplyConfiguration => Ok(Patch::Apply(made)),
            PatchKind::JsonPatch => operations(&value, made).map(Patch::Json),
        }
    }
}

/// Leaves out of operations what is empty: no operation but `move` and `copy` has a `from`.
fn operations(value: &Val<'_>, made: Value) -> Result<Value, String> {
    let Value::Array(list) = made else {
        let name = value.type_name();
        return Err(format!("type mismatch: JSONPatchType.expression should evaluate to array, got {name}"));
    };
    let clean = |operation: Value| -> Value {
        let Value::Object(map) = operation else { return operation };
        let keep = |(name, value): &(String, Value)| name != "from" || value.as_str() != Some("");
        Value::Object(map.into_iter().filter(keep).collect::<Map<_, _>>())
    };
    Ok(list.into_iter().map(clean).collect())
}
