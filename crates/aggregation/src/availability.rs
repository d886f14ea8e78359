//! Whether another server answers, and what it says of its resources.

use crate::document;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use orrery_apiserver::User;
use orrery_callout::{Clients, Services, Target, Trust};
use serde_json::{Value, json};
use std::time::Duration;

/// How long another server may take to say what it serves.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long that may be.
const DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// What was found out about another server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    /// Why it is, or is not, available: a word and a sentence.
    pub(crate) reason: (&'static str, String),
    pub(crate) available: bool,
    /// Its resources, as `APIResourceDiscovery`; none when it did not say.
    pub(crate) resources: Option<Vec<Value>>,
    pub(crate) openapi_hash: Option<String>,
}

impl Checked {
    fn unavailable(reason: &'static str, message: String) -> Self {
        Self { reason: (reason, message), available: false, resources: None, openapi_hash: None }
    }
}

/// Another server: where it is, and whom to take for it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) target: Target,
    pub(crate) trust: Trust,
}

impl Server {
    /// Of the spec of a registration; the error is why it cannot be dialed.
    pub(crate) fn read(spec: &Value) -> Result<Self, String> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let target = Target::read(&json!({"service": spec["service"]}))?;
        let pem = BASE64_STANDARD.decode(spec["caBundle"].as_str().unwrap_or_default()).unwrap_or_default();
        let trust = if spec["insecureSkipTLSVerify"] == true {
            Trust::Anybody
        } else if pem.is_empty() {
            return Err("the registration has no caBundle, and this server trusts no other authorities; set \
                        spec.caBundle"
                .to_owned());
        } else {
            Trust::Authority(String::from_utf8_lossy(&pem).into_owned())
        };
        Ok(Self { target, trust })
    }
}

/// Asks the server of a registration whether it answers.
pub(crate) async fn check(clients: &Clients, services: &dyn Services, spec: &Value) -> Checked {
    if let Err((reason, message)) = service(services, &spec["service"]).await {
        return Checked::unavailable(reason, message);
    }
    let failed = |why: String| Checked::unavailable("FailedDiscoveryCheck", why);
    let server = match Server::read(spec) {
        Ok(server) => server,
        Err(why) => return failed(why),
    };
    let [group, version] = ["group", "version"].map(|field| spec[field].as_str().unwrap_or_default());
    let path = format!("/apis/{group}/{version}");
    let list = match get(clients, services, &server, &path).await {
        Ok(list) => list,
        Err(why) => {
            let url = format!("{}{path}", server.target.url());
            return failed(format!("failing or missing response from {url}: {why}"));
        }
    };
    let index = get(clients, services, &server, "/openapi/v3").await.unwrap_or_default();
    Checked {
        reason: ("Passed", "all checks passed".to_owned()),
        available: true,
        resources: Some(document::resources(&list, group, version)),
        openapi_hash: document::openapi_hash(&index, group, version),
    }
}

/// Whether there is a Service with something behind it; else why not.
async fn service(services: &dyn Services, named: &Value) -> Result<(), (&'static str, String)> {
    let [namespace, name] = ["namespace", "name"].map(|field| named[field].as_str().unwrap_or_default());
    let unknown = |why: String| {
        ("ServiceAccessError", format!("service/{name} in {namespace:?} cannot be checked due to: {why}"))
    };
    let Some(service) = services.service(namespace, name).await.map_err(unknown)? else {
        return Err(("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")));
    };
    if service["spec"]["type"] == "ExternalName" {
        return Ok(());
    }
    let port = named["port"].as_u64().unwrap_or(443);
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    if !ports.any(|listed| listed["port"] == port) {
        let why = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Err(("ServicePortError", why));
    }
    let target = Target::read(&json!({"service": named})).map_err(unknown)?;
    match target.resolve(services).await {
        Ok(_) => Ok(()),
        Err(_) => Err(("MissingEndpoints", format!("endpoints for service/{name} in {namespace:?} have no addresses"))),
    }
}

/// A JSON document of another server.
async fn get(clients: &Clients, services: &dyn Services, server: &Server, path: &str) -> Result<Value, String> {
    let ask = async {
        let address = server.target.resolve(services).await?;
        let mut request = Request::get(format!("{}{path}", server.target.url()))
            .body(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync())
            .map_err(|error| error.to_string())?;
        crate::proxy::forwarded(request.headers_mut(), &User::new("system:kube-aggregator", ["system:masters"]), false);
        request.headers_mut().insert(header::ACCEPT, http::HeaderValue::from_static("application/json"));
        let response = clients.send((&address, &server.trust), request, false).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("bad status: {}", status.as_u16()));
        }
        let body =
            Limited::new(response.into_body(), DOCUMENT_BYTES).collect().await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("the answer is no JSON: {error}"))
    };
    tokio::time::timeout(TIMEOUT, ask).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

/// The conditions of a registration with what was found out; none when they say so already.
pub(crate) fn conditions(registration: &Value, checked: (bool, &str, &str), now: &str) -> Option<Vec<Value>> {
    let (available, reason, message) = checked;
    let status = if available { "True" } else { "False" };
    let mut conditions = registration["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let present = conditions.iter_mut().find(|condition| condition["type"] == "Available");
    let since = present.as_ref().filter(|c| c["status"] == status).map(|c| c["lastTransitionTime"].clone());
    let condition = json!({"type": "Available", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or_else(|| now.into())});
    match present {
        Some(present) if *present == condition => return None,
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
    Some(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known(Value, Vec<Value>);

    #[async_trait::async_trait]
    impl Services for Known {
        async fn service(&self, _: &str, name: &str) -> Result<Option<Value>, String> {
            Ok((name == "api").then(|| self.0.clone()))
        }

        async fn endpoint_slices(&self, _: &str) -> Result<Vec<Value>, String> {
            Ok(self.1.clone())
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let known = Known(json!({"metadata": {"name": "api"}, "spec": {"ports": [{"port": 443}]}}), Vec::new());
        let of = |name: &str, port: u16| json!({"group": "w.io", "version": "v1", "service": {"namespace": "n", "name": name, "port": port}});
        for (spec, reason, message) in [
            (of("x", 443), "ServiceNotFound", "service/x in \"n\" is not present"),
            (of("api", 444), "ServicePortError", "service/api in \"n\" is not listening on port 444"),
            (of("api", 443), "MissingEndpoints", "endpoints for service/api in \"n\" have no addresses"),
        ] {
            let checked = check(&Clients::default(), &known, &spec).await;
            assert_eq!((checked.available, checked.reason), (false, (reason, message.to_owned())));
        }
        let alias = Known(json!({"spec": {"type": "ExternalName", "externalName": "localhost"}}), Vec::new());
        let checked = check(&Clients::default(), &alias, &of("api", 443)).await;
        assert!(checked.reason.1.contains("set spec.caBundle"), "{checked:?}");
    }

    #[test]
    fn a_condition_keeps_its_time_and_the_others() {
        let other = json!({"type": "Other", "status": "True"});
        let before = json!({"status": {"conditions": [other]}});
        let made = conditions(&before, (true, "Passed", "all checks passed"), "t1").unwrap();
        assert_eq!((&made[0], &made[1]["lastTransitionTime"]), (&other, &json!("t1")));
        let after = json!({"status": {"conditions": made}});
        assert_eq!(conditions(&after, (true, "Passed", "all checks passed"), "t2"), None);
        assert_eq!(conditions(&after, (true, "Local", ""), "t2").unwrap()[1]["lastTransitionTime"], "t1");
        assert_eq!(conditions(&after, (false, "X", ""), "t2").unwrap()[1]["lastTransitionTime"], "t2");
    }
}
