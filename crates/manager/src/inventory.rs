//! The manager as a client of its own API.
//!
//! Handlers are given to the API server before there is one to be a client of; the client is put in as soon as there is.

use kube::Api;
use orrery_api::inventory::{ComputeCluster, Datastore, Host, Network, ResourcePool, Supervisor, VirtualMachine};
use orrery_machinery::status::ApiError;
use std::sync::OnceLock;

/// Why the inventory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InventoryError {
    /// The server is being started.
    #[error("the manager is starting; try again in a moment")]
    Starting,
    /// The API refused or failed.
    #[error("cannot {doing}")]
    Api {
        doing: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
}

impl InventoryError {
    /// For `map_err`: the call that failed was to do `doing`.
    pub(crate) fn doing(doing: &'static str) -> impl Fn(kube::Error) -> Self {
        move |source| Self::Api { doing, source: Box::new(source) }
    }

    /// As a caller of the manager is told. The cause goes to the log.
    pub(crate) fn to_api(&self) -> ApiError {
        match self {
            Self::Starting => ApiError::unavailable(self.to_string()),
            Self::Api { .. } => {
                tracing::error!(error = chain(self), "the inventory failed");
                ApiError::internal(self.to_string())
            }
        }
    }
}

/// An error with all its causes, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The inventory's API.
#[derive(Default)]
pub(crate) struct Inventory {
    client: OnceLock<kube::Client>,
}

impl Inventory {
    /// Puts the client in; later ones are ignored.
    pub(crate) fn connect(&self, client: kube::Client) {
        // An error means that there is one already, which serves as well.
        let _ = self.client.set(client);
    }

    pub(crate) fn hosts(&self) -> Result<Api<Host>, InventoryError> {
        self.api()
    }

    pub(crate) fn clusters(&self) -> Result<Api<ComputeCluster>, InventoryError> {
        self.api()
    }

    pub(crate) fn supervisors(&self) -> Result<Api<Supervisor>, InventoryError> {
        self.api()
    }

    pub(crate) fn pools(&self) -> Result<Api<ResourcePool>, InventoryError> {
        self.api()
    }

    pub(crate) fn machines(&self) -> Result<Api<VirtualMachine>, InventoryError> {
        self.api()
    }

    pub(crate) fn datastores(&self) -> Result<Api<Datastore>, InventoryError> {
        self.api()
    }

    pub(crate) fn networks(&self) -> Result<Api<Network>, InventoryError> {
        self.api()
    }

    fn api<K>(&self) -> Result<Api<K>, InventoryError>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        self.client.get().map(|client| Api::all(client.clone())).ok_or(InventoryError::Starting)
    }
}
