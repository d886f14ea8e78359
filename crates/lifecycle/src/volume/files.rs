//! What the files of a volume hold. Pure.

use super::{Part, TokenAsk, VolumeKind, VolumeView, bits};
use crate::env::{self, Addresses, EnvError, Source};
use crate::pod::PodView;
use orrery_api::k8s::api::core::v1::{DownwardAPIVolumeFile, KeyToPath};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A file of a volume.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct File {
    /// Path below the volume.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub user: u32,
    /// Its owner's group.
    pub group: u32,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// What it holds may be secret.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:o}, {} bytes)", self.path, self.mode, self.data.len())
    }
}

/// Everything outside of the pod that files are made from, as far as it is there.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The keys of ConfigMaps and Secrets.
    pub objects: BTreeMap<Source, BTreeMap<String, Vec<u8>>>,
    /// Tokens of the pod's service account.
    pub tokens: BTreeMap<TokenAsk, String>,
}

/// Why a volume's files cannot be made, in the kubelet's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A ConfigMap or Secret is not there.
    #[error("{0} not found")]
    Missing(String),
    /// It is there without the key.
    #[error("references non-existent {kind} key: {key}")]
    KeyMissing {
        /// `config` or `secret`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// There is no token yet.
    #[error("the token of the service account is not there")]
    TokenMissing,
    /// A field cannot be given.
    #[error(transparent)]
    Field(#[from] EnvError),
}

/// The files of `volume`, by path; none when it is a directory.
///
/// # Errors
/// When something that is not optional is missing.
pub fn resolve(
    volume: &VolumeView,
    pod: &PodView,
    known: &Known,
    addresses: &Addresses,
) -> Result<Option<Vec<File>>, FileError> {
    let VolumeKind::Files { mode, parts } = &volume.kind else { return Ok(None) };
    let mut files = BTreeMap::new();
    let mut put = |path: &str, mode: u32, user: u32, data: Vec<u8>| {
        // The kubelet lets the group of a volume read what only its owner might.
        let (mode, group) = pod.fs_group.map_or((mode, 0), |group| (mode | 0o440, group));
        let path = path.trim_end_matches('/').to_owned();
        files.insert(path.clone(), File { path, mode, user, group, data });
    };
    for part in parts {
        match part {
            Part::Object { source, items, optional } => {
                for (path, item_mode, data) in of_object(source, items, *optional, known)? {
                    put(&path, item_mode.unwrap_or(*mode), 0, data);
                }
            }
            Part::Downward(items) => {
                for item in items {
                    put(&item.path, bits(item.mode).unwrap_or(*mode), 0, field(item, pod, addresses)?.into_bytes());
                }
            }
            Part::Token { token, path } => {
                let data = known.tokens.get(token).ok_or(FileError::TokenMissing)?;
                // Who runs as somebody else than root is to read it, and nobody besides.
                let user = pod.common_user();
                let mode = if user.is_some() || pod.fs_group.is_some() { 0o600 } else { *mode };
                put(path, mode, user.unwrap_or(0), data.clone().into_bytes());
            }
        }
    }
    Ok(Some(files.into_values().collect()))
}

type OfObject = Vec<(String, Option<u32>, Vec<u8>)>;

fn of_object(source: &Source, items: &[KeyToPath], optional: bool, known: &Known) -> Result<OfObject, FileError> {
    let Some(data) = known.objects.get(source) else {
        return if optional { Ok(Vec::new()) } else { Err(FileError::Missing(source.describe())) };
    };
    if items.is_empty() {
        return Ok(data.iter().map(|(key, data)| (key.clone(), None, data.clone())).collect());
    }
    let mut files = Vec::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => files.push((item.path.clone(), bits(item.mode), data.clone())),
            None if optional => {}
            None => {
                let kind = match source {
                    Source::ConfigMap(_) => "config",
                    Source::Secret(_) => "secret",
                };
                return Err(FileError::KeyMissing { kind, key: item.key.clone() });
            }
        }
    }
    Ok(files)
}

fn field(item: &DownwardAPIVolumeFile, pod: &PodView, addresses: &Addresses) -> Result<String, EnvError> {
    if let Some(reference) = &item.field_ref {
        return match reference.field_path.as_str() {
            "metadata.labels" => Ok(lines(&pod.labels)),
            "metadata.annotations" => Ok(lines(&pod.annotations)),
            _ => env::field(pod, reference, addresses),
        };
    }
    match &item.resource_field_ref {
        Some(reference) => env::resource(pod, None, reference),
        None => Ok(String::new()),
    }
}

/// A map as `key="value"` lines with Go's escapes, as the kubelet writes it.
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = map.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            control if control.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::test_pod;
    use serde_json::{Value, json};

    fn known() -> Known {
        let data = |pairs: &[(&str, &[u8])]| pairs.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect();
        let token = TokenAsk { audience: Some("vault".into()), expiration_seconds: 600 };
        Known {
            objects: [
                (Source::ConfigMap("c".into()), data(&[("a", b"1"), ("b", &[0xff])])),
                (Source::Secret("s".into()), data(&[("a", b"secret")])),
            ]
            .into(),
            tokens: [(token, "t.o.k".to_owned())].into(),
        }
    }

    /// Path, mode, user, group and text of a file.
    type Shown = (String, u32, u32, u32, String);

    fn files(volume: &Value, security: &Value) -> Result<Vec<Shown>, String> {
        let mut volume = volume.clone();
        volume["name"] = json!("v");
        let pod = test_pod(&json!({
            "metadata": { "labels": { "x": "1", "a": "say \"hi\"\n\u{1}" } },
            "spec": {
                "volumes": [volume], "securityContext": security,
                "containers": [{ "name": "main", "image": "i", "resources": { "limits": { "cpu": "1500m" } } }],
            }
        }));
        let made = resolve(&pod.volumes[0], &pod, &known(), &Addresses::default());
        let made = made.map_err(|error| error.to_string())?.unwrap();
        let text = |data: Vec<u8>| String::from_utf8_lossy(&data).into_owned();
        Ok(made.into_iter().map(|f| (f.path, f.mode, f.user, f.group, text(f.data))).collect())
    }

    #[track_caller]
    fn check(volume: &Value, expected: &[(&str, u32, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(p, m, t)| ((*p).to_owned(), *m, 0, 0, (*t).to_owned())).collect();
        assert_eq!(files(volume, &json!({})), Ok(expected), "{volume}");
    }

    #[test]
    fn files_come_from_all_kinds_of_sources() {
        check(&json!({ "configMap": { "name": "c" } }), &[("a", 0o644, "1"), ("b", 0o644, "\u{fffd}")]);
        check(
            &json!({ "secret": { "secretName": "s", "defaultMode": 256, "items": [
                { "key": "a", "path": "deep/er", "mode": 511 }, { "key": "a", "path": "b" },
            ] } }),
            &[("b", 0o400, "secret"), ("deep/er", 0o777, "secret")],
        );
        check(&json!({ "configMap": { "name": "none", "optional": true } }), &[]);
        check(&json!({ "configMap": { "name": "c", "optional": true, "items": [{ "key": "z", "path": "z" }] } }), &[]);
        check(
            &json!({ "downwardAPI": { "items": [
                { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
                { "path": "one", "fieldRef": { "fieldPath": "metadata.labels['x']" }, "mode": 292 },
                { "path": "cpu", "resourceFieldRef": { "containerName": "main", "resource": "limits.cpu" } },
            ] } }),
            &[("cpu", 0o644, "2"), ("labels", 0o644, "a=\"say \\\"hi\\\"\\n\\x01\"\nx=\"1\""), ("one", 0o444, "1")],
        );
        check(
            &json!({ "projected": { "defaultMode": 384, "sources": [
                { "configMap": { "name": "c", "items": [{ "key": "a", "path": "a" }] } },
                { "secret": { "name": "s" } },
                { "serviceAccountToken": { "audience": "vault", "expirationSeconds": 600, "path": "token" } },
            ] } }),
            &[("a", 0o600, "secret"), ("token", 0o600, "t.o.k")],
        );
    }

    #[test]
    fn what_is_missing_is_named_as_the_kubelet_names_it() {
        let table = [
            (json!({ "configMap": { "name": "none" } }), "configmap \"none\" not found"),
            (
                json!({ "secret": { "secretName": "s", "items": [{ "key": "z", "path": "z" }] } }),
                "references non-existent secret key: z",
            ),
            (
                json!({ "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } }),
                "the token of the service account is not there",
            ),
        ];
        for (volume, message) in table {
            assert_eq!(files(&volume, &json!({})), Err(message.to_owned()));
        }
    }

    #[test]
    fn a_pods_group_may_read_all_and_its_user_has_its_token() {
        let token = json!({ "projected": { "sources": [
            { "serviceAccountToken": { "audience": "vault", "expirationSeconds": 600, "path": "t" } },
        ] } });
        let shown = |security: Value| {
            let (_, mode, user, group, _) = files(&token, &security).unwrap().remove(0);
            (mode, user, group)
        };
        assert_eq!(shown(json!({})), (0o644, 0, 0));
        assert_eq!(shown(json!({ "fsGroup": 7 })), (0o640, 0, 7));
        assert_eq!(shown(json!({ "runAsUser": 5 })), (0o600, 5, 0));
        assert_eq!(shown(json!({ "runAsUser": 5, "fsGroup": 7 })), (0o640, 5, 7));
    }
}
