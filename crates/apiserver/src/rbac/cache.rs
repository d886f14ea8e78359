//! Roles and bindings in memory, fed by the store's watch.

use super::{
    GROUP,
    rules::{Binding, Policy, RoleRef, Rule, rules_of},
};
use crate::{
    auth::{Attributes, User},
    envelope,
};
use orrery_store::{Change, Entry, RangeRequest, Revision, Store, StoreError, WatchEvent};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long to wait before the store is asked again after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// The present roles and bindings.
pub(crate) struct RbacCache {
    policy: Arc<RwLock<Policy>>,
    /// Ends the following task with the cache.
    _stop: DropGuard,
}

impl RbacCache {
    /// Reads roles and bindings and follows them from then on. When `enabled` is false there are none, ever.
    pub(crate) async fn start(store: Arc<dyn Store>, enabled: bool) -> Result<Self, StoreError> {
        let stop = CancellationToken::new();
        let policy = Arc::new(RwLock::new(Policy::default()));
        if enabled {
            let from = reload(&*store, &policy).await?;
            let task = follow(store, Arc::clone(&policy), from, stop.clone());
            tokio::spawn(task);
        }
        Ok(Self { policy, _stop: stop.drop_guard() })
    }

    fn read<T>(&self, with: impl FnOnce(&Policy) -> T) -> T {
        with(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a rule allows what is asked.
    pub(crate) fn allows(&self, asked: &Attributes) -> bool {
        self.read(|policy| policy.allows(asked))
    }

    /// The rules that hold for a user in a namespace.
    pub(crate) fn rules_for(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.read(|policy| policy.rules_for(user, namespace).cloned().collect())
    }

    /// The rules of a role as a binding in `namespace` names it.
    pub(crate) fn role(&self, namespace: &str, role: &RoleRef) -> Vec<Rule> {
        self.read(|policy| policy.role(namespace, role).to_vec())
    }
}

fn prefix() -> String {
    format!("/registry/{GROUP}/")
}

async fn reload(store: &dyn Store, policy: &RwLock<Policy>) -> Result<Revision, StoreError> {
    let page = store.range(RangeRequest { prefix: prefix(), ..RangeRequest::default() }).await?;
    let mut fresh = Policy::default();
    for entry in &page.entries {
        put(&mut fresh, entry);
    }
    *policy.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    Ok(page.revision)
}

/// Applies changes until told to stop. When the watch is lost, everything is read anew.
async fn follow(store: Arc<dyn Store>, policy: Arc<RwLock<Policy>>, from: Revision, stop: CancellationToken) {
    let mut from = Some(from);
    while !stop.is_cancelled() {
        let result = tokio::select! {
            () = stop.cancelled() => return,
            // Starting over on the next turn loses nothing: all state is in `policy` and the store.
            result = follow_once(&*store, &policy, from) => result,
        };
        from = None;
        if let Err(error) = result {
            if matches!(error, StoreError::Closed) {
                return;
            }
            tracing::warn!(%error, "cannot follow roles and bindings; trying again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

async fn follow_once(store: &dyn Store, policy: &RwLock<Policy>, from: Option<Revision>) -> Result<(), StoreError> {
    let from = match from {
        Some(from) => from,
        None => reload(store, policy).await?,
    };
    let mut watch = store.watch(&prefix(), from).await?;
    while let Some(event) = watch.next().await {
        match event {
            WatchEvent::Change(change) => {
                apply(&mut policy.write().unwrap_or_else(PoisonError::into_inner), &change);
            }
            WatchEvent::Progress(_) => {}
            WatchEvent::Lost { .. } => return Ok(()),
        }
    }
    Err(StoreError::Closed)
}

fn apply(policy: &mut Policy, change: &Change) {
    match &change.current {
        Some(entry) => put(policy, entry),
        None => {
            let (plural, namespace, name) = parts(&change.key);
            match plural {
                "roles" | "clusterroles" => {
                    policy.roles.remove(&(namespace.to_owned(), name.to_owned()));
                }
                _ => {
                    policy.bindings.remove(&change.key);
                }
            }
        }
    }
}

fn put(policy: &mut Policy, entry: &Entry) {
    let Ok(object) = envelope::decode_stored(entry) else {
        // Refusing is the safe side: what cannot be read grants nothing.
        tracing::error!(key = %entry.key, "a role or binding in the store is damaged and is left out");
        return;
    };
    let (plural, namespace, name) = parts(&entry.key);
    match plural {
        "roles" | "clusterroles" => {
            policy.roles.insert((namespace.to_owned(), name.to_owned()), rules_of(&object));
        }
        "rolebindings" | "clusterrolebindings" => {
            policy.bindings.insert(entry.key.clone(), Binding::of(&object));
        }
        _ => {}
    }
}

/// Plural, namespace and name of a key.
fn parts(key: &str) -> (&str, &str, &str) {
    let mut rest = key.strip_prefix(prefix().as_str()).unwrap_or("").split('/');
    let plural = rest.next().unwrap_or("");
    let first = rest.next().unwrap_or("");
    match rest.next() {
        Some(name) => (plural, first, name),
        None => (plural, "", first),
    }
}
