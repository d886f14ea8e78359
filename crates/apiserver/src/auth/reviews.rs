//! The authorizer's answers as API objects: access reviews, rules reviews, and who the caller is.

use super::{Attributes, AuthorizeError, Authorizer, User};
use crate::{config::ReviewHandler, object};
use orrery_machinery::{meta, status::ApiError};
use serde_json::{Value, json};
use std::sync::Arc;

/// Which reviews [`Reviews`] answers, as (group, plural).
const ANSWERED: &[(&str, &str)] = &[
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authentication.k8s.io", "tokenreviews"),
];

/// Answers the authorization and authentication reviews.
pub(crate) struct Reviews {
    authorizer: Arc<Authorizer>,
}

impl Reviews {
    pub(crate) fn new(authorizer: Arc<Authorizer>) -> Self {
        Self { authorizer }
    }

    /// Whether the review `plural` of `group` is answered here.
    pub(crate) fn answers(group: &str, plural: &str) -> bool {
        ANSWERED.contains(&(group, plural))
    }

    async fn access(&self, asked: &Attributes) -> Value {
        match self.authorizer.authorize(asked).await {
            Ok(()) => json!({"allowed": true}),
            Err(AuthorizeError::Denied(why)) => json!({"allowed": false, "reason": why}),
            Err(AuthorizeError::Unknown(why)) => json!({"allowed": false, "evaluationError": why}),
        }
    }

    fn rules(&self, user: &User, namespace: &str) -> Value {
        let mut rules = self.authorizer.rbac().rules_for(user, namespace);
        if user.is_in(super::MASTERS) {
            let all = vec!["*".to_owned()];
            rules.push(crate::rbac::Rule {
                verbs: all.clone(),
                api_groups: all.clone(),
                resources: all.clone(),
                ..Default::default()
            });
            rules.push(crate::rbac::Rule { verbs: all.clone(), non_resource_urls: all, ..Default::default() });
        }
        let (paths, resources): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| !rule.non_resource_urls.is_empty());
        let json =
            |rules: Vec<&crate::rbac::Rule>| rules.into_iter().map(crate::rbac::Rule::to_json).collect::<Vec<_>>();
        // What a node may do depends on its pods and can't be listed as rules.
        json!({"resourceRules": json(resources), "nonResourceRules": json(paths), "incomplete": user.node_name().is_some()})
    }
}

#[async_trait::async_trait]
impl ReviewHandler for Reviews {
    async fn review(&self, user: &User, mut review: Value) -> Result<Value, ApiError> {
        let status = match review["kind"].as_str().unwrap_or("") {
            "SelfSubjectAccessReview" => self.access(&attributes(user.clone(), &review["spec"])?).await,
            "SubjectAccessReview" => self.access(&attributes(subject(&review["spec"])?, &review["spec"])?).await,
            "LocalSubjectAccessReview" => {
                let asked = attributes(subject(&review["spec"])?, &review["spec"])?;
                if asked.path.is_some() || asked.namespace != meta::namespace(&review) {
                    let why = "spec.resourceAttributes.namespace must match metadata.namespace";
                    return Err(ApiError::bad_request(why));
                }
                self.access(&asked).await
            }
            "SelfSubjectRulesReview" => {
                let namespace = object::text(&review, "/spec/namespace");
                if namespace.is_empty() {
                    return Err(ApiError::bad_request("no namespace on request"));
                }
                self.rules(user, namespace)
            }
            "SelfSubjectReview" => json!({"userInfo": {"username": user.name(), "groups": user.groups()}}),
            // Truthful: callers are known by client certificates only, so no token is anybody's.
            "TokenReview" => json!({
                "authenticated": false, "user": {},
                "error": "this server knows no bearer tokens; use a client certificate",
            }),
            other => return Err(ApiError::bad_request(format!("{other:?} is no review"))),
        };
        object::set_field(&mut review, "status", Some(status));
        Ok(review)
    }
}

fn subject(spec: &Value) -> Result<User, ApiError> {
    let name = object::text(spec, "/user").to_owned();
    let groups: Vec<String> =
        object::list(spec, "/groups").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if name.is_empty() && groups.is_empty() {
        return Err(ApiError::bad_request("spec.user: at least one of user or groups must be specified"));
    }
    Ok(User::described(name, groups))
}

fn attributes(user: User, spec: &Value) -> Result<Attributes, ApiError> {
    let resource = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    match (resource.is_object(), path.is_object()) {
        (true, false) => {
            let text = |field: &str| resource[field].as_str().unwrap_or("");
            let (group, plural, namespace) = (text("group"), text("resource"), text("namespace"));
            let mut asked = Attributes::resource(user, text("verb"), group, plural, namespace, text("name"));
            asked.subresource = text("subresource").to_owned();
            Ok(asked)
        }
        (false, true) => Ok(Attributes::path(user, object::text(path, "/verb"), object::text(path, "/path"))),
        _ => {
            let why = "exactly one of spec.nonResourceAttributes or spec.resourceAttributes must be specified";
            Err(ApiError::bad_request(why))
        }
    }
}
