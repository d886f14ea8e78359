use super::*;
use proptest::prelude::*;

/// A field of bytes.
fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(value.len()).unwrap()];
    out.extend_from_slice(value);
    out
}

fn envelope(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let types = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &types), bytes(2, object)].concat()
}

#[test]
fn every_message_that_the_schema_names_is_described_there() {
    let special = [
        "meta.v1.Time",
        "meta.v1.MicroTime",
        "resource.Quantity",
        "meta.v1.Duration",
        "intstr.IntOrString",
        "meta.v1.FieldsV1",
        "runtime.RawExtension",
    ];
    for (name, message) in SCHEMA.iter() {
        for field in message.values() {
            let scalar = ["string", "bytes", "int", "bool", "double"].contains(&field.base);
            let known = scalar || special.contains(&field.base) || SCHEMA.contains_key(field.base);
            assert!(known, "{name}.{}: {}", field.name, field.base);
        }
    }
}

#[test]
fn an_object_is_read_as_its_json_form() {
    let metadata = [bytes(1, b"a"), bytes(2, b""), bytes(3, b"demo"), bytes(8, b"")].concat();
    let label = [bytes(1, b"k"), bytes(2, b"v")].concat();
    let object = [bytes(1, &metadata), bytes(2, &label), vec![4 << 3, 0]].concat();
    let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "demo"},
        "data": {"k": "v"}, "immutable": false});
    assert_eq!(decode(&envelope("v1", "ConfigMap", &object)).unwrap(), expected);
}

#[test]
fn inlined_messages_stand_in_their_parents_place() {
    let volume = [bytes(1, b"tmp"), bytes(2, &bytes(2, b""))].concat();
    let pod = bytes(2, &bytes(1, &volume));
    let read = decode(&envelope("v1", "Pod", &pod)).unwrap();
    assert_eq!(read["spec"]["volumes"][0], json!({"name": "tmp", "emptyDir": {}}));
}

#[test]
fn kinds_that_are_unknown_are_refused_as_a_format() {
    assert_eq!(decode(&envelope("example.com/v1", "Thing", b"")).unwrap_err().code, 415);
    assert_eq!(decode(b"{}").unwrap_err().code, 400);
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail_otherwise_than_with_400(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Err(error) = decode(&envelope("v1", "Pod", &body)) {
            prop_assert_eq!(error.code, 400);
        }
    }
}
