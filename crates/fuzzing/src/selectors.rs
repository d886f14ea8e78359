//! Selectors of labels and fields.

use crate::{input::Source, kinds::KINDS};
use orrery_machinery::selector::{FieldSelector, LabelSelector, validate_label_selector};
use serde_json::{Value, json};

/// Lines: a selector as in a query, labels, a selector as in an object.
pub(crate) fn label(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (text, labels, object) = (source.text(), source.object(), source.value());
    let labelled = json!({"metadata": {"labels": labels}});
    if let Ok(selector) = LabelSelector::parse(&text) {
        let printed = selector.to_string();
        let read = LabelSelector::parse(&printed).expect("what is printed can be read");
        assert_eq!(read, selector, "{printed}");
        assert_eq!(read.matches(&labelled), selector.matches(&labelled));
        assert!(!selector.is_everything() || selector.matches(&labelled));
    }
    let from_object = LabelSelector::from_object(&object);
    let _ = from_object.matches(&labelled);
    let texts = object["matchLabels"].as_object().is_none_or(|labels| labels.values().all(Value::is_string));
    if object.is_object() && texts && validate_label_selector(&object, "spec.selector").is_empty() {
        let printed = from_object.to_string();
        let read = LabelSelector::parse(&printed).expect("what a good object says can be asked for");
        assert_eq!(read.matches(&labelled), from_object.matches(&labelled), "{printed}");
    }
}

/// A letter for the kind, then lines: a selector, an object.
pub(crate) fn field(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let kind = source.choose(&KINDS);
    let (text, object) = (source.text(), source.object());
    if let Ok(selector) = FieldSelector::parse(&text, kind) {
        let picked = selector.matches(&object);
        assert!(picked || !selector.is_everything());
    }
    let Some(name) = object["metadata"]["name"].as_str() else { return };
    let escaped = name.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
    let by_name = FieldSelector::parse(&format!("metadata.name={escaped}"), kind).expect("every name can be asked for");
    assert!(by_name.matches(&object), "an object has its own name");
    assert_eq!(by_name.requires("metadata.name"), Some(name));
    let others = FieldSelector::parse(&format!("metadata.name!={escaped}"), kind).expect("and all others");
    assert!(!others.matches(&object));
}

/// Every selectable field of every kind of any object has a value.
pub(crate) fn read_fields(kind: &orrery_machinery::descriptor::ResourceDescriptor, object: &Value) {
    for field in &kind.selectable_fields {
        let _ = (field.value)(object);
    }
}
