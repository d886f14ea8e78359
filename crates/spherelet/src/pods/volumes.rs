//! The volumes of one pod: what they should hold, and what its machine has.
//!
//! Sources are read when the pod is new and every [`REFRESH`] from then on; fields of the pod are looked at in every round. A
//! machine that was booted anew has nothing, and gets everything again.

use super::api::{PodApi, PodApiError};
use crate::{host::CallError, host::Shim, node::chain};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orrery_lifecycle::{
    env::Addresses,
    pod::{Machine, PodView, VolumeState},
    volume::{File, Known, TokenAsk, VolumeKind, VolumeView, resolve},
};
use orrery_wire::{
    shim::MachinePhase,
    volume::{FilePiece, MAX_STAGED_BYTES, Medium, VolumeRequest, VolumeStep},
};
use std::collections::BTreeMap;

/// How often ConfigMaps and Secrets are read again.
const REFRESH: SignedDuration = SignedDuration::from_secs(60);
/// How soon what could not be had is asked for again.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// How long a failure that was told is not told again.
const TELL_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// Beside its data a piece of a file takes about this much of a message, in bytes.
const PIECE_BYTES: usize = 128;

/// A token, and when it is to be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) refresh_at: Timestamp,
}

/// The files of each volume that has some.
type Contents = BTreeMap<String, Vec<File>>;

/// What is known of a pod's volumes. The default is what a new worker knows.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    known: Known,
    refresh_tokens: BTreeMap<TokenAsk, Timestamp>,
    read_at: Option<Timestamp>,
    /// What they should hold, as of the last round.
    wanted: Contents,
    /// The boot of the machine that has them, and what they hold there.
    filled: Option<(u32, Contents)>,
    told: Option<(String, Timestamp)>,
}

/// What a look at the volumes gave.
pub(super) struct Seen {
    pub(super) state: VolumeState,
    /// What is to be told, in the kubelet's words.
    pub(super) failure: Option<String>,
    /// When to look again.
    pub(super) due: Option<Timestamp>,
}

impl Volumes {
    /// Finds out how the volumes of `pod` stand.
    pub(super) async fn look(
        &mut self,
        api: &dyn PodApi,
        pod: &PodView,
        machine: &Machine,
        addresses: &Addresses,
        now: Timestamp,
    ) -> Seen {
        let over = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if pod.volumes.is_empty() || pod.deletion.is_some() || over {
            return Seen { state: VolumeState::Filled, failure: None, due: None };
        }
        let failed_read = self.read(api, pod, now).await;
        let made = self.contents(pod, addresses).map_err(|failure| failed_read.unwrap_or(failure));
        let here =
            self.filled.as_ref().filter(|(boot, _)| Some(*boot) == running_boot(machine)).map(|(_, files)| files);
        let (state, failure) = match made {
            Ok(contents) => {
                let state = if here == Some(&contents) { VolumeState::Filled } else { VolumeState::Unfilled };
                self.wanted = contents;
                (state, None)
            }
            // What a machine has stays when its source goes.
            Err(failure) if here.is_some() => (VolumeState::Filled, Some(failure)),
            Err(failure) => (VolumeState::Obstructed, Some(failure)),
        };
        let mut due = self.due();
        if failure.is_some() {
            // The next round reads again, and comes soon.
            self.read_at = None;
            due = Some(now + RETRY);
        }
        Seen { state, failure: failure.filter(|failure| self.is_news(failure, now)), due }
    }

    fn is_news(&mut self, failure: &str, now: Timestamp) -> bool {
        let news = self.told.as_ref().is_none_or(|(told, at)| told != failure || now >= *at + TELL_AGAIN);
        if news {
            self.told = Some((failure.to_owned(), now));
        }
        news
    }

    fn due(&self) -> Option<Timestamp> {
        let sources = self.read_at.filter(|_| !self.known.objects.is_empty()).map(|at| at + REFRESH);
        self.refresh_tokens.values().copied().chain(sources).min()
    }

    /// Reads what is due. What cannot be read now stays as it is; says what could not, for people.
    async fn read(&mut self, api: &dyn PodApi, pod: &PodView, now: Timestamp) -> Option<String> {
        let mut failure = None;
        let again = self.read_at.is_none_or(|at| now >= at + REFRESH);
        for volume in &pod.volumes {
            let read = self.read_volume(api, pod, volume, again, now).await;
            failure = failure.or(read.err().map(|error| not_set_up(&volume.name, &chain(&error))));
        }
        if again {
            self.read_at = Some(now);
        }
        failure
    }

    async fn read_volume(
        &mut self,
        api: &dyn PodApi,
        pod: &PodView,
        volume: &VolumeView,
        again: bool,
        now: Timestamp,
    ) -> Result<(), PodApiError> {
        for source in volume.sources().into_iter().filter(|_| again) {
            match api.files(pod, source).await? {
                Some(files) => self.known.objects.insert(source.clone(), files),
                None => self.known.objects.remove(source),
            };
        }
        for ask in volume.tokens() {
            if self.refresh_tokens.get(ask).is_some_and(|at| now < *at) {
                continue;
            }
            // Should it fail, the next try does not follow at once.
            self.refresh_tokens.insert(ask.clone(), now + RETRY);
            let token = api.token(pod, ask, now).await?;
            self.known.tokens.insert(ask.clone(), token.text);
            self.refresh_tokens.insert(ask.clone(), token.refresh_at);
        }
        Ok(())
    }

    fn contents(&self, pod: &PodView, addresses: &Addresses) -> Result<Contents, String> {
        let mut contents = Contents::new();
        for volume in &pod.volumes {
            let files = resolve(volume, pod, &self.known, addresses)
                .map_err(|error| not_set_up(&volume.name, &error.to_string()))?;
            contents.insert(volume.name.clone(), files.unwrap_or_default());
        }
        Ok(contents)
    }

    /// Makes and fills the volumes in boot `boot` of the machine, as the last look found that they should be.
    pub(super) async fn fill(&mut self, pod: &PodView, shim: &Shim, boot: u32) -> Result<(), CallError> {
        let here = self.filled.as_ref().filter(|(filled, _)| *filled == boot).map(|(_, files)| files);
        for volume in &pod.volumes {
            let files = self.wanted.get(&volume.name);
            if here.is_some_and(|here| here.get(&volume.name) == files) {
                continue;
            }
            let steps = match &volume.kind {
                VolumeKind::EmptyDir { memory, limit } => {
                    let limit_bytes = limit.map(|limit| limit.0);
                    let medium = if *memory { Medium::Memory { limit_bytes } } else { Medium::Disk };
                    vec![VolumeStep::Directory { medium, group: pod.fs_group }]
                }
                VolumeKind::Files { .. } => stages(files.map(Vec::as_slice).unwrap_or_default()),
            };
            for step in steps {
                shim.volume(VolumeRequest { volume: volume.name.clone(), step }).await?;
            }
        }
        self.filled = Some((boot, self.wanted.clone()));
        Ok(())
    }
}

/// The boot of a machine that can have volumes.
pub(super) fn running_boot(machine: &Machine) -> Option<u32> {
    match machine {
        Machine::Present(status) if status.phase == MachinePhase::Running => Some(status.boot),
        Machine::Present(_) | Machine::Absent | Machine::Silent => None,
    }
}

fn not_set_up(volume: &str, why: &str) -> String {
    format!("MountVolume.SetUp failed for volume {volume:?} : {why}")
}

/// The steps that publish `files`, each small enough for one message.
fn stages(files: &[File]) -> Vec<VolumeStep> {
    let mut stages = vec![Vec::new()];
    let mut room = MAX_STAGED_BYTES;
    for file in files {
        let mut rest = file.data.as_slice();
        loop {
            let overhead = PIECE_BYTES + file.path.len();
            if room <= overhead {
                stages.push(Vec::new());
                room = MAX_STAGED_BYTES;
            }
            let (data, left) = rest.split_at(rest.len().min(room - overhead));
            room -= overhead + data.len();
            let File { path, mode, user, group, .. } = file;
            let piece = FilePiece { path: path.clone(), mode: *mode, user: *user, group: *group, data: data.to_vec() };
            stages.last_mut().expect("there is one from the beginning").push(piece);
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
    }
    let stages = stages.into_iter().enumerate();
    let steps = stages.map(|(number, pieces)| VolumeStep::Stage { first: number == 0, pieces });
    steps.chain([VolumeStep::Publish]).collect()
}

/// When a token is replaced: after four fifths of its life, and after a day at the latest, as by the kubelet.
pub(super) fn refresh_at(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now).max(SignedDuration::ZERO);
    now + (life * 4 / 5).min(SignedDuration::from_hours(24))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_wire::{
        frame::MAX_PAYLOAD,
        guest::{GuestRequest, ToGuest},
    };
    use proptest::prelude::*;

    fn file(path: String, data: Vec<u8>) -> File {
        File { path, mode: 0o644, user: u32::MAX, group: u32::MAX, data }
    }

    proptest! {
        // Each case encodes up to a megabyte.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_files_are_published_whole_in_messages_that_fit(
            files in prop::collection::btree_map("[a-z]{1,40}(/[a-z]{1,200})?", prop::collection::vec(any::<u8>(), 0..70_000), 0..12),
        ) {
            let files: Vec<_> = files.into_iter().map(|(path, data)| file(path, data)).collect();
            let steps = stages(&files);
            prop_assert_eq!(steps.last(), Some(&VolumeStep::Publish));
            let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for (number, step) in steps.iter().enumerate() {
                let request = GuestRequest::Volume(VolumeRequest { volume: "v".repeat(63), step: step.clone() });
                let bytes = serde_json::to_vec(&ToGuest::Request { id: u64::MAX, request }).unwrap();
                prop_assert!(bytes.len() <= MAX_PAYLOAD, "{} bytes", bytes.len());
                if let VolumeStep::Stage { first, pieces } = step {
                    prop_assert_eq!(*first, number == 0);
                    pieces.iter().for_each(|p| seen.entry(p.path.clone()).or_default().extend(&p.data));
                }
            }
            prop_assert!(seen.into_iter().eq(files.into_iter().map(|f| (f.path, f.data))));
        }
    }

    #[test]
    fn thousands_of_small_files_still_fit() {
        let files: Vec<_> = (0..5000).map(|number| file(format!("key-{number}"), vec![1])).collect();
        for step in stages(&files) {
            assert!(serde_json::to_vec(&step).unwrap().len() < MAX_PAYLOAD - 1000);
        }
    }

    #[test]
    fn a_token_is_replaced_well_before_its_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(refresh_at(at(0), at(3600)), at(2880));
        assert_eq!(refresh_at(at(0), at(1_000_000)), at(86_400));
        assert_eq!(refresh_at(at(10), at(5)), at(10));
    }
}
