//! Hosts come in, give signs of life, and ask for what makes them nodes.
//!
//! ```text
//! stranger --join with a token--> host of a cluster --heartbeats--> told of its Supervisor --enrol--> node
//! ```
//!
//! A host's key never leaves it: it sends signing requests, and the names in its certificates are the manager's word.

mod admit;
mod enrol;
mod heartbeat;
mod refusal;
mod token;

pub use enrol::{EnrolError, NodeEnroller};
pub use token::TokenError;

pub(crate) use token::Tokens;

use crate::{
    authorities::{Authorities, host_of},
    fleet::Fleet,
    inventory::Inventory,
    recorded::Recorded,
};
use http::Method;
use orrery_api::names::HostName;
use orrery_apiserver::{ExtraHandler, ExtraRequest};
use orrery_machinery::{descriptor::to_value, status::ApiError};
use refusal::Refusal;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::Arc;

/// Where hosts ask.
pub(crate) const PREFIX: &str = "/hosts/v1/";

/// Answers `/hosts/v1/`.
pub(crate) struct Gate {
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) recorded: Arc<Recorded>,
    pub(crate) enroller: Arc<dyn NodeEnroller>,
}

#[async_trait::async_trait]
impl ExtraHandler for Gate {
    async fn handle(&self, request: ExtraRequest) -> Result<Value, ApiError> {
        let path = request.path.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        if !["join", "heartbeat", "enrol"].contains(&path.as_str()) {
            return Err(ApiError::no_such_path());
        }
        if request.method != Method::POST {
            return Err(ApiError::method_not_allowed());
        }
        let answered = match path.as_str() {
            "join" => answer(self.join(read(&request)?).await),
            "heartbeat" => answer(self.heartbeat(&caller(&request)?, read(&request)?).await),
            _ => answer(self.enrol(&caller(&request)?, read(&request)?).await),
        };
        answered.map_err(|refusal| {
            tracing::warn!(path, refusal = %refusal, "a host was refused");
            refusal.to_api()
        })
    }
}

fn answer<T: Serialize>(result: Result<T, Refusal>) -> Result<Value, Refusal> {
    result.map(|reply| to_value(&reply))
}

fn caller(request: &ExtraRequest) -> Result<HostName, ApiError> {
    let Some(user) = &request.user else { return Err(ApiError::unauthorized()) };
    host_of(user).ok_or_else(|| Refusal::NoHost.to_api())
}

fn read<T: DeserializeOwned>(request: &ExtraRequest) -> Result<T, ApiError> {
    serde_json::from_slice(&request.body)
        .map_err(|error| ApiError::bad_request(format!("the body of {} is malformed: {error}", request.path)))
}
