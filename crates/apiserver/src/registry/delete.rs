//! `delete`: at once, or in steps when a kubelet or finalizers have to do their part.
//!
//! ```text
//! present --delete, nothing to wait for--> gone
//! present --delete, grace > 0 (a bound pod)--> terminating (grace period) --delete with grace 0 (kubelet)--> gone
//! present --delete, finalizers--> terminating (grace 0) --last finalizer removed (update)--> gone
//! present --delete, Foreground or Orphan--> terminating, with a finalizer that the garbage collector takes away
//! ```

use super::{
    ATTEMPTS, Context, Registry, Written,
    options::{DeleteOptions, Propagation},
    store_error,
    update::{is_finished, modified},
};
use crate::{
    admission::{self, Review},
    envelope, object,
};
use orrery_machinery::{meta, status::ApiError};
use orrery_store::{Compare, Op, Txn, TxnOutcome};
use serde_json::{Value, json};

/// A pod's grace period where nobody set one.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// A deletion, as it is carried out.
pub(crate) struct Deletion<'a> {
    pub(crate) options: &'a DeleteOptions,
    /// The resource version on which the decision to delete was made, if it was made on one.
    pub(crate) seen: Option<&'a str>,
    /// What is written on an object that stays for a while.
    pub(crate) prepare: &'a (dyn Fn(&mut Value) + Sync),
}

impl Registry {
    /// Deletes the object that the context names, or asks for its deletion.
    ///
    /// # Errors
    /// When there is none, it is not as the preconditions say, or it may not be deleted.
    pub(crate) async fn delete(&self, context: &Context<'_>, options: &DeleteOptions) -> Result<Written, ApiError> {
        let deletion = Deletion { options, seen: None, prepare: &|_| {} };
        for _ in 0..ATTEMPTS {
            if let Some(written) = self.delete_once(context, &deletion, &Review::default()).await? {
                return Ok(written);
            }
        }
        Err(modified(context))
    }

    /// [`Self::delete`] with what `with` wants written along; none when another write came between.
    ///
    /// # Errors
    /// As `delete`.
    pub(crate) async fn delete_once(
        &self,
        context: &Context<'_>,
        deletion: &Deletion<'_>,
        with: &Review,
    ) -> Result<Option<Written>, ApiError> {
        let options = deletion.options;
        let entry = self.entry(context, &context.name).await?;
        let old = context.decode(&entry)?;
        if deletion.seen.is_some_and(|seen| seen != meta::resource_version(&old)) {
            return Ok(None);
        }
        check_preconditions(context, &old, options)?;
        admission::delete(context)?;
        let mut review = Review::default();
        self.admission.check(context, &self.reader, Some(&old), None, &mut review).await?;
        let warnings = std::mem::take(&mut review.warnings);
        let mut new = terminating(context, &old, options, object::now_seconds());
        let removed = is_finished(&new);
        if !removed && new == old {
            return Ok(Some(Written { object: old, warnings, removed }));
        }
        (deletion.prepare)(&mut new);
        if options.dry_run || context.options.dry_run {
            return Ok(Some(Written { object: new, warnings, removed }));
        }
        let key = entry.key.clone();
        let op = if removed { Op::Delete { key: key.clone() } } else { self.put(context, key.clone(), &new).await? };
        let mut txn = Txn { compare: vec![Compare::ModRevision(key, entry.mod_revision)], ops: vec![op] };
        self.write_also(with, &mut txn)?;
        if removed {
            self.write_also(&review, &mut txn)?;
        }
        let outcome = self.store.txn(txn).await.map_err(store_error)?;
        let TxnOutcome::Committed(revision) = outcome else { return Ok(None) };
        Ok(Some(Written { object: envelope::with_version(new, revision), warnings, removed }))
    }
}

fn check_preconditions(context: &Context<'_>, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let checks = [
        ("UID", options.uid.as_deref(), meta::uid(old)),
        ("ResourceVersion", options.version.as_deref(), meta::resource_version(old)),
    ];
    for (what, wanted, present) in checks {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != present) {
            let why =
                format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {present}");
            return Err(ApiError::conflict(context.target(&context.name), &why));
        }
    }
    Ok(())
}

/// The finalizer of an object that goes after what it owns.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object that leaves behind what it owns.
const ORPHAN: &str = "orphan";

/// Sets the finalizers that ask the garbage collector to see to the object's dependents.
fn set_propagation(context: &Context<'_>, object: &mut Value, asked: Option<Propagation>) {
    let present = meta::finalizers(object);
    let has = |finalizer| present.contains(&finalizer);
    let effective = match asked {
        None if has(ORPHAN) => Propagation::Orphan,
        None if has(FOREGROUND) => Propagation::Foreground,
        None if context.resource.rules.orphans_by_default() => Propagation::Orphan,
        None => Propagation::Background,
        Some(asked) => asked,
    };
    let wanted = match effective {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let others = present.iter().copied().filter(|finalizer| *finalizer != FOREGROUND && *finalizer != ORPHAN);
    let finalizers: Vec<&str> = others.chain(wanted).collect();
    if finalizers != present {
        let finalizers = (!finalizers.is_empty()).then(|| json!(finalizers));
        object::set_meta(object, "finalizers", finalizers);
    }
}

/// The object once its deletion has been asked for. A second request can only shorten the grace period.
fn terminating(context: &Context<'_>, old: &Value, options: &DeleteOptions, now: i64) -> Value {
    let grace = grace_seconds(context, old, options);
    let mut new = old.clone();
    set_propagation(context, &mut new, options.propagation);
    let present = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if meta::is_deleting(old) {
        let Some(present) = present.filter(|present| grace < *present) else { return new };
        let asked = asked_at(old, present).unwrap_or(now);
        object::set_meta(&mut new, "deletionTimestamp", Some(object::time_text(asked + grace).into()));
        object::set_meta(&mut new, "deletionGracePeriodSeconds", Some(json!(grace)));
        return new;
    }
    object::set_meta(&mut new, "deletionTimestamp", Some(object::time_text(now.saturating_add(grace)).into()));
    object::set_meta(&mut new, "deletionGracePeriodSeconds", Some(json!(grace)));
    if meta::generation(old) > 0 {
        object::set_meta(&mut new, "generation", Some(json!(meta::generation(old) + 1)));
    }
    context.resource.rules.prepare_delete(&mut new);
    new
}

/// When the deletion was asked for, Unix seconds.
fn asked_at(object: &Value, grace: i64) -> Option<i64> {
    let at: jiff::Timestamp = meta::deletion_timestamp(object)?.parse().ok()?;
    Some(at.as_second() - grace)
}

/// Only a pod that a kubelet may have started is given time.
fn grace_seconds(context: &Context<'_>, old: &Value, options: &DeleteOptions) -> i64 {
    let phase = object::text(old, "/status/phase");
    let waits = context.is_core("pods")
        && !object::text(old, "/spec/nodeName").is_empty()
        && !matches!(phase, "Succeeded" | "Failed");
    if !waits {
        return 0;
    }
    let own = old["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(DEFAULT_GRACE_SECONDS);
    options.grace_seconds.unwrap_or(own).max(0)
}
