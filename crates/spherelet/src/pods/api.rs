//! What a worker needs of the Supervisor's API.

use super::volumes::{Token, refresh_at};
use async_trait::async_trait;
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    },
    jiff::Timestamp,
};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use orrery_lifecycle::{
    env::{Source, Values},
    pod::PodView,
    volume::TokenAsk,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes by key.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Why the API did not do what a worker asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodApiError {
    /// The pod changed or went in the meantime; the watch will tell.
    #[error("the pod has changed in the meantime")]
    Stale,
    /// The request failed.
    #[error("cannot {doing}")]
    Request {
        doing: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    /// The answer holds no token.
    #[error("the API granted a token of the pod's service account and did not send it")]
    NoToken,
    /// The answer is not a pod.
    #[error("the answer of the API is not a pod of ours")]
    Malformed(#[source] orrery_lifecycle::pod::ProjectError),
}

/// The Supervisor's API, as far as one pod is concerned.
#[async_trait]
pub(crate) trait PodApi: Send + Sync {
    /// Applies a merge patch to the status of `pod` and gives the pod as it is then.
    async fn patch_status(&self, pod: &PodView, patch: &Value) -> Result<PodView, PodApiError>;
    /// Removes the object of `pod` at once, unless another has taken its name. Succeeds when it is not there.
    async fn delete(&self, pod: &PodView) -> Result<(), PodApiError>;
    /// The keys of a ConfigMap or Secret in the pod's namespace with what they hold; none when it does not exist.
    async fn files(&self, pod: &PodView, source: &Source) -> Result<Option<Files>, PodApiError>;
    /// The services that variables of the pod tell of: those of its namespace, unless it does not want them, and the API's own.
    async fn services(&self, pod: &PodView) -> Result<Vec<Service>, PodApiError>;
    /// A new token of the pod's service account, bound to the pod.
    async fn token(&self, pod: &PodView, ask: &TokenAsk, now: Timestamp) -> Result<Token, PodApiError>;
    /// The text values of a ConfigMap or Secret in the pod's namespace; none when it does not exist.
    async fn values(&self, pod: &PodView, source: &Source) -> Result<Option<Values>, PodApiError>;
}

/// The real API.
pub(super) struct KubeApi {
    client: kube::Client,
}

impl KubeApi {
    pub(super) fn new(client: kube::Client) -> Self {
        Self { client }
    }

    fn pods(&self, pod: &PodView) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.namespace.as_str())
    }

    async fn config_map(&self, pod: &PodView, name: &str) -> Result<Option<ConfigMap>, PodApiError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), pod.namespace.as_str());
        api.get_opt(name).await.map_err(request("read a ConfigMap"))
    }

    async fn secret(&self, pod: &PodView, name: &str) -> Result<Option<Secret>, PodApiError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), pod.namespace.as_str());
        api.get_opt(name).await.map_err(request("read a Secret"))
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

fn request(doing: &'static str) -> impl Fn(kube::Error) -> PodApiError {
    move |source| match code(&source) {
        Some(404 | 409) => PodApiError::Stale,
        Some(_) | None => PodApiError::Request { doing, source: Box::new(source) },
    }
}

#[async_trait]
impl PodApi for KubeApi {
    async fn patch_status(&self, pod: &PodView, patch: &Value) -> Result<PodView, PodApiError> {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let patched = self.pods(pod).patch_status(&pod.name, &params, &patch).await;
        let patched = patched.map_err(request("publish the pod's status"))?;
        PodView::project(&patched).map_err(PodApiError::Malformed)
    }

    async fn delete(&self, pod: &PodView) -> Result<(), PodApiError> {
        let preconditions = Preconditions { uid: Some(pod.uid.to_string()), resource_version: None };
        let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        match self.pods(pod).delete(&pod.name, &params.preconditions(preconditions)).await {
            Ok(_) => Ok(()),
            // Gone, or another pod has the name by now.
            Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(request("remove the pod's object")(error)),
        }
    }

    async fn files(&self, pod: &PodView, source: &Source) -> Result<Option<Files>, PodApiError> {
        let bytes = |(key, data): (String, ByteString)| (key, data.0);
        match source {
            Source::ConfigMap(name) => Ok(self.config_map(pod, name).await?.map(|map| {
                let text = map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes()));
                text.chain(map.binary_data.into_iter().flatten().map(bytes)).collect()
            })),
            Source::Secret(name) => {
                Ok(self.secret(pod, name).await?.map(|secret| secret.data.into_iter().flatten().map(bytes).collect()))
            }
        }
    }

    async fn services(&self, pod: &PodView) -> Result<Vec<Service>, PodApiError> {
        let namespace = pod.namespace.as_str();
        let (own, of_api) = tokio::join!(
            async {
                if !pod.service_links {
                    return Ok(Vec::new());
                }
                let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
                api.list(&ListParams::default()).await.map(|list| list.items)
            },
            async {
                let api: Api<Service> = Api::namespaced(self.client.clone(), "default");
                api.get_opt("kubernetes").await
            },
        );
        let mut services: Vec<_> = of_api.map_err(request("read the API's service"))?.into_iter().collect();
        services.extend(own.map_err(request("list the services of the pod's namespace"))?);
        Ok(services)
    }

    async fn token(&self, pod: &PodView, ask: &TokenAsk, now: Timestamp) -> Result<Token, PodApiError> {
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.to_string()),
        };
        let spec = TokenRequestSpec {
            audiences: Some(ask.audience.iter().cloned().collect()),
            bound_object_ref: Some(bound),
            expiration_seconds: Some(ask.expiration_seconds),
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), pod.namespace.as_str());
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let doing = "get a token of the pod's service account";
        let granted = api.create_token_request(&pod.service_account, &PostParams::default(), &request).await;
        let granted = granted.map_err(|source| PodApiError::Request { doing, source: Box::new(source) })?;
        let status = granted.status.unwrap_or_default();
        let (Some(text), Some(expires)) = (status.token, status.expiration_timestamp) else {
            return Err(PodApiError::NoToken);
        };
        Ok(Token { text, refresh_at: refresh_at(now, expires.0) })
    }

    async fn values(&self, pod: &PodView, source: &Source) -> Result<Option<Values>, PodApiError> {
        match source {
            Source::ConfigMap(name) => {
                Ok(self.config_map(pod, name).await?.map(|found| found.data.unwrap_or_default()))
            }
            Source::Secret(name) => {
                // What is not text cannot be a variable.
                let text = |data: Vec<u8>| String::from_utf8(data).ok();
                let values = |secret: Secret| {
                    secret.data.into_iter().flatten().filter_map(|(key, data)| Some((key, text(data.0)?))).collect()
                };
                Ok(self.secret(pod, name).await?.map(values))
            }
        }
    }
}
