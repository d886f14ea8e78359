//! Servers that live in this process: they make objects when they are read, and keep none.
//!
//! What is the same for all such resources is done here: paths, discovery, OpenAPI, selectors and tables.

use crate::registration::Version;
use bytes::Bytes;
use http::{Method, Response, header, request::Parts};
use http_body_util::{BodyExt, Full};
use orrery_apiserver::ResponseBody;
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    discovery::{Discovery, OtherVersion, Priority, Registered},
    meta,
    openapi::{self, Document},
    selector::{FieldSelector, LabelSelector},
    status::{ApiError, Target},
    table::{self, IncludeObject},
};
use serde_json::{Value, json};
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// A server in this process, for one version of a group.
#[async_trait::async_trait]
pub trait Inside: Send + Sync + 'static {
    /// Its resources, at least one, of one version of one group. Each is [`orrery_machinery::descriptor::Storage::Computed`].
    fn resources(&self) -> Vec<Arc<ResourceDescriptor>>;

    /// All objects of a resource at this moment: of one namespace, or of all when it is empty.
    ///
    /// # Errors
    /// What the caller is told.
    async fn objects(&self, plural: &str, namespace: &str) -> Result<Vec<Value>, ApiError>;
}

/// A server with all that is said of it.
pub(crate) struct Described {
    server: Arc<dyn Inside>,
    resources: Vec<Arc<ResourceDescriptor>>,
    document: Document,
}

impl Described {
    pub(crate) fn new(server: Arc<dyn Inside>) -> Self {
        let resources = server.resources();
        let document = openapi::documents(&resources).swap_remove(0);
        Self { server, resources, document }
    }

    pub(crate) fn version(&self) -> Version {
        (self.resources[0].group.to_string(), self.resources[0].version.to_string())
    }

    pub(crate) fn is(&self, group: &str, version: &str) -> bool {
        self.resources[0].group == group && self.resources[0].version == version
    }

    /// How it stands among those that are registered.
    pub(crate) fn registered(&self, priority: Priority) -> OtherVersion {
        let (group, version) = self.version();
        let mut all = self.discovery(&Registered::default()).aggregated(false);
        let resources = match all["items"][0]["versions"][0]["resources"].take() {
            Value::Array(resources) => resources,
            _ => Vec::new(),
        };
        let openapi_hash = Some(self.document.hash.clone());
        OtherVersion { group, version, priority, available: true, resources, openapi_hash }
    }

    fn discovery<'a>(&'a self, registered: &'a Registered) -> Discovery<'a> {
        Discovery { descriptors: &self.resources, registered }
    }

    /// Answers a request below its version, or for its documents.
    pub(crate) async fn answer(&self, request: Parts) -> Result<Response<ResponseBody>, ApiError> {
        let document = self.read(&request).await?;
        let body = Full::new(Bytes::from(document.to_string())).map_err(|never| match never {});
        let response = Response::builder().header(header::CONTENT_TYPE, "application/json").body(body.boxed_unsync());
        response.map_err(|error| ApiError::internal(error.to_string()))
    }

    async fn read(&self, request: &Parts) -> Result<Value, ApiError> {
        if request.method != Method::GET {
            return Err(ApiError::method_not_allowed());
        }
        let segments: Vec<&str> = request.uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let (plural, namespace, name) = match segments.as_slice() {
            ["openapi", "v3", ..] => return Ok(self.document.content.clone()),
            ["apis", group, version] => {
                let list = self.discovery(&Registered::default()).resource_list(group, version);
                return list.ok_or_else(ApiError::no_such_path);
            }
            ["apis", _, _, "namespaces", namespace, plural] => (*plural, *namespace, ""),
            ["apis", _, _, "namespaces", namespace, plural, name] => (*plural, *namespace, *name),
            ["apis", _, _, plural] => (*plural, "", ""),
            ["apis", _, _, plural, name] => (*plural, "", *name),
            _ => return Err(ApiError::no_such_path()),
        };
        // Who may read a namespace's objects may not read the cluster's by naming that namespace.
        let in_place = |resource: &ResourceDescriptor| {
            if resource.namespaced { !namespace.is_empty() || name.is_empty() } else { namespace.is_empty() }
        };
        let resource = self.resources.iter().find(|resource| resource.plural == plural && in_place(resource));
        let resource = resource.ok_or_else(ApiError::no_such_path)?;
        let shown = Shown { resource, form: Form::of(request)? };
        if !name.is_empty() {
            let objects = self.server.objects(plural, namespace).await?;
            let found = objects.into_iter().find(|object| meta::name(object) == name);
            let (group, resource) = (&*resource.group, &*resource.plural);
            return found
                .map(|found| shown.one(found))
                .ok_or_else(|| ApiError::not_found(Target { group, resource, name }));
        }
        let query = request.uri.query().unwrap_or_default();
        let query: HashMap<Cow<'_, str>, Cow<'_, str>> = form_urlencoded::parse(query.as_bytes()).collect();
        let asked = |name: &str| query.get(name).map_or("", |value| &**value);
        if matches!(asked("watch"), "1" | "true") {
            return Err(ApiError::method_not_allowed());
        }
        let labels = LabelSelector::parse(asked("labelSelector"))?;
        let fields = FieldSelector::parse(asked("fieldSelector"), resource)?;
        let mut objects = self.server.objects(plural, namespace).await?;
        objects.retain(|object| labels.matches(object) && fields.matches(object));
        Ok(shown.list(&objects))
    }
}

/// In which form a client wants what it reads.
enum Form {
    Object,
    Table(IncludeObject),
}

impl Form {
    fn of(request: &Parts) -> Result<Self, ApiError> {
        let accept = request.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let first = accept.split(',').next().unwrap_or_default();
        if !first.contains("as=Table") {
            return Ok(Self::Object);
        }
        let query = form_urlencoded::parse(request.uri.query().unwrap_or_default().as_bytes());
        let include = query.into_iter().find(|(name, _)| name == "includeObject");
        Ok(Self::Table(IncludeObject::parse(include.as_ref().map_or("", |(_, value)| value))?))
    }
}

/// A resource in the form that a client wants.
struct Shown<'a> {
    resource: &'a ResourceDescriptor,
    form: Form,
}

impl Shown<'_> {
    fn one(&self, object: Value) -> Value {
        match self.form {
            Form::Object => object,
            Form::Table(include) => self.table(&[object], include),
        }
    }

    fn list(&self, objects: &[Value]) -> Value {
        match self.form {
            Form::Object => json!({"kind": self.resource.list_kind, "apiVersion": self.resource.api_version(),
                "metadata": {}, "items": objects}),
            Form::Table(include) => self.table(objects, include),
        }
    }

    fn table(&self, objects: &[Value], include: IncludeObject) -> Value {
        let now = jiff::Timestamp::now().as_second();
        table::render(self.resource, objects, &json!({}), include, true, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use orrery_machinery::descriptor::{FixedResource, Storage};

    struct Things;

    #[async_trait::async_trait]
    impl Inside for Things {
        fn resources(&self) -> Vec<Arc<ResourceDescriptor>> {
            let thing = FixedResource {
                group: "x.io",
                version: "v1",
                kind: "Thing",
                plural: "things",
                storage: Storage::Computed,
                schema: || json!({"type": "object"}),
                ..FixedResource::PLAIN
            };
            let whole = FixedResource { kind: "Whole", plural: "wholes", namespaced: false, ..thing };
            vec![Arc::new(thing.into()), Arc::new(whole.into())]
        }

        async fn objects(&self, _: &str, namespace: &str) -> Result<Vec<Value>, ApiError> {
            let thing = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name, "labels": {"is": name}}});
            let all = vec![thing("n", "a"), thing("n", "b"), thing("m", "a")];
            Ok(all.into_iter().filter(|thing| namespace.is_empty() || meta::namespace(thing) == namespace).collect())
        }
    }

    async fn read(method: &str, path: &str, accept: &str) -> Result<Value, u16> {
        let request = Request::builder().method(method).uri(path).header("accept", accept).body(()).unwrap();
        Described::new(Arc::new(Things)).read(&request.into_parts().0).await.map_err(|error| error.code)
    }

    #[tokio::test]
    async fn objects_are_listed_chosen_and_found() {
        for (path, names) in [
            ("/apis/x.io/v1/things", json!(["a", "b", "a"])),
            ("/apis/x.io/v1/namespaces/n/things", json!(["a", "b"])),
            ("/apis/x.io/v1/things?labelSelector=is%3Db", json!(["b"])),
            ("/apis/x.io/v1/things?fieldSelector=metadata.namespace%3Dm", json!(["a"])),
        ] {
            let list = read("GET", path, "application/json").await.unwrap();
            let items = list["items"].as_array().unwrap().iter();
            assert_eq!(items.map(|item| item["metadata"]["name"].clone()).collect::<Value>(), names, "{path}");
            assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ThingList"), &json!("x.io/v1")));
        }
        assert_eq!(read("GET", "/apis/x.io/v1/wholes/a", "").await.unwrap()["metadata"]["name"], "a");
        assert_eq!(read("GET", "/apis/x.io/v1/namespaces/m/things/a", "").await.unwrap()["metadata"]["namespace"], "m");
        for (method, path, code) in [
            ("GET", "/apis/x.io/v1/namespaces/m/things/b", 404),
            ("GET", "/apis/x.io/v1/others", 404),
            ("GET", "/apis/x.io/v1/things/a", 404),
            ("GET", "/apis/x.io/v1/namespaces/n/wholes", 404),
            ("GET", "/apis/x.io/v1/namespaces/n/wholes/a", 404),
            ("GET", "/apis/x.io/v1/namespaces/m/things/a/status", 404),
            ("GET", "/apis/x.io/v1/things?watch=true", 405),
            ("DELETE", "/apis/x.io/v1/namespaces/m/things/a", 405),
            ("GET", "/apis/x.io/v1/things?labelSelector=%21%21", 400),
        ] {
            assert_eq!(read(method, path, "").await, Err(code), "{method} {path}");
        }
    }

    #[tokio::test]
    async fn a_table_is_made_for_who_wants_one() {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        let table = read("GET", "/apis/x.io/v1/namespaces/m/things", accept).await.unwrap();
        assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    }

    #[tokio::test]
    async fn what_is_said_of_it_is_that_it_can_be_read() {
        let described = Described::new(Arc::new(Things));
        let registered = described.registered(Priority { group: 1, version: 1 });
        assert_eq!(registered.resources[0]["verbs"], json!(["get", "list"]));
        let list = read("GET", "/apis/x.io/v1", "").await.unwrap();
        assert_eq!((&list["kind"], &list["resources"][0]["name"]), (&json!("APIResourceList"), &json!("things")));
        let document = read("GET", "/openapi/v3/apis/x.io/v1", "").await.unwrap();
        let item = &document["paths"]["/apis/x.io/v1/namespaces/{namespace}/things/{name}"];
        assert!(item["get"].is_object() && item.get("delete").is_none(), "{item}");
    }
}
