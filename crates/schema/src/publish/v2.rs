//! What of a schema OpenAPI v2 and the clients that read it can stand (`controller/openapi/v2/conversion.go`).

use crate::structural::Structural;

/// Leaves out the rest.
pub(super) fn reduce(schema: &mut Structural) {
    schema.each_on_spine(&mut |node| {
        let values = &mut node.values;
        values.all_of.clear();
        values.any_of.clear();
        values.one_of.clear();
        values.not = None;
        let nullable: Vec<&String> = node.properties.iter().filter(|(_, p)| p.nullable).map(|(name, _)| name).collect();
        values.required.retain(|name| !nullable.contains(&name));
        if node.additional_schema().is_some_and(|additional| additional.nullable) {
            node.values.required.clear();
        }
        let keeps = node.extensions.preserve_unknown_fields;
        if node.nullable || keeps {
            node.items = None;
            node.properties.clear();
        }
        if node.nullable || (node.items.is_none() && node.kind == "array") || (keeps && node.kind == "object") {
            node.kind.clear();
        }
    });
    // Parents looked at their children's `nullable`, so it goes last.
    schema.each_on_spine(&mut |node| node.nullable = false);
}
