//! The next step for a certificate request. Pure.

use super::{Request, SignerName, Subject, request::Asked};
use k8s_openapi::jiff::Timestamp;
use std::time::Duration;

/// How long a certificate lives at most, and by default.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long requests are kept that were answered, and that were not.
const ANSWERED: Duration = Duration::from_secs(3600);
const UNANSWERED: Duration = Duration::from_secs(24 * 3600);
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until it is old.
    Wait(Option<Duration>),
    Remove,
    /// Approve it, if who asks may create this sub-resource.
    MayApprove {
        subresource: &'static str,
        message: &'static str,
    },
    Fail(String),
    Sign {
        signer: SignerName,
        subject: Subject,
        lifetime: Duration,
    },
}

/// `asked` is none when the request cannot be read.
pub(super) fn next(request: &Request, asked: Option<&Asked>, now: Timestamp) -> Next {
    let left = time_left(request, now);
    if left.is_some_and(|left| left.is_zero()) {
        return Next::Remove;
    }
    let answered = request.certificate.is_some() || ["Denied", "Failed"].iter().any(|t| request.condition(t).is_some());
    let (Some(signer), false) = (request.signer, answered) else { return Next::Wait(left) };
    if request.condition("Approved").is_none() {
        return approval(request, signer, asked).unwrap_or(Next::Wait(left));
    }
    let Some(asked) = asked else { return Next::Fail("the request is no PEM-encoded PKCS#10 request".to_owned()) };
    match refusal(signer, asked, &request.usages, &request.username) {
        Some(why) => Next::Fail(why),
        None => {
            let lifetime = request.lifetime.unwrap_or(LONGEST).min(LONGEST);
            Next::Sign { signer, subject: asked.subject.clone(), lifetime }
        }
    }
}

/// Kubelets get certificates as clients without a person; ports of kubelets need one.
fn approval(request: &Request, signer: SignerName, asked: Option<&Asked>) -> Option<Next> {
    let asked = asked.filter(|_| signer == SignerName::KubeletClient)?;
    if refusal(signer, asked, &request.usages, &request.username).is_some() {
        return None;
    }
    let own = request.username == asked.subject.common_name;
    Some(if own {
        let message = "Auto approving self kubelet client certificate after SubjectAccessReview.";
        Next::MayApprove { subresource: "selfnodeclient", message }
    } else {
        let message = "Auto approving kubelet client certificate after SubjectAccessReview.";
        Next::MayApprove { subresource: "nodeclient", message }
    })
}

/// Why the signer does not sign this; none when it does.
fn refusal(signer: SignerName, asked: &Asked, usages: &[String], username: &str) -> Option<String> {
    let has = |usage: &str| usages.iter().any(|one| one == usage);
    let only = |allowed: &[&str]| usages.iter().all(|usage| allowed.contains(&usage.as_str()));
    let subject = &asked.subject;
    let purpose = if signer == SignerName::KubeletServing { "server auth" } else { "client auth" };
    if !has(purpose) || !only(&["digital signature", "key encipherment", purpose]) {
        return Some(format!(
            "usages must contain {purpose:?} and may beside it contain \"digital signature\" and \"key encipherment\""
        ));
    }
    if asked.other_names {
        return Some("only host names and addresses may be asked for as alternative names".to_owned());
    }
    if signer == SignerName::Client {
        return None;
    }
    if subject.organizations != [NODES] {
        return Some(format!("the organization must be {NODES:?}"));
    }
    if !subject.common_name.starts_with(NODE_PREFIX) || subject.common_name.len() == NODE_PREFIX.len() {
        return Some(format!("the common name must be {NODE_PREFIX:?} and the node's name"));
    }
    match (signer, subject.alternative_names.is_empty()) {
        (SignerName::KubeletClient, false) => Some("a client has no alternative names".to_owned()),
        (SignerName::KubeletServing, true) => Some("a port needs a host name or address".to_owned()),
        (SignerName::KubeletServing, false) if username != subject.common_name => {
            Some("a node asks for its own ports only".to_owned())
        }
        (SignerName::Client | SignerName::KubeletClient | SignerName::KubeletServing, _) => None,
    }
}

/// How long the request is still kept.
fn time_left(request: &Request, now: Timestamp) -> Option<Duration> {
    let answer = ["Approved", "Denied", "Failed"].iter().filter_map(|type_| request.condition(type_));
    let answered = answer.filter_map(|condition| condition.last_update_time.as_ref()).map(|time| time.0).max();
    let (since, keep) = match answered {
        // One that was approved and not signed waits for its signer as long as one that nobody looked at.
        Some(at) if request.certificate.is_some() || request.condition("Approved").is_none() => (at, ANSWERED),
        Some(at) => (at, UNANSWERED),
        None => (request.meta.created?, UNANSWERED),
    };
    Some(keep.saturating_sub(Duration::try_from(now.duration_since(since)).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{
        ByteString,
        api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
    };
    use orrery_reconcile::Projected;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        "2026-01-02T00:00:00Z".parse().unwrap()
    }

    fn request(signer: &str, user: &str, usages: &[&str], status: Value) -> Request {
        Request::project(CertificateSigningRequest {
            metadata: serde_json::from_value(json!({"name": "r", "creationTimestamp": "2026-01-01T23:59:00Z"}))
                .unwrap(),
            spec: CertificateSigningRequestSpec {
                signer_name: format!("kubernetes.io/{signer}"),
                username: Some(user.to_owned()),
                usages: Some(usages.iter().map(|usage| (*usage).to_owned()).collect()),
                request: ByteString(Vec::new()),
                expiration_seconds: Some(600),
                ..CertificateSigningRequestSpec::default()
            },
            status: Some(serde_json::from_value(status).unwrap()),
        })
        .unwrap()
    }

    fn asked(name: &str, organizations: &[&str], names: &[&str]) -> Asked {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let subject = Subject {
            common_name: name.to_owned(),
            organizations: list(organizations),
            alternative_names: list(names),
        };
        Asked { subject, other_names: false }
    }

    const CLIENT: [&str; 2] = ["digital signature", "client auth"];
    const SERVER: [&str; 2] = ["digital signature", "server auth"];

    fn condition(type_: &str, at: &str) -> Value {
        json!({"conditions": [{"type": type_, "status": "True", "lastUpdateTime": at}]})
    }

    #[test]
    fn only_kubelets_as_clients_are_approved_without_a_person() {
        let node = asked("system:node:a", &[NODES], &[]);
        let port = asked("system:node:a", &[NODES], &["10.0.0.1"]);
        let by = |next: Next| match next {
            Next::MayApprove { subresource, .. } => Some(subresource),
            _ => None,
        };
        let table = [
            ("kube-apiserver-client-kubelet", "system:node:a", &CLIENT, &node, Some("selfnodeclient")),
            ("kube-apiserver-client-kubelet", "bootstrap", &CLIENT, &node, Some("nodeclient")),
            ("kube-apiserver-client-kubelet", "system:node:a", &SERVER, &node, None),
            ("kube-apiserver-client-kubelet", "system:node:a", &CLIENT, &port, None),
            ("kube-apiserver-client", "alice", &CLIENT, &node, None),
            ("kubelet-serving", "system:node:a", &SERVER, &port, None),
        ];
        for (signer, user, usages, asked, expected) in table {
            let request = request(signer, user, usages, json!({}));
            assert_eq!(by(next(&request, Some(asked), now())), expected, "{signer} {user}");
        }
    }

    #[test]
    fn approved_requests_are_signed_when_they_fit_their_signer() {
        let approved = || condition("Approved", "2026-01-01T23:59:30Z");
        let signs = |signer, user, usages: &[&str], asked: &Asked| match next(
            &request(signer, user, usages, approved()),
            Some(asked),
            now(),
        ) {
            Next::Sign { lifetime, .. } => lifetime == Duration::from_secs(600),
            _ => false,
        };
        let (node, port) = (asked("system:node:a", &[NODES], &[]), asked("system:node:a", &[NODES], &["a"]));
        let user = asked("alice", &["devs"], &[]);
        assert!(signs("kube-apiserver-client", "x", &CLIENT, &user));
        assert!(!signs("kube-apiserver-client", "x", &SERVER, &user));
        assert!(signs("kube-apiserver-client-kubelet", "x", &CLIENT, &node));
        assert!(!signs("kube-apiserver-client-kubelet", "x", &CLIENT, &user));
        assert!(signs("kubelet-serving", "system:node:a", &SERVER, &port));
        assert!(!signs("kubelet-serving", "system:node:b", &SERVER, &port), "another's port");
        assert!(!signs("kubelet-serving", "system:node:a", &SERVER, &node), "no name");
        assert!(!signs("legacy-unknown", "x", &CLIENT, &user));
        assert!(matches!(
            next(&request("kube-apiserver-client", "x", &CLIENT, approved()), None, now()),
            Next::Fail(_)
        ));
    }

    #[test]
    fn answered_requests_go_after_an_hour_and_others_after_a_day() {
        let of = |status| request("kube-apiserver-client", "alice", &CLIENT, status);
        let old = |status| next(&of(status), None, now()) == Next::Remove;
        assert!(old(condition("Denied", "2026-01-01T22:00:00Z")));
        assert!(!old(condition("Denied", "2026-01-01T23:30:00Z")));
        let mut signed = condition("Approved", "2026-01-01T22:00:00Z");
        signed["certificate"] = "cGVt".into();
        assert!(old(signed));
        assert!(old(condition("Approved", "2025-12-31T00:00:00Z")));
        assert_eq!(next(&of(json!({})), None, now()), Next::Wait(Some(UNANSWERED - Duration::from_secs(60))));
    }
}
