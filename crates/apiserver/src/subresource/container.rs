//! Which container of which pod on which kubelet a stream is for.

use crate::{
    envelope, object,
    registry::{Registry, key, store_error},
};
use orrery_machinery::{
    meta,
    status::{ApiError, Target},
};
use serde_json::Value;

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// A kubelet's port, where the node does not say.
const DEFAULT_PORT: u16 = 10250;

/// A container, and where its kubelet is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) container: String,
    pub(super) node: String,
    /// IP address of the kubelet.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Finds a container of a pod: the one named, the only one, or the one that the pod's annotation names.
pub(super) async fn find(registry: &Registry, namespace: &str, pod: &str, wanted: &str) -> Result<Place, ApiError> {
    let object = read(registry, namespace, pod).await?;
    let container = choose(&object, wanted)?;
    Ok(Place { container, ..host(registry, &object).await? })
}

/// Where the kubelet of a pod is, for none of its containers.
pub(super) async fn of_pod(registry: &Registry, namespace: &str, pod: &str) -> Result<Place, ApiError> {
    host(registry, &read(registry, namespace, pod).await?).await
}

async fn read(registry: &Registry, namespace: &str, pod: &str) -> Result<Value, ApiError> {
    let target = Target { group: "", resource: "pods", name: pod };
    let entry = registry.store.get(&key::object("", "pods", namespace, pod)).await.map_err(store_error)?;
    envelope::decode_stored(&entry.ok_or_else(|| ApiError::not_found(target))?)
}

async fn host(registry: &Registry, pod: &Value) -> Result<Place, ApiError> {
    match object::text(pod, "/spec/nodeName") {
        "" => Err(ApiError::bad_request(format!("pod {} does not have a host assigned", meta::name(pod)))),
        name => node(registry, name).await,
    }
}

/// Where the kubelet of a node is, for none of its containers.
pub(super) async fn node(registry: &Registry, node: &str) -> Result<Place, ApiError> {
    let entry = registry.store.get(&key::object("", "nodes", "", node)).await.map_err(store_error)?;
    let missing = || ApiError::not_found(Target { group: "", resource: "nodes", name: node });
    let (host, port) = address(&envelope::decode_stored(&entry.ok_or_else(missing)?)?).ok_or_else(|| {
        ApiError::unavailable(format!("the node {node} has not reported an InternalIP yet; try again later"))
    })?;
    Ok(Place { container: String::new(), node: node.to_owned(), host, port })
}

fn address(node: &Value) -> Option<(String, u16)> {
    let addresses = object::list(node, "/status/addresses").iter();
    let internal = addresses.into_iter().find(|address| address["type"] == "InternalIP")?;
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0).unwrap_or(DEFAULT_PORT);
    Some((internal["address"].as_str()?.to_owned(), port))
}

fn choose(pod: &Value, wanted: &str) -> Result<String, ApiError> {
    let names = |pointer: &str| -> Vec<&str> {
        object::list(pod, pointer).iter().filter_map(|container| container["name"].as_str()).collect()
    };
    let main = names("/spec/containers");
    let init = names("/spec/initContainers");
    let extra = names("/spec/ephemeralContainers");
    let pod_name = meta::name(pod);
    let has = |name: &str| [&main, &init, &extra].iter().any(|list| list.contains(&name));
    if !wanted.is_empty() {
        if has(wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {pod_name}")));
    }
    if let Some(name) = meta::annotation(pod, DEFAULT_CONTAINER).filter(|name| has(name)) {
        return Ok(name.to_owned());
    }
    match main.as_slice() {
        [only] => Ok((*only).to_owned()),
        all => {
            let mut why =
                format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", all.join(" "));
            if !init.is_empty() {
                why.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(ApiError::bad_request(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_is_the_one_named_the_only_one_or_the_annotated_one() {
        let pod = |containers: &[&str], annotation: &str| {
            let list: Vec<Value> = containers.iter().map(|name| json!({"name": name})).collect();
            json!({"metadata": {"name": "p", "annotations": {DEFAULT_CONTAINER: annotation}},
                "spec": {"containers": list, "initContainers": [{"name": "i"}]}})
        };
        assert_eq!(choose(&pod(&["a"], ""), "").unwrap(), "a");
        assert_eq!(choose(&pod(&["a", "b"], "b"), "").unwrap(), "b");
        assert_eq!(choose(&pod(&["a", "b"], "b"), "i").unwrap(), "i");
        assert_eq!(choose(&pod(&["a"], ""), "x").unwrap_err().message, "container x is not valid for pod p");
        assert_eq!(
            choose(&pod(&["a", "b"], "gone"), "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
    }

    #[test]
    fn a_kubelet_is_at_the_nodes_internal_address_and_port() {
        let node = json!({"status": {
            "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 4000}},
        }});
        assert_eq!(address(&node), Some(("10.0.0.1".to_owned(), 4000)));
        assert_eq!(address(&json!({"status": {"addresses": []}})), None);
    }
}
