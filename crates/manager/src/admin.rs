//! What administrators do that is no object: join tokens.

use crate::{
    authorities::ADMINISTRATORS,
    inventory::{Inventory, InventoryError},
    join::Tokens,
};
use http::Method;
use orrery_api::names::ClusterName;
use orrery_apiserver::{ExtraHandler, ExtraRequest};
use orrery_machinery::status::{ApiError, Target};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Where administrators ask.
pub(crate) const PREFIX: &str = "/admin/v1/";

const LONGEST_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Answers `/admin/v1/`.
pub(crate) struct Admin {
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) inventory: Arc<Inventory>,
}

/// `POST /admin/v1/join-tokens`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewToken {
    cluster: ClusterName,
    ttl_seconds: u64,
}

#[async_trait::async_trait]
impl ExtraHandler for Admin {
    async fn handle(&self, request: ExtraRequest) -> Result<Value, ApiError> {
        let path = request.path.strip_prefix(PREFIX).unwrap_or_default();
        if !request.user.as_ref().is_some_and(|user| user.is_in(ADMINISTRATORS)) {
            let why = format!("only members of the group {ADMINISTRATORS:?} may do this");
            return Err(ApiError::forbidden(Target { group: "", resource: path, name: "" }, &why));
        }
        match (path, request.method) {
            ("join-tokens", Method::POST) => self.new_token(&request.body).await,
            ("join-tokens", _) => Err(ApiError::method_not_allowed()),
            _ => Err(ApiError::no_such_path()),
        }
    }
}

impl Admin {
    async fn new_token(&self, body: &[u8]) -> Result<Value, ApiError> {
        let asked: NewToken = serde_json::from_slice(body).map_err(|error| {
            ApiError::bad_request(format!("send {{\"cluster\": NAME, \"ttlSeconds\": NUMBER}}: {error}"))
        })?;
        let lifetime = Duration::from_secs(asked.ttl_seconds);
        if lifetime.is_zero() || lifetime > LONGEST_LIFETIME {
            let longest = LONGEST_LIFETIME.as_secs();
            return Err(ApiError::bad_request(format!("ttlSeconds must be from 1 to {longest}")));
        }
        let cluster = asked.cluster.as_str();
        let clusters = self.inventory.clusters().map_err(|error| error.to_api())?;
        let found = clusters.get_opt(cluster).await.map_err(InventoryError::doing("read a cluster"));
        if found.map_err(|error| error.to_api())?.is_none() {
            let target = Target { group: orrery_api::inventory::GROUP, resource: "computeclusters", name: cluster };
            return Err(ApiError::not_found(target));
        }
        let token = self.tokens.create(&asked.cluster, lifetime).await.map_err(|error| error.to_api())?;
        Ok(json!({"token": token}))
    }
}
