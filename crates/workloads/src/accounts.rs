//! Each namespace has a ServiceAccount `default`.

use crate::{
    mirror::Mirror,
    supervise::{ControllerError, chain},
};
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, api::PostParams, runtime::watcher};
use std::{collections::BTreeSet, time::Duration};

/// The account that pods have unless they name another.
const DEFAULT: &str = "default";
/// When what could not be made is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Makes missing accounts until the watches end.
pub(crate) async fn run(client: kube::Client) -> Result<(), ControllerError> {
    let config = watcher::Config::default();
    let mut namespaces = Mirror::new("namespaces", Api::all(client.clone()), config, is_active);
    let config = watcher::Config::default().fields("metadata.name=default");
    let accounts: Api<ServiceAccount> = Api::all(client.clone());
    let mut accounts = Mirror::new("serviceaccounts", accounts, config, |_| Some(()));
    let mut failed = false;
    loop {
        tokio::select! {
            // Cancel-safe: see `Mirror::changed`.
            changed = namespaces.changed() => changed?,
            changed = accounts.changed() => changed?,
            // Cancel-safe: a timer.
            () = tokio::time::sleep(RETRY), if failed => {}
        }
        if !namespaces.synced() || !accounts.synced() {
            continue;
        }
        failed = false;
        for namespace in missing(namespaces.items().keys(), accounts.items().keys()) {
            if let Err(error) = create(&client, &namespace).await {
                tracing::warn!(namespace, error = chain(&error), "no default service account; it is tried again");
                failed = true;
            }
        }
    }
}

fn is_active(namespace: &Namespace) -> Option<()> {
    namespace.metadata.deletion_timestamp.is_none().then_some(())
}

/// The namespaces without an account. `accounts` are `namespace/default`.
fn missing<'a>(
    namespaces: impl Iterator<Item = &'a String>,
    accounts: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    let served: BTreeSet<&str> =
        accounts.filter_map(|key| key.split_once('/')).map(|(namespace, _)| namespace).collect();
    namespaces.filter(|namespace| !served.contains(namespace.as_str())).cloned().collect()
}

async fn create(client: &kube::Client, namespace: &str) -> Result<(), ControllerError> {
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(DEFAULT.to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    match api.create(&PostParams::default(), &account).await {
        Ok(_) => Ok(()),
        // Already there and not seen yet, or the namespace is going: the watch will tell.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("being terminated") => Ok(()),
        Err(error) => Err(ControllerError::api("create the default service account")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_without_an_account_get_one() {
        let text = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let (namespaces, accounts) = (text(&["a", "b", "c"]), text(&["a/default", "gone/default", "c/default"]));
        assert_eq!(missing(namespaces.iter(), accounts.iter()), ["b"]);
    }
}
