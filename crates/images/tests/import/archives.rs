//! Archives made by hand.

use orrery_images::Digest;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// One entry of a layer.
pub(crate) enum Item {
    /// Path and mode.
    Dir(&'static str, u32),
    /// A file whose content is its path.
    Plain(&'static str),
    /// Path, content, mode, owner.
    File(&'static str, &'static str, u32, u64),
    Symlink(&'static str, &'static str),
    HardLink(&'static str, &'static str),
    Device(&'static str),
}

/// A layer, uncompressed. Paths are written as they are, even where the tar library would refuse.
pub(crate) fn layer(items: &[Item]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for item in items {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1_234_567);
        header.set_uid(0);
        header.set_gid(0);
        let (path, kind, link, content) = match item {
            Item::Dir(path, mode) => {
                header.set_mode(*mode);
                (path, tar::EntryType::Directory, "", "")
            }
            Item::File(path, content, mode, owner) => {
                header.set_mode(*mode);
                header.set_uid(*owner);
                (path, tar::EntryType::Regular, "", *content)
            }
            Item::Plain(path) => {
                header.set_mode(0o644);
                (path, tar::EntryType::Regular, "", *path)
            }
            Item::Symlink(path, target) => (path, tar::EntryType::Symlink, *target, ""),
            Item::HardLink(path, target) => (path, tar::EntryType::Link, *target, ""),
            Item::Device(path) => (path, tar::EntryType::Char, "", ""),
        };
        if matches!(item, Item::Symlink(..) | Item::HardLink(..) | Item::Device(_)) {
            header.set_mode(0o777);
        }
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        let fields = header.as_gnu_mut().expect("it was made so");
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_bytes()).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}

fn pack(path: &Path, members: &[(String, Vec<u8>)]) {
    let mut archive = tar::Builder::new(File::create(path).expect("create"));
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &content[..]).expect("append");
    }
    archive.finish().expect("finish");
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let contents: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "Entrypoint": ["/bin/serve"], "Cmd": ["--all"], "Env": ["A=b"], "WorkingDir": "/srv", "User": "7:8",
            "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT", "Labels": {"for": "tests"}
        },
        "rootfs": {"type": "layers", "diff_ids": contents},
    });
    serde_json::to_vec(&config).expect("JSON")
}

/// Writes an OCI archive with gzipped layers. `spoil` may change the members before they are written.
pub(crate) fn oci(
    path: &Path,
    name: &str,
    layers: &[Vec<u8>],
    spoil: impl FnOnce(&mut Vec<(String, Vec<u8>)>),
) -> Digest {
    let mut members = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut blob = |content: Vec<u8>| {
        let digest = Digest::of(&content);
        members.push((format!("blobs/sha256/{}", digest.hex()), content));
        digest.to_string()
    };
    let contents: Vec<_> = layers.iter().map(|layer| serde_json::json!({"digest": blob(gzip(layer))})).collect();
    let config = serde_json::json!({"digest": blob(config(layers))});
    let manifest = blob(serde_json::to_vec(&serde_json::json!({"config": config, "layers": contents})).expect("JSON"));
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let index = serde_json::json!({"manifests": [
        {"mediaType": kind, "digest": manifest, "annotations": {"org.opencontainers.image.ref.name": name}},
        {"mediaType": kind, "digest": manifest, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]});
    members.push(("index.json".to_owned(), serde_json::to_vec(&index).expect("JSON")));
    spoil(&mut members);
    pack(path, &members);
    Digest::parse(&manifest).expect("a digest")
}

/// Writes an archive as `docker save` does.
pub(crate) fn docker(path: &Path, tags: &[&str], layers: &[Vec<u8>]) {
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]);
    let mut members: Vec<(String, Vec<u8>)> = names.into_iter().zip(layers.iter().cloned()).collect();
    members.push(("config.json".to_owned(), config(layers)));
    members.push(("manifest.json".to_owned(), serde_json::to_vec(&manifest).expect("JSON")));
    pack(path, &members);
}
