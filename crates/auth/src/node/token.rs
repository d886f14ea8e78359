//! What tokens a kubelet may ask for. Pure.

use crate::token::TokenSpec;
use orrery_machinery::meta;
use serde_json::Value;

/// Checks a kubelet's request for a token: only for a pod of its own, named by its uid. Gives the audiences that the pod does
/// not ask for by itself; each of these needs a right of its own.
///
/// # Errors
/// The reason, when it is refused.
pub fn restrict_token(node: &str, spec: &TokenSpec, pod: Option<&Value>) -> Result<Vec<String>, String> {
    let Some((kind, version, name, uid)) = &spec.bound else {
        return Err("node requested token not bound to a pod".to_owned());
    };
    if (kind.as_str(), version.as_str()) != ("Pod", "v1") || name.is_empty() {
        return Err("node requested token not bound to a pod".to_owned());
    }
    if uid.is_empty() {
        return Err("node requested token with a pod binding without a uid".to_owned());
    }
    let Some(pod) = pod.filter(|pod| meta::uid(pod) == uid) else {
        return Err(format!("the UID in the bound object reference ({uid}) does not match the UID in record"));
    };
    if pod["spec"]["nodeName"] != node {
        return Err("node requested token bound to a pod scheduled on a different node".to_owned());
    }
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let sources = volumes.flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
    let asked: Vec<&str> = sources.filter_map(|source| source["serviceAccountToken"]["audience"].as_str()).collect();
    Ok(spec.audiences.iter().filter(|audience| !asked.contains(&audience.as_str())).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kubelet_gets_tokens_for_its_own_pods_and_the_audiences_that_these_ask_for() {
        let pod = json!({"metadata": {"uid": "u"}, "spec": {"nodeName": "a", "volumes": [
            {"projected": {"sources": [{"serviceAccountToken": {"audience": "vault"}}, {"serviceAccountToken": {}}]}}]}});
        let ask = |kind: &str, uid: &str, audiences: &[&str]| TokenSpec {
            audiences: audiences.iter().map(|text| (*text).to_owned()).collect(),
            expiration_seconds: 3600,
            bound: Some((kind.into(), "v1".into(), "p".into(), uid.into())),
        };
        assert_eq!(restrict_token("a", &ask("Pod", "u", &[]), Some(&pod)), Ok(vec![]));
        assert_eq!(restrict_token("a", &ask("Pod", "u", &["vault"]), Some(&pod)), Ok(vec![]));
        assert_eq!(restrict_token("a", &ask("Pod", "u", &["vault", "x"]), Some(&pod)), Ok(vec!["x".into()]));
        for (node, spec, pod) in [
            ("b", ask("Pod", "u", &[]), Some(&pod)),
            ("a", ask("Pod", "", &[]), Some(&pod)),
            ("a", ask("Pod", "old", &[]), Some(&pod)),
            ("a", ask("Pod", "u", &[]), None),
            ("a", ask("Secret", "u", &[]), Some(&pod)),
            ("a", TokenSpec { bound: None, ..ask("Pod", "u", &[]) }, Some(&pod)),
        ] {
            restrict_token(node, &spec, pod).unwrap_err();
        }
    }
}
