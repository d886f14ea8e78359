//! `proxy` of pods, services and nodes: a request goes on to what is behind the object.

use super::{container, kubelet};
use crate::{
    aggregate,
    http::{ResponseBody, dispatch::ResourceRequest},
    object,
    server::ApiServer,
    subresource::upgrade,
};
use ::http::{Request, Response, Uri, header};
use orrery_callout::{Services as _, Target, Trust, forwarded, send_plain};
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    status::{ApiError, Target as Named},
};
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// How long an answer may take to begin.
const ANSWER: Duration = Duration::from_secs(30);

/// What a name says: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    tls: bool,
    name: &'a str,
    /// A number or a name; empty for the usual one.
    port: &'a str,
}

fn wanted(text: &str) -> Option<Wanted<'_>> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] => Some(Wanted { tls: false, name, port: "" }),
        [name, port] => Some(Wanted { tls: false, name, port }),
        ["http" | "", name, port] => Some(Wanted { tls: false, name, port }),
        ["https", name, port] => Some(Wanted { tls: true, name, port }),
        _ => None,
    }
}

/// Sends the request on.
pub(super) async fn serve(
    server: &Arc<ApiServer>,
    resource: &ResourceDescriptor,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let ResourceRequest { path, mut parts, body, .. } = request;
    let malformed = || ApiError::bad_request(format!("invalid name of what to proxy to: {:?}", path.name));
    let wanted = wanted(&path.name).ok_or_else(malformed)?;
    let client = upgrade::on_upgrade(&mut parts).filter(|_| parts.headers.contains_key(header::UPGRADE));
    forwarded(&mut parts.headers, client.is_some());
    let rest = rest(&parts.uri, !path.namespace.is_empty());
    parts.version = ::http::Version::HTTP_11;
    parts.extensions.clear();
    parts.uri = rest.parse().map_err(|_| malformed())?;
    let upgrades = client.is_some();
    let request = Request::from_parts(parts, body);
    let failed = |why: String| ApiError::unavailable(format!("error trying to reach service: {why}"));
    if &*resource.plural == "nodes" {
        let place = container::node(&server.registry, wanted.name).await?;
        let answer = kubelet::required(server.kubelets.as_ref())?.send(&place, request).await?;
        return Ok(aggregate::passed_on(server, client, answer));
    }
    let (host, port) = match &*resource.plural {
        "pods" => pod(server, &path.namespace, &wanted).await?,
        _ => service(server, &path.namespace, &wanted).await?,
    };
    if !host.parse::<IpAddr>().is_ok_and(|ip| is_proxied(&ip)) {
        return Err(ApiError::bad_request(format!("address not allowed: {host}")));
    }
    let sent = async {
        if !wanted.tls {
            return send_plain((&host, port), request).await;
        }
        let (mut parts, body) = request.into_parts();
        let named = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        parts.uri = format!("https://{named}:{port}{rest}").parse::<Uri>().map_err(|error| error.to_string())?;
        let address = orrery_callout::Address { host: host.clone(), port, server_name: host.clone() };
        // As upstream: certificates of pods are not looked at.
        server.proxied.send((&address, &Trust::Anybody), Request::from_parts(parts, body), upgrades).await
    };
    let answer = tokio::time::timeout(ANSWER, sent).await.unwrap_or_else(|_| Err("it does not answer".to_owned()));
    Ok(aggregate::passed_on(server, client, answer.map_err(failed)?))
}

/// The path and query after `proxy`.
fn rest(uri: &Uri, namespaced: bool) -> String {
    // `/api/v1/` or `/api/v1/namespaces/N/`, then the resource, the name and `proxy`.
    let skipped = if namespaced { 7 } else { 5 };
    let rest = uri.path().trim_start_matches('/').splitn(skipped + 1, '/').nth(skipped).unwrap_or_default();
    uri.query().map_or_else(|| format!("/{rest}"), |query| format!("/{rest}?{query}"))
}

/// The machine itself, and what nobody routes, is not reached by a detour.
fn is_proxied(ip: &IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

async fn pod(server: &ApiServer, namespace: &str, wanted: &Wanted<'_>) -> Result<(String, u16), ApiError> {
    let found = server.registry.reader.get("", "pods", namespace, wanted.name).await?;
    let found = found.ok_or_else(|| ApiError::not_found(Named { group: "", resource: "pods", name: wanted.name }))?;
    let ip = object::text(&found, "/status/podIP");
    if ip.is_empty() {
        return Err(ApiError::unavailable(format!("pod {} has no address yet; try again later", wanted.name)));
    }
    let containers = object::list(&found, "/spec/containers").iter();
    let mut ports = containers.flat_map(|container| object::list(container, "/ports"));
    let port = match wanted.port {
        "" => ports.next().map_or(json!(if wanted.tls { 443 } else { 80 }), |port| port["containerPort"].clone()),
        text => match text.parse::<u16>() {
            Ok(number) => number.into(),
            Err(_) => ports.find(|port| port["name"] == text).map_or(Value::Null, |port| port["containerPort"].clone()),
        },
    };
    Ok((ip.to_owned(), number(&port, wanted)?))
}

async fn service(server: &ApiServer, namespace: &str, wanted: &Wanted<'_>) -> Result<(String, u16), ApiError> {
    let reader = &server.registry.reader;
    let found = reader.service(namespace, wanted.name).await.map_err(ApiError::internal)?;
    let found =
        found.ok_or_else(|| ApiError::not_found(Named { group: "", resource: "services", name: wanted.name }))?;
    let mut ports = object::list(&found, "/spec/ports").iter();
    let port = match wanted.port {
        "" => ports.next(),
        text => ports.find(|port| port["name"] == text || port["port"].as_u64() == text.parse().ok()),
    };
    let port = number(port.map_or(&Value::Null, |port| &port["port"]), wanted)?;
    let target = json!({"service": {"namespace": namespace, "name": wanted.name, "port": port}});
    let resolved = match Target::read(&target) {
        Ok(target) => target.resolve(reader).await,
        Err(why) => Err(why),
    };
    resolved.map(|address| (address.host, address.port)).map_err(ApiError::unavailable)
}

fn number(port: &Value, wanted: &Wanted<'_>) -> Result<u16, ApiError> {
    let number = port.as_u64().and_then(|port| u16::try_from(port).ok());
    number.ok_or_else(|| ApiError::unavailable(format!("{} has no port {:?}", wanted.name, wanted.port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_how_and_which_port() {
        let so = |tls, name, port| Some(Wanted { tls, name, port });
        assert_eq!(wanted("a"), so(false, "a", ""));
        assert_eq!(wanted("a:web"), so(false, "a", "web"));
        assert_eq!(wanted("https:a:8443"), so(true, "a", "8443"));
        assert_eq!((wanted("ftp:a:1"), wanted("a:b:c:d")), (None, None));
    }

    #[test]
    fn what_follows_proxy_goes_on_as_it_is() {
        let of = |uri: &'static str, namespaced| rest(&Uri::from_static(uri), namespaced);
        assert_eq!(of("/api/v1/namespaces/n/pods/p:80/proxy/a%2Fb/?x=1", true), "/a%2Fb/?x=1");
        assert_eq!(of("/api/v1/namespaces/n/pods/p/proxy", true), "/");
        assert_eq!(of("/api/v1/nodes/n/proxy/logs/", false), "/logs/");
    }
}
