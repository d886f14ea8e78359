//! A webhook, compiled.

use crate::matching::{Match, name, text};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use orrery_callout::{Target, Trust};
use orrery_schema::admission::{Compiler, FailurePolicy, MatchConditions, Options};
use serde_json::Value;
use std::time::Duration;

/// Which variables match conditions have.
pub(crate) const CONDITIONS: Options = Options { params: false, authorizer: true, mutation: false };

/// A webhook.
pub(super) struct Hook {
    pub(super) name: String,
    /// The configuration that it is part of.
    pub(super) configuration: String,
    pub(super) matching: Match,
    pub(super) conditions: MatchConditions,
    pub(super) failure: FailurePolicy,
    pub(super) timeout: Duration,
    /// Whether it has no effects elsewhere when nothing is stored.
    pub(super) stands_dry_run: bool,
    /// Whether it is asked again when a later one changed the object.
    pub(super) reinvoke: bool,
    /// Whether it understands `AdmissionReview` v1.
    pub(super) is_v1: bool,
    /// How it is reached, or why it cannot be.
    pub(super) target: Result<Target, String>,
    /// Whom to take for it.
    pub(super) trust: Trust,
}

impl Hook {
    /// The hooks of a configuration.
    pub(super) fn of_configuration(configuration: &Value) -> Vec<Self> {
        let hooks = configuration["webhooks"].as_array().into_iter().flatten();
        hooks.map(|hook| Self::read(&name(configuration), hook)).collect()
    }

    fn read(configuration: &str, hook: &Value) -> Self {
        let client = &hook["clientConfig"];
        let ca_pem = BASE64_STANDARD.decode(text(client, "caBundle")).unwrap_or_default();
        let mut versions = hook["admissionReviewVersions"].as_array().into_iter().flatten();
        Self {
            name: text(hook, "name").to_owned(),
            configuration: configuration.to_owned(),
            matching: Match::webhook(hook),
            conditions: MatchConditions::compile(&hook["matchConditions"], &Compiler::new(CONDITIONS)),
            failure: FailurePolicy::read(hook),
            timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10).clamp(1, 30)),
            stands_dry_run: ["None", "NoneOnDryRun"].contains(&text(hook, "sideEffects")),
            reinvoke: hook["reinvocationPolicy"] == "IfNeeded",
            is_v1: versions.any(|version| version == "v1"),
            target: Target::read(client),
            trust: Trust::Authority(String::from_utf8_lossy(&ca_pem).into_owned()),
        }
    }

    /// Whether a request goes on when the hook cannot be asked.
    pub(super) fn may_fail(&self) -> bool {
        self.failure == FailurePolicy::Ignore
    }
}
