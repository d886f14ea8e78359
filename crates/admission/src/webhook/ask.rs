//! One question to one webhook.

use super::{answer, hook::Hook};
use crate::{
    forbidden,
    matching::{Form, Subject},
    review::{convert, convert_back, describe},
    rights::{self, Rights},
};
use bytes::Bytes;
use orrery_apiserver::{AdmissionRequest, Operation};
use orrery_callout::Clients;
use orrery_machinery::status::ApiError;
use orrery_merge::patch::{self, PatchKind};
use orrery_schema::admission::Input;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const AGENT: &str = concat!("orrery-admission/", env!("CARGO_PKG_VERSION"));

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) hook: &'a Hook,
    pub(super) request: &'a AdmissionRequest<'a>,
    pub(super) subject: Subject<'a>,
    /// The object's namespace, as expressions see it.
    pub(super) namespace: Option<&'a Value>,
    /// When the whole request has to be through.
    pub(super) deadline: Instant,
}

/// What a hook said.
pub(super) struct Asked {
    /// The changed object, if it was changed; or why the request is refused.
    pub(super) verdict: Result<Option<Value>, ApiError>,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: Vec<(String, String)>,
}

/// Why a hook said nothing.
pub(super) enum Failure {
    /// It could not be asked, or its answer is none: its failure policy decides.
    Calling(String),
    /// The request is refused, whatever the policy.
    Refused(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// Asks a hook, if it is about the request.
pub(super) async fn ask(question: &Question<'_>, clients: &Clients, mutating: bool) -> Result<Option<Asked>, Failure> {
    let Question { hook, request, subject, .. } = question;
    let Some(form) = hook.matching.form(subject) else { return Ok(None) };
    let shown = |object: Option<&Value>| object.map(|object| convert(request, object, form)).transpose();
    let (object, old) = (shown(subject.object)?, shown(subject.old)?);
    let mut described = describe(request, subject.object, form);
    if !conditions_hold(question, object.as_ref(), old.as_ref(), &described).await? {
        return Ok(None);
    }
    if request.dry_run && !hook.stands_dry_run {
        let why = format!("admission webhook {:?} does not support dry run", hook.name);
        return Err(ApiError::bad_request(why).into());
    }
    if !hook.is_v1 {
        return Err(Failure::Calling("webhook does not accept v1 AdmissionReview requests".to_owned()));
    }
    let uid = uuid::Uuid::new_v4().to_string();
    described["uid"] = uid.as_str().into();
    described["oldObject"] = old.into();
    described["object"] = object.clone().into();
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": described});
    let body = call(question, clients, &review).await.map_err(Failure::Calling)?;
    let answer = answer::read(&body, &uid, mutating)
        .map_err(|why| Failure::Calling(format!("received invalid webhook response: {why}")))?;
    let annotations = answer.annotations.into_iter().map(|(key, value)| (format!("{}/{key}", hook.name), value));
    let annotations = annotations.collect();
    let verdict = match answer.denial {
        Some(status) => Err(answer::denied(&hook.name, &status)),
        None => Ok(patched(question, object, answer.patch.as_ref(), form)?),
    };
    Ok(Some(Asked { verdict, warnings: answer.warnings, annotations }))
}

async fn conditions_hold(
    question: &Question<'_>,
    object: Option<&Value>,
    old_object: Option<&Value>,
    described: &Value,
) -> Result<bool, ApiError> {
    let namespace = question.namespace;
    let rights = Rights::of(question.request);
    let authorizer = rights::shown(rights.as_ref());
    let input = Input { object, old_object, request: described, params: None, namespace, authorizer };
    let hook = question.hook;
    loop {
        let holds = hook.conditions.matches(&input, hook.failure);
        if !rights::settle(rights.as_ref()).await {
            return holds.map_err(|why| forbidden(question.request, &why));
        }
    }
}

/// Sends the review within what time there is.
async fn call(question: &Question<'_>, clients: &Clients, review: &Value) -> Result<Bytes, String> {
    let hook = question.hook;
    let failed = |why: String| format!("failed to call webhook: {why}");
    let target = hook.target.as_ref().map_err(|why| failed(why.clone()))?;
    let left = question.deadline.saturating_duration_since(Instant::now());
    let timeout = hook.timeout.min(left);
    let url = format!("{}?timeout={}s", target.url(), whole_seconds(timeout));
    let post = async {
        let address = target.resolve(question.request.reader).await?;
        clients.post((&address, &hook.trust), AGENT, &url, Bytes::from(review.to_string())).await
    };
    let outcome = tokio::time::timeout(timeout, post).await.unwrap_or(Err("context deadline exceeded".to_owned()));
    outcome.map_err(|why| failed(format!("Post {url:?}: {why}")))
}

/// Seconds, rounded up.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The object with a hook's patch; none when it stays as it is.
fn patched(
    question: &Question<'_>,
    object: Option<Value>,
    patch: Option<&Value>,
    form: Form<'_>,
) -> Result<Option<Value>, ApiError> {
    let (hook, request) = (question.hook, question.request);
    let Some(patch) = patch.filter(|patch| patch.as_array().is_none_or(|list| !list.is_empty())) else {
        return Ok(None);
    };
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    let Some(object) = object.filter(|_| writes) else {
        return Err(ApiError::internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        )));
    };
    let made = patch::apply(PatchKind::Json, &object, patch, None)
        .map_err(|error| ApiError::internal(format!("admission webhook {:?}: {}", hook.name, error.message)))?;
    let made = convert_back(request, made, form)?;
    Ok((question.subject.object != Some(&made)).then_some(made))
}
