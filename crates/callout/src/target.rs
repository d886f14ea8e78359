//! Where a program is: at a URL, or behind a Service.

use orrery_machinery::meta;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tells which Services there are.
#[async_trait::async_trait]
pub trait Services: Send + Sync {
    /// A Service; none when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn service(&self, namespace: &str, name: &str) -> Result<Option<Value>, String>;

    /// All slices of endpoints of a namespace.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn endpoint_slices(&self, namespace: &str) -> Result<Vec<Value>, String>;
}

/// Where a program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At a URL.
    Url {
        /// The whole URL.
        url: String,
        /// Its host, a name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Behind a Service.
    Service {
        /// The Service's name.
        name: String,
        /// The Service's namespace.
        namespace: String,
        /// The Service's port.
        port: u16,
        /// The path there; may be empty.
        path: String,
    },
}

/// What is dialed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an address.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Whose certificate it has to show.
    pub server_name: String,
}

impl Target {
    /// Reads a `clientConfig`.
    ///
    /// # Errors
    /// When it names neither a Service nor a URL that begins with `https://`.
    pub fn read(client: &Value) -> Result<Self, String> {
        let service = &client["service"];
        if service.is_object() {
            let port = service["port"].as_u64().unwrap_or(443);
            return Ok(Self::Service {
                name: text(service, "name").to_owned(),
                namespace: text(service, "namespace").to_owned(),
                port: u16::try_from(port).map_err(|_| format!("invalid port {port}"))?,
                path: text(service, "path").to_owned(),
            });
        }
        let url = text(client, "url");
        let uri: http::Uri = url.parse().map_err(|error| format!("cannot parse the URL {url:?}: {error}"))?;
        let Some(host) = uri.host().filter(|_| uri.scheme_str() == Some("https")) else {
            return Err(format!("the URL {url:?} does not start with https:// and a host"));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self::Url { url: url.to_owned(), host, port: uri.port_u16().unwrap_or(443) })
    }

    /// The URL that is asked, and that errors name.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Url { url, .. } => url.clone(),
            Self::Service { name, namespace, port, path } => format!("https://{name}.{namespace}.svc:{port}{path}"),
        }
    }

    /// What to dial at this moment.
    ///
    /// # Errors
    /// When there is no such Service, or nothing behind it.
    pub async fn resolve(&self, services: &dyn Services) -> Result<Address, String> {
        match self {
            Self::Url { host, port, .. } => Ok(Address { host: host.clone(), port: *port, server_name: host.clone() }),
            Self::Service { name, namespace, port, .. } => {
                let service = services.service(namespace, name).await?;
                let service = service.ok_or_else(|| format!("service {name:?} not found"))?;
                let server_name = format!("{name}.{namespace}.svc");
                if service["spec"]["type"] == "ExternalName" {
                    let host = text(&service["spec"], "externalName").to_owned();
                    return Ok(Address { host, port: *port, server_name });
                }
                let slices = services.endpoint_slices(namespace).await?;
                let found = endpoints(&service, &slices, *port)?;
                // Each in turn.
                static TURN: AtomicUsize = AtomicUsize::new(0);
                let turn = TURN.fetch_add(1, Ordering::Relaxed) % found.len();
                let (host, port) = found[turn].clone();
                Ok(Address { host, port, server_name })
            }
        }
    }
}

fn text<'v>(value: &'v Value, part: &str) -> &'v str {
    value[part].as_str().unwrap_or_default()
}

/// Addresses and ports of all endpoints that are ready behind the `port` of a Service; at least one.
fn endpoints(service: &Value, slices: &[Value], port: u16) -> Result<Vec<(String, u16)>, String> {
    let name = meta::name(service);
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let Some(wanted) = ports.find(|listed| listed["port"] == port) else {
        return Err(format!("no service port {port} found for service {name:?}"));
    };
    let port_name = text(wanted, "name");
    let mut found = Vec::new();
    for slice in slices.iter().filter(|slice| meta::label(slice, "kubernetes.io/service-name") == Some(name)) {
        let mut ports = slice["ports"].as_array().into_iter().flatten();
        let port = ports.find(|listed| text(listed, "name") == port_name);
        let Some(port) = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok()) else { continue };
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        // An endpoint that does not say whether it is ready is taken to be.
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let addresses = ready.filter_map(|endpoint| endpoint["addresses"][0].as_str());
        found.extend(addresses.map(|address| (address.to_owned(), port)));
    }
    if found.is_empty() { Err(format!("no endpoints available for service {name:?}")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_url_has_to_be_https_and_the_port_is_443_unless_it_says_otherwise() {
        let read = |url: &str| Target::read(&json!({"url": url}));
        let url = |url: &str, host: &str, port| Ok(Target::Url { url: url.into(), host: host.into(), port });
        assert_eq!(read("https://a.example/x"), url("https://a.example/x", "a.example", 443));
        assert_eq!(read("https://[::1]:8443"), url("https://[::1]:8443", "::1", 8443));
        assert!(read("http://a.example").is_err());
        assert!(read("").is_err());
    }

    struct Alias;

    #[async_trait::async_trait]
    impl Services for Alias {
        async fn service(&self, _: &str, name: &str) -> Result<Option<Value>, String> {
            let alias = json!({"spec": {"type": "ExternalName", "externalName": "api.example"}});
            Ok((name == "api").then_some(alias))
        }

        async fn endpoint_slices(&self, _: &str) -> Result<Vec<Value>, String> {
            Ok(Vec::new())
        }
    }

    #[tokio::test]
    async fn an_alias_is_the_name_that_it_stands_for_and_shows_the_certificate_of_the_service() {
        let target = |name: &str| Target::read(&json!({"service": {"namespace": "n", "name": name, "port": 8443}}));
        let found = target("api").unwrap().resolve(&Alias).await;
        let (host, server_name) = ("api.example".to_owned(), "api.n.svc".to_owned());
        assert_eq!(found, Ok(Address { host, port: 8443, server_name }));
        assert_eq!(target("x").unwrap().resolve(&Alias).await.unwrap_err(), "service \"x\" not found");
    }

    #[test]
    fn a_service_is_the_ready_endpoints_of_its_port() {
        let service = json!({"metadata": {"name": "hooks"}, "spec": {"ports": [
            {"name": "metrics", "port": 80}, {"name": "https", "port": 443}]}});
        let slice = |service: &str, endpoints: Value| {
            json!({"metadata": {"labels": {"kubernetes.io/service-name": service}}, "endpoints": endpoints,
                "ports": [{"name": "metrics", "port": 9000}, {"name": "https", "port": 8443}]})
        };
        let slices = [
            slice(
                "hooks",
                json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}, {"addresses": ["10.0.0.3"]}]),
            ),
            slice("others", json!([{"addresses": ["10.0.0.4"]}])),
        ];
        let found = endpoints(&service, &slices, 443).unwrap();
        assert_eq!(found, [("10.0.0.1".to_owned(), 8443), ("10.0.0.3".to_owned(), 8443)]);
        assert_eq!(endpoints(&service, &[], 443).unwrap_err(), "no endpoints available for service \"hooks\"");
        assert!(endpoints(&service, &slices, 444).unwrap_err().contains("no service port 444"));
    }
}
