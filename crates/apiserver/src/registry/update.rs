//! Changes of objects: `update`, and what `patch` and the sub-resources share with it.

use super::{ATTEMPTS, Context, Registry, Written, create::check_namespace, decode, store_error};
use crate::{admission::Review, auth::Attributes, envelope, object};
use orrery_machinery::{
    descriptor::Does,
    meta,
    status::{ApiError, FieldError},
};
use orrery_merge::apply;
use orrery_store::{Compare, Op, Revision, Txn, TxnOutcome};
use serde_json::{Value, json};

/// Metadata that only the server sets.
const SYSTEM_FIELDS: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "selfLink",
];

/// A change of an object.
pub(crate) struct Change {
    /// The object as it should be.
    pub(crate) object: Value,
    /// Keys that stand twice in what the client sent.
    pub(crate) duplicates: Vec<String>,
    /// Whether the object says already who owns what.
    pub(crate) owned: bool,
}

impl Change {
    /// A change that the server makes of an object.
    pub(crate) fn of(object: Value) -> Self {
        Self { object, duplicates: Vec::new(), owned: false }
    }
}

impl Registry {
    /// Replaces the object that the context names.
    ///
    /// # Errors
    /// 409 when the body has another resource version than the object.
    pub(crate) async fn update(
        &self,
        context: &Context<'_>,
        body: &Value,
        duplicates: &[String],
    ) -> Result<Written, ApiError> {
        let change = |_: &Value| Ok(Change { object: body.clone(), duplicates: duplicates.to_vec(), owned: false });
        match self.change(context, change).await {
            Err(error) if error.code == 404 && self.creates_on_update(context, body).await? => {
                let mut new = body.clone();
                object::set_meta(&mut new, "name", Some(context.name.clone().into()));
                self.create(context, new, duplicates).await
            }
            result => result,
        }
    }

    /// Whether an update of what is missing creates it: where the kind has it so, and the caller may create.
    async fn creates_on_update(&self, context: &Context<'_>, body: &Value) -> Result<bool, ApiError> {
        let (resource, version) = (context.resource, meta::resource_version(body));
        let asked = resource.create_on_update && context.subresource.is_empty() && matches!(version, "" | "0");
        if let Some((user, authorizer)) = context.caller.filter(|_| asked) {
            let (group, plural) = (&resource.group, &resource.plural);
            let namespace = &context.namespace;
            let create = Attributes::resource(user.clone(), "create", group, plural, namespace, &context.name);
            authorizer.require(&create).await?;
        }
        Ok(asked)
    }

    /// Changes the object that the context names into what `change` makes of it. `change` is called again when another
    /// write came between.
    ///
    /// # Errors
    /// When the change is malformed, not allowed, or meets other writes again and again.
    pub(crate) async fn change(
        &self,
        context: &Context<'_>,
        change: impl Fn(&Value) -> Result<Change, ApiError> + Send + Sync,
    ) -> Result<Written, ApiError> {
        for _ in 0..ATTEMPTS {
            let entry = self.stored(context, &context.name).await?;
            // What lies there in an older version is written anew even if nothing else changes.
            let is_current = envelope::is_of_version(&entry, &context.stored_version());
            let entry = self.conversions.readable_one(context.resource, entry).await?;
            let old = context.decode(&entry)?;
            let Change { object: mut new, duplicates, owned } = change(&old)?;
            let mut warnings = prepare(context, &old, &mut new, &duplicates)?;
            if !owned {
                self.track(context, Some(&old), &mut new).await?;
            }
            let mut review = Review::default();
            self.admission.change(context, &self.reader, Some(&old), &mut new, &mut review).await?;
            if context.resource.counts_generation && spec_differs(&old, &new) {
                object::set_meta(&mut new, "generation", Some(json!(meta::generation(&old) + 1)));
            }
            apply::keep_times(&old, &mut new);
            validate(context, &old, &new)?;
            self.admission.check(context, &self.reader, Some(&old), Some(&new), &mut review).await?;
            warnings.append(&mut review.warnings);
            warnings.extend(context.resource.rules.warnings(&new, Some(&old)));
            if new == old && is_current {
                return Ok(Written::kept(old, warnings));
            }
            let removed = is_finished(&new);
            if context.options.dry_run {
                return Ok(Written { object: new, warnings, removed });
            }
            let key = entry.key.clone();
            let op =
                if removed { Op::Delete { key: key.clone() } } else { self.put(context, key.clone(), &new).await? };
            let mut txn = Txn { compare: vec![Compare::ModRevision(key, entry.mod_revision)], ops: vec![op] };
            self.write_also(&review, &mut txn)?;
            if let TxnOutcome::Committed(revision) = self.store.txn(txn).await.map_err(store_error)? {
                return Ok(Written { object: envelope::with_version(new, revision), warnings, removed });
            }
        }
        Err(modified(context))
    }
}

impl Registry {
    /// Adds what the review wants written along with the object to its transaction.
    pub(super) fn write_also(&self, review: &Review, txn: &mut Txn) -> Result<(), ApiError> {
        let table = self.table();
        let seen = |object: &Value, key: String| {
            let version = meta::resource_version(object).parse().unwrap_or_default();
            Compare::ModRevision(key, Revision(version))
        };
        for object in &review.also {
            let (key, op) = table.put(object)?;
            txn.compare.push(seen(object, key));
            txn.ops.push(op);
        }
        for object in &review.remove {
            let (key, _) = table.put(object)?;
            txn.compare.push(seen(object, key.clone()));
            txn.ops.push(Op::Delete { key });
        }
        for mark in &review.marks {
            let key = mark.key.clone();
            txn.compare.push(match mark.set {
                Some(revision) => Compare::ModRevision(key.clone(), revision),
                None => Compare::Absent(key.clone()),
            });
            txn.ops.push(Op::Put { key, value: bytes::Bytes::from_static(b"{}"), ttl: None });
        }
        for object in &review.create {
            let mut object = object.clone();
            object::set_meta(&mut object, "uid", Some(uuid::Uuid::new_v4().to_string().into()));
            object::set_meta(&mut object, "creationTimestamp", Some(object::now_text().into()));
            let (key, op) = table.put(&object)?;
            txn.compare.push(Compare::Absent(key));
            txn.ops.push(op);
        }
        Ok(())
    }
}

pub(super) fn modified(context: &Context<'_>) -> ApiError {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    ApiError::conflict(context.target(&context.name), why)
}

/// Whether an object whose deletion was asked for has nothing left to wait for.
pub(super) fn is_finished(object: &Value) -> bool {
    let grace = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    // Only namespaces have finalizers of their own in `spec`.
    let own = if object["kind"] == "Namespace" { object::list(object, "/spec/finalizers") } else { &[] };
    meta::is_deleting(object) && grace == 0 && meta::finalizers(object).is_empty() && own.is_empty()
}

/// Makes of the client's object what is to be stored.
fn prepare(
    context: &Context<'_>,
    old: &Value,
    new: &mut Value,
    duplicates: &[String],
) -> Result<Vec<String>, ApiError> {
    let resource = context.resource;
    let warnings = decode::check(context, new, duplicates)?;
    match meta::name(new) {
        "" => object::set_meta(new, "name", Some(context.name.clone().into())),
        name if name == context.name => {}
        name => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                context.name
            )));
        }
    }
    check_namespace(context, new)?;
    match meta::resource_version(new) {
        "" | "0" if context.resource.unconditional_update => {}
        "" | "0" => {
            let why = "must be specified for an update";
            let error = FieldError::invalid("metadata.resourceVersion", &json!(0), why);
            return Err(ApiError::invalid(&context.resource.kind, context.target(&context.name), &[error]));
        }
        version if version == meta::resource_version(old) => {}
        _ => return Err(modified(context)),
    }
    match meta::uid(new) {
        "" => {}
        uid if uid == meta::uid(old) => {}
        uid => {
            let why =
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta::uid(old));
            return Err(ApiError::conflict(context.target(&context.name), &why));
        }
    }
    keep_other_parts(context, old, new);
    for field in ["namespace", "resourceVersion"].iter().chain(SYSTEM_FIELDS) {
        object::set_meta(new, field, old["metadata"].get(*field).cloned());
    }
    resource.rules.default(new);
    Ok(warnings)
}

/// Takes from the old object what this request may not change.
fn keep_other_parts(context: &Context<'_>, old: &Value, new: &mut Value) {
    let resource = context.resource;
    match resource.subresource(&context.subresource).map(|subresource| &subresource.does) {
        Some(Does::Part(part)) => *new = part(old, new.take()),
        Some(Does::Scale(_) | Does::Handled) | None => {
            if resource.has_status() {
                object::set_field(new, "status", old.get("status").cloned());
            }
            resource.rules.prepare_update(old, new);
        }
    }
}

/// Whether more than metadata and status differs.
fn spec_differs(old: &Value, new: &Value) -> bool {
    let others = |object: &Value| -> Vec<(String, Value)> {
        let fields = object.as_object().into_iter().flatten();
        let others = fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"));
        others.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    others(old) != others(new)
}

fn validate(context: &Context<'_>, old: &Value, new: &Value) -> Result<(), ApiError> {
    let mut errors = match context.subresource.as_str() {
        "" => context.resource.rules.validate(new, Some(old)),
        part => context.resource.rules.validate_part(part, new, old),
    };
    errors.extend(apply::validate_managed_fields(&new["metadata"]["managedFields"]));
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(&context.resource.kind, context.target(&context.name), &errors))
    }
}
