//! What a kubelet may do, as far as the request's line shows.

use super::{
    index::{PodIndex, VolumeIndex},
    references::Kind,
};
use crate::{Attributes, AuthorizeError, Objects, follow::Followed, rbac::Rule};
use orrery_store::StoreError;
use std::{sync::OnceLock, time::Duration};

/// How long a refusal waits for the index to hear of a pod that was bound just now.
const SETTLE: Duration = Duration::from_millis(100);

/// What the node authorizer decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow,
    /// Not allowed by this authorizer, for this reason; RBAC may allow it still.
    NoOpinion(String),
}

/// Decides for kubelets.
pub struct NodeAuthorizer {
    objects: Objects,
    pods: Followed<PodIndex>,
    volumes: Followed<VolumeIndex>,
}

impl NodeAuthorizer {
    /// Reads pods and volumes and follows them from then on. When `enabled` is false there are none, ever.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn start(objects: Objects, enabled: bool) -> Result<Self, StoreError> {
        if !enabled {
            return Ok(Self { objects, pods: Followed::empty(), volumes: Followed::empty() });
        }
        let prefix = |plural| (objects.layout.prefix)("", plural, "");
        let pods = Followed::start(objects.clone(), prefix("pods")).await?;
        let volumes = Followed::start(objects.clone(), prefix("persistentvolumes")).await?;
        Ok(Self { objects, pods, volumes })
    }

    /// Decides for the kubelet of `node`.
    pub(crate) async fn decide(&self, node: &str, asked: &Attributes) -> Result<Decision, AuthorizeError> {
        if asked.path.is_some() {
            return Ok(no("nodes have no rights to this path"));
        }
        let verb = asked.verb.as_str();
        Ok(match (asked.group.as_str(), asked.resource.as_str(), asked.subresource.as_str()) {
            ("", "nodes", _) => own_node(node, asked),
            ("coordination.k8s.io", "leases", _) => own_lease(node, asked),
            ("storage.k8s.io", "csinodes", _) => own_csi_node(node, asked),
            ("", "pods", _) => self.pod(node, asked).await?,
            ("", "configmaps", "") => self.readable(node, Kind::ConfigMap, asked).await,
            ("", "secrets", "") => self.readable(node, Kind::Secret, asked).await,
            ("", "persistentvolumeclaims", "") if verb == "get" => self.named(node, Kind::Claim, asked).await,
            ("", "persistentvolumeclaims", "status") if matches!(verb, "get" | "update" | "patch") => {
                self.named(node, Kind::Claim, asked).await
            }
            ("", "persistentvolumes", "") if verb == "get" => self.volume(node, asked).await?,
            ("storage.k8s.io", "volumeattachments", "") if verb == "get" => self.attachment(node, asked).await?,
            ("", "serviceaccounts", "token") if verb == "create" => self.named(node, Kind::Account, asked).await,
            ("", "serviceaccounts", "") if verb == "get" => self.named(node, Kind::Account, asked).await,
            ("", "configmaps" | "secrets" | "persistentvolumeclaims" | "persistentvolumes" | "serviceaccounts", _)
            | ("storage.k8s.io", "volumeattachments", _) => no("can only get individual resources of this type"),
            _ if other_rules().iter().any(|rule| rule.allows(asked)) => Decision::Allow,
            _ => no("nodes have no rights to this resource"),
        })
    }

    async fn readable(&self, node: &str, kind: Kind, asked: &Attributes) -> Decision {
        if !matches!(asked.verb.as_str(), "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        self.named(node, kind, asked).await
    }

    /// Something of a namespace that has to be named and that a pod of the node has to refer to.
    async fn named(&self, node: &str, kind: Kind, asked: &Attributes) -> Decision {
        if asked.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        if asked.name.is_empty() {
            return no("No Object name found");
        }
        let related = self.settled(|| self.refers(node, kind, &asked.namespace, &asked.name)).await;
        allow_if(related, || format!("no relationship found between node '{node}' and this object"))
    }

    fn refers(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let pods = self.pods.read();
        if pods.refers(node, kind, namespace, name) {
            return true;
        }
        let volumes = self.volumes.read();
        let mut claims = volumes.claims(namespace, name);
        kind == Kind::Secret && claims.any(|(namespace, claim)| pods.refers(node, Kind::Claim, namespace, claim))
    }

    /// Whether `holds`, now or once the index has heard of what was written just before.
    async fn settled(&self, holds: impl Fn() -> bool) -> bool {
        let mut changes = self.pods.changes();
        let heard = async {
            while !holds() {
                if changes.changed().await.is_err() {
                    return holds();
                }
            }
            true
        };
        tokio::time::timeout(SETTLE, heard).await.unwrap_or(false)
    }

    async fn pod(&self, node: &str, asked: &Attributes) -> Result<Decision, AuthorizeError> {
        let related = match (asked.subresource.as_str(), asked.verb.as_str()) {
            ("", "list" | "watch") => {
                let selected = asked.selects("spec.nodeName", node);
                return Ok(allow_if(selected, || "can only list/watch pods with spec.nodeName field selector".into()));
            }
            // What it may create shows only in the body; `restrict` looks at it.
            ("", "create") => return Ok(Decision::Allow),
            ("", "get" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                self.is_bound_or_gone(node, &asked.namespace, &asked.name).await?
            }
            _ => return Ok(no("nodes have no rights to this part of pods")),
        };
        Ok(allow_if(related, || format!("no relationship found between node '{node}' and this object")))
    }

    /// Whether the pod is bound to the node, or is gone: then the node is to hear 404, as it may have deleted it itself.
    async fn is_bound_or_gone(&self, node: &str, namespace: &str, pod: &str) -> Result<bool, AuthorizeError> {
        if namespace.is_empty() || pod.is_empty() {
            return Ok(false);
        }
        let pod = self.objects.get("", "pods", namespace, pod).await.map_err(unknown)?;
        Ok(pod.is_none_or(|pod| pod["spec"]["nodeName"] == node))
    }

    async fn volume(&self, node: &str, asked: &Attributes) -> Result<Decision, AuthorizeError> {
        let volume = self.objects.get("", "persistentvolumes", "", &asked.name).await.map_err(unknown)?;
        let claim = volume.as_ref().map(|volume| &volume["spec"]["claimRef"]);
        let claim = claim.and_then(|claim| Some((claim["namespace"].as_str()?, claim["name"].as_str()?)));
        let related = match claim {
            Some((namespace, name)) => self.settled(|| self.refers(node, Kind::Claim, namespace, name)).await,
            None => false,
        };
        Ok(allow_if(related, || format!("no relationship found between node '{node}' and this object")))
    }

    async fn attachment(&self, node: &str, asked: &Attributes) -> Result<Decision, AuthorizeError> {
        let attachment =
            self.objects.get("storage.k8s.io", "volumeattachments", "", &asked.name).await.map_err(unknown)?;
        let own = attachment.is_some_and(|attachment| attachment["spec"]["nodeName"] == node);
        Ok(allow_if(own, || format!("no relationship found between node '{node}' and this object")))
    }
}

fn unknown(error: orrery_machinery::status::ApiError) -> AuthorizeError {
    AuthorizeError::Unknown(error.message)
}

fn no(why: &str) -> Decision {
    Decision::NoOpinion(why.to_owned())
}

fn allow_if(allowed: bool, why: impl FnOnce() -> String) -> Decision {
    if allowed { Decision::Allow } else { Decision::NoOpinion(why()) }
}

/// What nodes may do with resources that are not looked at one by one: reviews, services, events, signing requests ...
fn other_rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let objects = crate::rbac::bootstrap::objects();
        let node = objects.iter().find(|o| o.plural == "clusterroles" && o.object["metadata"]["name"] == "system:node");
        let mut rules = node.map(|role| crate::rbac::rules_of(&role.object)).unwrap_or_default();
        // Beyond upstream's: a node's own proxy of services reads their slices by the node's identity.
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        rules.push(Rule {
            verbs: text(&["get", "list", "watch"]),
            api_groups: text(&["discovery.k8s.io"]),
            resources: text(&["endpointslices"]),
            ..Rule::default()
        });
        rules
    })
}

fn own_node(node: &str, asked: &Attributes) -> Decision {
    match (asked.subresource.as_str(), asked.verb.as_str()) {
        // Whose Node is written shows `restrict`, which also sees the body.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Decision::Allow,
        ("", "get" | "list" | "watch") => allow_if(asked.name == node, || {
            format!("node '{node}' cannot read '{}', only its own Node object", asked.name)
        }),
        _ => no("nodes have no rights to this part of nodes"),
    }
}

fn own_lease(node: &str, asked: &Attributes) -> Decision {
    if asked.namespace != "kube-node-lease" {
        return no("can only access leases in the \"kube-node-lease\" system namespace");
    }
    own_object(node, asked, "can only access node lease with the same name as the requesting node")
}

fn own_csi_node(node: &str, asked: &Attributes) -> Decision {
    own_object(node, asked, "can only access CSINode with the same name as the requesting node")
}

fn own_object(node: &str, asked: &Attributes, why: &str) -> Decision {
    let verb = asked.verb.as_str();
    if !asked.subresource.is_empty() || !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
        return no("can only get, create, update, patch, or delete a resource of this type");
    }
    allow_if(verb == "create" || asked.name == node, || why.to_owned())
}

#[cfg(test)]
mod tests;
