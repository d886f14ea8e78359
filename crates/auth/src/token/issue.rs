//! What a request for a token gets. Pure.

use super::{Bound, Claims, KeyError, Named, TokenKeys, jws};
use orrery_machinery::{meta, status::FieldError};
use serde_json::{Value, json};

/// A requested lifetime that says "a pod's token that its kubelet renews": those last a year, so that programs that never
/// read them anew go on, and their late use is noted down. Upstream's `WarnOnlyBoundTokenExpirationPeriod`.
const RENEWED_SECONDS: i64 = 3607;
const YEAR_SECONDS: i64 = 365 * 24 * 3600;
const SHORTEST_SECONDS: i64 = 600;
const DEFAULT_SECONDS: i64 = 3600;

/// How tokens are issued and which are accepted.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// Who issues: an `https` URL, under which others find the keys.
    pub issuer: String,
    /// Issuers of tokens from before, which are still accepted.
    pub former_issuers: Vec<String>,
    /// What tokens for this API server are for.
    pub audiences: Vec<String>,
    /// The longest lifetime; none for what the request asks.
    pub max_expiration_seconds: Option<i64>,
    /// Where others read the keys from, such as `https://10.0.0.1:6443/openid/v1/jwks`.
    pub jwks_uri: String,
}

impl TokenSettings {
    /// Settings of a cluster whose API is reached at `endpoint`; its issuer is named as in most clusters.
    #[must_use]
    pub fn new(endpoint: &str) -> Self {
        let issuer = "https://kubernetes.default.svc.cluster.local".to_owned();
        Self {
            audiences: vec![issuer.clone()],
            issuer,
            former_issuers: Vec::new(),
            max_expiration_seconds: None,
            jwks_uri: format!("{}/openid/v1/jwks", endpoint.trim_end_matches('/')),
        }
    }

    /// All accepted issuers.
    #[must_use]
    pub fn issuers(&self) -> Vec<String> {
        [std::slice::from_ref(&self.issuer), self.former_issuers.as_slice()].concat()
    }
}

/// What a `TokenRequest` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpec {
    /// For whom; the API server itself when empty.
    pub audiences: Vec<String>,
    /// How long.
    pub expiration_seconds: i64,
    /// What it is bound to: (kind, API version, name, uid).
    pub bound: Option<(String, String, String, String)>,
}

impl TokenSpec {
    /// What an object of the kind `TokenRequest` asks for.
    #[must_use]
    pub fn of(request: &Value) -> Self {
        let spec = &request["spec"];
        let audiences = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let reference = &spec["boundObjectRef"];
        let text = |field: &str| reference[field].as_str().unwrap_or("").to_owned();
        Self {
            audiences: audiences.map(str::to_owned).collect(),
            expiration_seconds: spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS),
            bound: reference.is_object().then(|| (text("kind"), text("apiVersion"), text("name"), text("uid"))),
        }
    }
}

/// Checks the request's fields.
#[must_use]
pub fn validate_spec(spec: &TokenSpec) -> Vec<FieldError> {
    let seconds = spec.expiration_seconds;
    let why = if seconds < SHORTEST_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if seconds > 1 << 32 {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Vec::new();
    };
    vec![FieldError::invalid("spec.expirationSeconds", &json!(seconds), why)]
}

/// What a token is bound to, as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BoundObject {
    /// Nothing but the account.
    #[default]
    Nothing,
    /// A pod, and the node that it runs on.
    Pod(Named, Option<Named>),
    /// A secret.
    Secret(Named),
    /// A node.
    Node(Named),
}

/// Everything that a token is made from.
#[derive(Debug, Clone, Copy)]
pub struct Issuing<'a> {
    /// The account's object.
    pub account: &'a Value,
    /// What is asked for.
    pub spec: &'a TokenSpec,
    /// What it is bound to.
    pub bound: &'a BoundObject,
    /// How tokens are issued.
    pub settings: &'a TokenSettings,
    /// Unix seconds.
    pub now: i64,
}

/// A token.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// What it says.
    pub claims: Claims,
    /// What the request's answer tells: audiences and lifetime as they became. A pod's renewed token ends there for its
    /// kubelet, though it is good for longer.
    pub spec: TokenSpec,
    /// For the client's user.
    pub warning: Option<String>,
}

/// Makes a token.
///
/// # Errors
/// When it can't be signed.
pub fn issue(keys: &TokenKeys, issuing: &Issuing<'_>) -> Result<Issued, KeyError> {
    let (claims, spec, warning) = plan(issuing);
    let payload = serde_json::to_vec(&claims).expect("claims are JSON");
    Ok(Issued { token: jws::sign(keys, &payload)?, claims, spec, warning })
}

fn plan(issuing: &Issuing<'_>) -> (Claims, TokenSpec, Option<String>) {
    let Issuing { account, settings, now, bound, .. } = *issuing;
    let mut spec = issuing.spec.clone();
    let mut warning = None;
    if spec.audiences.is_empty() {
        spec.audiences.clone_from(&settings.audiences);
    }
    if let Some(longest) = settings.max_expiration_seconds.filter(|longest| spec.expiration_seconds > *longest) {
        let asked = spec.expiration_seconds;
        warning = Some(format!("requested expiration of {asked} seconds shortened to {longest} seconds"));
        spec.expiration_seconds = longest;
    }
    let for_us = spec.audiences.iter().all(|audience| settings.audiences.contains(audience));
    let renewed = for_us && matches!(bound, BoundObject::Pod(..)) && spec.expiration_seconds == RENEWED_SECONDS;
    let longest = settings.max_expiration_seconds.unwrap_or(YEAR_SECONDS);
    let lifetime = if renewed { YEAR_SECONDS.min(longest) } else { spec.expiration_seconds };
    let (namespace, name) = (meta::namespace(account), meta::name(account));
    let mut kubernetes = Bound {
        namespace: namespace.to_owned(),
        serviceaccount: Named { name: name.to_owned(), uid: meta::uid(account).to_owned() },
        warnafter: renewed.then_some(now + RENEWED_SECONDS),
        ..Bound::default()
    };
    match bound.clone() {
        BoundObject::Nothing => {}
        BoundObject::Pod(pod, node) => (kubernetes.pod, kubernetes.node) = (Some(pod), node),
        BoundObject::Secret(secret) => kubernetes.secret = Some(secret),
        BoundObject::Node(node) => kubernetes.node = Some(node),
    }
    let claims = Claims {
        aud: spec.audiences.clone(),
        exp: now + lifetime,
        iat: now,
        iss: settings.issuer.clone(),
        jti: uuid::Uuid::new_v4().to_string(),
        kubernetes,
        nbf: now,
        sub: format!("system:serviceaccount:{namespace}:{name}"),
    };
    (claims, spec, warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_for(spec: &TokenSpec, bound: &BoundObject, longest: Option<i64>) -> (Claims, TokenSpec, Option<String>) {
        let account = json!({"metadata": {"name": "robot", "namespace": "demo", "uid": "u"}});
        let settings =
            TokenSettings { max_expiration_seconds: longest, ..TokenSettings::new("https://127.0.0.1:6443/") };
        plan(&Issuing { account: &account, spec, bound, settings: &settings, now: 1000 })
    }

    fn spec(seconds: i64) -> TokenSpec {
        TokenSpec { expiration_seconds: seconds, ..TokenSpec::of(&json!({})) }
    }

    #[test]
    fn a_token_lasts_as_long_as_asked_but_no_longer_than_allowed() {
        let (claims, answered, warning) = plan_for(&spec(7200), &BoundObject::Nothing, None);
        assert_eq!((claims.exp, answered.expiration_seconds, warning), (8200, 7200, None));
        let (claims, answered, warning) = plan_for(&spec(7200), &BoundObject::Nothing, Some(3600));
        assert_eq!((claims.exp, answered.expiration_seconds), (4600, 3600));
        assert_eq!(warning.unwrap(), "requested expiration of 7200 seconds shortened to 3600 seconds");
        assert_eq!(TokenSpec::of(&json!({})).expiration_seconds, 3600);
    }

    #[test]
    fn a_pods_renewed_token_lasts_a_year_and_its_late_use_is_noted() {
        let pod = BoundObject::Pod(Named { name: "p".into(), uid: "1".into() }, None);
        let (claims, answered, _) = plan_for(&spec(3607), &pod, None);
        assert_eq!((claims.exp, answered.expiration_seconds), (1000 + YEAR_SECONDS, 3607));
        assert_eq!(claims.kubernetes.warnafter, Some(4607));
        let (claims, ..) = plan_for(&spec(3607), &BoundObject::Nothing, None);
        assert_eq!((claims.exp, claims.kubernetes.warnafter), (4607, None));
        let other = TokenSpec { audiences: vec!["vault".into()], ..spec(3607) };
        assert_eq!(plan_for(&other, &pod, None).0.exp, 4607);
    }

    #[test]
    fn a_token_for_nobody_in_particular_is_for_the_api_server() {
        let (claims, ..) = plan_for(&spec(600), &BoundObject::Nothing, None);
        assert_eq!(claims.aud, ["https://kubernetes.default.svc.cluster.local"]);
        assert_eq!(claims.sub, "system:serviceaccount:demo:robot");
    }

    #[test]
    fn lifetimes_are_between_ten_minutes_and_2_to_the_32_seconds() {
        for (seconds, good) in [(599, false), (600, true), (1 << 32, true), ((1 << 32) + 1, false), (-1, false)] {
            assert_eq!(validate_spec(&spec(seconds)).is_empty(), good, "{seconds}");
        }
    }
}
