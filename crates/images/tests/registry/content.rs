//! An image as a registry holds it.

use crate::archives::{Item, gzip, layer};
use crate::fake::{Asked, Reply};
use orrery_images::Digest;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Blobs and manifests by digest, and what the tag stands for.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    pub(crate) manifests: BTreeMap<Digest, (&'static str, Vec<u8>)>,
    pub(crate) tag: Digest,
    pub(crate) config: Digest,
    /// Of the layers, bottom first.
    pub(crate) layers: Vec<Digest>,
}

impl Content {
    /// An image of gzipped layers, in an index with one for another platform before it.
    pub(crate) fn new(layers: &[&[Item]]) -> Self {
        let plain: Vec<Vec<u8>> = layers.iter().map(|items| layer(items)).collect();
        let packed = plain.iter().map(|layer| gzip(layer)).collect::<Vec<_>>();
        Self::of(&plain, &packed)
    }

    /// An image of layers that are `packed` in the registry and should be `plain` unpacked.
    pub(crate) fn of(plain: &[Vec<u8>], packed: &[Vec<u8>]) -> Self {
        let mut content = Self {
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tag: Digest::of(b""),
            config: Digest::of(b""),
            layers: Vec::new(),
        };
        let contents: Vec<String> = plain.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/serve"] },
            "rootfs": { "type": "layers", "diff_ids": contents },
        });
        let config = content.blob(config.to_string().into_bytes());
        let layers: Vec<_> = packed.iter().map(|layer| content.blob(layer.clone())).collect();
        content.config = Digest::parse(config["digest"].as_str().expect("text")).expect("a digest");
        content.layers =
            layers.iter().map(|layer| Digest::parse(layer["digest"].as_str().expect("text")).expect("it")).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        content.index(manifest.to_string().into_bytes());
        content
    }

    /// Makes the tag stand for an index with this manifest in it.
    pub(crate) fn index(&mut self, manifest: Vec<u8>) {
        let inner = json!({ "mediaType": MANIFEST, "digest": Digest::of(&manifest).to_string(), "size": manifest.len(),
            "platform": { "architecture": "amd64", "os": "linux" } });
        let other = json!({ "mediaType": MANIFEST, "digest": Digest::of(b"other").to_string(), "size": 5,
            "platform": { "architecture": "arm64", "os": "linux" } });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [other, inner] }).to_string();
        self.tag = Digest::of(index.as_bytes());
        self.manifests.insert(Digest::of(&manifest), (MANIFEST, manifest));
        self.manifests.insert(self.tag.clone(), (INDEX, index.into_bytes()));
    }

    fn blob(&mut self, content: Vec<u8>) -> serde_json::Value {
        let (digest, size) = (Digest::of(&content), content.len());
        self.blobs.insert(digest.clone(), content);
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        json!({ "mediaType": kind, "digest": digest.to_string(), "size": size })
    }

    /// What an honest registry answers for `/v2/REPOSITORY/...`.
    pub(crate) fn answer(&self, asked: &Asked) -> Reply {
        let Some((kind, name)) = asked.path.rsplit_once('/') else { return Reply::new(404, b"") };
        let digest = Digest::parse(name).unwrap_or_else(|_| self.tag.clone());
        if kind.ends_with("/manifests") {
            return match self.manifests.get(&digest) {
                Some((kind, content)) => Reply::new(200, content)
                    .with("Content-Type", *kind)
                    .with("Docker-Content-Digest", digest.to_string()),
                None => Reply::new(404, br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#),
            };
        }
        let Some(content) = self.blobs.get(&digest) else { return Reply::new(404, b"") };
        match asked.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()) {
            Some(from) if from < content.len() => {
                let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                Reply::new(206, &content[from..]).with("Content-Range", range)
            }
            Some(_) => Reply::new(416, b""),
            None => Reply::new(200, content),
        }
    }

    /// Writes it as Debian's docker-registry stores it.
    pub(crate) fn store(&self, root: &Path, repository: &str, tag: &str) {
        let root = root.join("docker/registry/v2");
        let write = |path: String, content: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("make");
            fs::write(path, content).expect("write");
        };
        let of = format!("repositories/{repository}");
        for (digest, content) in &self.blobs {
            write(format!("blobs/sha256/{}/{}/data", &digest.hex()[..2], digest.hex()), content);
            write(format!("{of}/_layers/sha256/{}/link", digest.hex()), digest.as_str().as_bytes());
        }
        for (digest, (_, content)) in &self.manifests {
            write(format!("blobs/sha256/{}/{}/data", &digest.hex()[..2], digest.hex()), content);
            write(format!("{of}/_manifests/revisions/sha256/{}/link", digest.hex()), digest.as_str().as_bytes());
        }
        let link = self.tag.as_str().as_bytes();
        write(format!("{of}/_manifests/tags/{tag}/current/link"), link);
        write(format!("{of}/_manifests/tags/{tag}/index/sha256/{}/link", self.tag.hex()), link);
    }
}
