//! `v1 ServiceAccount`.

use super::fields::size;
use super::merge_keys;
use orrery_api::k8s::api::core::v1::ServiceAccount;
use orrery_machinery::descriptor::{Column, FixedResource, MergeKey, Subresource};

pub(super) fn descriptor() -> FixedResource {
    FixedResource {
        short_names: &["sa"],
        subresources: SUBRESOURCES,
        columns: COLUMNS,
        merge_keys: MERGE_KEYS,
        ..super::namespaced::<ServiceAccount>("serviceaccount")
    }
}

/// Issues tokens.
const SUBRESOURCES: &[Subresource] =
    &[Subresource::handled("token", ("authentication.k8s.io", "v1", "TokenRequest"), &["create"])];

const MERGE_KEYS: &[MergeKey] = merge_keys!["secrets" => "name"];

const COLUMNS: &[Column] = &[Column {
    name: "Secrets",
    kind: "string",
    priority: 0,
    description: "Secrets is a list of the secrets in the same namespace that pods running with this account may use.",
    cell: |object, _| size(&object["secrets"]).into(),
}];
