//! Admission webhooks: an HTTPS server in this process that the API server asks, and configurations that name it.
//!
//! Every hook looks at one namespace only, or at objects with one label, so that tests do not meddle with each other. Each
//! configuration has one more hook, the marker, by which a test sees that the configuration is in force before it goes on.

mod configuration;
mod custom;
mod denying;
mod failing;
mod handlers;
mod mutating;

use crate::{
    harness::{Context, Form, Objects, Outcome, Resource, WebhookServer, resource, until},
    registry::Test,
};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a configuration may take to be in force.
const IN_FORCE: Duration = Duration::from_secs(30);
/// The label by which a hook knows its namespace, and the one of markers.
const SCOPE: &str = "webhook-scope";
const MARKER: &str = "webhook-marker";

/// The tests of admission webhooks.
pub(super) fn tests() -> Vec<Test> {
    [configuration::TESTS, custom::TESTS, denying::TESTS, failing::TESTS, mutating::TESTS].concat()
}

/// Which of the two kinds of configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mutating,
    Validating,
}

impl Kind {
    fn resource(self) -> Resource {
        let version = "admissionregistration.k8s.io/v1";
        match self {
            Self::Mutating => {
                Resource::cluster(version, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration")
            }
            Self::Validating => {
                Resource::cluster(version, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration")
            }
        }
    }
}

/// What a test of webhooks has: a server and a namespace that its hooks look at.
struct Stage {
    context: Context,
    server: WebhookServer,
    namespace: String,
    scope: String,
}

/// Which requests a hook is asked about.
fn rule(operations: &[&str], group: &str, versions: &[&str], resources: &[&str]) -> Value {
    json!({
        "operations": operations, "apiGroups": [group], "apiVersions": versions, "resources": resources, "scope": "*",
    })
}

/// The rule of most tests: config maps are created.
fn config_maps(operations: &[&str]) -> Value {
    rule(operations, "", &["v1"], &["configmaps"])
}

impl Stage {
    async fn new(context: &Context) -> Outcome<Self> {
        let server = WebhookServer::start(context, handlers::answer).await?;
        let scope = context.name("scope");
        let namespace = context.namespace_with(&json!({SCOPE: scope})).await?;
        Ok(Self { context: context.clone(), server, namespace, scope })
    }

    /// A hook at a path of the server, for requests in the test's namespace.
    fn hook(&self, path: &str, rule: &Value) -> Value {
        json!({
            "name": format!("{}.conformance.example.com", path.trim_start_matches('/').replace('/', "-")),
            "clientConfig": self.server.client_config(path),
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1", "v1beta1"],
            "failurePolicy": "Fail",
            "timeoutSeconds": 10,
            "namespaceSelector": {"matchLabels": {SCOPE: self.scope}},
        })
    }

    /// A hook for objects of the cluster with the test's label.
    fn cluster_hook(&self, path: &str, rule: &Value) -> Value {
        let mut hook = self.hook(path, rule);
        hook["namespaceSelector"] = json!({});
        hook["objectSelector"] = json!({"matchLabels": {SCOPE: self.scope}});
        hook
    }

    fn configurations(&self, kind: Kind) -> Objects {
        self.context.cluster(kind.resource())
    }

    /// Registers hooks and waits until they are in force; returns the configuration's name.
    async fn register(&self, kind: Kind, mut hooks: Vec<Value>) -> Outcome<String> {
        let name = self.context.name("e2e-webhook");
        let marker = format!("/marker-{}/{name}", if kind == Kind::Mutating { "mutate" } else { "deny" });
        let mut hook = self.hook(&marker, &config_maps(&["CREATE"]));
        hook["name"] = "marker.conformance.example.com".into();
        hook["objectSelector"] = json!({"matchLabels": {MARKER: name}});
        hooks.push(hook);
        self.context.remove_later(&kind.resource(), &name);
        self.configurations(kind).create(&json!({"metadata": {"name": name}, "webhooks": hooks})).await?;
        self.in_force(kind, &name).await?;
        Ok(name)
    }

    /// Waits until the marker of a configuration is asked.
    async fn in_force(&self, kind: Kind, name: &str) -> Outcome {
        let maps = self.maps();
        let object = json!({"metadata": {"name": "marker", "labels": {MARKER: name}}});
        let there = until(IN_FORCE, || async {
            let answer = maps.post(&object, &[("dryRun", "All")]).await?;
            let seen = match kind {
                Kind::Mutating => answer.body["data"]["marker"] == name,
                // Whichever of the hooks that refuse it is the first to answer.
                Kind::Validating => {
                    let message = answer.message();
                    !answer.is_success() && (message.contains(name) || message.contains(handlers::DENIES_ALL))
                }
            };
            Ok(seen.then_some(()))
        });
        there.await.map_err(|failure| failure.during(format!("the webhook configuration {name} is not in force")))
    }

    /// The config maps of the test's namespace.
    fn maps(&self) -> Objects {
        self.context.objects(resource::config_maps(), &self.namespace)
    }

    /// Whether a config map with this data would be created, and how; nothing is kept of it.
    async fn try_map(&self, data: &Value) -> Outcome<crate::harness::Answer> {
        let name = self.context.name("map");
        self.maps().post(&json!({"metadata": {"name": name}, "data": data}), &[("dryRun", "All")]).await
    }

    /// Changes the operations that the first hook of a configuration is asked about, by update or by patch.
    async fn set_operations(&self, kind: Kind, name: &str, operations: &[&str], by_patch: bool) -> Outcome {
        let configurations = self.configurations(kind);
        if by_patch {
            let patch = json!([
                {"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": operations},
            ]);
            configurations.patch(name, Form::JsonPatch, &patch, &[]).await?.expect(200)?;
        } else {
            let change = |object: &mut Value| object["webhooks"][0]["rules"][0]["operations"] = json!(operations);
            configurations.update(name, change).await?;
        }
        Ok(())
    }
}
