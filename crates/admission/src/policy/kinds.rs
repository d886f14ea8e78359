//! Where objects of a kind lie, for policies that name a kind.

use super::params::ParamKind;
use crate::matching::text;
use orrery_apiserver::Reader;
use orrery_machinery::{
    descriptor::{ResourceDescriptor, Rules},
    status::ApiError,
};
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// Where objects of a kind lie.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) group: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
    /// How a built-in kind is read; none for a custom resource, which is seen as it is stored.
    rules: Option<Arc<dyn Rules>>,
}

impl Place {
    /// Makes of a stored object one of the kind.
    pub(super) fn read(&self, object: &mut Value) -> Result<(), ApiError> {
        self.rules.as_ref().map_or(Ok(()), |rules| rules.on_read(object))
    }
}

/// Finds a kind among the built-in ones and the custom resources; none when there is no such.
pub(super) async fn find(reader: &Reader, kind: &ParamKind) -> Result<Option<Place>, ApiError> {
    static BUILT_IN: LazyLock<HashMap<(String, String), Place>> =
        LazyLock::new(|| orrery_kinds::resources().iter().map(place).collect());
    if let Some(place) = BUILT_IN.get(&(kind.api_version.clone(), kind.kind.clone())) {
        return Ok(Some(place.clone()));
    }
    let Some((group, version)) = kind.api_version.split_once('/') else { return Ok(None) };
    let definitions = reader.list("apiextensions.k8s.io", "customresourcedefinitions", "").await?;
    let found = definitions.iter().map(|definition| &definition["spec"]).find(|spec| {
        let mut versions = spec["versions"].as_array().into_iter().flatten();
        text(spec, "group") == group
            && spec["names"]["kind"] == *kind.kind
            && versions.any(|served| served["name"] == *version && served["served"] == true)
    });
    Ok(found.map(|spec| Place {
        group: group.to_owned(),
        plural: text(&spec["names"], "plural").to_owned(),
        namespaced: spec["scope"] == "Namespaced",
        rules: None,
    }))
}

fn place(resource: &ResourceDescriptor) -> ((String, String), Place) {
    let key = (resource.api_version(), resource.kind.to_string());
    let place = Place {
        group: resource.stored.group.to_string(),
        plural: resource.stored.plural.to_string(),
        namespaced: resource.namespaced,
        rules: Some(Arc::clone(&resource.rules)),
    };
    (key, place)
}
