//! One repository of one registry, read with one credential: authentication, redirects, statuses.

use super::error::RegistryError;
use super::keyring::Credential;
use super::transport::{Origin, Transport};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde::Deserialize;
use std::sync::Mutex;
use std::time::Duration;

/// Redirects that are followed one after another.
const REDIRECTS: usize = 5;
/// Tries of what may succeed a moment later.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// The longest pause that a registry may ask for; the pull has failed when it wants more.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Answers with tokens and errors may be so long, in bytes.
const ANSWER_BYTES: usize = 64 << 10;
/// What is shown of a registry's own words, in characters.
const SHOWN: usize = 200;

/// Reads one repository.
pub(super) struct Session<'a> {
    pub(super) transport: &'a Transport,
    pub(super) origin: Origin,
    pub(super) repository: String,
    pub(super) credential: Option<Credential>,
    /// What the registry took last.
    authorization: Mutex<Option<HeaderValue>>,
}

/// An answer that is being read.
pub(super) struct Answer {
    /// Who answered in the end.
    pub(super) origin: Origin,
    pub(super) response: Response<Incoming>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        transport: &'a Transport,
        origin: Origin,
        repository: String,
        credential: Option<Credential>,
    ) -> Self {
        Self { transport, origin, repository, credential, authorization: Mutex::new(None) }
    }

    /// Gets `manifests/...` or `blobs/...`, from byte `from` on, trying again what may succeed a moment later.
    pub(super) async fn get(&self, what: &str, accept: &str, from: u64) -> Result<Answer, RegistryError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            match self.get_once(what, accept, from).await {
                // One that is silent is not waited for again and again.
                Err((error, wait))
                    if error.is_transient()
                        && !matches!(error, RegistryError::Idle { .. })
                        && wait.is_none_or(|wait| wait <= LONGEST_PAUSE) =>
                {
                    tracing::debug!(%error, what, "trying again");
                    tokio::time::sleep(wait.unwrap_or(pause)).await;
                    pause *= 3;
                }
                outcome => return outcome.map_err(|(error, _)| error),
            }
        }
        self.once(what, accept, from).await
    }

    /// Like [`Self::get`], once.
    pub(super) async fn once(&self, what: &str, accept: &str, from: u64) -> Result<Answer, RegistryError> {
        self.get_once(what, accept, from).await.map_err(|(error, _)| error)
    }

    /// With a failure goes how long the registry asks to be left alone.
    async fn get_once(&self, what: &str, accept: &str, from: u64) -> Result<Answer, (RegistryError, Option<Duration>)> {
        let mut answer = self.ask(what, accept, from).await.map_err(|error| (error, None))?;
        if answer.response.status() == StatusCode::UNAUTHORIZED && answer.origin == self.origin {
            let granted = self.authorize(answer.response.headers()).await.map_err(|error| (error, None))?;
            if granted {
                answer = self.ask(what, accept, from).await.map_err(|error| (error, None))?;
            }
        }
        let status = answer.response.status();
        if status.is_success() {
            return Ok(answer);
        }
        let seconds = answer.response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let host = answer.origin.host.clone();
        let detail = self.detail(answer).await;
        let what = format!("{}/{what}", self.repository);
        let repository = self.repository.clone();
        let error = match status {
            StatusCode::UNAUTHORIZED => {
                RegistryError::Unauthorized { host, repository, anonymous: self.credential.is_none() }
            }
            StatusCode::FORBIDDEN => RegistryError::Denied { host, repository, detail },
            StatusCode::NOT_FOUND => RegistryError::NotFound { host, what, detail },
            status => RegistryError::Status { host, what, status: status.as_u16(), detail },
        };
        Err((error, seconds.map(Duration::from_secs)))
    }

    /// Asks and follows redirects. Only the registry itself is shown what it knows us by.
    async fn ask(&self, what: &str, accept: &str, from: u64) -> Result<Answer, RegistryError> {
        let mut origin = self.origin.clone();
        let mut path = format!("/v2/{}/{what}", self.repository);
        for _ in 0..=REDIRECTS {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, header(accept, &origin)?);
            if from > 0 {
                headers.insert(RANGE, header(&format!("bytes={from}-"), &origin)?);
            }
            let known = self.authorization.lock().expect("nobody panics while holding this lock").clone();
            if let Some(known) = known.filter(|_| origin == self.origin) {
                headers.insert(AUTHORIZATION, known);
            }
            let response = self.transport.send(&origin, Method::GET, &path, headers, Bytes::new()).await?;
            if !response.status().is_redirection() {
                return Ok(Answer { origin, response });
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let protocol = |what| RegistryError::Protocol { host: origin.host.clone(), what };
            let target: Uri =
                location.parse().map_err(|_| protocol(format!("it redirects to {:?}", shown(location))))?;
            path = target.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
            if target.authority().is_some() {
                origin = self.transport.named(&origin, &target)?;
            }
        }
        let what = format!("it redirects more than {REDIRECTS} times");
        Err(RegistryError::Protocol { host: self.origin.host.clone(), what })
    }

    /// Answers a challenge; false when we have nothing to answer with.
    async fn authorize(&self, headers: &HeaderMap) -> Result<bool, RegistryError> {
        let basic = match &self.credential {
            Some(Credential::Password { username, password }) => {
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
            }
            Some(Credential::IdentityToken(_) | Credential::RegistryToken(_)) | None => None,
        };
        let mut value = None;
        for challenges in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
            for challenge in http_auth::parse_challenges(challenges).unwrap_or_default() {
                if challenge.scheme.eq_ignore_ascii_case("Bearer") {
                    let token = match &self.credential {
                        Some(Credential::RegistryToken(token)) => token.clone(),
                        Some(Credential::Password { .. } | Credential::IdentityToken(_)) | None => {
                            self.token(&challenge, basic.as_deref()).await?
                        }
                    };
                    value = Some(format!("Bearer {token}"));
                } else if challenge.scheme.eq_ignore_ascii_case("Basic") && value.is_none() {
                    value.clone_from(&basic);
                }
            }
        }
        let Some(value) = value else { return Ok(false) };
        let mut value = header(&value, &self.origin)?;
        value.set_sensitive(true);
        *self.authorization.lock().expect("nobody panics while holding this lock") = Some(value);
        Ok(true)
    }

    /// Gets a token that allows reading the repository.
    async fn token(
        &self,
        challenge: &http_auth::ChallengeRef<'_>,
        basic: Option<&str>,
    ) -> Result<String, RegistryError> {
        let parameter = |wanted: &str| {
            let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.to_unescaped())
        };
        let protocol = |what: &str| RegistryError::Protocol { host: self.origin.host.clone(), what: what.to_owned() };
        let realm = parameter("realm").and_then(|realm| realm.parse::<Uri>().ok());
        let realm = realm.ok_or_else(|| protocol("its challenge names no realm"))?;
        let origin = self.transport.named(&self.origin, &realm)?;
        let (method, path, body) = self.token_request(&realm, parameter("service").as_deref());
        let mut headers = HeaderMap::new();
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(basic) = basic {
            headers.insert(AUTHORIZATION, header(basic, &origin)?);
        }
        let response = self.transport.send(&origin, method, &path, headers, body).await?;
        let (host, status) = (origin.host.clone(), response.status());
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) {
            let (repository, anonymous) = (self.repository.clone(), self.credential.is_none());
            return Err(RegistryError::Unauthorized { host, repository, anonymous });
        }
        if !status.is_success() {
            let (what, detail) = ("a token".to_owned(), String::new());
            return Err(RegistryError::Status { host, what, status: status.as_u16(), detail });
        }
        let answer = self.transport.document(&origin, response.into_body(), "the token", ANSWER_BYTES).await?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&answer).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token.filter(|token| !token.is_empty()).ok_or_else(|| protocol("its realm gives no token"))
    }

    /// Method, path and body of the request for a token.
    fn token_request(&self, realm: &Uri, service: Option<&str>) -> (Method, String, Bytes) {
        let mut query = form_urlencoded::Serializer::new(realm.query().unwrap_or_default().to_owned());
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &format!("repository:{}:pull", self.repository));
        match &self.credential {
            Some(Credential::IdentityToken(token)) => {
                query.append_pair("grant_type", "refresh_token");
                query.append_pair("client_id", "orrery").append_pair("refresh_token", token);
                (Method::POST, realm.path().to_owned(), Bytes::from(query.finish()))
            }
            Some(Credential::Password { .. } | Credential::RegistryToken(_)) | None => {
                (Method::GET, format!("{}?{}", realm.path(), query.finish()), Bytes::new())
            }
        }
    }

    /// What the registry says of a failure, made fit to be shown.
    async fn detail(&self, answer: Answer) -> String {
        let body = answer.response.into_body();
        let read = self.transport.document(&answer.origin, body, "the error", ANSWER_BYTES).await;
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&read.unwrap_or_default()) else {
            return String::new();
        };
        let first = &value["errors"][0];
        let words = ["code", "message"].map(|field| first[field].as_str().unwrap_or_default());
        let words = words.join(" ");
        let words = shown(words.trim());
        if words.is_empty() { words } else { format!(": {words}") }
    }
}

fn header(text: &str, origin: &Origin) -> Result<HeaderValue, RegistryError> {
    let what = || "what it wants to be sent does not fit a header".to_owned();
    HeaderValue::from_str(text).map_err(|_| RegistryError::Protocol { host: origin.host.clone(), what: what() })
}

/// Text from outside, short and without control characters.
fn shown(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(SHOWN).collect()
}
