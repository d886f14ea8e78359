//! The resources served, and the verbs on them.
//!
//! * `context`: what a verb works on. `options`: what the query says about it. `decode`: the body.
//! * `create`, `read`, `list`, `watch`, `update`, `patch`, `delete`, `collection`: one verb each.
//! * `present`: objects, lists and events in the representation that the client wants; `protobuf`: those in protobuf.
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
mod ownership;
mod patch;
mod present;
mod protobuf;
mod read;
mod serve;
mod table;
mod update;
mod watch;

pub(crate) use context::{Context, Written, store_error};
pub(crate) use decode::{check_object, parse_body, prepare_again};
pub(crate) use delete::Deletion;
pub(crate) use options::{DeleteOptions, WriteOptions};
pub(crate) use patch::Patch;
pub(crate) use present::Presenter;
pub(crate) use serve::serve;
pub(crate) use update::Change;

use crate::{
    admission::{Chain, Reader},
    custom::convert::{Conversions, Converter},
};
use orrery_machinery::descriptor::ResourceDescriptor;
use orrery_store::Store;
use std::sync::{Arc, PoisonError, RwLock};
pub(crate) use table::{Passing, Table};

/// How often a write that meets concurrent writes is planned anew.
const ATTEMPTS: usize = 16;

/// The resources served and where their objects are kept.
pub(crate) struct Registry {
    /// The resources that are always served.
    fixed: Vec<Arc<ResourceDescriptor>>,
    /// All that is served now; replaced as a whole when custom resources come and go.
    table: Arc<RwLock<Arc<Table>>>,
    /// Objects of other versions, where another program converts them.
    pub(crate) conversions: Conversions,
    lines: orrery_envelope::Lines,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) admission: Chain,
    pub(crate) reader: Reader,
}

impl Registry {
    pub(crate) fn new(
        resources: Vec<ResourceDescriptor>,
        store: Arc<dyn Store>,
        admission: Chain,
        converter: Option<Arc<dyn Converter>>,
    ) -> Self {
        let fixed: Vec<_> = resources.into_iter().map(Arc::new).collect();
        let table = Arc::new(RwLock::new(Arc::new(Table::new(fixed.clone(), Vec::new()))));
        let reader = Reader::new(Arc::clone(&store));
        let conversions = Conversions::new(converter, reader.clone(), Arc::clone(&table));
        Self { fixed, table, conversions, lines: orrery_envelope::Lines::default(), reader, store, admission }
    }

    /// What is served now.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The resource, if it is served.
    pub(crate) fn resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<ResourceDescriptor>> {
        self.table().resource(group, version, plural).cloned()
    }

    /// Serves these resources beside the fixed ones, and no others.
    pub(crate) fn serve_also(&self, custom: impl IntoIterator<Item = Passing>) {
        let table = Table::new(self.fixed.clone(), custom.into_iter().collect());
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}
