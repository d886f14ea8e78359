//! The demo: an image made from Debian's busybox, and a pod that runs it.

use super::{StepError, inventory, progress, wait_for};
use crate::instance::{HOST, Instance, NAMESPACE, POD};
use kube::Api;
use orrery_api::k8s::api::core::v1::Pod;
use orrery_client::Access;
use orrery_images::ImageStore;
use orrery_wire::shim::MachinePhase;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the demo's image is called.
const IMAGE: &str = "localhost/demo/busybox:latest";

/// Imports the demo image, unless it is there. Its name.
pub(super) async fn image(
    instance: &Instance,
    archive: Option<PathBuf>,
    step: &progress::Step,
) -> Result<(String, String), StepError> {
    step.note(if archive.is_some() { "importing it" } else { "making it from Debian's busybox" });
    let (images, cache) = (instance.images(), instance.cache());
    let made = tokio::task::spawn_blocking(move || ensure_image(&images, &cache, archive)).await??;
    Ok((IMAGE.to_owned(), inventory::outcome(made)))
}

/// Whether the image had to be imported.
fn ensure_image(images: &Path, cache: &Path, archive: Option<PathBuf>) -> Result<bool, StepError> {
    let store = ImageStore::open(images)?;
    if store.resolve(IMAGE).is_some() {
        return Ok(false);
    }
    let archive = match archive {
        Some(archive) => archive,
        None => build(cache)?,
    };
    store.import_archive(&archive, Some(IMAGE), &|_| {})?;
    Ok(true)
}

/// Makes the archive of the demo image with the scripts that the repository has for it.
fn build(cache: &Path) -> Result<PathBuf, StepError> {
    let archive = cache.join("demo-image.tar");
    if archive.exists() {
        return Ok(archive);
    }
    let scripts = cache.join("demo-image");
    fs::create_dir_all(&scripts)?;
    fs::write(scripts.join("lib_oci.py"), include_str!("../../../../scripts/lib_oci.py"))?;
    fs::write(scripts.join("demo-image"), include_str!("../../../../scripts/demo-image"))?;
    let unfinished = cache.join("demo-image.new");
    let output = Command::new("python3").arg(scripts.join("demo-image")).arg(&unfinished).output();
    let output = output.map_err(|error| format!("python3 can't be run ({error}); apt-get install python3"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(
            format!("the demo image can't be made: {}; or go on without it: orrery up --no-demo", said.trim()).into()
        );
    }
    fs::rename(&unfinished, &archive)?;
    fs::remove_dir_all(&scripts)?;
    Ok(archive)
}

/// Makes the demo pod, unless it is there, and waits until it runs.
pub(super) async fn pod(
    instance: &Instance,
    supervisor: &Access,
    image: &str,
    step: &progress::Step,
) -> Result<((), String), StepError> {
    let pods: Api<Pod> = Api::namespaced(supervisor.client().await?, NAMESPACE);
    let made = inventory::ensure(&pods, POD, &manifest(image)?).await?;
    let machine = format!("{NAMESPACE}/{POD}");
    let address = wait_for(|| async {
        // After `orrery down` the API still says what was true before; the host says what is true now.
        let machines = orrery_spherelet::machines(instance.hostd_socket(HOST)).await.ok()?;
        let machine = machines.iter().find(|held| held.spec.name == machine)?;
        if machine.phase != Some(MachinePhase::Running) {
            step.note("its machine boots");
            return None;
        }
        let status = pods.get_opt(POD).await.ok()??.status?;
        let container = status.container_statuses.as_ref().and_then(|all| all.first());
        let waiting = container.and_then(|c| c.state.as_ref()?.waiting.as_ref()?.reason.clone());
        step.note(&waiting.unwrap_or_else(|| status.phase.clone().unwrap_or_default()));
        let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        if ready { Some(status.pod_ip.unwrap_or_default()) } else { None }
    })
    .await;
    Ok(((), if made { address } else { format!("already there, {address}") }))
}

fn manifest(image: &str) -> Result<Pod, serde_json::Error> {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": POD, "namespace": NAMESPACE, "labels": {"app": POD}},
        "spec": {
            "containers": [{
                "name": POD, "image": image, "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c"],
                "args": ["while true; do echo \"hello from $(hostname), Linux $(uname -r)\"; sleep 5; done"],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
            }],
            "terminationGracePeriodSeconds": 2,
        },
    }))
}
