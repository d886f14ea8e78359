//! Variables of containers.

use crate::pods::{PATIENCE, Place, holds, script, status};
use orrery_harness::{Context, Outcome, Test, ensure, resource, run, same, test};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] ConfigMap should be consumable via environment variable [NodeConformance] [Conformance]",
        run!(key, "configMapKeyRef"),
    ),
    test(
        "[sig-node] ConfigMap should be consumable via the environment [NodeConformance] [Conformance]",
        run!(all_keys, "configMapRef"),
    ),
    test(
        "[sig-node] ConfigMap should be consumable as environment variable names with various prefixes [Conformance]",
        run!(prefixes, "configMapRef"),
    ),
    test(
        "[sig-node] Secrets should be consumable from pods in env vars [NodeConformance] [Conformance]",
        run!(key, "secretKeyRef"),
    ),
    test(
        "[sig-node] Secrets should be consumable via the environment [NodeConformance] [Conformance]",
        run!(all_keys, "secretRef"),
    ),
    test(
        "[sig-node] Secrets should be consumable as environment variable names variable names with various prefixes [Conformance]",
        run!(prefixes, "secretRef"),
    ),
    test(
        "[sig-node] Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars [NodeConformance] [Conformance]",
        run!(resources),
    ),
    test(
        "[sig-node] Downward API should provide default limits.cpu/memory from node allocatable [NodeConformance] [Conformance]",
        run!(default_limits),
    ),
    test(
        "[sig-node] Downward API should provide host IP as an env var [NodeConformance] [Conformance]",
        run!(addresses, &["status.hostIP"]),
    ),
    test(
        "[sig-node] Downward API should provide hostIPs as an env var [NodeConformance] [Conformance]",
        run!(addresses, &["status.hostIPs"]),
    ),
    test(
        "[sig-node] Downward API should provide pod UID as env vars [NodeConformance] [Conformance]",
        run!(addresses, &["metadata.uid"]),
    ),
    test(
        "[sig-node] Downward API should provide pod name, namespace and IP address as env vars [NodeConformance] [Conformance]",
        run!(addresses, &["metadata.name", "metadata.namespace", "status.podIP"]),
    ),
    test(
        "[sig-node] Pods should contain environment variables for services [NodeConformance] [Conformance]",
        run!(services),
    ),
    test(
        "[sig-node] Variable Expansion should allow composing env vars into new env vars [NodeConformance] [Conformance]",
        run!(composed),
    ),
    test(
        "[sig-node] Variable Expansion should allow substituting values in a container's args [NodeConformance] [Conformance]",
        run!(substituted, false),
    ),
    test(
        "[sig-node] Variable Expansion should allow substituting values in a container's command [NodeConformance] [Conformance]",
        run!(substituted, true),
    ),
    test(
        "[sig-node] Variable Expansion should allow substituting values in a volume subpath [Conformance]",
        run!(sub_path),
    ),
    test(
        "[sig-node] Variable Expansion should fail substituting values in a volume subpath with absolute path [Conformance]",
        run!(bad_sub_path, "$(POD_NAME)", "/tmp"),
    ),
    test(
        "[sig-node] Variable Expansion should fail substituting values in a volume subpath with backticks [Conformance]",
        run!(bad_sub_path, "$(POD_NAME)", ".."),
    ),
    test(
        "[sig-node] Variable Expansion should verify that a failing subpath expansion can be modified during the lifecycle of a container [Slow] [Conformance]",
        run!(mended_sub_path),
    ),
    test(
        "[sig-node] Variable Expansion should succeed in writing subpaths in container [Conformance]",
        run!(written_sub_path),
    ),
];

async fn make(context: &Context, place: &Place, name: &str, data: &Value) -> Outcome {
    place.config_maps(context).create(&json!({ "metadata": { "name": name }, "data": data })).await?;
    place.secrets(context).create(&json!({ "metadata": { "name": name }, "stringData": data })).await?;
    Ok(())
}

/// A pod whose container says its environment.
fn says(place: &Place, container: &Value) -> Value {
    // Without a shell, which would leave out names that it could not have given itself.
    let mut pod = Place::pod("speaker", &[place.container("c", &json!(["env"]))]);
    for (field, value) in container.as_object().into_iter().flatten() {
        pod["spec"]["containers"][0][field] = value.clone();
    }
    pod
}

async fn key(context: &Context, reference: &str) -> Outcome {
    let place = Place::new(context).await?;
    make(context, &place, "source", &json!({ "data-1": "value-1" })).await?;
    let variable = json!({ "name": "DATA_1", "valueFrom": { reference: { "name": "source", "key": "data-1" } } });
    holds(&place.said(&says(&place, &json!({ "env": [variable] }))).await?, &["DATA_1=value-1\n"])
}

async fn all_keys(context: &Context, reference: &str) -> Outcome {
    let place = Place::new(context).await?;
    make(context, &place, "source", &json!({ "data_1": "value-1", "data_2": "value-2" })).await?;
    let from = json!([{ reference: { "name": "source" } }, { "prefix": "p_", reference: { "name": "source" } }]);
    let said = place.said(&says(&place, &json!({ "envFrom": from }))).await?;
    holds(&said, &["data_1=value-1\n", "data_2=value-2\n", "p_data_1=value-1\n", "p_data_2=value-2\n"])
}

async fn prefixes(context: &Context, reference: &str) -> Outcome {
    let place = Place::new(context).await?;
    make(context, &place, "source", &json!({ "data-1": "value-1", "data.2": "value-2", "3": "value-3" })).await?;
    let from = json!([
        { reference: { "name": "source" } }, { "prefix": "p-", reference: { "name": "source" } },
        { "prefix": "p.", reference: { "name": "source" } },
    ]);
    let said = place.said(&says(&place, &json!({ "envFrom": from }))).await?;
    holds(&said, &["data-1=value-1\n", "data.2=value-2\n", "p-data-1=value-1\n", "p.data.2=value-2\n", "p-3=value-3\n"])
}

fn field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

fn amount(name: &str, resource: &str) -> Value {
    json!({ "name": name, "valueFrom": { "resourceFieldRef": { "resource": resource } } })
}

async fn resources(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let env = [
        amount("CPU_LIMIT", "limits.cpu"),
        amount("MEMORY_LIMIT", "limits.memory"),
        amount("CPU_REQUEST", "requests.cpu"),
        amount("MEMORY_REQUEST", "requests.memory"),
    ];
    let resources =
        json!({ "requests": { "cpu": "250m", "memory": "32Mi" }, "limits": { "cpu": "1250m", "memory": "64Mi" } });
    let said = place.said(&says(&place, &json!({ "env": env, "resources": resources }))).await?;
    holds(&said, &["CPU_LIMIT=2\n", "MEMORY_LIMIT=67108864\n", "CPU_REQUEST=1\n", "MEMORY_REQUEST=33554432\n"])
}

async fn default_limits(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let env = [amount("CPU_LIMIT", "limits.cpu"), amount("MEMORY_LIMIT", "limits.memory")];
    let said = place.said(&says(&place, &json!({ "env": env }))).await?;
    for name in ["CPU_LIMIT=", "MEMORY_LIMIT="] {
        let value = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        ensure!(value.parse::<u64>().is_ok_and(|value| value > 0), "{name}{value}");
    }
    Ok(())
}

async fn addresses(context: &Context, paths: &[&str]) -> Outcome {
    let place = Place::new(context).await?;
    let env: Vec<_> = paths.iter().enumerate().map(|(number, path)| field(&format!("FIELD_{number}"), path)).collect();
    let said = place.said(&says(&place, &json!({ "env": env }))).await?;
    let pod = place.pods.get("speaker").await?;
    for (number, path) in paths.iter().enumerate() {
        let pointer = match *path {
            "status.hostIPs" => "/status/hostIPs/0/ip".to_owned(),
            path => format!("/{}", path.replace('.', "/")),
        };
        let expected = pod.pointer(&pointer).and_then(Value::as_str).unwrap_or("nothing");
        holds(&said, &[&format!("FIELD_{number}={expected}\n")])?;
    }
    Ok(())
}

async fn services(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let services = context.objects(resource::services(), &place.namespace);
    let ports = json!([{ "port": 8765, "targetPort": 8080 }]);
    let service = json!({ "metadata": { "name": "fooservice" }, "spec": { "ports": ports, "selector": { "a": "b" } } });
    let made = services.create(&service).await?;
    let address = made["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    // A node learns of a service a moment after it was made.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let said = place.said(&says(&place, &json!({}))).await?;
    holds(
        &said,
        &[
            &format!("FOOSERVICE_SERVICE_HOST={address}\n"),
            "FOOSERVICE_SERVICE_PORT=8765\n",
            &format!("FOOSERVICE_PORT=tcp://{address}:8765\n"),
            &format!("FOOSERVICE_PORT_8765_TCP=tcp://{address}:8765\n"),
            "FOOSERVICE_PORT_8765_TCP_PORT=8765\n",
            "FOOSERVICE_PORT_8765_TCP_PROTO=tcp\n",
            &format!("FOOSERVICE_PORT_8765_TCP_ADDR={address}\n"),
        ],
    )
}

async fn composed(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let env = json!([
        { "name": "FOO", "value": "foo-value" }, { "name": "BAR", "value": "bar-value" },
        { "name": "FOOBAR", "value": "$(FOO);;$(BAR)" }, { "name": "ESCAPED", "value": "$$(FOO) $(NONE)" },
    ]);
    let said = place.said(&says(&place, &json!({ "env": env }))).await?;
    holds(&said, &["FOOBAR=foo-value;;bar-value\n", "ESCAPED=$(FOO) $(NONE)\n"])
}

async fn substituted(context: &Context, in_command: bool) -> Outcome {
    let place = Place::new(context).await?;
    let words = json!(["/bin/sh", "-c", "TEST_VAR=wrong echo \"$(TEST_VAR)\""]);
    let mut container = place.container("c", &if in_command { words.clone() } else { json!(["/bin/sh", "-c"]) });
    if !in_command {
        container["args"] = json!([words[2]]);
    }
    container["env"] = json!([{ "name": "TEST_VAR", "value": "test-value" }]);
    same!(place.said(&Place::pod("speaker", &[container])).await?, "test-value\n", "what the container said");
    Ok(())
}

/// A pod with a directory, of which a container mounts what `expression` says.
fn with_sub_path(place: &Place, text: &str, expression: &str, env: &Value) -> Value {
    let mut pod = place.runs("walker", text);
    pod["spec"]["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
    let container = &mut pod["spec"]["containers"][0];
    container["env"] = env.clone();
    container["volumeMounts"] = json!([
        { "name": "v", "mountPath": "/logscontainer", "subPathExpr": expression },
        { "name": "v", "mountPath": "/all" },
    ]);
    pod
}

async fn sub_path(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let env = json!([field("POD_NAME", "metadata.name")]);
    let text = "touch /logscontainer/test.txt; test -f /all/walker/test.txt";
    place.said(&with_sub_path(&place, text, "$(POD_NAME)", &env)).await.map(drop)
}

async fn bad_sub_path(context: &Context, expression: &str, value: &str) -> Outcome {
    let place = Place::new(context).await?;
    let env = json!([{ "name": "POD_NAME", "value": value }]);
    place.pods.create(&with_sub_path(&place, "true", expression, &env)).await?;
    let refused = |pod: &Value| {
        let waiting = &status(pod, "c")["state"]["waiting"];
        waiting["reason"] == "CreateContainerConfigError" && waiting["message"].as_str().is_some_and(|m| !m.is_empty())
    };
    place.pods.wait("walker", "its container is not started, with a reason", PATIENCE, refused).await.map(drop)
}

async fn mended_sub_path(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let env = json!([
        field("POD_NAME", "metadata.annotations['notmysubpath']"),
        field("ANNOTATION", "metadata.annotations['mysubpath']")
    ]);
    let mut pod = with_sub_path(&place, "sleep 600", "$(ANNOTATION)/$(POD_NAME)", &env);
    pod["metadata"]["annotations"] = json!({ "mysubpath": "/absolute" });
    place.pods.create(&pod).await?;
    let refused = |pod: &Value| status(pod, "c")["state"]["waiting"]["reason"] == "CreateContainerConfigError";
    place.pods.wait("walker", "its container is not started", PATIENCE, refused).await?;
    place.pods.merge("walker", &json!({ "metadata": { "annotations": { "mysubpath": "mypath" } } })).await?;
    place.pods.wait("walker", "it runs", PATIENCE, crate::pods::is_ready).await.map(drop)
}

async fn written_sub_path(context: &Context) -> Outcome {
    let place = Place::new(context).await?;
    let env = json!([field("ANNOTATION", "metadata.annotations['mysubpath']")]);
    let text = "echo one >/logscontainer/file; until [ -e /all/again ]; do sleep 1; done; cat /all/mypath/file";
    let mut pod = with_sub_path(&place, text, "$(ANNOTATION)", &env);
    pod["metadata"]["annotations"] = json!({ "mysubpath": "mypath" });
    let mut other =
        place.container("other", &script("until [ -e /all/mypath/file ]; do sleep 1; done; touch /all/again"));
    other["volumeMounts"] = json!([{ "name": "v", "mountPath": "/all" }]);
    pod["spec"]["containers"].as_array_mut().into_iter().for_each(|list| list.push(other.clone()));
    same!(place.said(&pod).await?, "one\n", "what was written below the sub-path");
    Ok(())
}
