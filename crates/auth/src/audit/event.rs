//! A line of the log.

use super::Level;
use crate::{User, user::user_info};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// It is known who asks what.
    RequestReceived,
    /// The answer has begun; only for answers that go on, such as a watch.
    ResponseStarted,
    /// The answer has ended.
    ResponseComplete,
    /// The server failed badly.
    Panic,
}

impl Stage {
    /// As the log writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// The object that a request is about. Empty texts mean "none".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectRef {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural.
    pub resource: String,
    /// Such as `status`.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What is known about a request at a stage.
#[derive(Debug, Clone)]
pub struct Event {
    /// How much of it is written down.
    pub level: Level,
    /// The request's id, which its answer carries too.
    pub id: String,
    /// How far it has come.
    pub stage: Stage,
    /// Path and query.
    pub uri: String,
    /// Such as `get`.
    pub verb: String,
    /// Who asks.
    pub user: User,
    /// Whom they act as.
    pub impersonated: Option<User>,
    /// From where; none within the process.
    pub source: Option<std::net::IpAddr>,
    /// What the client calls itself.
    pub user_agent: String,
    /// What it is about; none for a path that is no resource.
    pub object: Option<ObjectRef>,
    /// The answer: HTTP status, reason and message; none while there is none.
    pub status: Option<(u16, String, String)>,
    /// The request's object.
    pub request: Option<Value>,
    /// The response's object.
    pub response: Option<Value>,
    /// When it came.
    pub received: jiff::Timestamp,
    /// When it was at this stage.
    pub at: jiff::Timestamp,
    /// What those who dealt with it noted.
    pub annotations: BTreeMap<String, String>,
}

impl Event {
    /// The line, without its end.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let mut event = Map::new();
        let mut put = |field: &str, value: Value| {
            let empty = match &value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            if !empty {
                event.insert(field.to_owned(), value);
            }
        };
        put("kind", json!("Event"));
        put("apiVersion", json!("audit.k8s.io/v1"));
        put("level", json!(self.level.as_str()));
        put("auditID", json!(self.id));
        put("stage", json!(self.stage.as_str()));
        put("requestURI", json!(self.uri));
        put("verb", json!(self.verb));
        put("user", user_info(&self.user));
        put("impersonatedUser", self.impersonated.as_ref().map_or(Value::Null, user_info));
        put("sourceIPs", self.source.map_or(Value::Null, |source| json!([source])));
        put("userAgent", json!(self.user_agent));
        put("objectRef", self.object.as_ref().map_or(Value::Null, object));
        put("responseStatus", self.status.as_ref().map_or(Value::Null, status));
        put("requestObject", self.request.clone().unwrap_or(Value::Null));
        put("responseObject", self.response.clone().unwrap_or(Value::Null));
        put("requestReceivedTimestamp", micros(self.received));
        put("stageTimestamp", micros(self.at));
        put("annotations", json!(self.annotations));
        serde_json::to_vec(&event).expect("an event is JSON")
    }
}

fn micros(time: jiff::Timestamp) -> Value {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into()
}

fn object(object: &ObjectRef) -> Value {
    let fields = [
        ("resource", &object.resource),
        ("namespace", &object.namespace),
        ("name", &object.name),
        ("apiGroup", &object.group),
        ("apiVersion", &object.version),
        ("subresource", &object.subresource),
    ];
    let set = fields.into_iter().filter(|(_, text)| !text.is_empty());
    set.map(|(field, text)| (field.to_owned(), json!(text))).collect::<Map<_, _>>().into()
}

fn status((code, reason, message): &(u16, String, String)) -> Value {
    let mut status = json!({"metadata": {}, "code": code});
    if *code >= 400 {
        status["status"] = json!("Failure");
        status["reason"] = json!(reason);
        status["message"] = json!(message);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_did_what_and_how_it_ended() {
        let event = Event {
            level: Level::Metadata,
            id: "1".into(),
            stage: Stage::ResponseComplete,
            uri: "/api/v1/namespaces/demo/pods/a?x=y".into(),
            verb: "delete".into(),
            user: User::new("alice", ["staff"]),
            impersonated: Some(User::new("bob", Vec::<String>::new()).with_uid("7")),
            source: Some("127.0.0.1".parse().unwrap()),
            user_agent: "kubectl".into(),
            object: Some(ObjectRef {
                version: "v1".into(),
                resource: "pods".into(),
                namespace: "demo".into(),
                name: "a".into(),
                ..ObjectRef::default()
            }),
            status: Some((403, "Forbidden".into(), "no".into())),
            request: None,
            response: None,
            received: jiff::Timestamp::from_microsecond(1_500_000).unwrap(),
            at: jiff::Timestamp::from_second(2).unwrap(),
            annotations: [("authorization.k8s.io/decision".to_owned(), "forbid".to_owned())].into(),
        };
        let line: Value = serde_json::from_slice(&event.to_line()).unwrap();
        let expected = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "1",
            "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/demo/pods/a?x=y", "verb": "delete",
            "user": {"username": "alice", "groups": ["staff", "system:authenticated"]},
            "impersonatedUser": {"username": "bob", "uid": "7", "groups": ["system:authenticated"]},
            "sourceIPs": ["127.0.0.1"], "userAgent": "kubectl",
            "objectRef": {"resource": "pods", "namespace": "demo", "name": "a", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 403, "status": "Failure", "reason": "Forbidden", "message": "no"},
            "requestReceivedTimestamp": "1970-01-01T00:00:01.500000Z",
            "stageTimestamp": "1970-01-01T00:00:02.000000Z",
            "annotations": {"authorization.k8s.io/decision": "forbid"},
        });
        assert_eq!(line, expected);
    }
}
