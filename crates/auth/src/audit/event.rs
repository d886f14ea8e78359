//! A line of the log.

use super::Level;
use crate::{User, user::user_info};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ObjectRef {
    /// Plural.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group.
    #[serde(rename = "apiGroup", skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// API version.
    #[serde(rename = "apiVersion", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Such as `status`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
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
        let line = Line {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: self.level.as_str(),
            audit_id: &self.id,
            stage: self.stage.as_str(),
            request_uri: &self.uri,
            verb: &self.verb,
            user: user_info(&self.user),
            impersonated_user: self.impersonated.as_ref().map(user_info),
            source_ips: self.source.map(|source| [source]),
            user_agent: &self.user_agent,
            object_ref: self.object.as_ref(),
            response_status: self.status.as_ref().map(Status::of),
            request_object: self.request.as_ref(),
            response_object: self.response.as_ref(),
            request_received_timestamp: micros(self.received),
            stage_timestamp: micros(self.at),
            annotations: &self.annotations,
        };
        serde_json::to_vec(&line).expect("an event is JSON")
    }
}

/// `Event` of `audit.k8s.io/v1`, in upstream's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    kind: &'a str,
    api_version: &'a str,
    level: &'a str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: &'a str,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<Value>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Option::is_none")]
    source_ips: Option<[std::net::IpAddr; 1]>,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<&'a ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<&'a Value>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Status<'a> {
    metadata: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    code: u16,
}

impl<'a> Status<'a> {
    fn of((code, reason, message): &'a (u16, String, String)) -> Self {
        let of_failure = |text: &'a str| (*code >= 400).then_some(text);
        let (status, message, reason) = (of_failure("Failure"), of_failure(message), of_failure(reason));
        Self { metadata: Map::new(), status, message, reason, code: *code }
    }
}

fn micros(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
