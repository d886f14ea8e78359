//! The objects of one resource, in one namespace or in the cluster: the verbs as tests use them.

use super::{Answer, Api, Form, Outcome, Resource, Watch, until};
use serde_json::Value;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Parameters of a request, such as `[("labelSelector", "app=web")]`.
pub type Query<'a> = &'a [(&'a str, &'a str)];

/// How often an update is tried again that met another's.
const CONFLICTS: usize = 20;

/// The objects of a resource, or one of their sub-resources.
#[derive(Clone)]
pub struct Objects {
    api: Api,
    resource: Resource,
    namespace: Option<String>,
    subresource: Option<String>,
}

impl Objects {
    /// The objects of `resource`; `namespace` none means all namespaces, or the cluster.
    #[must_use]
    pub fn new(api: Api, resource: Resource, namespace: Option<&str>) -> Self {
        Self { api, resource, namespace: namespace.map(str::to_owned), subresource: None }
    }

    /// The server they are on.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The resource they are of.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The same as another user or with other headers.
    #[must_use]
    pub fn through(&self, api: &Api) -> Self {
        Self { api: api.clone(), ..self.clone() }
    }

    /// A sub-resource of theirs, such as `status`.
    #[must_use]
    pub fn sub(&self, name: &str) -> Self {
        Self { subresource: Some(name.to_owned()), ..self.clone() }
    }

    /// The path of the collection with parameters.
    #[must_use]
    pub fn collection(&self, query: Query<'_>) -> String {
        with_query(self.resource.path(self.namespace.as_deref()), query)
    }

    /// The path of one object (of its sub-resource) with parameters.
    #[must_use]
    pub fn path(&self, name: &str, query: Query<'_>) -> String {
        let path = format!("{}/{name}", self.resource.path(self.namespace.as_deref()));
        let path = match &self.subresource {
            Some(sub) => format!("{path}/{sub}"),
            None => path,
        };
        with_query(path, query)
    }

    /// The object with `apiVersion` and `kind` where they are missing.
    fn typed(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if let (Value::Object(fields), None) = (&mut object, &self.subresource) {
            fields.entry("apiVersion").or_insert_with(|| self.resource.api_version().into());
            fields.entry("kind").or_insert_with(|| self.resource.kind.clone().into());
        }
        object
    }

    /// Posts an object, or a sub-resource of the object that `metadata.name` names; whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, object: &Value, query: Query<'_>) -> Outcome<Answer> {
        let path = match (&self.subresource, object["metadata"]["name"].as_str()) {
            (Some(_), Some(name)) => self.path(name, query),
            _ => self.collection(query),
        };
        self.api.post(&path, &self.typed(object)).await
    }

    /// Creates an object.
    ///
    /// # Errors
    /// When it is refused, or the answer is not 201.
    pub async fn create(&self, object: &Value) -> Outcome<Value> {
        self.post(object, &[]).await?.expect(201)
    }

    /// Reads an object; whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn read(&self, name: &str) -> Outcome<Answer> {
        self.api.get(&self.path(name, &[])).await
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn get(&self, name: &str) -> Outcome<Value> {
        self.read(name).await?.expect(200)
    }

    /// The list.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn list(&self, query: Query<'_>) -> Outcome<Value> {
        self.api.get(&self.collection(query)).await?.expect(200)
    }

    /// The objects of the list.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn items(&self, query: Query<'_>) -> Outcome<Vec<Value>> {
        let mut list = self.list(query).await?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The objects with labels.
    ///
    /// # Errors
    /// When the list is refused.
    pub async fn labelled(&self, selector: &str) -> Outcome<Vec<Value>> {
        self.items(&[("labelSelector", selector)]).await
    }

    /// Replaces an object; whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn put(&self, object: &Value) -> Outcome<Answer> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.api.put(&self.path(name, &[]), &self.typed(object)).await
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn replace(&self, object: &Value) -> Outcome<Value> {
        self.put(object).await?.expect(200)
    }

    /// Reads, changes and replaces, again when somebody else was faster.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn update(&self, name: &str, change: impl Fn(&mut Value)) -> Outcome<Value> {
        for _ in 0..CONFLICTS {
            let mut object = self.get(name).await?;
            change(&mut object);
            let answer = self.put(&object).await?;
            if answer.status != 409 {
                return answer.expect(200);
            }
        }
        Err(super::Failure::wrong(format!("{}: {CONFLICTS} updates in a row met a conflict", self.path(name, &[]))))
    }

    /// Patches an object; whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn patch(&self, name: &str, form: Form, patch: &Value, query: Query<'_>) -> Outcome<Answer> {
        self.api.patch(&self.path(name, query), form, patch).await
    }

    /// Merges a patch into an object (RFC 7386).
    ///
    /// # Errors
    /// When it is refused.
    pub async fn merge(&self, name: &str, patch: &Value) -> Outcome<Value> {
        self.patch(name, Form::MergePatch, patch, &[]).await?.expect(200)
    }

    /// Merges a strategic patch into an object.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn strategic(&self, name: &str, patch: &Value) -> Outcome<Value> {
        self.patch(name, Form::StrategicPatch, patch, &[]).await?.expect(200)
    }

    /// Applies an object (server-side apply) for a field manager.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn apply(&self, name: &str, manager: &str, object: &Value) -> Outcome<Value> {
        let object = self.typed(object);
        self.patch(name, Form::Apply, &object, &[("fieldManager", manager)]).await?.success()
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn delete(&self, name: &str) -> Outcome<Value> {
        self.delete_with(name, &Value::Null).await?.success()
    }

    /// Deletes an object with a `DeleteOptions` (without its kind); whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete_with(&self, name: &str, options: &Value) -> Outcome<Answer> {
        self.api.delete(&self.path(name, &[]), options).await
    }

    /// Deletes what matches; whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete_all(&self, query: Query<'_>) -> Outcome<Answer> {
        self.api.delete(&self.collection(query), &Value::Null).await
    }

    /// Deletes the objects with labels.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn delete_labelled(&self, selector: &str) -> Outcome<Value> {
        self.delete_all(&[("labelSelector", selector)]).await?.expect(200)
    }

    /// Watches the collection.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn watch(&self, query: Query<'_>) -> Outcome<Watch> {
        let mut query = query.to_vec();
        query.push(("watch", "true"));
        Watch::open(&self.api, &self.collection(&query)).await
    }

    /// Waits until the object is not there any more.
    ///
    /// # Errors
    /// When it is still there after `limit`.
    pub async fn gone(&self, name: &str, limit: Duration) -> Outcome {
        until(limit, || async {
            let answer = self.read(name).await?;
            match answer.status {
                404 => Ok(Some(())),
                _ => Ok(None),
            }
        })
        .await
        .map_err(|failure| failure.during(format!("{} is still there", self.path(name, &[]))))
    }

    /// Waits until the object is as `wanted` says, and returns it.
    ///
    /// # Errors
    /// When it is not so after `limit`, or can't be read.
    pub async fn wait(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool + Send + Sync,
    ) -> Outcome<Value> {
        let last = Mutex::new(Value::Null);
        let found = until(limit, || async {
            let object = self.get(name).await?;
            let so = wanted(&object);
            last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&object);
            Ok(so.then_some(object))
        });
        let found = found.await;
        let last = last.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.map_err(|failure| {
            let status = last["status"].to_string();
            failure.during(format!("{}: {what} (status: {status:.400})", self.path(name, &[])))
        })
    }
}

/// A path with its parameters, percent-encoded.
#[must_use]
pub fn with_query(path: String, query: Query<'_>) -> String {
    if query.is_empty() {
        return path;
    }
    let pairs = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("{path}?{pairs}")
}
