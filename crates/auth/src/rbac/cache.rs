//! The policy in memory, fed by the store's watch.

use super::{Aggregated, GROUP, Policy, RoleRef, Rule, aggregate};
use crate::{Attributes, Objects, User, follow::Followed};
use orrery_store::{Revision, StoreError};

/// The present roles and bindings.
pub struct RbacCache {
    policy: Followed<Policy>,
}

impl RbacCache {
    /// Reads roles and bindings and follows them from then on.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn start(objects: Objects) -> Result<Self, StoreError> {
        // The prefix of the group's resources without the resource.
        let prefix = (objects.layout.prefix)(GROUP, "x", "");
        let prefix = prefix.strip_suffix("x/").expect("a prefix ends with the plural").to_owned();
        Ok(Self { policy: Followed::start(objects, prefix).await? })
    }

    /// No roles and bindings, ever.
    #[must_use]
    pub fn empty() -> Self {
        Self { policy: Followed::empty() }
    }

    /// Why what is asked is allowed, if a rule allows it.
    #[must_use]
    pub fn allows(&self, asked: &Attributes) -> Option<String> {
        self.policy.read().allows(asked).map(|allowed| allowed.to_string())
    }

    /// The rules that hold for a user in a namespace.
    #[must_use]
    pub fn rules_for(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.policy.read().rules_for(user, namespace).cloned().collect()
    }

    /// The rules of a role as a binding in `namespace` names it; none when there is no such role.
    #[must_use]
    pub fn role(&self, namespace: &str, role: &RoleRef) -> Option<Vec<Rule>> {
        self.policy.read().role(namespace, role).map(<[Rule]>::to_vec)
    }

    /// The roles that gather the rules of others and do not hold what they should.
    #[must_use]
    pub fn aggregate(&self) -> Vec<Aggregated> {
        aggregate(&self.policy.read())
    }

    /// Changes whenever a role or binding has.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::watch::Receiver<Revision> {
        self.policy.changes()
    }
}
