//! What the host knows itself by, on disk under `identity/`: its certificate towards the manager, and the credentials
//! of the node that it is. Private keys are made here and never leave the host.

use crate::{
    effects::{EffectError, failed},
    records::{blocking, read_if_there, write_json},
};
use orrery_wire::host::Enrolment;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// The version of the files.
const VERSION: u32 = 1;

/// A join token, `ID.SECRET.CAHASH`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// What is sent.
    pub(super) text: String,
    /// Which token it is; not a secret.
    pub(super) id: String,
    /// SHA-256 of the manager's authority, lower case hexadecimal digits.
    pub(super) authority: String,
}

impl Token {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [id, secret, authority] = parts.as_slice() else { return None };
        let is_fingerprint = authority.len() == 64
            && authority.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let whole = !id.is_empty() && !secret.is_empty() && is_fingerprint;
        whole.then(|| Self { text: text.trim().to_owned(), id: (*id).to_owned(), authority: (*authority).to_owned() })
    }
}

/// The host in the manager's eyes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HostIdentity {
    pub(super) version: u32,
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
    pub(super) manager_ca_pem: String,
    pub(super) cluster: String,
    /// The token that was used up.
    pub(super) token_id: String,
}

impl HostIdentity {
    pub(super) fn new(token: &Token, key_pem: String, reply: orrery_wire::join::JoinReply) -> Self {
        Self {
            version: VERSION,
            certificate_pem: reply.certificate_pem,
            key_pem,
            manager_ca_pem: reply.manager_ca_pem,
            cluster: reply.cluster,
            token_id: token.id.clone(),
        }
    }
}

/// A request to join whose answer has not come: the manager gives the same answer again to the same request, and to no
/// other.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) version: u32,
    pub(super) token_id: String,
    pub(super) key_pem: String,
    pub(super) csr_pem: String,
}

impl Pending {
    pub(super) fn new(token: &Token, (key_pem, csr_pem): (String, String)) -> Self {
        Self { version: VERSION, token_id: token.id.clone(), key_pem, csr_pem }
    }
}

/// Credentials of the node, and when they were made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) version: u32,
    /// Seconds since 1970.
    pub(super) obtained_at: u64,
    pub(super) enrolment: Enrolment,
}

impl Held {
    pub(super) fn new(now: SystemTime, enrolment: Enrolment) -> Self {
        Self { version: VERSION, obtained_at: seconds(now), enrolment }
    }

    /// Whether less than a third of either certificate's lifetime is left at `now`.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        let obtained = SystemTime::UNIX_EPOCH + Duration::from_secs(self.obtained_at);
        [&self.enrolment.client_certificate_pem, &self.enrolment.serving_certificate_pem].iter().any(|pem| {
            // A certificate that can't be read is due at once.
            orrery_identity::not_after(pem).map_or(true, |end| is_due(obtained, end, now))
        })
    }
}

/// Whether less than a third of the time from `begin` to `end` is left at `now`.
pub(super) fn is_due(begin: SystemTime, end: SystemTime, now: SystemTime) -> bool {
    let lifetime = end.duration_since(begin).unwrap_or_default();
    let left = end.duration_since(now).unwrap_or_default();
    left < lifetime / 3
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The files.
#[derive(Debug, Clone)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn host_file(&self) -> PathBuf {
        self.directory.join("host.json")
    }

    fn enrolment_file(&self) -> PathBuf {
        self.directory.join("enrolment.json")
    }

    pub(super) async fn host(&self) -> Result<Option<HostIdentity>, EffectError> {
        load(self.host_file()).await
    }

    pub(super) async fn save_host(&self, identity: &HostIdentity) -> Result<(), EffectError> {
        save(self.host_file(), identity.clone()).await
    }

    fn pending_file(&self) -> PathBuf {
        self.directory.join("joining.json")
    }

    pub(super) async fn pending(&self) -> Result<Option<Pending>, EffectError> {
        load(self.pending_file()).await
    }

    pub(super) async fn save_pending(&self, pending: &Pending) -> Result<(), EffectError> {
        save(self.pending_file(), pending.clone()).await
    }

    pub(super) async fn remove_pending(&self) -> Result<(), EffectError> {
        remove(self.pending_file()).await
    }

    pub(super) async fn held(&self) -> Result<Option<Held>, EffectError> {
        load(self.enrolment_file()).await
    }

    pub(super) async fn save_held(&self, held: &Held) -> Result<(), EffectError> {
        save(self.enrolment_file(), held.clone()).await
    }

    pub(super) async fn remove_held(&self) -> Result<(), EffectError> {
        remove(self.enrolment_file()).await
    }
}

async fn remove(path: PathBuf) -> Result<(), EffectError> {
    blocking(move || match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EffectError::new(format!("remove {}", path.display()), error))
        }
        Ok(()) | Err(_) => Ok(()),
    })
    .await
}

async fn load<T: DeserializeOwned + Send + 'static>(path: PathBuf) -> Result<Option<T>, EffectError> {
    blocking(move || match read_if_there(&path)? {
        None => Ok(None),
        Some(bytes) => {
            let doing =
                format!("read {}; if it can't be restored, remove it and join with a new token", path.display());
            serde_json::from_slice(&bytes).map(Some).map_err(failed(doing))
        }
    })
    .await
}

async fn save<T: Serialize + Send + 'static>(path: PathBuf, value: T) -> Result<(), EffectError> {
    blocking(move || write_json(&path, &value)).await
}
