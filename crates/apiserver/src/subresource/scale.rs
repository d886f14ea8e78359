//! `scale`: the number of replicas of any kind, as `autoscaling/v1 Scale`.
//!
//! Whoever scales owns the replicas: the owners of the object are shown as those of the scale, brought up to date there, and
//! taken back (`orrery_merge::apply::scale`).

use crate::{
    auth::Verb,
    http::{ResponseBody, body, dispatch::ResourceRequest, respond},
    object,
    registry::{Change, Context, Patch, Presenter, WriteOptions, check_object, parse_body},
    server::ApiServer,
};
use ::http::Response;
use orrery_machinery::{
    descriptor::{Column, Does, FixedResource, ResourceDescriptor, ScalePaths},
    selector::LabelSelector,
    shape::Shape,
    status::{ApiError, FieldError},
};
use orrery_merge::apply::{self, Ignored, OneVersion, scale::ReplicasPath};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// How scales are shown, also as tables.
static SHOWN: LazyLock<Arc<ResourceDescriptor>> = LazyLock::new(|| {
    let columns = &[
        Column {
            name: "Desired",
            kind: "integer",
            priority: 0,
            description: "How many replicas are wanted.",
            cell: |scale, _| scale["spec"]["replicas"].clone(),
        },
        Column {
            name: "Available",
            kind: "integer",
            priority: 0,
            description: "How many replicas there are.",
            cell: |scale, _| scale["status"]["replicas"].clone(),
        },
    ];
    Arc::new(FixedResource { group: "autoscaling", kind: "Scale", columns, ..FixedResource::PLAIN }.into())
});

/// Reads or writes the number of replicas.
pub(super) async fn serve(
    server: &Arc<ApiServer>,
    resource: &Arc<ResourceDescriptor>,
    paths: &ScalePaths,
    request: ResourceRequest,
) -> Result<Response<ResponseBody>, ApiError> {
    let ResourceRequest { user, verb, path, query, parts, body, .. } = request;
    let context = Context {
        caller: Some((&user, &server.authorizer)),
        resource,
        namespace: path.namespace,
        name: path.name,
        subresource: path.subresource,
        options: WriteOptions::parse(&query, &parts.headers)?,
    };
    let scaling = Scaling::new(server, &context, paths);
    let registry = &server.registry;
    let scale = match verb {
        Verb::Get => {
            let presenter = Presenter::parse(&SHOWN, &parts.headers, &query)?;
            presenter.shown(view(&registry.get(&context).await?, paths))
        }
        Verb::Update => {
            let sent = parse_body(&parts.headers, &body::read(body, &server.limits).await?)?;
            check_object(&sent, "Scale")?;
            let change = |old: &Value| scaling.change(old, |before| scaling.tracked(before, sent.clone()));
            view(&registry.change(&context, change).await?.object, paths)
        }
        Verb::Patch => {
            let patch = Patch::parse(&parts.headers, &body::read(body, &server.limits).await?)?;
            context.options.check_patch(patch.is_apply())?;
            let make = |before: &Value| match patch.is_apply() {
                true => scaling.applied(before, patch.value()),
                false => scaling.tracked(before, patch.apply(before, Some(&scaling.shape))?),
            };
            let change = |old: &Value| scaling.change(old, make);
            view(&registry.change(&context, change).await?.object, paths)
        }
        Verb::List | Verb::Watch | Verb::Create | Verb::Delete | Verb::DeleteCollection => {
            return Err(ApiError::method_not_allowed());
        }
    };
    Ok(respond::json(200, &scale))
}

/// A write of a scale.
struct Scaling<'a> {
    context: &'a Context<'a>,
    paths: &'a ScalePaths,
    /// Where each version of the object has its replicas.
    versions: Vec<(String, Option<Vec<String>>)>,
    /// How scales merge.
    shape: Shape,
    now: String,
}

impl<'a> Scaling<'a> {
    fn new(server: &ApiServer, context: &'a Context<'a>, paths: &'a ScalePaths) -> Self {
        let table = server.registry.table();
        let same = table.all().iter().filter(|other| {
            other.stored.group == context.resource.stored.group && other.stored.plural == context.resource.stored.plural
        });
        let versions = same.map(|version| {
            let scale = version.subresource("scale").map(|found| &found.does);
            let path = match scale {
                Some(Does::Scale(paths)) => Some(paths.spec_replicas.split('.').map(str::to_owned).collect()),
                Some(Does::Part(_) | Does::Handled) | None => None,
            };
            (version.api_version(), path)
        });
        let shape = orrery_shapes::of("autoscaling", "v1", "Scale").unwrap_or_else(Shape::deduced);
        Self { context, paths, versions: versions.collect(), shape, now: object::now_text() }
    }

    /// The object after a write of its scale, which `make` makes of the present one.
    fn change(&self, old: &Value, make: impl Fn(&Value) -> Result<Value, ApiError>) -> Result<Change, ApiError> {
        let names: Vec<_> = self.versions.iter().map(|(_, path)| path.as_ref().map(|path| borrowed(path))).collect();
        let mappings: Vec<ReplicasPath<'_>> =
            self.versions.iter().map(|(version, _)| version.as_str()).zip(names.iter().map(Option::as_deref)).collect();
        let owners = object::list(old, "/metadata/managedFields");
        let mut before = view(old, self.paths);
        // Owners that cannot be read are nobody's; the write itself is not held up.
        let of_scale = apply::scale::to_scale(owners, &mappings).unwrap_or_default();
        object::set_meta(&mut before, "managedFields", (!of_scale.is_empty()).then(|| of_scale.into()));
        let after = make(&before)?;
        let mut new = with_replicas(self.context, old, &after, self.paths)?;
        let of_scale = object::list(&after, "/metadata/managedFields");
        if let Ok(owners) = apply::scale::to_object(owners, of_scale, &self.context.api_version(), &mappings) {
            object::set_meta(&mut new, "managedFields", (!owners.is_empty()).then(|| owners.into()));
        }
        Ok(Change { object: new, duplicates: Vec::new(), owned: true })
    }

    /// The scale that was sent, with its owners.
    fn tracked(&self, before: &Value, mut sent: Value) -> Result<Value, ApiError> {
        let update = apply::Update { live: Some(before), resource: self.resource(), writer: self.writer() };
        if let Some(problem) = apply::track(&update, &mut sent) {
            tracing::debug!(name = self.context.name, problem, "the owners of the replicas stay as they were");
        }
        Ok(sent)
    }

    /// The scale with a configuration applied.
    fn applied(&self, before: &Value, config: &Value) -> Result<Value, ApiError> {
        let force = self.context.options.force == Some(true);
        let (resource, writer) = (self.resource(), self.writer());
        apply::apply(&apply::Apply { live: Some(before), config, force, resource, writer }).map(|made| made.object)
    }

    fn resource(&self) -> apply::Resource<'_> {
        let (api_version, kind) = ("autoscaling/v1", "Scale");
        apply::Resource { api_version, kind, shape: &self.shape, ignored: &Ignored::Nothing, versions: &OneVersion }
    }

    fn writer(&self) -> apply::Writer<'_> {
        apply::Writer { manager: &self.context.options.manager, subresource: "scale", now: &self.now }
    }
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, name| &value[name])
}

/// The object as a `Scale`.
fn view(object: &Value, paths: &ScalePaths) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let number = |path: &str| at(object, path).as_i64().unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(&paths.spec_replicas)},
        "status": {"replicas": number(&paths.status_replicas)},
    });
    let selector = paths.selector.as_ref().map(|path| at(object, path)).map(selector_text).unwrap_or_default();
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// A selector as text: it is one, or a label selector, or a plain map of labels (as a replication controller has).
fn selector_text(selector: &Value) -> String {
    match selector {
        Value::String(text) => text.clone(),
        Value::Object(map) if map.values().all(Value::is_string) => {
            LabelSelector::from_object(&json!({"matchLabels": map})).to_string()
        }
        Value::Object(_) => LabelSelector::from_object(selector).to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => String::new(),
    }
}

/// The object with the number of replicas that a client sent.
fn with_replicas(context: &Context<'_>, old: &Value, sent: &Value, paths: &ScalePaths) -> Result<Value, ApiError> {
    let replicas = sent["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let why = "must be greater than or equal to 0";
        let error = FieldError::invalid("spec.replicas", &replicas.into(), why);
        return Err(ApiError::invalid("Scale", context.target(&context.name), &[error]));
    }
    let mut new = old.clone();
    for field in ["name", "uid", "resourceVersion"] {
        if let Some(sent) = sent["metadata"].get(field).filter(|sent| !sent.is_null() && *sent != "") {
            object::set_meta(&mut new, field, Some(sent.clone()));
        }
    }
    set(&mut new, &paths.spec_replicas, replicas.into());
    Ok(new)
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: ScalePaths = ScalePaths {
        spec_replicas: std::borrow::Cow::Borrowed("spec.replicas"),
        status_replicas: std::borrow::Cow::Borrowed("status.replicas"),
        selector: Some(std::borrow::Cow::Borrowed("spec.selector")),
    };

    #[test]
    fn a_scale_shows_replicas_and_the_selector_as_text() {
        let table = [
            (json!({"matchLabels": {"a": "b"}}), "a=b"),
            (json!({"a": "b", "c": "d"}), "a=b,c=d"),
            (json!("x in (y)"), "x in (y)"),
            (json!({"matchExpressions": [{"key": "k", "operator": "NotIn", "values": ["1", "2"]}]}), "k notin (1,2)"),
        ];
        for (selector, text) in table {
            let object = json!({"metadata": {"name": "a", "labels": {}}, "status": {"replicas": 1},
                "spec": {"replicas": 3, "selector": selector}});
            let scale = view(&object, &PATHS);
            assert_eq!(scale["status"], json!({"replicas": 1, "selector": text}));
            assert_eq!((&scale["spec"]["replicas"], scale["metadata"].get("labels")), (&json!(3), None));
        }
    }

    #[test]
    fn the_number_is_put_where_the_kind_keeps_it() {
        let mut object = json!({"metadata": {}});
        set(&mut object, "spec.size.count", 4.into());
        assert_eq!(object["spec"], json!({"size": {"count": 4}}));
    }
}
