//! OpenAPI v3 documents, one for each group and version, and their index; and the one v2 document.
//!
//! `kubectl` reads them to learn that a kind exists, that the server checks fields (`fieldValidation`) and knows
//! `dryRun`, and for `kubectl explain`. Patches are listed without strategic merge on purpose: the schemas carry no merge
//! keys, and a client that finds none here falls back on those it was built with.

mod paths;
mod schemas;
mod v2;

pub use v2::v2_document;

use crate::descriptor::ResourceDescriptor;
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// A served document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its path under `/openapi/v3/`, such as `api/v1` or `apis/apps/v1`.
    pub path: String,
    /// Tells one content from another; changes when the document does.
    pub hash: String,
    /// The document.
    pub content: Value,
}

/// All documents, in the order of their paths.
#[must_use]
pub fn documents(descriptors: &[Arc<ResourceDescriptor>]) -> Vec<Document> {
    let versions: BTreeSet<(&str, &str)> = descriptors.iter().map(|d| (&*d.group, &*d.version)).collect();
    let document = |(group, version): (&str, &str)| {
        let members: Vec<&ResourceDescriptor> =
            descriptors.iter().filter(|d| d.group == group && d.version == version).map(|d| &**d).collect();
        let content = v3_document(&members);
        Document { path: paths::root(group, version)[1..].to_owned(), hash: fingerprint(&content), content }
    };
    versions.into_iter().map(document).collect()
}

/// The index under `/openapi/v3`.
#[must_use]
pub fn v3_index(documents: &[Document]) -> Value {
    let entry = |document: &Document| {
        let url = format!("/openapi/v3/{}?hash={}", document.path, document.hash);
        (document.path.clone(), json!({"serverRelativeURL": url}))
    };
    json!({"paths": documents.iter().map(entry).collect::<Map<_, _>>()})
}

/// The document of one group and version, whose resources are `descriptors`.
#[must_use]
pub fn v3_document(descriptors: &[&ResourceDescriptor]) -> Value {
    let mut all_paths = Map::new();
    let mut components = schemas::common();
    for descriptor in descriptors {
        let name = schemas::add(descriptor, &mut components);
        all_paths.extend(paths::of(descriptor, &name));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": all_paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey", "in": "header", "name": "authorization", "description": "Bearer Token authentication",
                },
            },
        },
    })
}

/// FNV-1a over the document's text: enough to tell one version of our own document from another.
fn fingerprint(content: &Value) -> String {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = content.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    format!("{hash:016X}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{FixedResource, test_descriptor};

    fn document() -> Value {
        documents(&[Arc::new(test_descriptor().into())]).remove(0).content
    }

    #[test]
    fn every_document_has_the_metadata_that_custom_resources_refer_to() {
        let metadata = &document()["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
        let words = metadata["properties"]["creationTimestamp"]["description"].as_str().unwrap();
        assert!(words.starts_with("CreationTimestamp is a timestamp"), "{words}");
    }

    #[test]
    fn the_index_names_each_document_with_its_hash() {
        let documents = documents(&[
            Arc::new(test_descriptor().into()),
            Arc::new(FixedResource { group: "", ..test_descriptor() }.into()),
        ]);
        let index = v3_index(&documents);
        let url = index["paths"]["apis/test.io/v1"]["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with("/openapi/v3/apis/test.io/v1?hash="), "{url}");
        assert!(index["paths"]["api/v1"].is_object());
        assert_ne!(documents[0].hash, documents[1].hash);
    }

    #[test]
    fn writes_declare_what_kubectl_looks_for() {
        let document = document();
        let paths = &document["paths"];
        let post = &paths["/apis/test.io/v1/namespaces/{namespace}/widgets"]["post"];
        let patch = &paths["/apis/test.io/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
        for operation in [post, patch] {
            let names: Vec<&str> =
                operation["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
            for wanted in ["dryRun", "fieldManager", "fieldValidation"] {
                assert!(names.contains(&wanted), "{wanted} in {names:?}");
            }
            assert_eq!(operation["x-kubernetes-group-version-kind"]["kind"], "Widget");
        }
        assert_eq!(post["x-kubernetes-action"], "post");
        let types: Vec<&String> = patch["requestBody"]["content"].as_object().unwrap().keys().collect();
        assert_eq!(types, ["application/json-patch+json", "application/merge-patch+json"]);
        assert!(paths["/apis/test.io/v1/widgets"]["get"].is_object(), "all namespaces");
        assert!(paths["/apis/test.io/v1/namespaces/{namespace}/widgets/{name}/status"]["put"].is_object());
    }

    #[test]
    fn schemas_stand_under_components_and_every_reference_leads_somewhere() {
        let document = document();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let widget = &schemas["io.test.v1.Widget"];
        assert_eq!(widget["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
        assert_eq!(schemas["io.test.v1.WidgetList"]["properties"]["items"]["type"], "array");
        let text = document.to_string();
        let references: Vec<&str> = text.split("\"#/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!references.is_empty());
        for reference in references {
            let name = reference.strip_prefix("components/schemas/").unwrap_or_else(|| panic!("{reference}"));
            assert!(schemas.contains_key(name), "{name}");
        }
    }
}
