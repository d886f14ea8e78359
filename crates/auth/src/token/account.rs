//! Whose token it is, and whether what it is bound to is still there.

use super::{
    BoundObject, Claims, Issued, Issuing, KeyError, Named, TokenKeys, TokenSettings, TokenSpec, cache::Verified, issue,
    jws,
};
use crate::{Objects, User};
use orrery_machinery::{
    meta,
    status::{ApiError, Target},
};
use serde_json::Value;

/// How long tokens stay good after what they are bound to should have been gone.
const DELETED_SECONDS: i64 = 60;

/// Why a token proves nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of ours, or no longer good.
    #[error("{0}")]
    Refused(String),
    /// What it is bound to could not be read.
    #[error("cannot tell whether the token is good: {0}")]
    Unknown(String),
}

/// Who has shown a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: User,
    /// The audiences that both the token and the asker have.
    pub audiences: Vec<String>,
    /// When the token should have been renewed by now: a text for the audit log.
    pub stale: Option<String>,
}

/// Issues and accepts tokens of service accounts.
pub struct ServiceAccountTokens {
    keys: TokenKeys,
    settings: TokenSettings,
    issuers: Vec<String>,
    objects: Objects,
    verified: Verified,
}

impl ServiceAccountTokens {
    /// Tokens of the accounts among `objects`.
    #[must_use]
    pub fn new(keys: TokenKeys, settings: TokenSettings, objects: Objects) -> Self {
        let issuers = settings.issuers();
        Self { keys, settings, issuers, objects, verified: Verified::default() }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &TokenKeys {
        &self.keys
    }

    /// How tokens are issued and accepted.
    #[must_use]
    pub fn settings(&self) -> &TokenSettings {
        &self.settings
    }

    /// Whom the token proves, to one who is one of `audiences` (none: the API server).
    ///
    /// # Errors
    /// When it proves nobody, or that can't be told.
    pub async fn authenticate(&self, token: &str, audiences: &[String], now: i64) -> Result<Identity, TokenError> {
        let refused = |why: &str| TokenError::Refused(why.to_owned());
        let verify = || serde_json::from_slice(&jws::verify(&self.keys, token)?).ok();
        let claims = self.verified.get(token, verify).ok_or_else(|| refused("invalid bearer token"))?;
        claims.check(&self.issuers, now).map_err(refused)?;
        let audiences = if audiences.is_empty() { &self.settings.audiences } else { audiences };
        let audiences: Vec<String> = audiences.iter().filter(|own| claims.aud.contains(own)).cloned().collect();
        if audiences.is_empty() {
            let why = format!("token audiences {:?} is invalid for the target audiences", claims.aud);
            return Err(TokenError::Refused(why));
        }
        self.check_bound(&claims, now).await?;
        let stale = claims.kubernetes.warnafter.filter(|after| now > *after).map(|after| {
            let late = now - after;
            format!("subject: {}, seconds after warning threshold: {late}", claims.sub)
        });
        Ok(Identity { user: claims.user(), audiences, stale })
    }

    /// Whether the account and what the token is bound to still exist with their uids.
    async fn check_bound(&self, claims: &Claims, now: i64) -> Result<(), TokenError> {
        let bound = &claims.kubernetes;
        let namespace = &bound.namespace;
        self.check_object("serviceaccounts", namespace, &bound.serviceaccount, now).await?;
        if let Some(secret) = &bound.secret {
            self.check_object("secrets", namespace, secret, now).await?;
        }
        match (&bound.pod, &bound.node) {
            // The node of a pod is only told; the pod decides.
            (Some(pod), _) => self.check_object("pods", namespace, pod, now).await,
            (None, Some(node)) => self.check_object("nodes", "", node, now).await,
            (None, None) => Ok(()),
        }
    }

    async fn check_object(&self, plural: &str, namespace: &str, named: &Named, now: i64) -> Result<(), TokenError> {
        let found = self.objects.get("", plural, namespace, &named.name).await;
        let found = found.map_err(|error| TokenError::Unknown(error.message))?;
        let why = match found {
            None => "does not exist",
            Some(object) if meta::uid(&object) != named.uid || named.uid.is_empty() => "has another uid",
            Some(object) if is_over(&object, now) => "has been deleted",
            Some(_) => return Ok(()),
        };
        Err(TokenError::Refused(format!("the token is bound to {plural} {:?}, which {why}", named.name)))
    }

    /// A token for an account.
    ///
    /// # Errors
    /// When what it is to be bound to is not there, is another object, or is of another account.
    pub async fn issue(&self, account: &Value, spec: &TokenSpec, now: i64) -> Result<Issued, ApiError> {
        let bound = self.find_bound(account, spec).await?;
        let issuing = Issuing { account, spec, bound: &bound, settings: &self.settings, now };
        issue(&self.keys, &issuing).map_err(|error: KeyError| ApiError::internal(error.to_string()))
    }

    async fn find_bound(&self, account: &Value, spec: &TokenSpec) -> Result<BoundObject, ApiError> {
        let Some((kind, version, name, uid)) = &spec.bound else { return Ok(BoundObject::Nothing) };
        let (namespace, owner) = (meta::namespace(account), meta::name(account));
        let (plural, namespace) = match (kind.as_str(), version.as_str()) {
            ("Pod", "v1") => ("pods", namespace),
            ("Secret", "v1") => ("secrets", namespace),
            ("Node", "v1") => ("nodes", ""),
            _ => {
                let why = format!("cannot bind token for serviceaccount {owner:?} to object of type {version}/{kind}");
                return Err(ApiError::bad_request(why));
            }
        };
        let target = Target { group: "", resource: plural, name };
        let object = self.objects.get("", plural, namespace, name).await?;
        let object = object.ok_or_else(|| ApiError::not_found(target))?;
        if !uid.is_empty() && meta::uid(&object) != uid {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
                 been deleted and then recreated"
            );
            return Err(ApiError::conflict(target, &why));
        }
        let named = Named { name: name.clone(), uid: meta::uid(&object).to_owned() };
        Ok(match plural {
            "pods" if object["spec"]["serviceAccountName"] != owner => {
                let why = format!(
                    "cannot bind token for serviceaccount {owner:?} to pod running with different serviceaccount name."
                );
                return Err(ApiError::bad_request(why));
            }
            "pods" => BoundObject::Pod(named, self.node_of(&object).await?),
            "secrets" => BoundObject::Secret(named),
            _ => BoundObject::Node(named),
        })
    }

    async fn node_of(&self, pod: &Value) -> Result<Option<Named>, ApiError> {
        let Some(name) = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()) else { return Ok(None) };
        let node = self.objects.get("", "nodes", "", name).await?;
        let uid = node.as_ref().map_or("", meta::uid).to_owned();
        Ok(Some(Named { name: name.to_owned(), uid }))
    }
}

/// Whether an object's time to end is over, though something still keeps it.
fn is_over(object: &Value, now: i64) -> bool {
    let until = meta::deletion_timestamp(object).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    until.is_some_and(|until| until.as_second() + DELETED_SECONDS < now)
}
