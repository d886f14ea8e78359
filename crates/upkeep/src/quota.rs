//! What is used of each ResourceQuota.
//!
//! ```text
//! something appears, changes or goes in a namespace that has quotas ──► count anew, by `orrery-quota` ──► status.used
//! ```
//!
//! Admission charges what is made before it is stored; here it is counted what is there, so that what was charged and then
//! not stored, and what is gone, is given back. What a quota limits is read from the API each time: quotas are few, and a
//! count must not be wrong because a cache was late.

use crate::{
    Config,
    garbage::{Place, Shared},
};
use k8s_openapi::api::core::v1;
use kube::{
    Api,
    api::{ListParams, ObjectList, Patch, PatchParams},
    core::Request,
};
use orrery_quota::{Amounts, is_scoped, usage};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Meta, ObjectKey, Options, Outcome, Projected, Queue, Reconcile, Tasks, Term,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// News are waited for so long: several come at once, and one count does.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is counted although nothing seems to have changed.
const RESYNC: Duration = Duration::from_secs(300);
/// How many objects are read with one request.
const PAGE: u32 = 500;
const WORKERS: usize = 5;
/// The names that pods are measured by, beside those with a prefix.
const OF_PODS: [&str; 4] = ["pods", "cpu", "memory", "ephemeral-storage"];

/// A quota.
#[derive(Debug, PartialEq)]
pub(crate) struct Quota {
    meta: Meta,
    /// The object, as `orrery-quota` reads it: `spec` and `status`.
    object: Value,
}

impl Projected for Quota {
    type Object = v1::ResourceQuota;
    const PLURAL: &'static str = "resourcequotas";

    fn project(mut object: v1::ResourceQuota) -> Option<Self> {
        let meta = Meta::take(&mut object.metadata);
        let (spec, status) = (object.spec.unwrap_or_default(), object.status.unwrap_or_default());
        Some(Self { meta, object: json!({"spec": spec, "status": status}) })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

/// Writes the status of quotas.
pub(crate) struct Quotas {
    client: kube::Client,
    quotas: Cache<Quota>,
    kinds: Arc<Shared>,
}

pub(crate) fn start(tasks: &mut Tasks, config: &Config, kinds: &Arc<Shared>) {
    let quotas: Cache<Quota> = Cache::new(config.metrics.clone());
    tasks.follow(&quotas, Api::all(config.client.clone()), Options::default());
    let queue = Arc::new(Queue::default());
    let to = Arc::clone(&queue);
    quotas.on_change(move |_, new| {
        if let Some(quota) = new {
            to.add(quota.meta.key.clone());
        }
    });
    let (to, all) = (Arc::clone(&queue), quotas.clone());
    kinds.on_change(move |_, key| {
        for quota in all.in_namespace(&key.namespace) {
            to.add_after(quota.meta.key.clone(), GATHER);
        }
    });
    let reconciler = Quotas { client: config.client.clone(), quotas: quotas.clone(), kinds: Arc::clone(kinds) };
    let (name, metrics) = ("resourcequota-controller", config.metrics.clone());
    let controller = Controller { name, reconciler: Arc::new(reconciler), queue, workers: WORKERS, metrics };
    tasks.run(controller, async move { quotas.synced().await });
}

impl Reconcile for Quotas {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(quota) = self.quotas.get(key).filter(|quota| quota.meta.deleting.is_none()) else {
            return Ok(Outcome::Done);
        };
        let hard = Amounts::read(&quota.object["spec"]["hard"]);
        let mut used = Amounts::default();
        for (group, plural) in measured(&hard) {
            // A kind that is not served has no objects.
            let Some(place) = self.kinds.place_of(&group, &plural) else { continue };
            for object in self.objects(&place, &key.namespace).await? {
                if is_scoped(&quota.object, &group, &plural, &object) {
                    used = used.plus(&usage(&group, &plural, &object));
                }
            }
        }
        let used = used.only(&hard).with_zeros(&hard);
        let status = &quota.object["status"];
        let same = Amounts::read(&status["hard"]) == hard && Amounts::read(&status["used"]) == used;
        if !same {
            self.write(&quota, &used).await?;
        }
        Ok(Outcome::After(RESYNC))
    }
}

impl Quotas {
    async fn objects(&self, place: &Place, namespace: &str) -> Result<Vec<Value>, ControllerError> {
        let doing = ControllerError::api("count what a quota limits");
        let request = Request::new(place.collection(&ObjectKey::new(namespace, "")));
        let mut params = ListParams { limit: Some(PAGE), ..ListParams::default() };
        let mut objects = Vec::new();
        loop {
            let page = request.list(&params).map_err(|error| doing(kube::Error::BuildRequest(error)))?;
            let page: ObjectList<Value> = self.client.request(page).await.map_err(&doing)?;
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(objects),
            }
        }
    }

    async fn write(&self, quota: &Quota, used: &Amounts) -> Result<(), ControllerError> {
        let key = &quota.meta.key;
        let api: Api<v1::ResourceQuota> = Api::namespaced(self.client.clone(), &key.namespace);
        let hard = &quota.object["spec"]["hard"];
        // What is limited no more is taken out.
        let off = |list: &Value, wanted: &Value| -> Value {
            let mut merged = wanted.clone();
            for name in list.as_object().into_iter().flat_map(|map| map.keys()) {
                if wanted.get(name).is_none() {
                    merged[name] = Value::Null;
                }
            }
            merged
        };
        let status = &quota.object["status"];
        let patch = json!({
            "metadata": {"resourceVersion": quota.meta.version.to_string()},
            "status": {"hard": off(&status["hard"], hard), "used": off(&status["used"], &used.write())},
        });
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ControllerError::api("write what is used of a quota")(error)),
        }
    }
}

/// The resources (group and plural) that have to be counted for these limits.
fn measured(hard: &Amounts) -> BTreeSet<(String, String)> {
    hard.names().map(resource_of).collect()
}

fn resource_of(name: &str) -> (String, String) {
    if let Some(counted) = name.strip_prefix("count/") {
        let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
        return (group.to_owned(), plural.to_owned());
    }
    let plural = if name == "requests.storage" || name.contains(".storageclass.storage.k8s.io/") {
        "persistentvolumeclaims"
    } else if OF_PODS.contains(&name) || ["requests.", "limits.", "hugepages-"].iter().any(|p| name.starts_with(p)) {
        "pods"
    } else if name.starts_with("services") {
        "services"
    } else {
        name
    };
    (String::new(), plural.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_names_what_is_to_be_counted() {
        let table = [
            ("pods", ("", "pods")),
            ("requests.cpu", ("", "pods")),
            ("requests.example.com/gpu", ("", "pods")),
            ("limits.memory", ("", "pods")),
            ("hugepages-2Mi", ("", "pods")),
            ("services.nodeports", ("", "services")),
            ("requests.storage", ("", "persistentvolumeclaims")),
            ("gold.storageclass.storage.k8s.io/requests.storage", ("", "persistentvolumeclaims")),
            ("configmaps", ("", "configmaps")),
            ("count/replicasets.apps", ("apps", "replicasets")),
            ("count/pods", ("", "pods")),
            ("count/ingresses.networking.k8s.io", ("networking.k8s.io", "ingresses")),
        ];
        for (name, (group, plural)) in table {
            assert_eq!(resource_of(name), (group.to_owned(), plural.to_owned()), "{name}");
        }
    }
}
