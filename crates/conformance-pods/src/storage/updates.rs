//! ConfigMaps and Secrets that change while a pod has them.

use super::files::Source;
use crate::pods::Place;
use orrery_harness::{Context, Outcome, Test, run, test};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a change may take to arrive; a kubelet looks once a minute, and keeps what it has read for another.
const ARRIVAL: Duration = Duration::from_secs(180);

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-storage] ConfigMap updates should be reflected in volume [NodeConformance] [Conformance]",
        run!(updated, Source::ConfigMap),
    )
    .within(300),
    test(
        "[sig-storage] Projected configMap updates should be reflected in volume [NodeConformance] [Conformance]",
        run!(updated, Source::ProjectedConfigMap),
    )
    .within(300),
    test(
        "[sig-storage] ConfigMap optional updates should be reflected in volume [NodeConformance] [Conformance]",
        run!(optional, Source::ConfigMap),
    )
    .within(400),
    test(
        "[sig-storage] Projected configMap optional updates should be reflected in volume [NodeConformance] [Conformance]",
        run!(optional, Source::ProjectedConfigMap),
    )
    .within(400),
    test(
        "[sig-storage] Secrets optional updates should be reflected in volume [NodeConformance] [Conformance]",
        run!(optional, Source::Secret),
    )
    .within(400),
    test(
        "[sig-storage] Projected secret optional updates should be reflected in volume [NodeConformance] [Conformance]",
        run!(optional, Source::ProjectedSecret),
    )
    .within(400),
];

/// A pod that says again and again what is in its volumes, which are of objects of the same names and optional.
fn pod(place: &Place, source: Source, names: &[&str]) -> Value {
    let looks: Vec<_> =
        names.iter().map(|name| format!("echo {name}: $(cat /etc/volumes/{name}/* 2>/dev/null)")).collect();
    let mut pod = place.runs("looker", &format!("while true; do {}; sleep 1; done", looks.join("; ")));
    let options = json!({ "optional": true });
    pod["spec"]["volumes"] = names.iter().map(|name| source.volume(name, name, &options, None)).collect();
    let mount = |name: &&str| json!({ "name": name, "mountPath": format!("/etc/volumes/{name}") });
    pod["spec"]["containers"][0]["volumeMounts"] = names.iter().map(mount).collect();
    pod
}

async fn updated(context: &Context, source: Source) -> Outcome {
    let place = Place::new(context).await?;
    source.create(context, &place, "it", &json!({ "data-1": "value-1" })).await?;
    place.ready(&pod(&place, source, &["it"])).await?;
    place.until_said("looker", "it: value-1", ARRIVAL).await?;
    place.config_maps(context).merge("it", &json!({ "data": { "data-1": "value-2" } })).await?;
    place.until_said("looker", "it: value-2", ARRIVAL).await
}

/// One object goes, one changes, one comes.
async fn optional(context: &Context, source: Source) -> Outcome {
    let place = Place::new(context).await?;
    source.create(context, &place, "goes", &json!({ "data-1": "value-1" })).await?;
    source.create(context, &place, "changes", &json!({ "data-1": "value-1" })).await?;
    place.ready(&pod(&place, source, &["goes", "changes", "comes"])).await?;
    for line in ["goes: value-1", "changes: value-1", "comes:"] {
        place.until_said("looker", line, ARRIVAL).await?;
    }
    let objects = if source.is_secret() { place.secrets(context) } else { place.config_maps(context) };
    objects.delete("goes").await?;
    let mut changed = source.object("changes", &json!({ "data-3": "value-3" }));
    changed["metadata"]["resourceVersion"] = objects.get("changes").await?["metadata"]["resourceVersion"].clone();
    objects.replace(&changed).await?;
    source.create(context, &place, "comes", &json!({ "data-1": "value-1" })).await?;
    for line in ["goes:", "changes: value-3", "comes: value-1"] {
        place.until_said("looker", line, ARRIVAL).await?;
    }
    Ok(())
}
