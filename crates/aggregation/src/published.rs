//! The config map by which other servers know the front proxy: `extension-apiserver-authentication` in `kube-system`.

use crate::proxy::{EXTRA, GROUP, UID, USER};
use serde_json::{Value, json};

/// Where it is.
pub(crate) const PATH: &str = "/api/v1/namespaces/kube-system/configmaps";
/// Its name.
pub(crate) const NAME: &str = "extension-apiserver-authentication";
/// The name in the front proxy's certificate.
pub(crate) const PROXY: &str = "front-proxy-client";

/// The config map as it should be; none when `present` is. What else it holds stays.
pub(crate) fn wanted(present: Option<&Value>, client_ca_pem: &str, front_proxy_ca_pem: &str) -> Option<Value> {
    let list = |names: &[&str]| json!(names).to_string();
    let mut map = present.cloned().unwrap_or_else(
        || json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "kube-system"}}),
    );
    if !map["data"].is_object() {
        map["data"] = json!({});
    }
    for (key, value) in [
        ("client-ca-file", client_ca_pem.to_owned()),
        ("requestheader-allowed-names", list(&[PROXY])),
        ("requestheader-client-ca-file", front_proxy_ca_pem.to_owned()),
        ("requestheader-extra-headers-prefix", list(&[EXTRA])),
        ("requestheader-group-headers", list(&[GROUP])),
        ("requestheader-uid-headers", list(&[UID])),
        ("requestheader-username-headers", list(&[USER])),
    ] {
        map["data"][key] = value.into();
    }
    (present != Some(&map)).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_once_and_put_right_when_it_is_changed() {
        let mut map = wanted(None, "a", "b").unwrap();
        assert_eq!(map["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
        assert_eq!(wanted(Some(&map), "a", "b"), None);
        map["data"]["own"] = "1".into();
        map["data"]["client-ca-file"] = "x".into();
        let mended = wanted(Some(&map), "a", "b").unwrap();
        assert_eq!((&mended["data"]["own"], &mended["data"]["client-ca-file"]), (&json!("1"), &json!("a")));
    }
}
