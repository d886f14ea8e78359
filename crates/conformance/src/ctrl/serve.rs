//! Replicas that answer: the one thing here that needs a container behind a pod.

use super::workload::{PATIENCE, all_up, label, name_of, replication_controller, runs, set};
use crate::{
    ensure,
    harness::{Context, During, Outcome, Resource, resource, retry},
    registry::{Test, test},
    run,
};
use serde_json::Value;

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-apps] ReplicaSet should serve a basic image on each replica with a public image [Conformance]",
        run!(serves, resource::replica_sets(), set("serve", Some(2), &label("serve").0)),
    ),
    test(
        "[sig-apps] ReplicationController should serve a basic image on each replica with a public image [Conformance]",
        run!(serves, resource::replication_controllers(), replication_controller("serve", 2, &label("serve").0)),
    ),
];

/// Says its own name over HTTP.
const SERVER: &str = "mkdir -p /tmp/www && hostname > /tmp/www/index.html && httpd -f -p 8080 -h /tmp/www";

async fn serves(context: &Context, kind: Resource, mut owner: Value) -> Outcome {
    let namespace = context.namespace().await?;
    let pods = context.objects(resource::pods(), &namespace);
    owner["spec"]["template"]["spec"]["containers"][0] = runs(SERVER);
    context.objects(kind, &namespace).create(&owner).await?;
    for pod in all_up(&pods, "app=serve", 2).await? {
        let name = name_of(&pod);
        let path = format!("{}/{name}:8080/proxy/index.html", resource::pods().path(Some(&namespace)));
        retry(PATIENCE / 3, || async {
            let answer = context.api.get(&path).await?;
            ensure!(answer.is_success(), "{path}: answered {} {}", answer.status, answer.message());
            let said = String::from_utf8_lossy(&answer.bytes).trim().to_owned();
            ensure!(said == name, "the pod {name} says that it is {said:?}");
            Ok(())
        })
        .await
        .during(format!("asking {name}"))?;
    }
    Ok(())
}
