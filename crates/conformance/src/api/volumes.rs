//! Persistent volumes and claims as objects.

use super::operations::status;
use crate::{
    ensure,
    harness::{Context, Objects, Outcome, names, resource, until},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-storage] PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC [Conformance]",
        run!(lifecycle),
    ),
    test(
        "[sig-storage] PersistentVolumes CSI Conformance should apply changes to a pv/pvc status [Conformance]",
        run!(statuses),
    ),
];

/// Volumes and claims of one test.
struct Pair {
    volumes: Objects,
    claims: Objects,
    set: String,
}

impl Pair {
    async fn new(context: &Context) -> Outcome<Self> {
        let namespace = context.namespace().await?;
        let set = context.name("set");
        let volumes = context.cluster(resource::persistent_volumes());
        context.remove_path_later(volumes.collection(&[("labelSelector", &format!("set={set}"))]));
        Ok(Self { volumes, claims: context.objects(resource::persistent_volume_claims(), &namespace), set })
    }

    fn selector(&self) -> String {
        format!("set={}", self.set)
    }

    /// A volume and a claim of a class that nobody provisions.
    async fn create(&self, context: &Context) -> Outcome<(String, String)> {
        let (volume, claim) = (context.name("pv"), context.name("pvc"));
        let class = format!("class-{}", self.set);
        let object = json!({
            "metadata": {"name": volume, "labels": {"set": self.set}},
            "spec": {
                "capacity": {"storage": "2Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": class,
                "csi": {"driver": "e2e-driver.example.com", "volumeHandle": format!("handle-{volume}")},
            },
        });
        let volume_uid = self.volumes.create(&object).await?["metadata"]["uid"].clone();
        let object = json!({
            "metadata": {"name": claim, "labels": {"set": self.set}},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": format!("{class}-of-claims"),
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        let claim_uid = self.claims.create(&object).await?["metadata"]["uid"].clone();
        same!(self.volumes.get(&volume).await?["metadata"]["uid"], volume_uid, "the uid of the volume");
        same!(self.claims.get(&claim).await?["metadata"]["uid"], claim_uid, "the uid of the claim");
        Ok((volume, claim))
    }

    async fn listed(&self, volume: &str, claim: &str) -> Outcome {
        same!(names(&self.volumes.labelled(&self.selector()).await?), [volume], "volumes with the label");
        same!(names(&self.claims.items(&[]).await?), [claim], "claims in the namespace");
        Ok(())
    }
}

async fn lifecycle(context: &Context) -> Outcome {
    let pair = Pair::new(context).await?;
    let (volume, claim) = pair.create(context).await?;
    pair.listed(&volume, &claim).await?;
    for (objects, name) in [(&pair.volumes, &volume), (&pair.claims, &claim)] {
        let patched = objects.strategic(name, &json!({"metadata": {"labels": {name: "patched"}}})).await?;
        same!(patched["metadata"]["labels"][name], "patched", "the label of the patched {}", objects.resource().kind);
    }
    for (objects, name) in [(&pair.claims, &claim), (&pair.volumes, &volume)] {
        objects.delete(name).await?;
        objects.gone(name, Duration::from_secs(60)).await?;
    }
    let (volume, claim) = pair.create(context).await?;
    for (objects, name) in [(&pair.volumes, &volume), (&pair.claims, &claim)] {
        let updated = objects.update(name, |object| object["metadata"]["labels"][name] = "updated".into()).await?;
        same!(updated["metadata"]["labels"][name], "updated", "the label of the updated {}", objects.resource().kind);
    }
    for (objects, name) in [(&pair.claims, &claim), (&pair.volumes, &volume)] {
        objects.delete_labelled(&format!("{name}=updated")).await?;
        objects.gone(name, Duration::from_secs(60)).await?;
    }
    Ok(())
}

fn phase_is(object: &Value, known: &[&str]) -> bool {
    object["status"]["phase"].as_str().is_some_and(|phase| known.contains(&phase))
}

async fn statuses(context: &Context) -> Outcome {
    let pair = Pair::new(context).await?;
    let (volume, claim) = pair.create(context).await?;
    pair.listed(&volume, &claim).await?;
    let got = pair.claims.sub("status").get(&claim).await?;
    ensure!(phase_is(&got, &["Pending", "Bound"]), "the phase of a claim is {}", got["status"]["phase"]);
    let volumes = pair.volumes.sub("status");
    // A controller makes a volume available; until then it is pending.
    let valid = until(Duration::from_secs(30), || async {
        let got = volumes.get(&volume).await?;
        Ok(phase_is(&got, &["Pending", "Available", "Bound"]).then_some(()))
    });
    valid.await.map_err(|failure| failure.during("a valid phase of the volume"))?;
    let condition = |kind: &str| {
        let times = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        json!({"conditions": [{
            "type": kind, "status": "True", "reason": "E2E", "message": "Set by a test",
            "lastProbeTime": times.0, "lastTransitionTime": times.1,
        }]})
    };
    status(&pair.claims, &claim, &condition("StatusPatched"), &condition("StatusUpdated")).await?;
    let words = |reason: &str| json!({"message": format!("{reason} by a test"), "reason": reason});
    status(&pair.volumes, &volume, &words("StatusPatched"), &words("StatusUpdated")).await
}
