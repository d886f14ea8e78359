//! Objects that are nested as deep as is taken can be read, listed, changed and deleted again; deeper ones are refused by
//! whatever way they come.

use crate::server::{LONG, MAPS, ODDS, Server, nested};
use http::Method;
use orrery_harness::Form;
use serde_json::{Value, json};

async fn is_usable(server: &Server, what: &str) {
    let path = format!("{ODDS}/a");
    let read = server.api.get(&path).await.unwrap();
    assert_eq!(read.status, 200, "{what}: {}", read.message());
    assert!(read.body.is_object(), "{what}: a client can parse it");
    let listed = server.api.get(ODDS).await.unwrap();
    assert_eq!(listed.status, 200, "{what}: {}", listed.message());
    assert!(listed.body["items"].is_array(), "{what}: a client can parse the list");
    let event = server.api.get(&format!("{ODDS}?watch=1&timeoutSeconds=1")).await.unwrap();
    let line = event.bytes.split(|byte| *byte == b'\n').next().unwrap();
    let parsed: Value = serde_json::from_slice(line).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(parsed["type"], "ADDED", "{what}");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let changed = server.api.patch(&path, Form::MergePatch, &label).await.unwrap();
    assert_eq!(changed.status, 200, "{what}: {}", changed.message());
}

/// Deletes `a`, if it is there.
async fn forget(server: &Server) {
    let gone = server.api.delete(&format!("{ODDS}/a"), &json!({})).await.unwrap();
    assert!(matches!(gone.status, 200 | 404), "{}", gone.message());
}

fn odd(spec: &str) -> Vec<u8> {
    format!(r#"{{"apiVersion":"example.com/v1","kind":"Odd","metadata":{{"name":"a"}},"spec":{spec}}}"#).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nested_deep_is_usable_or_refused() {
    let server = Server::start().await;
    server.define_odds().await;
    let path = format!("{ODDS}/a");
    let mut taken = 0;
    for depth in [10, 60, 90, 95, 100, 110, 118, 120, 121, 122, 123, 124, 125, 126, 127, 128, 200, 10_000, 500_000] {
        let ways = [
            (Method::POST, ODDS, Form::Json, odd(&nested(depth))),
            (Method::PATCH, &path, Form::Apply, odd(&nested(depth))),
            (Method::PATCH, &path, Form::MergePatch, format!(r#"{{"spec":{}}}"#, nested(depth)).into_bytes()),
            (
                Method::PATCH,
                &path,
                Form::JsonPatch,
                format!(r#"[{{"op":"add","path":"/spec","value":{}}}]"#, nested(depth)).into_bytes(),
            ),
        ];
        for (method, to, form, body) in ways {
            forget(&server).await;
            if !matches!(form, Form::Json | Form::Apply) {
                server.send(Method::POST, ODDS, Form::Json, odd("{}")).await.expect(201).unwrap();
            }
            let to = if form == Form::Apply { format!("{to}?fieldManager=m") } else { to.to_owned() };
            let what = format!("{depth} levels by {method} {form:?}");
            let answer = server.send(method, &to, form, body).await;
            match answer.status {
                200 | 201 => {
                    taken = taken.max(depth);
                    is_usable(&server, &what).await;
                }
                400 | 413 | 422 => {}
                other => panic!("{what}: {other}: {}", answer.message()),
            }
        }
    }
    assert!(taken >= 60, "what people write is taken");
    forget(&server).await;
    server.serves("nested objects").await;
    server.control_plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_that_nest_or_double_are_usable_or_refused() {
    let server = Server::start().await;
    server.define_odds().await;
    let path = format!("{ODDS}/a");
    let copies = |count: usize, from: &str, to: &str| {
        Value::from_iter((0..count).map(|_| json!({"op": "copy", "from": from, "path": to}))).to_string().into_bytes()
    };
    let deep = format!("/spec{}", "/a".repeat(100));
    let tables = [
        ("each copy nests once more", odd("{}"), copies(200, "/spec", "/spec/a")),
        ("ten thousand of them", odd("{}"), copies(10_000, "/spec", "/spec/a")),
        ("each doubles", odd(r#"{"l":["0123456789"]}"#), copies(60, "/spec/l", "/spec/l/-")),
        (
            "a deep value into a deep place",
            odd(&nested(100)),
            format!(r#"[{{"op":"add","path":"{deep}","value":{}}}]"#, nested(110)).into_bytes(),
        ),
        ("many moves", odd("{}"), {
            let moves = (0..5000).flat_map(|_| {
                [
                    json!({"op": "move", "from": "/spec", "path": "/a"}),
                    json!({"op": "move", "from": "/a", "path": "/spec"}),
                ]
            });
            Value::from_iter(moves).to_string().into_bytes()
        }),
    ];
    for (what, object, patch) in tables {
        forget(&server).await;
        let made = server.send(Method::POST, ODDS, Form::Json, object).await;
        if made.status != 201 {
            assert!(matches!(made.status, 400 | 413 | 422), "{what}: {}", made.message());
            continue;
        }
        let sent = tokio::time::timeout(LONG, server.send(Method::PATCH, &path, Form::JsonPatch, patch)).await;
        let answer = sent.unwrap_or_else(|_| panic!("{what}: no answer"));
        match answer.status {
            200 => is_usable(&server, what).await,
            400 | 413 | 422 => {}
            other => panic!("{what}: {other}: {}", answer.message()),
        }
    }
    server.serves("patches").await;
    // A namespace with such an object in it goes as any other.
    let answer = server.send(Method::POST, MAPS, Form::Json, odd("{}")).await;
    assert_eq!(answer.status, 400, "{}", answer.message());
    server.control_plane.stop().await.unwrap();
}
