//! Schemas of custom resources.

use crate::input::Source;
use orrery_machinery::shape;
use orrery_schema::publish::{Names, openapi_v2, openapi_v3};
use orrery_schema::{resource::Schema, structural::Structural};
use serde_json::{Value, json};

/// Lines: a schema, an object, another.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (schema, mut object, old) = (source.value(), source.object(), source.object());
    let _ = shape::schema::custom_resource(&schema, false);
    let Ok(structural) = Structural::parse(&schema) else { return };
    let written = structural.to_json();
    assert_eq!(Structural::read(&written).expect("a schema that is written can be read"), structural);
    let names = Names { group: "example.com", version: "v1", kind: "Odd", list_kind: "OddList", plural: "odds" };
    drop(openapi_v3(Some(&structural), &names));
    drop(openapi_v2(Some(&structural), &names));
    let schema = Schema::new(structural);
    let mut pruned = object.clone();
    schema.structural().prune(&mut pruned);
    assert!(schema.structural().prune(&mut pruned).is_empty(), "pruning twice is pruning once");
    object["apiVersion"] = json!("example.com/v1");
    object["kind"] = json!("Odd");
    let Some(new) = admitted(&schema, object) else { return };
    drop(schema.validate(&new, None));
    drop(schema.validate(&new, Some(&new)));
    let mut restored = old;
    schema.restore(&mut restored);
    drop(schema.validate(&new, Some(&restored)));
}

/// The object in shape; none when it has none.
fn admitted(schema: &Schema, mut object: Value) -> Option<Value> {
    schema.admit(&mut object).ok()?;
    let once = object.clone();
    let dropped = schema.admit(&mut object).expect("what was in shape is");
    assert!(dropped.is_empty(), "what is unknown goes at once: {dropped:?}");
    assert_eq!(object, once, "shaping twice is shaping once");
    let mut restored = once.clone();
    schema.restore(&mut restored);
    assert_eq!(restored, once, "what was admitted is read back as it was");
    Some(once)
}
