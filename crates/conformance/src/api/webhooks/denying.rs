//! Webhooks that refuse pods, config maps, attaching and definitions.

use super::{
    Kind, Stage, config_maps,
    handlers::{DENIES_ALL, DISALLOWED, HANG, KEY, NO_ATTACH, UNWANTED},
    rule,
};
use crate::{
    api::crd::Definition,
    ensure,
    harness::{Answer, Context, Form, Kubectl, Outcome, resource},
    registry::{Test, test},
    run,
};
use http::Method;
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny pod and configmap creation [Conformance]",
        run!(pods_and_maps),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny attaching pod [Conformance]",
        run!(attaching),
    ),
    test(
        "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should deny crd creation [Conformance]",
        run!(definitions),
    ),
];

/// A refusal by a hook: forbidden, with the hook's words.
pub(super) fn expect_denied(answer: &Answer, words: &str) -> Outcome {
    let status = answer.status;
    let message = answer.clone().refusal()?;
    ensure!(message.contains("admission webhook") && message.contains(words), "the refusal does not say so: {message}");
    if status == 403 || status == 400 { Ok(()) } else { Err(answer.unexpected("400 or 403")) }
}

fn pod(name: &str, container: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"schedulerName": "nobody", "containers": [{"name": container, "image": "registry.local/test:1"}]},
    })
}

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {KEY: value}})
}

async fn pods_and_maps(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let both = ["CREATE", "UPDATE"];
    let of_pods = stage.hook("/deny-unwanted/pods", &rule(&["CREATE"], "", &["v1"], &["pods"]));
    let of_maps = stage.hook("/deny-unwanted/maps", &config_maps(&both));
    stage.register(Kind::Validating, vec![of_pods, of_maps]).await?;
    let pods = context.objects(resource::pods(), &stage.namespace);
    expect_denied(&pods.post(&pod("disallowed", DISALLOWED), &[]).await?, UNWANTED)?;
    hanging(&pods.post(&pod("hanging", HANG), &[]).await?)?;
    pods.create(&pod("compliant", "main")).await?;
    let maps = stage.maps();
    expect_denied(&maps.post(&map("disallowed", DISALLOWED), &[]).await?, UNWANTED)?;
    maps.create(&map("compliant", "fine")).await?;
    let mut changed = maps.get("compliant").await?;
    changed["data"][KEY] = DISALLOWED.into();
    expect_denied(&maps.put(&changed).await?, UNWANTED).map_err(|failure| failure.during("an update"))?;
    for form in [Form::MergePatch, Form::StrategicPatch] {
        let patched = maps.patch("compliant", form, &json!({"data": {KEY: DISALLOWED}}), &[]).await?;
        expect_denied(&patched, UNWANTED).map_err(|failure| failure.during(format!("a patch as {form:?}")))?;
    }
    // Another namespace is none of the hook's business.
    let other = context.namespace().await?;
    context.objects(resource::config_maps(), &other).create(&map("disallowed", DISALLOWED)).await.map(drop)
}

/// A hook that does not answer in time is a refusal that says so.
fn hanging(answer: &Answer) -> Outcome {
    let message = answer.clone().refusal()?;
    ensure!(message.contains("webhook") && message.contains("deadline"), "no webhook's timeout: {message}");
    Ok(())
}

async fn attaching(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let name = "to-be-attached-pod";
    let hook = stage.hook("/deny-attach", &rule(&["CONNECT"], "", &["v1"], &["pods/attach"]));
    stage.register(Kind::Validating, vec![hook]).await?;
    let pods = context.objects(resource::pods(), &stage.namespace);
    pods.create(&pod(name, "container1")).await?;
    let path = pods.sub("attach").path(name, &[("container", "container1"), ("stdout", "true")]);
    for method in [Method::GET, Method::POST] {
        let answer = context.api.send(method.clone(), &path, Form::Json, Vec::new()).await?;
        expect_denied(&answer, NO_ATTACH).map_err(|failure| failure.during(format!("{method} {path}")))?;
    }
    if context.run.kubectl.is_some() {
        let kubectl = Kubectl::new(context, Some(&stage.namespace))?;
        let said =
            kubectl.run(&["attach", name, "--container=container1", "--pod-running-timeout=5s"]).await?.failure()?;
        ensure!(said.contains(NO_ATTACH) || said.contains("timed out"), "kubectl attach says: {said}");
    }
    Ok(())
}

async fn definitions(context: &Context) -> Outcome {
    let stage = Stage::new(context).await?;
    let rule = rule(&["CREATE"], "apiextensions.k8s.io", &["*"], &["customresourcedefinitions"]);
    stage.register(Kind::Validating, vec![stage.cluster_hook("/deny", &rule)]).await?;
    let mut definition = Definition::simple(context);
    definition.labels = json!({super::SCOPE: stage.scope});
    let definitions = context.cluster(resource::resource_definitions());
    context.remove_later(&resource::resource_definitions(), &definition.name());
    expect_denied(&definitions.post(&definition.object(), &[]).await?, DENIES_ALL)?;
    definitions.read(&definition.name()).await?.refused(404, "NotFound").map(drop)
}
