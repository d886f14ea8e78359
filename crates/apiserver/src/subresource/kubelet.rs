//! Connections to kubelets, over mutual TLS.

use super::container::Place;
use crate::{config::KubeletAccess, http::body::RequestBody};
use ::http::{Request, Response, Uri};
use hyper::body::Incoming;
use orrery_callout::{Address, Clients, Trust};
use orrery_machinery::status::ApiError;
use std::time::Duration;

/// How long a kubelet may take until its answer begins.
const ANSWER: Duration = Duration::from_secs(30);

/// Reaches kubelets.
pub(crate) struct Kubelets {
    clients: Clients,
    trust: Trust,
}

impl Kubelets {
    pub(crate) fn new(access: &KubeletAccess) -> Self {
        let clients = Clients::with_credentials(access.credentials.clone());
        Self { clients, trust: Trust::Authority(access.server_ca_pem.clone()) }
    }

    /// Sends one request, whose URI is a path, and gives the answer as soon as it begins. The connection lives as long as
    /// the answer's body or upgrade.
    pub(super) async fn send(
        &self,
        place: &Place,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ApiError> {
        let failed = |why: String| {
            ApiError::unavailable(format!(
                "cannot reach the kubelet of node {} ({why}); see whether the node is Ready",
                place.node
            ))
        };
        let host = if place.host.contains(':') { format!("[{}]", place.host) } else { place.host.clone() };
        let uri: Result<Uri, _> = format!("https://{host}:{}{}", place.port, request.uri()).parse();
        *request.uri_mut() = uri.map_err(|error| failed(error.to_string()))?;
        let address = Address { host: place.host.clone(), port: place.port, server_name: place.host.clone() };
        let sent = self.clients.send((&address, &self.trust), request, true);
        match tokio::time::timeout(ANSWER, sent).await {
            Ok(answered) => answered.map_err(failed),
            Err(_) => Err(failed("it does not answer".to_owned())),
        }
    }
}

/// The kubelets, or why they cannot be reached.
pub(super) fn required(kubelets: Option<&Kubelets>) -> Result<&Kubelets, ApiError> {
    kubelets
        .ok_or_else(|| ApiError::unavailable("this server has no credentials for kubelets; it cannot stream from pods"))
}

/// A kubelet's refusal, passed on with its words.
pub(super) async fn refusal(response: Response<Incoming>) -> ApiError {
    use http_body_util::{BodyExt, Limited};
    const LIMIT_BYTES: usize = 8 * 1024;
    let code = response.status().as_u16();
    let read = tokio::time::timeout(ANSWER, Limited::new(response.into_body(), LIMIT_BYTES).collect()).await;
    let text = match read {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Ok(Err(_)) | Err(_) => String::new(),
    };
    let why = if text.is_empty() { format!("the kubelet answered with status {code}") } else { text };
    match code {
        400 => ApiError::bad_request(why),
        404 => ApiError { code: 404, reason: "NotFound", message: why, details: None },
        501 => ApiError { code: 501, reason: "NotImplemented", message: why, details: None },
        503 => ApiError::unavailable(why),
        _ => ApiError::internal(why),
    }
}
