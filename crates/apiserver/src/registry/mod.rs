//! The resources served, and the verbs on them.
//!
//! * `context`: what a verb works on. `options`: what the query says about it. `decode`: the body.
//! * `create`, `read`, `list`, `watch`, `update`, `patch`, `delete`, `collection`: one verb each.
//! * `present`: objects, lists and events in the representation that the client wants.
//!
//! Every write is read, planned and applied as one transaction that compares the revisions it was planned on; when it
//! meets a concurrent write it is planned anew.

mod collection;
mod context;
mod create;
mod decode;
mod delete;
pub(crate) mod key;
mod list;
mod options;
mod patch;
mod present;
mod read;
mod serve;
mod update;
mod watch;

pub(crate) use context::{Context, Written, store_error};
pub(crate) use decode::parse_body;
pub(crate) use options::WriteOptions;
pub(crate) use serve::serve;

use orrery_machinery::descriptor::ResourceDescriptor;
use orrery_store::Store;
use std::{collections::HashMap, sync::Arc};

/// How often a write that meets concurrent writes is planned anew.
const ATTEMPTS: usize = 16;

/// The resources served and where their objects are kept.
pub(crate) struct Registry {
    /// By plural; several groups may have one of the same name.
    resources: HashMap<&'static str, Vec<Arc<ResourceDescriptor>>>,
    pub(crate) store: Arc<dyn Store>,
}

impl Registry {
    pub(crate) fn new(resources: &[ResourceDescriptor], store: Arc<dyn Store>) -> Self {
        let mut by_plural: HashMap<_, Vec<_>> = HashMap::new();
        for resource in resources {
            by_plural.entry(resource.plural).or_default().push(Arc::new(resource.clone()));
        }
        Self { resources: by_plural, store }
    }

    /// The resource, if it is served.
    pub(crate) fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<ResourceDescriptor>> {
        self.resources.get(plural)?.iter().find(|resource| resource.group == group && resource.version == version)
    }
}
