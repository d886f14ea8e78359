//! Says in the API where API servers are: the Endpoints and the EndpointSlice of the Service `kubernetes` in `default`, as
//! `k8s.io/kubernetes/pkg/controlplane/reconcilers` keeps them.
//!
//! ```text
//! each server renews a lease that names its address ──► addresses of all leases that hold ──► Endpoints, EndpointSlice
//! a server that ends takes its lease and its address away, unless it is the last one
//! ```
//!
//! * `plan`: what the objects should be. Pure.
//!
//! An address is advertised where pods can reach it: the loopback addresses of a machine are none, and without an address
//! nothing is advertised. Task: one that does this ([`run`]).
#![forbid(unsafe_code)]

mod plan;

use http::Request;
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often a server renews its lease and looks at the addresses.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often again when that failed.
const RETRY: Duration = Duration::from_secs(1);

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const SERVICE: &str = "/api/v1/namespaces/default/services/kubernetes";

/// Advertises `address` until `shutdown`. `client` is one that may do anything, and works for a while beyond that.
pub async fn run(client: kube::Client, address: SocketAddr, shutdown: CancellationToken) {
    let server = Server { client, address };
    loop {
        let again = match server.pass().await {
            Ok(()) => INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "the endpoints of the API server could not be brought up to date; trying again");
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(again) => {}
        }
    }
    if let Err(error) = server.leave().await {
        tracing::warn!(%error, "the endpoint of this API server could not be taken away; it ends with its lease");
    }
}

struct Server {
    client: kube::Client,
    address: SocketAddr,
}

impl Server {
    async fn pass(&self) -> Result<(), kube::Error> {
        let now = jiff::Timestamp::now();
        let path = format!("{LEASES}/{}", plan::lease_name(self.address));
        let present = self.get(&path).await?;
        self.write(LEASES, present.as_ref(), &plan::lease(present.as_ref(), self.address, now)).await?;
        let leases = self.get(LEASES).await?.unwrap_or_default();
        let mut addresses = plan::holding(&leases, now);
        addresses.insert(self.address);
        self.publish(&addresses).await
    }

    /// Takes this server's address away, if there are others.
    async fn leave(&self) -> Result<(), kube::Error> {
        let path = format!("{LEASES}/{}", plan::lease_name(self.address));
        self.call("DELETE", &path, None).await?;
        let leases = self.get(LEASES).await?.unwrap_or_default();
        let mut others = plan::holding(&leases, jiff::Timestamp::now());
        others.remove(&self.address);
        if others.is_empty() { Ok(()) } else { self.publish(&others).await }
    }

    async fn publish(&self, addresses: &plan::Addresses) -> Result<(), kube::Error> {
        let service = self.get(SERVICE).await?.unwrap_or_default();
        for (path, wanted) in [(ENDPOINTS, plan::endpoints(addresses)), (SLICES, plan::slice(addresses, &service))] {
            let present = self.get(&format!("{path}/{}", plan::NAME)).await?;
            if let Some(object) = plan::merged(present.as_ref(), &wanted) {
                self.write(path, present.as_ref(), &object).await?;
            }
        }
        Ok(())
    }

    /// Creates an object or replaces the present one.
    async fn write(&self, path: &str, present: Option<&Value>, object: &Value) -> Result<(), kube::Error> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match present {
            Some(_) => self.call("PUT", &format!("{path}/{name}"), Some(object)).await.map(drop),
            None => self.call("POST", path, Some(object)).await.map(drop),
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Value>, kube::Error> {
        match self.call("GET", path, None).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, kube::Error> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request =
            Request::builder().method(method).uri(path).header("content-type", "application/json").body(bytes);
        self.client.request(request.expect("the paths are constants and names of addresses")).await
    }
}
