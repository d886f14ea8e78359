//! `MutatingAdmissionWebhook` and `ValidatingAdmissionWebhook`: other programs have a say
//! (`k8s.io/apiserver/pkg/admission/plugin/webhook`).
//!
//! ```text
//! configurations ──compile, once per version──► hooks ──match rules, selectors, conditions──► those to ask
//!   mutating:   one after the other, each sees what those before it made; once more those that want to, when a later one
//!               changed the object
//!   validating: all at once
//! ask ──► service to address ──► POST AdmissionReview ──► answer checked ──► allowed │ denied │ failed: failurePolicy
//! ```
//!
//! * [`hook`]: a webhook, compiled. * [`ask`]: one question, with all that may go wrong. * [`answer`]: what comes back.
//!
//! How it gets there is the crate `callout`. Mutating hooks are also asked about deletions and connections, which they can only refuse.

mod answer;
mod ask;
mod hook;

pub(crate) use hook::CONDITIONS;

use crate::{
    cache::Cache,
    matching::{GROUP, Subject, is_exempt, namespace_of},
};
use ask::{Asked, Question};
use futures::future::join_all;
use hook::Hook;
use orrery_apiserver::{AdmissionRequest, Operation, Plugin, Review};
use orrery_callout::Clients;
use orrery_machinery::status::ApiError;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long all hooks of a request may take together; `requestTimeoutUpperBound` of writes.
const ALL_TOGETHER: Duration = Duration::from_secs(34);

/// The name of the plugin that changes requests.
const NAME: &str = "MutatingAdmissionWebhook";

/// Webhooks of one kind.
struct Webhooks {
    plural: &'static str,
    hooks: Cache<String, Vec<Hook>>,
    clients: Arc<Clients>,
}

impl Webhooks {
    /// All hooks, by the names of their configurations, and in these in their order.
    async fn all(&self, request: &AdmissionRequest<'_>) -> Result<Vec<Arc<Vec<Hook>>>, ApiError> {
        let configurations = request.reader.list(GROUP, self.plural, "").await?;
        Ok(self.hooks.all(&configurations, Hook::of_configuration))
    }
}

fn handles(request: &AdmissionRequest<'_>) -> bool {
    !is_exempt(&request.resource.group, &request.resource.plural)
}

/// The plugin.
pub(crate) struct MutatingAdmissionWebhook(Webhooks);

/// The plugin.
pub(crate) struct ValidatingAdmissionWebhook(Webhooks);

/// Both plugins; they share their connections.
pub(crate) fn plugins() -> (MutatingAdmissionWebhook, ValidatingAdmissionWebhook) {
    let clients = Arc::new(Clients::default());
    let of = |plural| Webhooks { plural, hooks: Cache::default(), clients: Arc::clone(&clients) };
    let mutating = MutatingAdmissionWebhook(of("mutatingwebhookconfigurations"));
    (mutating, ValidatingAdmissionWebhook(of("validatingwebhookconfigurations")))
}

impl MutatingAdmissionWebhook {
    /// Asks the hooks of this round, one after the other. Gives the object as they made it; none when they left it alone.
    async fn run(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        review: &mut Review,
    ) -> Result<Option<Value>, ApiError> {
        let configurations = self.0.all(request).await?;
        let hooks: Vec<&Hook> = configurations.iter().flat_map(|hooks| hooks.iter()).collect();
        if hooks.is_empty() {
            return Ok(None);
        }
        let namespace = namespace_of(request).await?;
        let deadline = Instant::now() + ALL_TOGETHER;
        let mut made: Option<Value> = None;
        let mut memory = review.rounds.begin(NAME, object);
        let round = usize::from(review.rounds.is_second);
        for (index, hook) in hooks.into_iter().enumerate() {
            let part = format!("{}/{}", hook.configuration, hook.name);
            if !memory.is_due(&part) {
                continue;
            }
            let subject = Subject::new(request, made.as_ref().or(object), namespace.as_ref());
            let question = Question { hook, request, subject, namespace: namespace.as_ref(), deadline };
            let asked = ask::ask(&question, &self.0.clients, true).await;
            let place = format!("round_{round}_index_{index}");
            let changed = settle(asked, hook, &place, "mutating", review)?;
            let Some(Changed { object: changed, was_asked }) = changed else { continue };
            if was_asked {
                let note =
                    json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed.is_some()});
                review.annotations.push((format!("mutation.webhook.admission.k8s.io/{place}"), note.to_string()));
            }
            memory.asked(part, changed.is_some(), hook.reinvoke && was_asked);
            made = changed.or(made);
        }
        review.rounds.end(NAME, memory, made.as_ref().or(object));
        Ok(made)
    }
}

/// What a hook that was allowed to go on did.
struct Changed {
    object: Option<Value>,
    was_asked: bool,
}

/// Takes over what a hook has to say; an error when the request is refused. None when the hook failed and may.
fn settle(
    asked: Result<Option<Asked>, ask::Failure>,
    hook: &Hook,
    place: &str,
    kind: &str,
    review: &mut Review,
) -> Result<Option<Changed>, ApiError> {
    match asked {
        Ok(None) => Ok(Some(Changed { object: None, was_asked: false })),
        Ok(Some(asked)) => {
            review.warnings.extend(asked.warnings);
            review.annotations.extend(asked.annotations);
            match asked.verdict {
                Ok(object) => Ok(Some(Changed { object, was_asked: true })),
                Err(denial) => Err(denial),
            }
        }
        Err(ask::Failure::Refused(error)) => Err(error),
        Err(ask::Failure::Calling(why)) if hook.may_fail() => {
            tracing::warn!(webhook = %hook.name, configuration = %hook.configuration, why, "calling a webhook failed; it is ignored");
            let key = format!("failed-open.{kind}.webhook.admission.k8s.io/{place}");
            review.annotations.push((key, hook.name.clone()));
            Ok(None)
        }
        Err(ask::Failure::Calling(why)) => {
            Err(ApiError::internal(format!("failed calling webhook {:?}: {why}", hook.name)))
        }
    }
}

#[async_trait::async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        handles(request)
    }

    async fn change(
        &self,
        request: &AdmissionRequest<'_>,
        object: &mut Value,
        review: &mut Review,
    ) -> Result<bool, ApiError> {
        let made = self.run(request, Some(object), review).await?;
        let is_changed = made.is_some();
        if let Some(made) = made {
            *object = made;
        }
        Ok(is_changed)
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        // What is written was shown to the hooks when they could change it.
        if matches!(request.operation, Operation::Delete | Operation::Connect) {
            self.run(request, object, review).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        handles(request)
    }

    async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        review: &mut Review,
    ) -> Result<(), ApiError> {
        let configurations = self.0.all(request).await?;
        let hooks: Vec<&Hook> = configurations.iter().flat_map(|hooks| hooks.iter()).collect();
        if hooks.is_empty() {
            return Ok(());
        }
        let namespace = namespace_of(request).await?;
        let deadline = Instant::now() + ALL_TOGETHER;
        let subject = Subject::new(request, object, namespace.as_ref());
        let questions: Vec<Question<'_>> = hooks
            .iter()
            .map(|hook| Question { hook, request, subject, namespace: namespace.as_ref(), deadline })
            .collect();
        let asked = join_all(questions.iter().map(|question| ask::ask(question, &self.0.clients, false))).await;
        let mut refusal = Ok(());
        for (index, (asked, hook)) in asked.into_iter().zip(hooks).enumerate() {
            let settled = settle(asked, hook, &format!("round_0_index_{index}"), "validating", review);
            refusal = refusal.and(settled.map(|_| ()));
        }
        refusal
    }
}
