//! The chain of authorizers: `system:masters`, nodes, RBAC.

use super::{Attributes, MASTERS, NodeView, node};
use crate::rbac::RbacCache;
use orrery_machinery::status::{ApiError, Target};
use std::sync::Arc;

/// Why a request is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeError {
    /// Nobody allows it.
    #[error("{0}")]
    Denied(String),
    /// What it depends on could not be read.
    #[error("cannot tell whether this is allowed: {0}")]
    Unknown(String),
}

/// Decides who may do what.
pub(crate) struct Authorizer {
    rbac: Arc<RbacCache>,
    nodes: NodeView,
}

impl Authorizer {
    pub(crate) fn new(rbac: Arc<RbacCache>, nodes: NodeView) -> Self {
        Self { rbac, nodes }
    }

    /// The roles and bindings that decide.
    pub(crate) fn rbac(&self) -> &RbacCache {
        &self.rbac
    }

    /// Whether `attributes` is allowed.
    ///
    /// # Errors
    /// The reason, when it is not.
    pub(crate) async fn authorize(&self, attributes: &Attributes) -> Result<(), AuthorizeError> {
        if attributes.user.is_in(MASTERS) {
            return Ok(());
        }
        let mut reason = String::new();
        if let Some(node) = attributes.user.node_name() {
            match node::decide(&self.nodes, node, attributes).await? {
                node::Decision::Allow => return Ok(()),
                node::Decision::NoOpinion(why) => reason = why,
            }
        }
        if self.rbac.allows(attributes) {
            return Ok(());
        }
        let refusal = attributes.refusal();
        Err(AuthorizeError::Denied(if reason.is_empty() { refusal } else { format!("{refusal}: {reason}") }))
    }

    /// [`Authorizer::authorize`] with the refusal as the API answers it.
    pub(crate) async fn require(&self, attributes: &Attributes) -> Result<(), ApiError> {
        self.authorize(attributes).await.map_err(|error| match error {
            AuthorizeError::Denied(why) => match &attributes.path {
                Some(_) => {
                    ApiError { code: 403, reason: "Forbidden", message: format!("forbidden: {why}"), details: None }
                }
                None => ApiError::forbidden(
                    Target { group: &attributes.group, resource: &attributes.resource, name: &attributes.name },
                    &why,
                ),
            },
            AuthorizeError::Unknown(why) => ApiError::internal(why),
        })
    }
}
