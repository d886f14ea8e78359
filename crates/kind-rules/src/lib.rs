//! What the built-in kinds are described with, and the kind that many others hold: the pod.
//!
//! * [`fields`]: reading and filling fields of objects that may yet turn out malformed.
//! * [`rules`], [`quantity`], [`claim`]: rules that many kinds share, in upstream's words.
//! * [`difference`]: what an update changed, for the messages that say what may not change.
//! * [`columns`]: columns of tables, and cells that several kinds share.
//! * [`pod`]: the pod, and templates of pods.
//!
//! Three tables are the starting points of each kind, taken from a type of `k8s-openapi`: [`namespaced`], [`cluster_wide`]
//! and [`review`]. The kinds themselves are in the crate `kinds`.
//!
//! What it is not: it keeps nothing and reads nothing. All of it is pure.
//!
//! Start reading at [`rules`].
#![forbid(unsafe_code)]

pub mod claim;
pub mod columns;
pub mod difference;
pub mod fields;
pub mod pod;
pub mod quantity;
pub mod rules;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use orrery_api::k8s::{ClusterResourceScope, NamespaceResourceScope, Resource};
use orrery_machinery::{
    descriptor::{FixedResource, Storage, decode_as, schema_of},
    meta,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

fn base<T: Resource + DeserializeOwned + JsonSchema>(singular: &'static str) -> FixedResource {
    FixedResource {
        group: T::GROUP,
        version: T::VERSION,
        kind: T::KIND,
        plural: T::URL_PATH_SEGMENT,
        singular,
        decode: decode_as::<T>,
        validate: |object, old| meta::validate(object, old, true, meta::NameRule::DnsSubdomain),
        schema: schema_of::<T>,
        ..FixedResource::PLAIN
    }
}

/// A resource whose objects live in namespaces.
#[must_use]
pub fn namespaced<T>(singular: &'static str) -> FixedResource
where
    T: Resource<Scope = NamespaceResourceScope> + DeserializeOwned + JsonSchema,
{
    base::<T>(singular)
}

/// A resource whose objects live outside of namespaces.
#[must_use]
pub fn cluster_wide<T>(singular: &'static str) -> FixedResource
where
    T: Resource<Scope = ClusterResourceScope> + DeserializeOwned + JsonSchema,
{
    FixedResource {
        namespaced: false,
        validate: |object, old| meta::validate(object, old, false, meta::NameRule::DnsSubdomain),
        ..base::<T>(singular)
    }
}

/// A resource that is answered at once and not stored.
#[must_use]
pub fn review<T>(singular: &'static str) -> FixedResource
where
    T: Resource<Scope = ClusterResourceScope> + DeserializeOwned + JsonSchema,
{
    FixedResource { storage: Storage::Review, validate: |_, _| Vec::new(), ..cluster_wide::<T>(singular) }
}
