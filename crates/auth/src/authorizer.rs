//! The chain of authorizers: `system:masters`, nodes, RBAC.

use crate::{
    Attributes, User,
    node::{Decision, NodeAuthorizer},
    rbac::{Grant, RbacCache, grant_of, refusal},
    user::MASTERS,
};
use orrery_machinery::{
    meta,
    status::{ApiError, Target},
};
use serde_json::Value;

/// Why a request is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeError {
    /// Nobody allows it. Why, as far as an authorizer has said it: RBAC says nothing of what it does not allow.
    #[error("nobody allows this: {0}")]
    Denied(String),
    /// What it depends on could not be read.
    #[error("cannot tell whether this is allowed: {0}")]
    Unknown(String),
}

/// Decides who may do what.
pub struct Authorizer {
    rbac: RbacCache,
    nodes: NodeAuthorizer,
}

impl Authorizer {
    /// Decides by these roles and bindings, and for kubelets by `nodes`.
    #[must_use]
    pub fn new(rbac: RbacCache, nodes: NodeAuthorizer) -> Self {
        Self { rbac, nodes }
    }

    /// The roles and bindings that decide.
    #[must_use]
    pub fn rbac(&self) -> &RbacCache {
        &self.rbac
    }

    /// Whether `attributes` is allowed, and why.
    ///
    /// # Errors
    /// The reason, when it is not.
    pub async fn authorize(&self, attributes: &Attributes) -> Result<String, AuthorizeError> {
        if attributes.user.is_in(MASTERS) {
            return Ok(String::new());
        }
        let mut reason = String::new();
        if let Some(node) = attributes.user.node_name() {
            match self.nodes.decide(node, attributes).await? {
                Decision::Allow => return Ok(String::new()),
                Decision::NoOpinion(why) => reason = why,
            }
        }
        if let Some(why) = self.rbac.allows(attributes) {
            return Ok(why);
        }
        Err(AuthorizeError::Denied(reason))
    }

    /// [`Authorizer::authorize`] with the refusal as the API answers it.
    ///
    /// # Errors
    /// 403 with the reason, or 500 when it can't be told.
    pub async fn require(&self, attributes: &Attributes) -> Result<String, ApiError> {
        self.authorize(attributes).await.map_err(|error| forbidden(attributes, error))
    }

    /// Whether `user` may write this role or binding: nobody grants what they do not hold. Other resources pass.
    ///
    /// # Errors
    /// 403 with what is not held; 404 when a binding names a role that is not there.
    pub async fn check_grant(
        &self,
        user: &User,
        resource: &str,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let group = crate::rbac::GROUP;
        let namespace = meta::namespace(new);
        if user.is_in(MASTERS) {
            return Ok(());
        }
        let (verb, of, name, rules) = match grant_of(resource, new, old) {
            Grant::Nothing => return Ok(()),
            Grant::Rules { resource, name, rules } => ("escalate", resource, name, Some(rules)),
            Grant::Role { resource, role } => {
                let rules = self.rbac.role(namespace, &role);
                ("bind", resource.to_owned(), role.name, rules)
            }
        };
        let asked = Attributes::resource(user.clone(), verb, group, &of, namespace, &name);
        if self.authorize(&asked).await.is_ok() {
            return Ok(());
        }
        let rules = rules.ok_or_else(|| ApiError::not_found(Target { group, resource: &of, name: &name }))?;
        let held = self.rbac.rules_for(user, namespace);
        match refusal(user, &rules, &held) {
            None => Ok(()),
            Some(why) => Err(ApiError::forbidden(Target { group, resource, name: meta::name(new) }, &why)),
        }
    }
}

fn forbidden(attributes: &Attributes, error: AuthorizeError) -> ApiError {
    match error {
        AuthorizeError::Denied(reason) => {
            let refusal = attributes.refusal();
            let why = if reason.is_empty() { refusal } else { format!("{refusal}: {reason}") };
            let target = Target { group: &attributes.group, resource: &attributes.resource, name: &attributes.name };
            match &attributes.path {
                Some(_) => {
                    ApiError { code: 403, reason: "Forbidden", message: format!("forbidden: {why}"), details: None }
                }
                None => ApiError::forbidden(target, &why),
            }
        }
        AuthorizeError::Unknown(why) => ApiError::internal(why),
    }
}
