//! What every namespace is given.

use super::workload::PATIENCE;
use crate::{
    ensure,
    harness::{Context, During, Outcome, resource, until},
    registry::{Test, test},
    run,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[test(
    "[sig-auth] ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace [Conformance]",
    run!(root_authority),
)];

const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";

async fn root_authority(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    let there = |what: &'static str, wanted: Option<Value>| {
        let maps = maps.clone();
        async move {
            let look = || async {
                let answer = maps.read(NAME).await?;
                let data = answer.body["data"].clone();
                let right = match &wanted {
                    None => data[KEY].as_str().is_some_and(|pem| pem.contains("BEGIN CERTIFICATE")),
                    Some(wanted) => data == *wanted,
                };
                Ok((answer.is_success() && right).then_some(data))
            };
            until(PATIENCE, look).await.during(format!("{NAME} is {what}"))
        }
    };
    let first = there("made by itself", None).await?;
    maps.delete(NAME).await?;
    there("made again after it was deleted", Some(first.clone())).await?;
    let changed = maps.update(NAME, |map| map["data"] = json!({ KEY: "", "other": "data" })).await?;
    ensure!(changed["data"]["other"] == "data", "the change was not taken");
    there("put right after it was changed", Some(first)).await?;
    Ok(())
}
