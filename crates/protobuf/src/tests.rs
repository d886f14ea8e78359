use super::*;
use proptest::prelude::*;
use serde_json::json;

/// A field of bytes.
fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(value.len()).unwrap()];
    out.extend_from_slice(value);
    out
}

fn envelope(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let types = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [envelope::MAGIC.to_vec(), bytes(1, &types), bytes(2, object)].concat()
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

mod peer;
mod sample;

/// The samples of a kind.
fn samples(api_version: &str, kind: &str) -> Vec<serde_json::Value> {
    let id = table::table().of_kind(api_version, kind).unwrap_or_else(|| panic!("{api_version} {kind} has no message"));
    let make = |variant| {
        let mut object = sample::Maker::new(variant).object(table::table().message(id));
        object.insert("apiVersion".into(), api_version.into());
        object.insert("kind".into(), kind.into());
        serde_json::Value::Object(object)
    };
    (0..sample::VARIANTS).map(make).collect()
}

/// Compares two values and names the first place where they differ: samples are too long to show.
fn assert_same(left: &serde_json::Value, right: &serde_json::Value, path: &str) {
    use serde_json::Value;
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{path}: {:?} and {:?}", a.keys(), b.keys());
            a.iter().for_each(|(key, value)| assert_same(value, &b[key], &format!("{path}.{key}")));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            a.iter().zip(b).enumerate().for_each(|(at, (a, b))| assert_same(a, b, &format!("{path}[{at}]")));
        }
        _ => assert_eq!(left, right, "{path}"),
    }
}

#[test]
fn every_field_of_every_kind_is_read_back_as_it_was_written() {
    for (api_version, kind, _) in peer::KINDS {
        for sample in samples(api_version, kind) {
            let bytes = encode(sample.to_string().as_bytes()).unwrap();
            assert_same(&decode(&bytes).unwrap(), &sample, kind);
            let mut from_tree = Vec::new();
            Kind::find(api_version, kind).unwrap().object(Json::Tree(&sample), &mut from_tree).unwrap();
            assert!(from_tree == bytes, "{api_version} {kind}: text and tree are written alike");
        }
    }
}

/// A reader passes over what it does not know, so what it writes again is as long as what it read only if it knew all.
#[test]
fn an_independent_reader_knows_every_field_by_its_number_and_type() {
    use prost::Message;
    for (api_version, kind, again) in peer::KINDS {
        for sample in samples(api_version, kind) {
            let bytes = encode(sample.to_string().as_bytes()).unwrap();
            let unknown = k8s_pb::apimachinery::pkg::runtime::Unknown::decode(&bytes[4..]).unwrap();
            let types = unknown.type_meta.clone().unwrap();
            assert_eq!((types.api_version(), types.kind()), (*api_version, *kind));
            let written = again(unknown.raw()).unwrap_or_else(|error| panic!("{api_version} {kind}: {error}"));
            assert_eq!(written.len(), unknown.raw().len(), "{api_version} {kind}");
            let unknown = k8s_pb::apimachinery::pkg::runtime::Unknown { raw: Some(written), ..unknown };
            let peers = [&bytes[..4], &unknown.encode_to_vec()].concat();
            assert_eq!(peers.len(), bytes.len(), "the envelope of {kind}");
            assert_same(&decode(&peers).unwrap(), &sample, kind);
        }
    }
}

#[test]
fn every_message_of_the_table_is_in_some_sample() {
    let mut seen = std::collections::BTreeSet::new();
    let mut left: Vec<usize> =
        peer::KINDS.iter().filter_map(|(version, kind, _)| table::table().of_kind(version, kind)).collect();
    while let Some(id) = left.pop() {
        if seen.insert(id) {
            left.extend(table::table().message(id).fields.iter().filter_map(|field| match field.of {
                table::Type::Message(id)
                | table::Type::SchemaOrBool(id)
                | table::Type::SchemaOrList(id)
                | table::Type::SchemaOrTexts(id) => Some(id),
                _ => None,
            }));
        }
    }
    let unseen = table::table().all().filter(|(id, _)| !seen.contains(id)).map(|(_, message)| message.name);
    // The events of a watch are written by hand: their object is in an envelope.
    assert_eq!(unseen.collect::<Vec<_>>(), ["meta.v1.WatchEvent"]);
}

#[test]
fn every_line_of_the_table_is_understood() {
    let text = include_str!("schema.txt");
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("group ")) {
        let (name, fields) = line.split_once(':').unwrap();
        let message = table::table().message(table::table().by_name(name).unwrap());
        let stated = fields.split(';').filter(|field| !field.trim().is_empty()).count();
        assert_eq!(message.fields.len(), stated, "{name}");
    }
}

#[test]
fn zeros_that_say_something_are_kept_and_others_are_as_if_unset() {
    let sent = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "", "creationTimestamp": null},
        "spec": {"replicas": 0, "paused": false, "selector": {}, "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
            "template": {"spec": {"containers": [{"name": "", "stdin": false}], "priority": 0}}}});
    let read = decode(&encode(sent.to_string().as_bytes()).unwrap()).unwrap();
    let expected = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {},
        "spec": {"replicas": 0, "selector": {}, "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
            "template": {"spec": {"containers": [{"name": ""}], "priority": 0}}}});
    assert_eq!(read, expected);
}

#[test]
fn what_has_no_message_is_refused_and_what_does_not_fit_too() {
    let table = [
        json!({"apiVersion": "example.com/v1", "kind": "Thing"}),
        json!({"apiVersion": "apps.example.com/v1", "kind": "Deployment"}),
        json!({"kind": "Pod"}),
        json!({"apiVersion": "v1", "kind": "Pod", "spec": "text"}),
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": {}}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": ["a"]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": "yesterday"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "%"}}),
    ];
    for object in table {
        assert!(encode(object.to_string().as_bytes()).is_err(), "{object}");
    }
    assert!(encode(b"{").is_err());
}

#[test]
fn lists_and_events_are_as_the_peer_reads_them() {
    use k8s_pb::{api::core::v1::PodList, apimachinery::pkg::apis::meta::v1::WatchEvent};
    use prost::Message;
    let pods = [json!({"metadata": {"name": "a"}}), json!({"metadata": {"name": "b"}, "spec": {"nodeName": "n"}})];
    let kind = Kind::find("v1", "Pod").unwrap();
    let mut items = Vec::new();
    pods.iter().for_each(|pod| kind.item(Json::Tree(pod), &mut items).unwrap());
    let metadata = json!({"resourceVersion": "7", "remainingItemCount": 0});
    let list = [&kind.list_head("PodList", &metadata, items.len()).unwrap()[..], &items, END].concat();
    let expected = json!({"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": pods});
    assert_eq!(decode(&list).unwrap(), expected);
    let unknown = k8s_pb::apimachinery::pkg::runtime::Unknown::decode(&list[4..]).unwrap();
    assert_eq!(PodList::decode(unknown.raw()).unwrap().items.len(), 2);

    let mut frames = Vec::new();
    kind.event("ADDED", Json::Tree(&pods[0]), &mut frames).unwrap();
    assert!(kind.event("ADDED", Json::Text(b"[]"), &mut frames).is_err());
    let length = u32::from_be_bytes(frames[..4].try_into().unwrap());
    assert_eq!(frames.len(), 4 + length as usize);
    let event = WatchEvent::decode(&frames[4..]).unwrap();
    assert_eq!(event.r#type(), "ADDED");
    let object = decode(event.object.unwrap().raw()).unwrap();
    assert_eq!(object["metadata"], pods[0]["metadata"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Objects cut anywhere, and with a byte changed anywhere, are read or refused with 400, and are no larger than they say.
    #[test]
    fn damaged_objects_are_read_or_refused(
        kind in 0..peer::KINDS.len(),
        variant in 0..sample::VARIANTS,
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 20),
    ) {
        let (api_version, kind, _) = peer::KINDS[kind];
        let bytes = encode(samples(api_version, kind)[variant].to_string().as_bytes()).unwrap();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            let mut changed = bytes.clone();
            changed[place] = byte;
            for damaged in [&bytes[..place], &changed] {
                match decode(damaged) {
                    Ok(object) => prop_assert!(object.to_string().len() <= 64 * bytes.len()),
                    Err(error) => prop_assert!(error.code == 400 || error.code == 415),
                }
            }
        }
    }

    #[test]
    fn no_json_makes_the_writer_fail_badly(text in ".{0,60}", number in any::<i64>(), truth in any::<bool>()) {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": text, "generation": number, "labels": {text.clone(): truth}},
            "spec": {"containers": [{"name": number}, null], "volumes": [{"name": "a", text: {}}]}});
        drop(encode(value.to_string().as_bytes()));
        let text = value.to_string();
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            prop_assert!(encode(&text.as_bytes()[..cut]).is_err());
        }
    }
}
