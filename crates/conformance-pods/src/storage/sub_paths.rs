//! Single files of volumes.

use crate::pods::{Place, holds};
use orrery_harness::{Context, Outcome, Test, run, test};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-storage] Subpath Atomic writer volumes should support subpaths with configmap pod [Conformance]",
        run!(file, config_map, "/test-volume/file"),
    ),
    test(
        "[sig-storage] Subpath Atomic writer volumes should support subpaths with configmap pod with mountPath of existing file [Conformance]",
        run!(file, config_map, "/etc/resolv.conf"),
    ),
    test(
        "[sig-storage] Subpath Atomic writer volumes should support subpaths with downward pod [Conformance]",
        run!(file, downward, "/test-volume/file"),
    ),
    test(
        "[sig-storage] Subpath Atomic writer volumes should support subpaths with projected pod [Conformance]",
        run!(file, projected, "/test-volume/file"),
    ),
    test(
        "[sig-storage] Subpath Atomic writer volumes should support subpaths with secret pod [Conformance]",
        run!(file, secret, "/test-volume/file"),
    ),
];

fn config_map() -> Value {
    json!({ "configMap": { "name": "source" } })
}

fn secret() -> Value {
    json!({ "secret": { "secretName": "source" } })
}

fn downward() -> Value {
    json!({ "downwardAPI": { "items": [{ "path": "key", "fieldRef": { "fieldPath": "metadata.labels['text']" } }] } })
}

fn projected() -> Value {
    json!({ "projected": { "sources": [{ "configMap": { "name": "source" } }] } })
}

/// One file of the volume is mounted over `path`, and stays there however often it is looked at.
async fn file(context: &Context, volume: fn() -> Value, path: &str) -> Outcome {
    let place = Place::new(context).await?;
    let (data, metadata) = (json!({ "key": "the-text" }), json!({ "name": "source" }));
    place.config_maps(context).create(&json!({ "metadata": metadata, "data": data })).await?;
    place.secrets(context).create(&json!({ "metadata": metadata, "stringData": data })).await?;
    let text = format!("for i in 1 2 3 4 5; do cat {path}; echo; sleep 1; done; ls -l {path}");
    let mut pod = place.runs("reader", &text);
    pod["metadata"]["labels"]["text"] = "the-text".into();
    let mut volume = volume();
    volume["name"] = "v".into();
    pod["spec"]["volumes"] = json!([volume]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": path, "subPath": "key" }]);
    holds(&place.said(&pod).await?, &["the-text\nthe-text\nthe-text\nthe-text\nthe-text\n-rw"])
}
