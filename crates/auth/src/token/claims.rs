//! What a token says.

use crate::{User, token::CREDENTIAL_ID, user::split_account};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// How far clocks may differ when a token is not valid yet.
const LEEWAY_SECONDS: i64 = 60;

/// Claims of a service account's token. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom it is.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// When it ends.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// By whom.
    pub iss: String,
    /// Its id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    /// From when on it is valid.
    pub nbf: i64,
    /// Whose it is: the user's name.
    pub sub: String,
}

/// Whose a token is and what it is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bound {
    /// The account's namespace, and that of its pod or secret.
    pub namespace: String,
    /// The node that it is bound to, or that its pod runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Named>,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Named>,
    /// The secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Named>,
    /// The account.
    pub serviceaccount: Named,
    /// From when on its use is noted down: it was to be renewed by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// An object by its name and uid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

impl Claims {
    /// Whether the token is valid at `now`, as far as it tells by itself.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, issuers: &[String], now: i64) -> Result<(), &'static str> {
        if !issuers.contains(&self.iss) {
            return Err("the token is of another issuer");
        }
        if now >= self.exp {
            return Err("service account token has expired");
        }
        if now + LEEWAY_SECONDS < self.nbf {
            return Err("service account token is not valid yet");
        }
        let Bound { namespace, serviceaccount, .. } = &self.kubernetes;
        if split_account(&self.sub) != Some((namespace, &serviceaccount.name)) {
            return Err("the token's subject is not its service account");
        }
        Ok(())
    }

    /// The user whom the token proves.
    #[must_use]
    pub fn user(&self) -> User {
        let Bound { namespace, serviceaccount, pod, node, .. } = &self.kubernetes;
        let mut extra = BTreeMap::new();
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.insert(key.to_owned(), vec![value.to_owned()]);
            }
        };
        if !self.jti.is_empty() {
            add(CREDENTIAL_ID, &format!("JTI={}", self.jti));
        }
        if let Some(pod) = pod {
            add("authentication.kubernetes.io/pod-name", &pod.name);
            add("authentication.kubernetes.io/pod-uid", &pod.uid);
        }
        if let Some(node) = node {
            add("authentication.kubernetes.io/node-name", &node.name);
            add("authentication.kubernetes.io/node-uid", &node.uid);
        }
        User::service_account(namespace, &serviceaccount.name).with_uid(&serviceaccount.uid).with_extra(extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims() -> Claims {
        serde_json::from_value(json!({"aud": "one", "exp": 1000, "iat": 100, "nbf": 100, "iss": "https://i",
            "jti": "7", "sub": "system:serviceaccount:demo:robot", "kubernetes.io": {
                "namespace": "demo", "serviceaccount": {"name": "robot", "uid": "u1"}, "pod": {"name": "p", "uid": "u2"},
                "node": {"name": "n"}}}))
        .unwrap()
    }

    #[test]
    fn a_token_is_valid_from_when_until_when_and_by_whom_it_says() {
        let issuers = ["https://i".to_owned()];
        let check = |claims: &Claims, now| claims.check(&issuers, now);
        check(&claims(), 100).unwrap();
        check(&claims(), 50).unwrap();
        check(&claims(), 39).unwrap_err();
        check(&claims(), 999).unwrap();
        check(&claims(), 1000).unwrap_err();
        check(&Claims { iss: "https://j".into(), ..claims() }, 500).unwrap_err();
        check(&Claims { sub: "system:serviceaccount:demo:other".into(), ..claims() }, 500).unwrap_err();
        check(&Claims { sub: "admin".into(), ..claims() }, 500).unwrap_err();
    }

    #[test]
    fn the_user_knows_pod_node_and_credential() {
        let user = claims().user();
        assert_eq!((user.name(), user.uid()), ("system:serviceaccount:demo:robot", "u1"));
        let expected = [
            ("authentication.kubernetes.io/credential-id", "JTI=7"),
            ("authentication.kubernetes.io/node-name", "n"),
            ("authentication.kubernetes.io/pod-name", "p"),
            ("authentication.kubernetes.io/pod-uid", "u2"),
        ];
        let extra: Vec<_> = user.extra().iter().map(|(key, values)| (key.as_str(), values[0].as_str())).collect();
        assert_eq!(extra, expected);
    }
}
