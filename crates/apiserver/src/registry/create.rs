//! `create`.

use super::{
    ATTEMPTS, Context, Registry, Written, decode, key, options::FieldValidation, options::WriteOptions, store_error,
};
use crate::{admission::Review, envelope, object};
use orrery_machinery::{
    descriptor::ResourceDescriptor,
    meta,
    status::{ApiError, FieldError},
};
use orrery_merge::apply;
use orrery_store::{Compare, Revision, Txn, TxnOutcome};
use serde_json::{Value, json};

/// How often a generated name that is taken is drawn anew.
const NAME_ATTEMPTS: usize = 8;

/// What became of a new object.
enum Inserted {
    /// It is there.
    Done(Value),
    /// Another one has its name.
    Taken,
    /// Something that it depends on was changed meanwhile; it has to be judged again.
    Again,
}

impl Registry {
    /// Creates an object out of a body.
    ///
    /// # Errors
    /// When it is malformed, not allowed, or there already.
    pub(crate) async fn create(
        &self,
        context: &Context<'_>,
        body: Value,
        duplicates: &[String],
    ) -> Result<Written, ApiError> {
        self.create_owned(context, body, duplicates, false).await
    }

    /// [`Self::create`], of an object that says already who owns what when `owned` is set.
    pub(super) async fn create_owned(
        &self,
        context: &Context<'_>,
        body: Value,
        duplicates: &[String],
        owned: bool,
    ) -> Result<Written, ApiError> {
        if let Some(why) = &context.resource.closed {
            return Err(ApiError { message: why.to_string(), ..ApiError::method_not_allowed() });
        }
        let mut body = body;
        let mut warnings = decode::check(context, &mut body, duplicates)?;
        check_identity(context, &body)?;
        let generates = meta::name(&body).is_empty();
        let mut names = 0;
        for _ in 0..ATTEMPTS {
            let mut new = body.clone();
            let mut review = Review::default();
            prepare(context, &mut new);
            if !owned {
                self.track(context, None, &mut new).await?;
            }
            self.admission.change(context, &self.reader, None, &mut new, &mut review).await?;
            validate(context, &new)?;
            self.admission.check(context, &self.reader, None, Some(&new), &mut review).await?;
            let name = meta::name(&new).to_owned();
            match self.insert(context, new, &review).await? {
                Inserted::Done(object) => {
                    warnings.append(&mut review.warnings);
                    warnings.extend(context.resource.rules.warnings(&object, None));
                    return Ok(Written::kept(object, warnings));
                }
                Inserted::Taken if generates && names < NAME_ATTEMPTS => names += 1,
                Inserted::Taken => return Err(ApiError::already_exists(context.target(&name))),
                Inserted::Again => {}
            }
        }
        Err(ApiError::conflict(
            context.target(meta::name(&body)),
            "what it depends on keeps changing; please try again",
        ))
    }

    /// Creates one of the server's own objects, unless there is one.
    pub(crate) async fn create_if_missing(&self, resource: &ResourceDescriptor, body: Value) -> Result<(), ApiError> {
        let context = Context {
            caller: None,
            resource,
            namespace: meta::namespace(&body).to_owned(),
            name: String::new(),
            subresource: String::new(),
            options: WriteOptions { validation: FieldValidation::Strict, ..WriteOptions::default() },
        };
        match self.create(&context, body, &[]).await {
            Err(error) if error.reason != "AlreadyExists" => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Writes the new object and what goes with it, if its namespace is there and takes new objects at the same revision.
    async fn insert(&self, context: &Context<'_>, new: Value, review: &Review) -> Result<Inserted, ApiError> {
        let name = meta::name(&new);
        let key = context.key(name);
        let mut txn =
            Txn { compare: vec![Compare::Absent(key.clone())], ops: vec![self.put(context, key.clone(), &new).await?] };
        if let Some((key, revision)) = self.namespace_for(context, name).await? {
            txn.compare.push(Compare::ModRevision(key, revision));
        }
        if context.options.dry_run {
            let taken = self.store.get(&key).await.map_err(store_error)?.is_some();
            return Ok(if taken { Inserted::Taken } else { Inserted::Done(new) });
        }
        self.write_also(review, &mut txn)?;
        Ok(match self.store.txn(txn).await.map_err(store_error)? {
            TxnOutcome::Committed(revision) => Inserted::Done(envelope::with_version(new, revision)),
            TxnOutcome::Conflict(present) if present.first().is_some_and(Option::is_some) => Inserted::Taken,
            TxnOutcome::Conflict(_) => Inserted::Again,
        })
    }

    /// The namespace that the new object is to be in, once it is known to take new objects. None when namespaces play no
    /// part: for resources without, and where the server serves no namespaces.
    async fn namespace_for(&self, context: &Context<'_>, name: &str) -> Result<Option<(String, Revision)>, ApiError> {
        if !context.resource.namespaced || self.resource("", "v1", "namespaces").is_none() {
            return Ok(None);
        }
        let namespace = &context.namespace;
        let key = key::object("", "namespaces", "", namespace);
        let Some(entry) = self.store.get(&key).await.map_err(store_error)? else {
            let target = orrery_machinery::status::Target { group: "", resource: "namespaces", name: namespace };
            return Err(ApiError::not_found(target));
        };
        if meta::is_deleting(&envelope::decode_stored(&entry)?) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut error = ApiError::forbidden(context.target(name), &why);
            if let Some(details) = &mut error.details {
                details["causes"] = json!([{"reason": "NamespaceTerminating",
                    "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]);
            }
            return Err(error);
        }
        Ok(Some((key, entry.mod_revision)))
    }
}

fn check_identity(context: &Context<'_>, body: &Value) -> Result<(), ApiError> {
    if !matches!(meta::resource_version(body), "" | "0") {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    check_namespace(context, body)
}

/// The body's namespace has to be the path's.
pub(super) fn check_namespace(context: &Context<'_>, body: &Value) -> Result<(), ApiError> {
    let given = meta::namespace(body);
    if context.resource.namespaced && !given.is_empty() && given != context.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(why));
    }
    Ok(())
}

/// Sets what the server sets on a new object.
fn prepare(context: &Context<'_>, new: &mut Value) {
    let resource = context.resource;
    if meta::name(new).is_empty() && !meta::generate_name(new).is_empty() {
        let name = meta::generated_name(meta::generate_name(new), rand::random());
        object::set_meta(new, "name", Some(name.into()));
    }
    let namespace = resource.namespaced.then(|| context.namespace.clone().into());
    for (field, value) in [
        ("namespace", namespace),
        ("uid", Some(uuid::Uuid::new_v4().to_string().into())),
        ("creationTimestamp", Some(object::now_text().into())),
        ("generation", resource.counts_generation.then(|| 1.into())),
        ("deletionTimestamp", None),
        ("deletionGracePeriodSeconds", None),
        ("selfLink", None),
    ] {
        // A namespace on an object without is left for validation to refuse.
        if field != "namespace" || value.is_some() {
            object::set_meta(new, field, value);
        }
    }
    // A kubelet registers its node together with the status; all others start without.
    if resource.has_status() && !context.is_core("nodes") {
        object::set_field(new, "status", None);
    }
    resource.rules.prepare_create(new);
    resource.rules.default(new);
}

fn validate(context: &Context<'_>, new: &Value) -> Result<(), ApiError> {
    let mut errors = context.resource.rules.validate(new, None);
    errors.extend(apply::validate_managed_fields(&new["metadata"]["managedFields"]));
    let name = meta::name(new);
    if errors.is_empty() && name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    }
    if errors.is_empty() {
        // Whatever the kind's own rules are, a name has to stay one segment of a path and of a key.
        let problems = meta::path_segment_problems(name);
        errors.extend(problems.iter().map(|why| FieldError::invalid("metadata.name", &name.into(), why)));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(&context.resource.kind, context.target(name), &errors))
    }
}
