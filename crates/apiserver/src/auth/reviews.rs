//! Decisions as API objects: who am I, whose is this token, who may do what.

use super::{Attributes, AuthorizeError, Authorizer, User};
use crate::{config::ReviewHandler, object};
use orrery_auth::{
    Authenticators, FieldTerm, field_terms,
    rbac::Rule,
    token::TokenError,
    user::{MASTERS, user_info},
};
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
    authenticators: Authenticators,
}

impl Reviews {
    pub(crate) fn new(authorizer: Arc<Authorizer>, authenticators: Authenticators) -> Self {
        Self { authorizer, authenticators }
    }

    /// Whether the review `plural` of `group` is answered here.
    pub(crate) fn answers(group: &str, plural: &str) -> bool {
        ANSWERED.contains(&(group, plural))
    }

    async fn access(&self, asked: &Attributes) -> Value {
        match self.authorizer.authorize(asked).await {
            Ok(why) => decided(true, &why),
            Err(AuthorizeError::Denied(why)) => decided(false, &why),
            Err(AuthorizeError::Unknown(why)) => json!({"allowed": false, "evaluationError": why}),
        }
    }

    fn rules(&self, user: &User, namespace: &str) -> Value {
        let mut rules = self.authorizer.rbac().rules_for(user, namespace);
        if user.is_in(MASTERS) {
            let all = || vec!["*".to_owned()];
            rules.push(Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() });
            rules.push(Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() });
        }
        let mut seen: Vec<Rule> = Vec::new();
        rules.retain(|rule| {
            let fresh = !seen.contains(rule);
            if fresh {
                seen.push(rule.clone());
            }
            fresh
        });
        let resources = rules.iter().filter(|rule| !rule.resources.is_empty()).map(|rule| {
            json_of(&[
                ("verbs", &rule.verbs),
                ("apiGroups", &rule.api_groups),
                ("resources", &rule.resources),
                ("resourceNames", &rule.resource_names),
            ])
        });
        let paths = rules.iter().filter(|rule| !rule.non_resource_urls.is_empty());
        let paths = paths.map(|rule| json_of(&[("verbs", &rule.verbs), ("nonResourceURLs", &rule.non_resource_urls)]));
        let mut status = json!({
            "resourceRules": resources.collect::<Vec<_>>(), "nonResourceRules": paths.collect::<Vec<_>>(),
            "incomplete": false,
        });
        if user.node_name().is_some() {
            status["incomplete"] = json!(true);
            status["evaluationError"] =
                json!("what a node may do depends on its pods, which the node authorizer can't list as rules");
        }
        status
    }

    async fn token(&self, review: &Value) -> Result<Value, ApiError> {
        let token = object::text(review, "/spec/token");
        if token.is_empty() {
            return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
        }
        let audiences = object::list(review, "/spec/audiences").iter().filter_map(Value::as_str);
        let audiences: Vec<String> = audiences.map(str::to_owned).collect();
        Ok(match self.authenticators.token(token, &audiences, object::now_seconds()).await {
            Ok(identity) => json!({
                "authenticated": true, "user": user_info(&identity.user), "audiences": identity.audiences,
            }),
            Err(TokenError::Refused(why) | TokenError::Unknown(why)) => {
                json!({"authenticated": false, "user": {}, "error": why})
            }
        })
    }
}

/// A decision; `kubectl auth can-i` prints the reason beside it, so there is none where none was given.
fn decided(allowed: bool, reason: &str) -> Value {
    let reason = Some(reason).filter(|reason| !reason.is_empty());
    reason.map_or_else(|| json!({"allowed": allowed}), |reason| json!({"allowed": allowed, "reason": reason}))
}

fn json_of(fields: &[(&str, &Vec<String>)]) -> Value {
    let set = fields.iter().filter(|(_, list)| !list.is_empty());
    set.map(|(name, list)| ((*name).to_owned(), json!(list))).collect::<serde_json::Map<_, _>>().into()
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
            "SelfSubjectReview" => json!({"userInfo": user_info(user)}),
            "TokenReview" => self.token(&review).await?,
            other => return Err(ApiError::bad_request(format!("{other:?} is no review"))),
        };
        object::set_field(&mut review, "status", Some(status));
        Ok(review)
    }
}

fn subject(spec: &Value) -> Result<User, ApiError> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let name = object::text(spec, "/user").to_owned();
    let groups = texts(&spec["groups"]);
    if name.is_empty() && groups.is_empty() {
        return Err(ApiError::bad_request("spec.user: at least one of user or groups must be specified"));
    }
    let extra = spec["extra"].as_object().into_iter().flatten();
    // As upstream: keys of extras are compared in lower case.
    let extra = extra.map(|(key, values)| (key.to_lowercase(), texts(values))).collect();
    Ok(User::described(name, groups).with_uid(object::text(spec, "/uid")).with_extra(extra))
}

fn attributes(user: User, spec: &Value) -> Result<Attributes, ApiError> {
    let resource = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    match (resource.is_object(), path.is_object()) {
        (true, false) => {
            let text = |field: &str| resource[field].as_str().unwrap_or("");
            let (group, plural, namespace) = (text("group"), text("resource"), text("namespace"));
            let mut asked = Attributes::resource(user, text("verb"), group, plural, namespace, text("name"));
            text("subresource").clone_into(&mut asked.subresource);
            asked.fields = selector(&resource["fieldSelector"]);
            Ok(asked)
        }
        (false, true) => Ok(Attributes::path(user, object::text(path, "/verb"), object::text(path, "/path"))),
        _ => {
            let why = "exactly one of spec.nonResourceAttributes or spec.resourceAttributes must be specified";
            Err(ApiError::bad_request(why))
        }
    }
}

/// The terms of a review's field selector. What authorizers do not look at is left out, which only ever asks for more.
fn selector(selector: &Value) -> Vec<FieldTerm> {
    if let Some(raw) = selector["rawSelector"].as_str() {
        return field_terms(raw);
    }
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    let term = |requirement: &Value| {
        let [value] = requirement["values"].as_array()?.as_slice() else { return None };
        let equal = match requirement["operator"].as_str()? {
            "In" => true,
            "NotIn" => false,
            _ => return None,
        };
        Some(FieldTerm { field: requirement["key"].as_str()?.to_owned(), equal, value: value.as_str()?.to_owned() })
    };
    requirements.filter_map(term).collect()
}
