//! Which nodes' pods refer to what, kept as pods change.

use super::references::{Kind, references, volume_secrets};
use crate::follow::View;
use serde_json::Value;
use std::collections::HashMap;

/// What is referred to: kind, namespace, name.
type Target = (Kind, String, String);

/// The pods that are bound to nodes, by what they refer to.
#[derive(Debug, Default)]
pub(super) struct PodIndex {
    /// What each pod (`NAMESPACE/NAME`) refers to, and its node.
    pods: HashMap<String, (String, Vec<Target>)>,
    /// How many pods of each node refer to a target.
    nodes: HashMap<Target, HashMap<String, usize>>,
}

impl PodIndex {
    /// Whether a pod of `node` refers to the object.
    pub(super) fn refers(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let target = (kind, namespace.to_owned(), name.to_owned());
        self.nodes.get(&target).is_some_and(|nodes| nodes.contains_key(node))
    }
}

impl View for PodIndex {
    fn put(&mut self, key: &str, pod: &Value) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or("");
        let namespace = key.split('/').next().unwrap_or("");
        let targets: Vec<Target> = if node.is_empty() {
            Vec::new()
        } else {
            references(pod).into_iter().map(|(kind, name)| (kind, namespace.to_owned(), name)).collect()
        };
        if self.pods.get(key).is_some_and(|(old, known)| old == node && *known == targets) {
            return;
        }
        self.remove(key);
        for target in &targets {
            *self.nodes.entry(target.clone()).or_default().entry(node.to_owned()).or_default() += 1;
        }
        if !targets.is_empty() {
            self.pods.insert(key.to_owned(), (node.to_owned(), targets));
        }
    }

    fn remove(&mut self, key: &str) {
        let Some((node, targets)) = self.pods.remove(key) else { return };
        for target in targets {
            let Some(nodes) = self.nodes.get_mut(&target) else { continue };
            if let Some(count) = nodes.get_mut(&node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&node);
                }
            }
            if nodes.is_empty() {
                self.nodes.remove(&target);
            }
        }
    }
}

/// The volumes that refer to secrets, with the claims that they are bound to.
#[derive(Debug, Default)]
pub(super) struct VolumeIndex {
    /// By secret (namespace, name), then volume: the claim's namespace and name.
    claims: HashMap<(String, String), HashMap<String, (String, String)>>,
}

impl VolumeIndex {
    /// The claims whose volumes refer to the secret.
    pub(super) fn claims(&self, namespace: &str, secret: &str) -> impl Iterator<Item = &(String, String)> {
        let volumes = self.claims.get(&(namespace.to_owned(), secret.to_owned()));
        volumes.into_iter().flat_map(HashMap::values)
    }
}

impl View for VolumeIndex {
    fn put(&mut self, key: &str, volume: &Value) {
        self.remove(key);
        let claim = &volume["spec"]["claimRef"];
        let (Some(namespace), Some(name)) = (claim["namespace"].as_str(), claim["name"].as_str()) else { return };
        for secret in volume_secrets(volume) {
            let claims = self.claims.entry(secret).or_default();
            claims.insert(key.to_owned(), (namespace.to_owned(), name.to_owned()));
        }
    }

    fn remove(&mut self, key: &str) {
        self.claims.retain(|_, volumes| {
            volumes.remove(key);
            !volumes.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(node: Option<&str>, secret: &str) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": node, "imagePullSecrets": [{"name": secret}]}})
    }

    proptest! {
        #[test]
        fn the_index_knows_what_a_search_through_all_pods_would_find(
            writes in prop::collection::vec((0..4_u8, prop::option::of(0..3_u8), 0..3_u8, any::<bool>()), 0..40),
        ) {
            let mut index = PodIndex::default();
            let mut pods = HashMap::new();
            for (name, node, secret, gone) in writes {
                let key = format!("n{}/p{name}", name % 2);
                if gone {
                    index.remove(&key);
                    pods.remove(&key);
                } else {
                    let node = node.map(|node| format!("node{node}"));
                    let object = pod(node.as_deref(), &format!("s{secret}"));
                    index.put(&key, &object);
                    pods.insert(key, object);
                }
            }
            for node in 0..3 {
                for secret in 0..3 {
                    for namespace in ["n0", "n1"] {
                        let (node, secret) = (format!("node{node}"), format!("s{secret}"));
                        let found = pods.iter().any(|(key, pod)| {
                            key.starts_with(&format!("{namespace}/"))
                                && pod["spec"]["nodeName"] == node
                                && pod["spec"]["imagePullSecrets"][0]["name"] == secret
                        });
                        prop_assert_eq!(index.refers(&node, Kind::Secret, namespace, &secret), found);
                    }
                }
            }
            pods.keys().for_each(|key| index.remove(key));
            prop_assert!(index.nodes.is_empty() && index.pods.is_empty());
        }
    }

    #[test]
    fn a_secret_of_a_volume_leads_to_its_claim_until_the_volume_is_gone() {
        let mut index = VolumeIndex::default();
        let volume = json!({"spec": {"claimRef": {"namespace": "demo", "name": "c"},
            "csi": {"nodeStageSecretRef": {"namespace": "store", "name": "s"}}}});
        index.put("v", &volume);
        assert_eq!(index.claims("store", "s").collect::<Vec<_>>(), [&("demo".to_owned(), "c".to_owned())]);
        index.remove("v");
        assert_eq!(index.claims("store", "s").count(), 0);
    }
}
