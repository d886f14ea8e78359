//! What the API server does with pods before anything runs.

use crate::{
    ensure,
    harness::{Context, Outcome, expect_within, names, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for memory and cpu [Conformance]",
        run!(quality_of_service),
    ),
    test(
        "[sig-node] Sysctls [LinuxOnly] [NodeConformance] should reject invalid sysctls [Conformance]",
        run!(invalid_sysctls),
    ),
    test("[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API [Conformance]", run!(csi_volume)),
];

fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.local/agnhost:1"}]},
    })
}

async fn quality_of_service(context: &Context) -> Outcome {
    let pods = context.objects(resource::pods(), &context.namespace().await?);
    let mut guaranteed = pod("guaranteed");
    let amounts = json!({"cpu": "100m", "memory": "100Mi"});
    guaranteed["spec"]["containers"][0]["resources"] = json!({"requests": amounts, "limits": amounts});
    pods.create(&guaranteed).await?;
    same!(pods.get("guaranteed").await?["status"]["qosClass"], "Guaranteed", "the class of equal requests and limits");
    let mut burstable = pod("burstable");
    burstable["spec"]["containers"][0]["resources"] = json!({"requests": amounts});
    pods.create(&burstable).await?;
    same!(pods.get("burstable").await?["status"]["qosClass"], "Burstable", "the class of requests alone");
    pods.create(&pod("best-effort")).await?;
    same!(pods.get("best-effort").await?["status"]["qosClass"], "BestEffort", "the class of neither");
    Ok(())
}

async fn invalid_sysctls(context: &Context) -> Outcome {
    let pods = context.objects(resource::pods(), &context.namespace().await?);
    let mut object = pod("sysctl");
    let names = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."];
    let values = names.map(|name| json!({"name": name, "value": "100000000"}));
    object["spec"]["securityContext"] = json!({"sysctls": values});
    let status = pods.post(&object, &[]).await?.refused(422, "Invalid")?;
    let causes = status["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, name) in names.iter().enumerate() {
        let field = format!("spec.securityContext.sysctls[{index}].name");
        let named = causes.iter().any(|cause| cause["field"] == field.as_str());
        let valid = *name == "kernel.shmmax" || *name == "safe-and-unsafe";
        ensure!(named != valid, "{name:?} at {field}: causes are {causes:?}");
    }
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains("Invalid value: \"foo-\""), "the message does not name foo-: {message}");
    ensure!(message.contains("Invalid value: \"bar..\""), "the message does not name bar..: {message}");
    pods.read("sysctl").await?.refused(404, "NotFound").map(drop)
}

async fn csi_volume(context: &Context) -> Outcome {
    let pods = context.objects(resource::pods(), &context.namespace().await?);
    let mut object = pod("inline-volume");
    let volume = json!({"name": "inline", "csi": {"driver": "e2e.example.com", "volumeAttributes": {"a": "b"}}});
    object["metadata"]["labels"] = json!({"test": "inline"});
    // Nobody is to run it: no such driver, and no such scheduler.
    object["spec"]["schedulerName"] = "nobody".into();
    object["spec"]["volumes"] = json!([volume]);
    object["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "inline", "mountPath": "/mnt"}]);
    pods.create(&object).await?;
    let got = pods.get("inline-volume").await?;
    expect_within(&got["spec"]["volumes"][0], &volume, "the volume when the pod is read")?;
    let listed = pods.labelled("test=inline").await?;
    same!(names(&listed), ["inline-volume"], "pods with the label");
    expect_within(&listed[0]["spec"]["volumes"][0], &volume, "the volume in the list")?;
    let patched = pods.strategic("inline-volume", &json!({"metadata": {"labels": {"patched": "true"}}})).await?;
    same!(patched["metadata"]["labels"]["patched"], "true", "the label of the patched pod");
    expect_within(&patched["spec"]["volumes"][0], &volume, "the volume after the patch")?;
    pods.delete_with("inline-volume", &json!({"gracePeriodSeconds": 0})).await?.success()?;
    pods.gone("inline-volume", std::time::Duration::from_secs(30)).await
}
