//! Lifecycle hooks, which tell a server in another pod that they ran.

use crate::pods::{PATIENCE, Place};
use orrery_harness::{Context, During, Outcome, Test, run, test, until};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart exec hook properly [NodeConformance] [Conformance]",
        run!(hook, "postStart", false),
    ),
    test(
        "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart http hook properly [NodeConformance] [Conformance]",
        run!(hook, "postStart", true),
    ),
    test(
        "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop exec hook properly [NodeConformance] [Conformance]",
        run!(hook, "preStop", false),
    ),
    test(
        "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop http hook properly [NodeConformance] [Conformance]",
        run!(hook, "preStop", true),
    ),
    test("[sig-node] PreStop should call prestop when killing a pod [Conformance]", run!(hook, "preStop", false)),
];

const PORT: u16 = 8080;

/// A pod whose server says which paths it was asked for; gives its address.
async fn server(place: &Place) -> Outcome<String> {
    let mut pod = place.runs("handler", &format!("mkdir /www; exec httpd -f -vv -p {PORT} -h /www"));
    pod["spec"]["containers"][0]["readinessProbe"] = json!({ "tcpSocket": { "port": PORT }, "periodSeconds": 1 });
    let ready = place.ready(&pod).await?;
    Ok(ready["status"]["podIP"].as_str().unwrap_or_default().to_owned())
}

async fn hook(context: &Context, which: &str, http: bool) -> Outcome {
    let place = Place::new(context).await?;
    let address = server(&place).await?;
    let path = format!("/echo-{which}");
    let hook: Value = if http {
        json!({ "httpGet": { "host": address, "port": PORT, "path": path } })
    } else {
        // The server has no such page, which is no matter.
        let ask = format!("wget -q -O /dev/null 'http://{address}:{PORT}{path}'; true");
        json!({ "exec": { "command": ["sh", "-c", ask] } })
    };
    let mut pod = place.runs("hooked", "sleep 600");
    pod["spec"]["containers"][0]["lifecycle"] = json!({ which: hook });
    pod["spec"]["terminationGracePeriodSeconds"] = 15.into();
    place.ready(&pod).await?;
    if which == "preStop" {
        place.remove("hooked").await?;
    }
    until(PATIENCE, || async { Ok(place.log("handler", "c").await?.contains(&path).then_some(())) })
        .await
        .during(format!("waiting for the {which} hook to ask the server"))
}
