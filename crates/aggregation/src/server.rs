//! What is registered, kept up to date, and the way of requests to other servers.

use crate::{
    availability::{self, Checked, Server},
    inside::{Described, Inside},
    proxy, published,
    registration::{self, Version},
};
use futures::{FutureExt, StreamExt, future::join_all, stream::BoxStream};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use kube::{
    api::{Api, ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher,
};
use orrery_apiserver::{Aggregator, Reader, ResponseBody, User};
use orrery_callout::{Body, Clients, Services};
use orrery_identity::Credentials;
use orrery_machinery::{
    discovery::{OtherVersion, Priority, Registered},
    meta,
    status::ApiError,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// When to look again without a change: when something failed, when others are there, when nobody is.
const INTERVALS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(300)];
/// Changes come together; they are waited for that long.
const GATHER: Duration = Duration::from_millis(50);

/// What the aggregation is made of.
pub struct Settings {
    /// What is shown to other servers: a certificate of the front proxy's authority for `front-proxy-client`.
    pub front_proxy: Credentials,
    /// The authority (PEM) of that certificate.
    pub front_proxy_ca_pem: String,
    /// The authority (PEM) of the API server's clients.
    pub client_ca_pem: String,
    /// Servers of this process. Somebody else's registration of the same version takes a server's place.
    pub inside: Vec<Arc<dyn Inside>>,
}

/// Other API servers: the registry of them, and the way to them.
pub struct Aggregation {
    clients: Clients,
    front_proxy_ca_pem: String,
    client_ca_pem: String,
    built_in: BTreeSet<Version>,
    inside: Vec<Described>,
    known: RwLock<Known>,
}

#[derive(Default, Clone)]
struct Known {
    registered: Arc<Registered>,
    /// Where the other servers are, by group and version.
    servers: Arc<HashMap<Version, Server>>,
}

impl Aggregation {
    /// An aggregation that knows of nobody yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { front_proxy, front_proxy_ca_pem, client_ca_pem, inside } = settings;
        let clients = Clients::with_credentials(front_proxy);
        let inside: Vec<Described> = inside.into_iter().map(Described::new).collect();
        let built_in = registration::built_in().into_iter().chain(inside.iter().map(Described::version)).collect();
        Self { clients, front_proxy_ca_pem, client_ca_pem, built_in, inside, known: RwLock::default() }
    }

    /// Keeps registrations up to date until `shutdown`. `client` is one that may do anything.
    pub async fn run(&self, client: kube::Client, shutdown: CancellationToken) {
        let mut changes = futures::stream::select_all([
            changes(&client, "apiregistration.k8s.io", "APIService", "apiservices"),
            changes(&client, "apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
        ]);
        loop {
            let [failed, others, alone] = INTERVALS;
            let again = match self.pass(&client).await {
                Ok(true) if self.known().registered.others.iter().all(|other| other.available) => {
                    if self.known().servers.is_empty() { alone } else { others }
                }
                Ok(_) => failed,
                Err(error) => {
                    tracing::warn!(%error, "registrations of API servers could not be brought up to date; trying again");
                    failed
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                // Cancel-safe: what is not taken is seen by the next pass, which reads everything.
                _ = changes.next() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(again) => {}
            }
            while let Some(Some(())) = changes.next().now_or_never() {}
        }
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads everything, and does what is to be done. Whether all of it was.
    async fn pass(&self, client: &kube::Client) -> Result<bool, kube::Error> {
        let mut registrations = list(client, SERVICES).await?;
        let custom = registration::custom(&list(client, DEFINITIONS).await?);
        let plan = registration::plan(&registrations, &self.built_in, &custom);
        let created = join_all(plan.create.iter().map(|object| call(client, "POST", SERVICES, Some(object)))).await;
        let mut done = true;
        for created in created {
            match created {
                Ok(created) => registrations.push(created),
                // Somebody else was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => done = false,
                Err(error) => return Err(error),
            }
        }
        for name in &plan.delete {
            call(client, "DELETE", &format!("{SERVICES}/{name}"), None).await?;
        }
        registrations.retain(|object| !plan.delete.iter().any(|name| name == meta::name(object)));
        let services = ByClient(client);
        let checked = registrations.iter().map(|registration| self.judge(&services, registration));
        let checked = join_all(checked).await;
        self.publish(&registrations, &checked);
        let told = registrations.iter().zip(&checked).map(|(object, checked)| tell(client, object, checked.as_ref()));
        let told = join_all(told).await;
        self.publish_authorities(client).await?;
        Ok(done && told.into_iter().all(|told| told))
    }

    /// What is found out about another server; none for what this one answers itself.
    async fn judge(&self, services: &dyn Services, registration: &Value) -> Option<Checked> {
        if registration::is_local(registration) {
            return None;
        }
        Some(availability::check(&self.clients, services, &registration["spec"]).await)
    }

    fn publish(&self, registrations: &[Value], checked: &[Option<Checked>]) {
        let before = self.known();
        let (mut registered, mut servers) = (Registered::default(), HashMap::new());
        for (registration, checked) in registrations.iter().zip(checked) {
            let spec = &registration["spec"];
            let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
            let number = |field: &str| spec[field].as_i64().unwrap_or_default();
            let (group, version) = (text("group"), text("version"));
            let priority = Priority { group: number("groupPriorityMinimum"), version: number("versionPriority") };
            let Some(checked) = checked else {
                match self.inside(&group, &version) {
                    Some(server) => registered.others.push(server.registered(priority)),
                    None => drop(registered.local.insert((group, version), priority)),
                }
                continue;
            };
            if let Ok(server) = Server::read(spec) {
                servers.insert((group.clone(), version.clone()), server);
            }
            // A server that does not answer is remembered by what it has said last.
            let last = || before.registered.other(&group, &version).map(|other| other.resources.clone());
            let resources = checked.resources.clone().or_else(last).unwrap_or_default();
            let (available, openapi_hash) = (checked.available, checked.openapi_hash.clone());
            registered.others.push(OtherVersion { group, version, priority, available, resources, openapi_hash });
        }
        let known = Known { registered: Arc::new(registered), servers: Arc::new(servers) };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn inside(&self, group: &str, version: &str) -> Option<&Described> {
        self.inside.iter().find(|server| server.is(group, version))
    }

    async fn publish_authorities(&self, client: &kube::Client) -> Result<(), kube::Error> {
        let path = format!("{}/{}", published::PATH, published::NAME);
        let present = match call(client, "GET", &path, None).await {
            Ok(present) => Some(present),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(error),
        };
        let wanted = published::wanted(present.as_ref(), &self.client_ca_pem, &self.front_proxy_ca_pem);
        let Some(wanted) = wanted else { return Ok(()) };
        let (method, path) = if present.is_some() { ("PUT", path.as_str()) } else { ("POST", published::PATH) };
        call(client, method, path, Some(&wanted)).await.map(drop)
    }
}

/// Writes down what was found out about a registration. Whether that is done; else the next pass tries again.
async fn tell(client: &kube::Client, registration: &Value, checked: Option<&Checked>) -> bool {
    const LOCAL: (bool, &str, &str) = (true, "Local", "Local APIServices are always available");
    let found = checked.map_or(LOCAL, |checked| (checked.available, checked.reason.0, checked.reason.1.as_str()));
    let Some(conditions) = availability::conditions(registration, found, &now()) else { return true };
    let mut object = registration.clone();
    object["status"] = json!({"conditions": conditions});
    let name = meta::name(registration);
    match call(client, "PUT", &format!("{SERVICES}/{name}/status"), Some(&object)).await {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(name, %error, "the status of a registration could not be written");
            false
        }
    }
}

#[async_trait::async_trait]
impl Aggregator for Aggregation {
    fn registered(&self) -> Arc<Registered> {
        self.known().registered
    }

    async fn ask(
        &self,
        reader: &Reader,
        other: &OtherVersion,
        user: &User,
        request: Request<Body>,
        upgrades: bool,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let failed = |why: &str| {
            let name = format!("{}.{}", other.version, other.group);
            ApiError::unavailable(format!(
                "the API server of {name} cannot be asked ({why}); see kubectl describe apiservice {name}"
            ))
        };
        let server = self.known().servers.get(&(other.group.clone(), other.version.clone())).cloned();
        if let (None, Some(inside)) = (&server, self.inside(&other.group, &other.version)) {
            return inside.answer(request.into_parts().0).await;
        }
        let Some(server) = server.filter(|_| other.available) else {
            return Err(failed("it is not available"));
        };
        let address = server.target.resolve(reader).await.map_err(|why| failed(&why))?;
        let (mut parts, body) = request.into_parts();
        proxy::forwarded(&mut parts.headers, user, upgrades);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri =
            format!("{}{path}", server.target.url()).parse::<Uri>().map_err(|error| failed(&error.to_string()))?;
        parts.version = http::Version::HTTP_11;
        parts.extensions.clear();
        let request = Request::from_parts(parts, body);
        let answer = self.clients.send((&address, &server.trust), request, upgrades).await;
        Ok(answer.map_err(|why| failed(&why))?.map(|body| body.map_err(Into::into).boxed_unsync()))
    }
}

/// Reads Services through the API.
struct ByClient<'a>(&'a kube::Client);

#[async_trait::async_trait]
impl Services for ByClient<'_> {
    async fn service(&self, namespace: &str, name: &str) -> Result<Option<Value>, String> {
        match call(self.0, "GET", &format!("/api/v1/namespaces/{namespace}/services/{name}"), None).await {
            Ok(service) => Ok(Some(service)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn endpoint_slices(&self, namespace: &str) -> Result<Vec<Value>, String> {
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        list(self.0, &path).await.map_err(|error| error.to_string())
    }
}

async fn call(client: &kube::Client, method: &str, path: &str, body: Option<&Value>) -> Result<Value, kube::Error> {
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json").body(bytes);
    client.request(request.expect("names in paths were checked when they were stored")).await
}

async fn list(client: &kube::Client, path: &str) -> Result<Vec<Value>, kube::Error> {
    let mut list = call(client, "GET", path, None).await?;
    Ok(match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    })
}

/// Says each time that an object of a kind has changed.
fn changes(client: &kube::Client, group: &str, kind: &str, plural: &str) -> BoxStream<'static, ()> {
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    watcher(api, watcher::Config::default()).map(drop).boxed()
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
