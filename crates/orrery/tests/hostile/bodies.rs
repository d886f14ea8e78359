//! Bodies: too long, too deep, endless, malformed, or short and meant to become large.

use crate::server::{LONG, MAPPED, MAPS, ODDS, Server, nested};
use http::Method;
use orrery_harness::Form;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MIB: usize = 1024 * 1024;
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All";

struct Case {
    name: &'static str,
    to: (Method, String),
    form: Form,
    body: Vec<u8>,
    /// The statuses of a good answer.
    good: &'static [u16],
}

fn case(
    name: &'static str,
    (method, path): (Method, &str),
    form: Form,
    body: impl Into<Vec<u8>>,
    good: &'static [u16],
) -> Case {
    Case { name, to: (method, path.to_owned()), form, body: body.into(), good }
}

fn map_with(data: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"x"}},{data}}}"#)
}

fn definition(schema: &Value) -> String {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "bads.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"plural": "bads", "singular": "bad", "kind": "Bad", "listKind": "BadList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
    .to_string()
}

/// JSON, YAML and patches.
fn bodies() -> Vec<Case> {
    let create = || (Method::POST, MAPS);
    let dry = format!("{MAPS}?dryRun=All");
    let dry = || (Method::POST, dry.as_str());
    let apply = format!("{MAPS}/x?fieldManager=m&dryRun=All");
    let apply = || (Method::PATCH, apply.as_str());
    let odds = format!("{ODDS}?dryRun=All");
    let mapped = format!("{MAPPED}?dryRun=All");
    let map_of = |entries: &str| {
        format!(r#"{{"apiVersion":"example.com/v1","kind":"Mapped","metadata":{{"name":"a"}},"spec":{{{entries}}}}}"#)
    };
    let odd = |spec: &str| {
        format!(r#"{{"apiVersion":"example.com/v1","kind":"Odd","metadata":{{"name":"a"}},"spec":{spec}}}"#)
    };
    let long = "k".repeat(MIB);
    let zeros = "0,".repeat(400_000);
    let twice = r#""a":1,"#.repeat(200_000);
    let unknown: String = (0..60_000).map(|n| format!(r#""unknown{n}":1,"#)).collect();
    let managed = format!(
        r#"{{"metadata":{{"name":"x","managedFields":[{{"manager":"m","operation":"Update","apiVersion":"v1",
            "fieldsType":"FieldsV1","fieldsV1":{}}}]}}}}"#,
        nested(100).replace("\"a\"", "\"f:a\"")
    );
    vec![
        case("arrays, a million deep", create(), Form::Json, "[".repeat(MIB), &[400]),
        case("objects, deep", create(), Form::Json, nested(200_000), &[400]),
        case(
            "a deep value in an object",
            create(),
            Form::Json,
            map_with(&format!(r#""data":{}"#, nested(200_000))),
            &[400],
        ),
        case("YAML lists, deep", create(), Form::Yaml, "[".repeat(200_000), &[400]),
        case("YAML maps, deep", create(), Form::Yaml, "{a: ".repeat(200_000), &[400]),
        case("YAML by indentation", create(), Form::Yaml, "- ".repeat(500_000), &[400]),
        case("YAML questions", create(), Form::Yaml, "? ".repeat(200_000), &[400]),
        case("YAML, one long anchor", create(), Form::Yaml, format!("a: &{}", "a".repeat(2 * MIB)), &[400, 422]),
        case(
            "aliases of lists",
            create(),
            Form::Yaml,
            format!("a: &a [{zeros}0]\nb: [{}0]", "*a,".repeat(400_000)),
            &[400],
        ),
        case(
            "aliases of a text",
            create(),
            Form::Yaml,
            format!("a: &a {long}\nb: [{}0]", "*a,".repeat(400_000)),
            &[400],
        ),
        case("aliases of aliases", apply(), Form::Apply, laughs(), &[400]),
        case(
            "a long key over many",
            (Method::POST, &odds),
            Form::Json,
            odd(&format!(r#"{{"{long}":[{zeros}0]}}"#)),
            &[201, 400, 413, 422],
        ),
        case(
            "keys twice under a long one",
            (Method::POST, &odds),
            Form::Json,
            odd(&format!(r#"{{"{long}":{{{twice}"a":1}}}}"#)),
            &[201, 400, 413, 422],
        ),
        case(
            "a long key in a map of lists",
            (Method::POST, &mapped),
            Form::Json,
            map_of(&format!(r#""{long}":[{zeros}0]"#)),
            &[201],
        ),
        case(
            "unknown fields under a long key",
            (Method::POST, &mapped),
            Form::Json,
            map_of(&format!(r#""{long}":[{{{unknown}"a":1}}]"#)),
            &[422, 400],
        ),
        case(
            "hundreds of thousands of mistakes",
            (Method::POST, &mapped),
            Form::Json,
            map_of(&format!(r#""a":[{}0]"#, r#""x","#.repeat(400_000))),
            &[422],
        ),
        case("unknown fields", dry(), Form::Json, map_with(&format!(r#"{unknown}"data":{{}}"#)), &[201]),
        case(
            "an apply with unknown fields",
            apply(),
            Form::Apply,
            map_with(&format!(r#"{unknown}"data":{{}}"#)),
            &[400, 500],
        ),
        case("deep managed fields", dry(), Form::Json, managed, &[201, 400]),
        case(
            "longer than may be",
            create(),
            Form::Json,
            map_with(&format!(r#""data":{{"a":"{}"}}"#, "x".repeat(4 * MIB))),
            &[413],
        ),
        case(
            "not UTF-8",
            create(),
            Form::Json,
            b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec(),
            &[400],
        ),
        case("NUL in a name", create(), Form::Json, map_with(r#""data":{}"#).replace("\"x\"", r#""a\u0000b""#), &[422]),
        case("NUL in YAML", create(), Form::Yaml, b"a: \0".to_vec(), &[400]),
        case("a number beyond all", create(), Form::Json, format!("1e{}", "9".repeat(MIB)), &[400]),
        case("half a pair", create(), Form::Json, map_with(r#""data":{"a":"\ud800"}"#), &[400]),
        case("nothing", create(), Form::Json, "", &[400]),
        case("a text", create(), Form::Json, "\"", &[400]),
    ]
}

/// Nine lists, each of nine of the one before.
fn laughs() -> String {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let before = level - 1;
        text.push_str(&format!("a{level}: &a{level} [{}*a{before}]\n", format!("*a{before},").repeat(8)));
    }
    text
}

/// Definitions of custom resources.
fn definitions() -> Vec<Case> {
    let to = || (Method::POST, DEFINITIONS);
    let object = |properties: Value| json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}});
    let many =
        Value::Object((0..30_000).map(|n| (format!("field{n}"), json!({"type": "string", "maxLength": 5}))).collect());
    let mut deep = json!({"type": "object"});
    for _ in 0..45 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    let pattern = |pattern: &str| object(json!({"a": {"type": "string", "pattern": pattern}}));
    let rule = |rule: String| {
        json!({"type": "object", "properties": {"spec": {"type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": rule}]}}})
    };
    let loops = (0..30).fold("true".to_owned(), |inner, n| format!("self.all(x{n}, {inner})"));
    let default = format!(r#"{{"type":"object","properties":{{"a":{{"type":"array","default":{}}}}}}}"#, nested(120));
    let with_default = definition(&json!("SCHEMA")).replace("\"SCHEMA\"", &default);
    let alternatives = (0..8).fold(json!({"minimum": 1}), |inner, _| json!({"anyOf": vec![inner; 4]}));
    vec![
        case("thirty thousand fields", to(), Form::Json, definition(&object(many)), &[201, 422]),
        case("a deep schema", to(), Form::Json, definition(&deep), &[201, 400, 422]),
        case(
            "a pattern that repeats repeats",
            to(),
            Form::Json,
            definition(&pattern("((a{1000}){1000}){1000}")),
            &[422],
        ),
        case("a pattern that would try all", to(), Form::Json, definition(&pattern("^(a+)+$")), &[201]),
        case("a long pattern", to(), Form::Json, definition(&pattern(&"(a|b)*".repeat(20_000))), &[422]),
        case("an endless expression", to(), Form::Json, definition(&rule("1+".repeat(45_000) + "1 > 0")), &[422]),
        case("a deep expression", to(), Form::Json, definition(&rule("(".repeat(50_000))), &[422]),
        case("loops in loops", to(), Form::Json, definition(&rule(loops)), &[422]),
        case(
            "a long expression",
            to(),
            Form::Json,
            definition(&rule(format!("self[0] == '{}'", "x".repeat(200_000)))),
            &[422],
        ),
        case("a deep default", to(), Form::Json, with_default, &[400, 422]),
        case(
            "alternatives of alternatives",
            to(),
            Form::Json,
            definition(&object(json!({"a": {"type": "integer", "allOf": [alternatives]}}))),
            &[201, 422],
        ),
    ]
}

async fn try_all(server: &Server) {
    let mut wrong = Vec::new();
    for Case { name, to: (method, path), form, body, good } in bodies().into_iter().chain(definitions()) {
        match tokio::time::timeout(LONG, server.api.send(method, &path, form, body)).await {
            Err(_) => wrong.push(format!("{name}: no answer")),
            Ok(Err(failure)) => wrong.push(format!("{name}: {failure}")),
            Ok(Ok(answer)) if good.contains(&answer.status) => {}
            Ok(Ok(answer)) => wrong.push(format!("{name}: {}: {:.300}", answer.status, answer.message())),
        }
        server.serves(name).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_body_is_the_server_answers_and_keeps_nothing_of_it() {
    let server = Server::start().await;
    server.define_odds().await;
    server.define_mapped().await;
    let before = server.resident_bytes();
    for _ in 0..2 {
        try_all(&server).await;
    }
    // Tables and pools that were first needed stay.
    let given_back = async {
        while server.resident_bytes() > before + 96 * MIB {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let given_back = tokio::time::timeout(LONG, given_back).await;
    let (now, before) = (server.resident_bytes() / MIB, before / MIB);
    assert!(given_back.is_ok(), "{now} MiB are held, and were {before} MiB");
    server.control_plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_end_is_cut_at_the_limit() {
    let server = Server::start().await;
    let mut stream = server.connect(None).await;
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: api\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut sent = 0;
    // It is written to until it is closed, and much later than the limit that would be wrong.
    while sent < 64 * MIB && stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 32 * MIB, "{} MiB were taken", sent / MIB);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap());
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.serves("an endless body").await;
    server.control_plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_not_unpacked() {
    let server = Server::start().await;
    // Ten kilobytes that gzip would make ten megabytes of: the content is never looked at.
    let request = http::Request::post(MAPS).header("host", "api").header("content-type", "application/json");
    let request =
        request.header("content-encoding", "gzip").body(bytes::Bytes::from_static(&[0x1f, 0x8b, 8, 0]).into()).unwrap();
    let (status, body) = server.raw(request).await.unwrap();
    assert!(matches!(status, 400 | 415), "{status}: {body}");
    server.control_plane.stop().await.unwrap();
}
