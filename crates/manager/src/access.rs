//! Who may do what beside administrators: a Supervisor may ask DRS, and nothing else.

use crate::{authorities::SUPERVISORS, inventory::InventoryError};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use orrery_api::inventory::GROUP;
use orrery_machinery::descriptor::ResourceDescriptor;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::fmt::Debug;

/// Name of the role and of its binding.
const NAME: &str = "orrery:supervisors";

/// The kinds that grant rights. The inventory has no namespaces, so those for namespaces are left out.
pub(crate) fn kinds() -> Vec<ResourceDescriptor> {
    let grants = ["ClusterRole", "ClusterRoleBinding"];
    orrery_kinds::resources().into_iter().filter(|resource| grants.contains(&&*resource.kind)).collect()
}

/// Makes the rights as they should be, whatever they were.
pub(crate) async fn grant(client: &kube::Client) -> Result<(), InventoryError> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": NAME},
        "rules": [{"apiGroups": [GROUP], "resources": ["placementreviews"], "verbs": ["create"]}],
    });
    ensure(&Api::<ClusterRole>::all(client.clone()), role).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": SUPERVISORS}],
    });
    ensure(&Api::<ClusterRoleBinding>::all(client.clone()), binding).await
}

async fn ensure<K>(api: &Api<K>, object: Value) -> Result<(), InventoryError>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let typed: K = serde_json::from_value(object.clone()).expect("the object is written above");
    match api.create(&PostParams::default(), &typed).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let patched = api.patch(NAME, &PatchParams::default(), &Patch::Merge(object)).await;
            patched.map(drop).map_err(InventoryError::doing("renew the rights of Supervisors"))
        }
        Err(error) => Err(InventoryError::doing("grant the rights of Supervisors")(error)),
    }
}
