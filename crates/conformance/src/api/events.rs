//! Events of both groups.

use crate::{
    harness::{Context, Form, Objects, Outcome, Resource, expect_within, names, resource, version},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test("[sig-instrumentation] Events should manage the lifecycle of an event [Conformance]", run!(core_lifecycle)),
    test("[sig-instrumentation] Events should delete a collection of events [Conformance]", run!(core_collection)),
    test(
        "[sig-instrumentation] Events API should ensure that an event can be fetched, patched, deleted, and listed [Conformance]",
        run!(lifecycle),
    ),
    test("[sig-instrumentation] Events API should delete a collection of events [Conformance]", run!(collection)),
];

fn involved(namespace: &str) -> Value {
    json!({"kind": "Pod", "name": "a-pod", "namespace": namespace})
}

fn core_event(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "involvedObject": involved(namespace),
        "type": "Normal",
        "reason": "Test",
        "message": "This is a test event",
        "source": {"component": "conformance"},
    })
}

async fn core_lifecycle(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let events = context.objects(resource::core_events(), &namespace);
    let everywhere = context.cluster(resource::core_events());
    let set = context.name("set");
    let selector = format!("testevent-set={set}");
    events.create(&core_event(&namespace, "event-test", &json!({"testevent-set": set}))).await?;
    let found = everywhere.labelled(&selector).await?;
    same!(names(&found), ["event-test"], "events with the label in all namespaces");
    let message = "This is a test event - patched";
    let patched = events.strategic("event-test", &json!({"message": message})).await?;
    same!(patched["message"], message, "the message of the patched event");
    let got = events.get("event-test").await?;
    same!(got["message"], message, "the message when it is read");
    let series = json!({"count": 100, "lastObservedTime": "2026-01-02T03:04:05.678901Z"});
    events.update("event-test", |event| event["series"] = series.clone()).await?;
    let got = events.get("event-test").await?;
    same!(got["series"], series, "the series after the update");
    same!(got["message"], message, "the message after the update");
    events.delete("event-test").await?;
    same!(everywhere.labelled(&selector).await?.len(), 0, "events with the label after the deletion");
    Ok(())
}

async fn core_collection(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let events = context.objects(resource::core_events(), &namespace);
    for name in ["test-event-1", "test-event-2", "test-event-3"] {
        events.create(&core_event(&namespace, name, &json!({"testevent-set": "true"}))).await?;
    }
    same!(events.labelled("testevent-set=true").await?.len(), 3, "events with the label");
    events.delete_labelled("testevent-set=true").await?;
    same!(events.labelled("testevent-set=true").await?.len(), 0, "events with the label after the deletion");
    Ok(())
}

fn new_events() -> Resource {
    Resource::namespaced("events.k8s.io/v1", "events", "Event")
}

fn new_event(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "regarding": involved(namespace),
        "eventTime": "2026-01-02T03:04:05.678901Z",
        "type": "Normal",
        "reason": "Test",
        "action": "Do",
        "note": "This is a test event",
        "reportingController": "example.com/conformance",
        "reportingInstance": "conformance-1",
    })
}

async fn find(events: &Objects, label: &str) -> Outcome<usize> {
    Ok(events.labelled(label).await?.len())
}

async fn lifecycle(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let events = context.objects(new_events(), &namespace);
    let everywhere = context.cluster(new_events());
    let set = context.name("set");
    let selector = format!("set={set}");
    let created = events.create(&new_event(&namespace, "event-test", &json!({"set": set}))).await?;
    let all = names(&events.items(&[]).await?).len();
    same!(all, 1, "events in the namespace");
    same!(find(&everywhere, &selector).await?, 1, "events with the label in all namespaces");
    let by_field = [("fieldSelector", "reportingController=example.com/conformance")];
    same!(events.items(&by_field).await?.len(), 1, "events of the controller");
    let got = events.get("event-test").await?;
    same!(got, created, "the event when it is read");
    let series = |count: u32| json!({"count": count, "lastObservedTime": "2026-01-02T04:04:05.678901Z"});
    let patch = json!({"series": series(2)});
    let patched = events.patch("event-test", Form::StrategicPatch, &patch, &[]).await?.expect(200)?;
    same!(patched["series"], series(2), "the series of the patched event");
    same!(events.get("event-test").await?["series"], series(2), "the series when it is read");
    let mut changed = events.get("event-test").await?;
    changed["series"] = series(100);
    let updated = events.replace(&changed).await?;
    expect_within(&updated, &json!({"note": "This is a test event", "series": series(100)}), "the updated event")?;
    same!(version(&events.get("event-test").await?)?, version(&updated)?, "the version after the update");
    // The same event in the other group.
    let core = context.objects(resource::core_events(), &namespace).get("event-test").await?;
    same!(core["message"], "This is a test event", "the note of the event in the core group");
    same!(core["metadata"]["uid"], created["metadata"]["uid"], "the uid of the event in the core group");
    events.delete("event-test").await?;
    same!(events.items(&[]).await?.len(), 0, "events in the namespace after the deletion");
    same!(find(&everywhere, &selector).await?, 0, "events in all namespaces after the deletion");
    Ok(())
}

async fn collection(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let events = context.objects(new_events(), &namespace);
    for name in ["test-event-1", "test-event-2", "test-event-3"] {
        events.create(&new_event(&namespace, name, &json!({"testevent-set": "true"}))).await?;
    }
    same!(find(&events, "testevent-set=true").await?, 3, "events with the label");
    events.delete_labelled("testevent-set=true").await?;
    same!(find(&events, "testevent-set=true").await?, 0, "events with the label after the deletion");
    same!(events.items(&[]).await?.len(), 0, "events in the namespace after the deletion");
    Ok(())
}
