//! Empty directories.

use super::files::Source;
use crate::pods::{PATIENCE, Place, holds, is_ready, script};
use orrery_harness::{Context, Outcome, Test, ensure, resource, run, same, test, until};
use serde_json::{Value, json};

/// A file in a directory: who makes it, with which permission bits, and in which medium.
#[derive(Debug, Clone, Copy)]
struct Case {
    user: Option<u32>,
    mode: &'static str,
    memory: bool,
}

const fn case(user: Option<u32>, mode: &'static str, memory: bool) -> Case {
    Case { user, mode, memory }
}

const ROOT: Option<u32> = None;
const USER: Option<u32> = Some(1001);

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-storage] EmptyDir volumes should support (non-root,0644,default) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(USER, "644", false)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (non-root,0644,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(USER, "644", true)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (non-root,0666,default) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(USER, "666", false)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (non-root,0666,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(USER, "666", true)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (non-root,0777,default) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(USER, "777", false)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (non-root,0777,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(USER, "777", true)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (root,0644,default) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(ROOT, "644", false)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (root,0644,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(ROOT, "644", true)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (root,0666,default) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(ROOT, "666", false)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (root,0666,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(ROOT, "666", true)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (root,0777,default) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(ROOT, "777", false)),
    ),
    test(
        "[sig-storage] EmptyDir volumes should support (root,0777,tmpfs) [LinuxOnly] [NodeConformance] [Conformance]",
        run!(file, case(ROOT, "777", true)),
    ),
    test(
        "[sig-storage] EmptyDir volumes volume on default medium should have the correct mode [LinuxOnly] [NodeConformance] [Conformance]",
        run!(mode, false),
    ),
    test(
        "[sig-storage] EmptyDir volumes volume on tmpfs should have the correct mode [LinuxOnly] [NodeConformance] [Conformance]",
        run!(mode, true),
    ),
    test(
        "[sig-storage] EmptyDir volumes pod should support shared volumes between containers [Conformance]",
        run!(shared),
    ),
    test("[sig-storage] EmptyDir wrapper volumes should not conflict [Conformance]", run!(beside_each_other)),
    test(
        "[sig-storage] EmptyDir wrapper volumes should not cause race condition when used for configmaps [Serial] [Conformance]",
        run!(many),
    )
    .serial()
    .within(600),
];

fn directory(memory: bool) -> Value {
    if memory { json!({ "medium": "Memory" }) } else { json!({}) }
}

fn with_directory(mut pod: Value, memory: bool) -> Value {
    pod["spec"]["volumes"] = json!([{ "name": "v", "emptyDir": directory(memory) }]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/test-volume" }]);
    pod
}

async fn file(context: &Context, case: Case) -> Outcome {
    let place = Place::new(context).await?;
    let text = format!(
        "umask 0; echo new >/test-volume/file; chmod {mode} /test-volume/file; cat /test-volume/file; \
         stat -c 'mode %a' /test-volume/file; awk '$2 == \"/test-volume\" {{ print \"type\", $3 }}' /proc/mounts",
        mode = case.mode
    );
    let mut pod = with_directory(place.runs("writer", &text), case.memory);
    pod["spec"]["securityContext"] = json!({ "runAsUser": case.user });
    let said = place.said(&pod).await?;
    holds(&said, &["new\n", &format!("mode {}\n", case.mode)])?;
    same!(said.contains("type tmpfs\n"), case.memory, "whether the volume lies in memory");
    Ok(())
}

async fn mode(context: &Context, memory: bool) -> Outcome {
    let place = Place::new(context).await?;
    let pod = with_directory(place.runs("looker", "stat -c %A /test-volume"), memory);
    same!(place.said(&pod).await?.trim_end(), "drwxrwxrwx", "the mode of the volume");
    Ok(())
}

async fn shared(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let writes =
        place.container("writer", &script("echo hello from the other container >/test-volume/shared; sleep 600"));
    let reads = script("until [ -s /test-volume/shared ]; do sleep 1; done; cat /test-volume/shared");
    let mut pod = Place::pod("both", &[place.container("c", &reads), writes]);
    pod["spec"]["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
    for index in 0..2 {
        pod["spec"]["containers"][index]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/test-volume" }]);
    }
    place.pods.create(&pod).await?;
    let read = |pod: &Value| crate::pods::status(pod, "c")["state"]["terminated"]["exitCode"] == 0;
    place.pods.wait("both", "the file was read", PATIENCE, read).await?;
    same!(place.log("both", "c").await?, "hello from the other container\n", "what the other container read");
    Ok(())
}

async fn beside_each_other(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    Source::ConfigMap.create(context, &place, "map", &json!({ "a": "1" })).await?;
    Source::Secret.create(context, &place, "hidden", &json!({ "a": "2" })).await?;
    let mut pod = place.runs("both", "cat /etc/map/a /etc/hidden/a; sleep 600");
    pod["spec"]["volumes"] = json!([
        Source::ConfigMap.volume("m", "map", &json!({}), None),
        Source::Secret.volume("s", "hidden", &json!({}), None),
    ]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "m", "mountPath": "/etc/map" }, { "name": "s", "mountPath": "/etc/hidden" }]);
    place.ready(&pod).await.map(drop)
}

/// Fifty volumes in each of five pods.
async fn many(context: &Context) -> Outcome {
    const VOLUMES: usize = 50;
    const PODS: usize = 5;
    let place = Place::new(context).await?;
    let names: Vec<_> = (0..VOLUMES).map(|number| format!("map-{number}")).collect();
    for name in &names {
        Source::ConfigMap.create(context, &place, name, &json!({ "data-1": "value-1" })).await?;
    }
    let mut pod = place.runs("template", "cat /etc/maps/map-49/data-1; sleep 3600");
    let volumes = names.iter().map(|name| Source::ConfigMap.volume(name, name, &json!({}), None));
    let mounts = names.iter().map(|name| json!({ "name": name, "mountPath": format!("/etc/maps/{name}") }));
    pod["spec"]["volumes"] = volumes.collect();
    pod["spec"]["containers"][0]["volumeMounts"] = mounts.collect();
    pod["spec"]["restartPolicy"] = "Always".into();
    let controllers = context.objects(resource::replication_controllers(), &place.namespace);
    let controller = json!({ "metadata": { "name": "many" }, "spec": {
        "replicas": PODS, "selector": { "name": "template" },
        "template": { "metadata": { "labels": { "name": "template" } }, "spec": pod["spec"] } } });
    controllers.create(&controller).await?;
    let pods = until(PATIENCE * 3, || async {
        let pods = place.pods.labelled("name=template").await?;
        Ok((pods.len() == PODS && pods.iter().all(is_ready)).then_some(pods))
    })
    .await?;
    let events = context.objects(resource::core_events(), &place.namespace).items(&[]).await?;
    ensure!(!events.iter().any(|event| event["reason"] == "FailedMount"), "a volume of {} failed", pods.len());
    Ok(())
}
