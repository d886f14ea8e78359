//! What each namespace has from its beginning: the ServiceAccount `default`, and the ConfigMap `kube-root-ca.crt`, by which
//! pods know the API server.
//!
//! ```text
//! namespace active: account missing          --create--> there
//!                   config map missing       --create--> there
//!                   config map says otherwise --write---> as it should be
//! ```

use k8s_openapi::{
    api::core::v1::{self, ConfigMap},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Meta, Metrics, ObjectKey, Outcome, Projected, Queue, Reconcile, Term,
    objects::Namespace,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// The account that pods have unless they name another.
pub(crate) const DEFAULT: &str = "default";
/// The config map with the authority of the API server.
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";
/// The key in it.
const CA_KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "The authority that signs the API server's certificate. It vouches for the API server and for nothing else.",
);

/// A service account called `default`: that it is there is all that counts.
#[derive(Debug, PartialEq)]
pub(crate) struct Account(Meta);

impl Projected for Account {
    type Object = v1::ServiceAccount;
    const PLURAL: &'static str = "serviceaccounts";

    fn project(mut object: v1::ServiceAccount) -> Option<Self> {
        Some(Self(Meta::take(&mut object.metadata)))
    }

    fn meta(&self) -> &Meta {
        &self.0
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

/// A config map called `kube-root-ca.crt`.
#[derive(Debug, PartialEq)]
pub(crate) struct RootCa {
    meta: Meta,
    data: BTreeMap<String, String>,
}

impl Projected for RootCa {
    type Object = ConfigMap;
    const PLURAL: &'static str = "configmaps";

    fn project(mut object: ConfigMap) -> Option<Self> {
        Some(Self { meta: Meta::take(&mut object.metadata), data: object.data.unwrap_or_default() })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

/// Makes what is missing.
pub(crate) struct Accounts {
    client: kube::Client,
    namespaces: Cache<Namespace>,
    accounts: Cache<Account>,
    roots: Cache<RootCa>,
    /// PEM of the API server's authority; none when there is nothing to give.
    root_ca: Option<String>,
}

/// What is to be done in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RootStep {
    Nothing,
    Create,
    /// What to merge into its data.
    Restore(Value),
}

pub(crate) fn controller(
    client: kube::Client,
    namespaces: &Cache<Namespace>,
    accounts: &Cache<Account>,
    roots: &Cache<RootCa>,
    root_ca: Option<String>,
    metrics: &Metrics,
) -> Controller<Accounts> {
    let queue = Arc::new(Queue::default());
    let to = Arc::clone(&queue);
    namespaces.on_change(move |_, new| {
        if let Some(namespace) = new {
            to.add(namespace.meta.key.clone());
        }
    });
    let to = Arc::clone(&queue);
    accounts.on_change(move |old, new| wake(&to, old.or(new).map(|account| &account.0)));
    let to = Arc::clone(&queue);
    roots.on_change(move |old, new| wake(&to, old.or(new).map(|root| &root.meta)));
    let (namespaces, accounts, roots) = (namespaces.clone(), accounts.clone(), roots.clone());
    let reconciler = Arc::new(Accounts { client, namespaces, accounts, roots, root_ca });
    Controller { name: "serviceaccount-controller", reconciler, queue, workers: 1, metrics: metrics.clone() }
}

fn wake(queue: &Queue, changed: Option<&Meta>) {
    if let Some(meta) = changed {
        queue.add(ObjectKey::cluster(&meta.key.namespace));
    }
}

impl Reconcile for Accounts {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let active = self.namespaces.get(key).is_some_and(|namespace| namespace.meta.deleting.is_none());
        if !active {
            return Ok(Outcome::Done);
        }
        let namespace = &key.name;
        if self.accounts.get(&ObjectKey::new(namespace, DEFAULT)).is_none() {
            let account = v1::ServiceAccount { metadata: named(DEFAULT), ..v1::ServiceAccount::default() };
            let api: Api<v1::ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
            made(api.create(&PostParams::default(), &account).await, "create the default service account")?;
        }
        let Some(root_ca) = &self.root_ca else { return Ok(Outcome::Done) };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let wanted: BTreeMap<String, String> = [(CA_KEY.to_owned(), root_ca.clone())].into();
        let present = self.roots.get(&ObjectKey::new(namespace, ROOT_CA));
        match plan(present.as_deref(), &wanted) {
            RootStep::Nothing => Ok(()),
            RootStep::Create => {
                let mut config = ConfigMap { metadata: named(ROOT_CA), data: Some(wanted), ..ConfigMap::default() };
                config.metadata.annotations = Some([(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned())].into());
                made(api.create(&PostParams::default(), &config).await, "create the config map of the root authority")
            }
            RootStep::Restore(data) => {
                let patch = Patch::Merge(json!({"data": data}));
                made(api.patch(ROOT_CA, &PatchParams::default(), &patch).await, "restore the root authority")
            }
        }?;
        Ok(Outcome::Done)
    }
}

fn plan(present: Option<&RootCa>, wanted: &BTreeMap<String, String>) -> RootStep {
    match present {
        None => RootStep::Create,
        Some(root) if root.data == *wanted => RootStep::Nothing,
        Some(root) => {
            let off = root.data.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null));
            let on = wanted.iter().map(|(key, value)| (key.clone(), value.clone().into()));
            RootStep::Restore(off.chain(on).collect())
        }
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// There already and not seen yet, or going with its namespace: the watch will tell.
fn made<T>(result: Result<T, kube::Error>, doing: &'static str) -> Result<(), ControllerError> {
    match result.map_err(ControllerError::api(doing)) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.code(), Some(404 | 409)) || error.is_namespace_terminating() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_authority_that_was_changed_is_restored() {
        let data = |text: &str| -> BTreeMap<String, String> { [(CA_KEY.to_owned(), text.to_owned())].into() };
        let root = |data| RootCa { meta: Meta::default(), data };
        let mut more = data("pem");
        more.insert("more".into(), "x".into());
        let table = [
            (None, RootStep::Create),
            (Some(root(data("pem"))), RootStep::Nothing),
            (Some(root(data("other"))), RootStep::Restore(json!({"ca.crt": "pem"}))),
            (Some(root(BTreeMap::new())), RootStep::Restore(json!({"ca.crt": "pem"}))),
            (Some(root(more)), RootStep::Restore(json!({"ca.crt": "pem", "more": null}))),
        ];
        for (present, expected) in table {
            assert_eq!(plan(present.as_ref(), &data("pem")), expected, "{present:?}");
        }
    }
}
