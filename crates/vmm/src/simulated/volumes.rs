//! The volumes of a simulated guest: files by path, in memory.

use orrery_wire::{
    guest::reason,
    volume::{FilePiece, VolumeMount, VolumeRequest, VolumeStep},
};
use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;
type Refused = (&'static str, String);

#[derive(Debug, Default)]
pub(super) struct Volumes(BTreeMap<String, Volume>);

#[derive(Debug, Default)]
struct Volume {
    staged: Option<Files>,
    published: Files,
}

impl Volumes {
    pub(super) fn carry_out(&mut self, request: VolumeRequest) -> Result<(), Refused> {
        let volume = self.0.entry(request.volume).or_default();
        match request.step {
            VolumeStep::Directory { .. } => {}
            VolumeStep::Stage { first, pieces } => {
                let files = volume.staged.get_or_insert_default();
                if first {
                    files.clear();
                }
                for FilePiece { path, data, .. } in pieces {
                    files.entry(path).or_default().extend(data);
                }
            }
            VolumeStep::Publish => match volume.staged.take() {
                Some(files) => volume.published = files,
                None => return Err((reason::BAD_STATE, "nothing was staged".into())),
            },
        }
        Ok(())
    }

    /// Whether everything that a container mounts was made.
    pub(super) fn check(&self, mounts: &[VolumeMount]) -> Result<(), Refused> {
        match mounts.iter().find(|mount| !self.0.contains_key(&mount.volume)) {
            Some(mount) => Err((reason::VOLUME_UNAVAILABLE, format!("volume {}: it was not made", mount.volume))),
            None => Ok(()),
        }
    }

    /// What a container with `mounts` reads at `path`.
    pub(super) fn read(&self, mounts: &[VolumeMount], path: &str) -> Option<&[u8]> {
        mounts.iter().find_map(|mount| {
            let below = path.strip_prefix(&mount.path)?.trim_start_matches('/');
            let inner =
                if mount.sub_path.is_empty() { below.to_owned() } else { format!("{}/{below}", mount.sub_path) };
            self.0.get(&mount.volume)?.published.get(inner.trim_end_matches('/')).map(Vec::as_slice)
        })
    }
}
