//! Amounts of resources.

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use orrery_api::units::parse_quantity_milli;
use std::collections::BTreeMap;

/// Amounts by resource name, in thousandths of the resource's unit.
pub type ResourceList = BTreeMap<String, u128>;

/// Reads a resource list. What is no quantity is left out: the API server refuses it.
#[must_use]
pub fn quantities(list: Option<&BTreeMap<String, Quantity>>) -> ResourceList {
    let read = |(name, quantity): (&String, &Quantity)| Some((name.clone(), parse_quantity_milli(&quantity.0).ok()?));
    list.into_iter().flatten().filter_map(read).collect()
}

fn add(to: &mut ResourceList, more: &ResourceList) {
    for (name, amount) in more {
        *to.entry(name.clone()).or_default() += amount;
    }
}

fn raise(to: &mut ResourceList, floor: &ResourceList) {
    for (name, amount) in floor {
        let present = to.entry(name.clone()).or_default();
        *present = (*present).max(*amount);
    }
}

/// What a pod takes as a whole, of what `pick` finds in each container (requests or limits): its containers together or
/// the largest of its init containers, whichever is more, and its overhead
/// (<https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>).
#[must_use]
pub fn pod_resources(
    spec: &PodSpec,
    pick: fn(&ResourceRequirements) -> Option<&BTreeMap<String, Quantity>>,
) -> ResourceList {
    let of = |container: &Container| quantities(container.resources.as_ref().and_then(pick));
    let mut total = ResourceList::new();
    for container in &spec.containers {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut peak) = (ResourceList::new(), ResourceList::new());
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, &of(container));
            raise(&mut peak, &sidecars);
        } else {
            let mut during = of(container);
            add(&mut during, &sidecars);
            raise(&mut peak, &during);
        }
    }
    add(&mut total, &sidecars);
    raise(&mut total, &peak);
    // What is asked for the pod as a whole stands in for the sum.
    total.extend(quantities(spec.resources.as_ref().and_then(pick)));
    if !total.is_empty() {
        add(&mut total, &quantities(spec.overhead.as_ref()));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn requests(spec: Value) -> Vec<(String, u128)> {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        pod_resources(&spec, |resources| resources.requests.as_ref()).into_iter().collect()
    }

    #[test]
    fn init_containers_sidecars_overhead_and_the_pod_as_a_whole_count() {
        let asks = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = asks("100m");
        sidecar["restartPolicy"] = "Always".into();
        let table = [
            (json!({"containers": [asks("100m"), asks("200m")]}), 300),
            (json!({"containers": [asks("100m")], "initContainers": [asks("1")]}), 1000),
            (json!({"containers": [asks("100m")], "initContainers": [sidecar, asks("1")]}), 1100),
            (json!({"containers": [asks("2")], "initContainers": [sidecar, asks("1")]}), 2100),
            (json!({"containers": [asks("100m")], "overhead": {"cpu": "50m"}}), 150),
            (json!({"containers": [asks("100m")], "resources": {"requests": {"cpu": "3"}}}), 3000),
        ];
        for (spec, expected) in table {
            assert_eq!(requests(spec.clone()), [("cpu".to_owned(), expected)], "{spec}");
        }
    }
}
