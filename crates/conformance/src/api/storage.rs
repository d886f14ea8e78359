//! Storage objects of the cluster: classes, drivers, attachments.

use super::operations::{Subject, all, status};
use crate::{
    harness::{Context, Objects, Outcome, Resource, names, resource},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) const TESTS: &[Test] = &[
    test("[sig-storage] CSIInlineVolumes should run through the lifecycle of a CSIDriver [Conformance]", run!(drivers)),
    test(
        "[sig-storage] CSINodes CSI Conformance should run through the lifecycle of a csinode [Conformance]",
        run!(csi_nodes),
    ),
    test(
        "[sig-storage] CSIStorageCapacity should support CSIStorageCapacities API operations [Conformance]",
        run!(capacities),
    ),
    test(
        "[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a StorageClass [Conformance]",
        run!(storage_classes),
    ),
    test(
        "[sig-storage] VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run through the lifecycle of a VolumeAttributesClass [Conformance]",
        run!(attributes_classes),
    ),
    test(
        "[sig-storage] VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment [Conformance]",
        run!(attachments),
    ),
    test(
        "[sig-storage] VolumeAttachment Conformance should apply changes to a volumeattachment status [Conformance]",
        run!(attachment_status),
    ),
];

/// How long a deletion may take that has to be confirmed.
const GONE: Duration = Duration::from_secs(30);

/// Objects of a test that share a label, removed with it.
struct Set {
    objects: Objects,
    label: Value,
    selector: String,
}

impl Set {
    fn new(context: &Context, resource: Resource) -> Self {
        let set = context.name("set");
        let selector = format!("set={set}");
        let objects = context.cluster(resource);
        context.remove_path_later(objects.collection(&[("labelSelector", &selector)]));
        Self { objects, label: json!({"set": set}), selector }
    }

    /// Creates an object and reads it.
    async fn create(&self, context: &Context, object: &Value) -> Outcome<String> {
        let name = context.name("e2e");
        let mut object = object.clone();
        object["metadata"] = json!({"name": name, "labels": self.label});
        let created = self.objects.create(&object).await?;
        let got = self.objects.get(&name).await?;
        same!(got["metadata"]["name"], name.as_str(), "the name when it is read");
        same!(got["metadata"]["uid"], created["metadata"]["uid"], "the uid when it is read");
        Ok(name)
    }

    async fn patch(&self, name: &str) -> Outcome {
        let patched = self.objects.strategic(name, &json!({"metadata": {"labels": {name: "patched"}}})).await?;
        same!(patched["metadata"]["labels"][name], "patched", "the label of the patched object");
        let found = self.objects.labelled(&format!("{},{name}=patched", self.selector)).await?;
        same!(names(&found), [name], "objects with the patched label");
        Ok(())
    }

    async fn update(&self, name: &str) -> Outcome {
        let updated = self.objects.update(name, |object| object["metadata"]["labels"][name] = "updated".into()).await?;
        same!(updated["metadata"]["labels"][name], "updated", "the label of the updated object");
        let found = self.objects.labelled(&format!("{},{name}=updated", self.selector)).await?;
        same!(names(&found), [name], "objects with the updated label");
        Ok(())
    }

    async fn delete(&self, name: &str) -> Outcome {
        self.objects.delete(name).await?;
        self.objects.gone(name, GONE).await
    }

    async fn count(&self) -> Outcome<usize> {
        Ok(self.objects.labelled(&self.selector).await?.len())
    }

    async fn delete_rest(&self) -> Outcome {
        self.objects.delete_labelled(&self.selector).await?;
        crate::harness::until(GONE, || async { Ok((self.count().await? == 0).then_some(())) }).await
    }
}

async fn drivers(context: &Context) -> Outcome {
    let set = Set::new(context, Resource::cluster("storage.k8s.io/v1", "csidrivers", "CSIDriver"));
    let driver =
        json!({"spec": {"attachRequired": false, "podInfoOnMount": true, "volumeLifecycleModes": ["Ephemeral"]}});
    let first = set.create(context, &driver).await?;
    let second = set.create(context, &driver).await?;
    set.patch(&second).await?;
    set.update(&second).await?;
    same!(set.count().await?, 2, "drivers with the label");
    set.delete(&first).await?;
    same!(set.count().await?, 1, "drivers after one was deleted");
    set.delete_rest().await
}

async fn csi_nodes(context: &Context) -> Outcome {
    let set = Set::new(context, Resource::cluster("storage.k8s.io/v1", "csinodes", "CSINode"));
    let node = json!({"spec": {"drivers": [{"name": "e2e-driver", "nodeID": "e2e-node", "topologyKeys": ["zone"]}]}});
    let first = set.create(context, &node).await?;
    set.patch(&first).await?;
    set.delete(&first).await?;
    let replacement = set.create(context, &node).await?;
    set.update(&replacement).await?;
    set.delete_rest().await?;
    set.objects.read(&replacement).await?.refused(404, "NotFound").map(drop)
}

async fn capacities(context: &Context) -> Outcome {
    let resource = Resource::namespaced("storage.k8s.io/v1", "csistoragecapacities", "CSIStorageCapacity");
    let object = json!({
        "storageClassName": "example.com-e2e-class",
        "nodeTopology": {"matchLabels": {"topology.example.com/zone": "a"}},
        "capacity": "1Gi",
    });
    let mut subject = Subject::new(resource, object);
    subject.update = json!({"capacity": "2Gi"});
    all(context, subject).await
}

async fn storage_classes(context: &Context) -> Outcome {
    let set = Set::new(context, resource::storage_classes());
    let class =
        json!({"provisioner": "e2e-fake-provisioner", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
    classes(context, &set, &class).await
}

async fn attributes_classes(context: &Context) -> Outcome {
    let resource = Resource::cluster("storage.k8s.io/v1", "volumeattributesclasses", "VolumeAttributesClass");
    let set = Set::new(context, resource);
    classes(context, &set, &json!({"driverName": "e2e-fake-driver", "parameters": {"iops": "1000"}})).await
}

/// What both kinds of classes have to do.
async fn classes(context: &Context, set: &Set, class: &Value) -> Outcome {
    let first = set.create(context, class).await?;
    set.patch(&first).await?;
    set.delete(&first).await?;
    let replacement = set.create(context, class).await?;
    set.update(&replacement).await?;
    set.delete_rest().await?;
    set.objects.read(&replacement).await?.refused(404, "NotFound").map(drop)
}

/// No such driver, volume or node is there: nobody touches it.
fn attachment() -> Value {
    json!({"spec": {
        "attacher": "e2e-attacher.example.com",
        "nodeName": "e2e-no-such-node",
        "source": {"persistentVolumeName": "e2e-no-such-volume"},
    }})
}

fn attachment_set(context: &Context) -> Set {
    Set::new(context, Resource::cluster("storage.k8s.io/v1", "volumeattachments", "VolumeAttachment"))
}

async fn attachments(context: &Context) -> Outcome {
    let set = attachment_set(context);
    let first = set.create(context, &attachment()).await?;
    set.patch(&first).await?;
    same!(set.count().await?, 1, "attachments with the label");
    set.delete(&first).await?;
    for _ in 0..2 {
        let name = set.create(context, &attachment()).await?;
        set.update(&name).await?;
    }
    same!(set.count().await?, 2, "attachments after the first was deleted");
    set.delete_rest().await
}

async fn attachment_status(context: &Context) -> Outcome {
    let set = attachment_set(context);
    let name = set.create(context, &attachment()).await?;
    set.patch(&name).await?;
    let got = set.objects.sub("status").get(&name).await?;
    ensure_not_attached(&got)?;
    status(&set.objects, &name, &json!({"attached": true}), &json!({"attached": false})).await?;
    set.delete(&name).await
}

/// A field that is false may be left out.
fn ensure_not_attached(object: &Value) -> Outcome {
    same!(object["status"]["attached"].as_bool().unwrap_or(false), false, "whether it is attached at first");
    Ok(())
}
