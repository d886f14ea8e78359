//! One turn: look at what is held, tell the manager that we live, and do what it says.

use super::{
    http::{CallError, post},
    identity::{Held, HostIdentity, Pending, Store, Token},
    pin,
};
use crate::{
    config::ManagerLink,
    connection::BUILD,
    effects::{EffectError, chain},
    host::Usage,
};
use orrery_api::names::HostName;
use orrery_identity::{Credentials, IdentityError, new_signing_request, tls};
use orrery_wire::{
    host::{Enrolment, Facts},
    join::{EnrolReply, EnrolRequest, Heartbeat, HeartbeatReply, HeldMachine, JoinReply, JoinRequest, LocalDatastore},
};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;
use tracing::{info, warn};

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two attempts to reach the manager.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Bounds on what the manager may choose as an interval, in seconds.
const INTERVAL_SECONDS: std::ops::RangeInclusive<u32> = 1..=300;

/// What the report needs to know of the host.
pub(crate) struct Reporter {
    pub(crate) link: ManagerLink,
    pub(crate) name: HostName,
    pub(crate) facts: Facts,
    pub(crate) kubelet_port: u16,
    /// Where the host's identity is kept.
    pub(crate) directory: PathBuf,
    /// What the ledger says now.
    pub(crate) usage: Arc<dyn Fn() -> Usage + Send + Sync>,
    /// All machines as they are now.
    pub(crate) held: Arc<dyn Fn() -> Vec<HeldMachine> + Send + Sync>,
    /// The directory that disks and images lie in.
    pub(crate) datastore: PathBuf,
}

/// Why a turn did not come to its end.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("the host has not joined a manager yet: start it with a join token (ID.SECRET.CAHASH)")]
    NoToken,
    #[error("the join token is not of the form ID.SECRET.CAHASH; ask the manager for a new one")]
    BadToken,
    #[error("the manager answered with another authority than the token was made for")]
    OtherAuthority,
    #[error("cannot join the manager")]
    Join(#[source] CallError),
    #[error("the heartbeat was not taken")]
    Heartbeat(#[source] CallError),
    #[error("cannot get credentials for Supervisor {supervisor}")]
    Enrol {
        supervisor: String,
        #[source]
        source: CallError,
    },
    #[error("the host's credentials can't be used")]
    Identity(#[from] IdentityError),
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
    #[error("the host's identity can't be kept")]
    Store(#[from] EffectError),
}

/// What is to be done about the node's credentials.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Keep,
    Drop,
    Enrol(String),
}

/// Compares what the manager wants with what the host holds. Pure.
pub(super) fn plan(assigned: Option<&str>, held: Option<&Held>, now: SystemTime) -> Plan {
    match (assigned, held) {
        (None, None) => Plan::Keep,
        (None, Some(_)) => Plan::Drop,
        (Some(supervisor), Some(held)) if held.enrolment.supervisor == supervisor && !held.is_due(now) => Plan::Keep,
        (Some(supervisor), _) => Plan::Enrol(supervisor.to_owned()),
    }
}

/// The pause after `failures` failures in a row. Pure.
pub(super) fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

/// Reports until it is dropped. Each enrolment is published in `enrolled`, the one on disk first.
pub(crate) async fn report(reporter: Reporter, enrolled: watch::Sender<Option<Enrolment>>) {
    let store = Store::new(reporter.directory.clone());
    match store.held().await {
        Ok(held) => publish(&enrolled, held.map(|held| held.enrolment)),
        Err(error) => warn!(error = chain(&error), "the credentials of this host's node can't be read"),
    }
    let mut failures = 0;
    loop {
        let (interval, trouble) = match turn(&reporter, &store, &enrolled).await {
            Ok(Turn { interval, trouble }) => (interval, trouble),
            Err(error) => (LONGEST_PAUSE, Some(error)),
        };
        let endpoint = &reporter.link.endpoint;
        let wait = match trouble {
            None => {
                if failures > 0 {
                    info!(endpoint, "all is well with the manager again");
                }
                failures = 0;
                interval
            }
            Some(error) => {
                failures += 1;
                // The first of a row is news; the others are the same again.
                if failures == 1 {
                    warn!(endpoint, error = chain(&error), "not all is well with the manager; trying again");
                }
                // While heartbeats are taken they go on at their pace, whatever else fails.
                pause(failures).min(interval)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

fn publish(enrolled: &watch::Sender<Option<Enrolment>>, enrolment: Option<Enrolment>) {
    enrolled.send_if_modified(|current| {
        let changed = *current != enrolment;
        *current = enrolment;
        changed
    });
}

/// What a turn with a heartbeat came to.
struct Turn {
    /// The time until the next heartbeat.
    interval: Duration,
    /// What failed after the heartbeat.
    trouble: Option<TurnError>,
}

/// One turn. An error means that the manager has not heard of us.
async fn turn(
    reporter: &Reporter,
    store: &Store,
    enrolled: &watch::Sender<Option<Enrolment>>,
) -> Result<Turn, TurnError> {
    let mut identity = match store.host().await? {
        Some(identity) => identity,
        None => join(reporter, store).await?,
    };
    let mut answer = heartbeat(reporter, &identity).await;
    if let Err(TurnError::Heartbeat(error)) = &answer {
        // With a fresh token a host that the manager does not know, or whose certificate has run out, joins again.
        if unused_token(reporter, &identity) && (error.is_unknown_to_manager() || has_run_out(&identity)) {
            info!("the manager does not know this host any more; joining with the new token");
            identity = join(reporter, store).await?;
            answer = heartbeat(reporter, &identity).await;
        }
    }
    let reply = answer?;
    let seconds = reply.interval_seconds.clamp(*INTERVAL_SECONDS.start(), *INTERVAL_SECONDS.end());
    let trouble = follow(reporter, store, enrolled, &identity, reply.supervisor.as_deref()).await.err();
    Ok(Turn { interval: Duration::from_secs(seconds.into()), trouble })
}

/// Makes the node's credentials what the manager's word asks for.
async fn follow(
    reporter: &Reporter,
    store: &Store,
    enrolled: &watch::Sender<Option<Enrolment>>,
    identity: &HostIdentity,
    assigned: Option<&str>,
) -> Result<(), TurnError> {
    let held = store.held().await?;
    match plan(assigned, held.as_ref(), SystemTime::now()) {
        Plan::Keep => publish(enrolled, held.map(|held| held.enrolment)),
        Plan::Drop => {
            store.remove_held().await?;
            publish(enrolled, None);
            info!("the host belongs to no Supervisor any more");
        }
        Plan::Enrol(supervisor) => {
            let enrolment = enrol(reporter, identity, supervisor).await?;
            info!(supervisor = enrolment.supervisor, "the host has new credentials for its Supervisor");
            store.save_held(&Held::new(SystemTime::now(), enrolment.clone())).await?;
            publish(enrolled, Some(enrolment));
        }
    }
    Ok(())
}

fn unused_token(reporter: &Reporter, identity: &HostIdentity) -> bool {
    let token = reporter.link.token.as_deref().and_then(Token::parse);
    token.is_some_and(|token| token.id != identity.token_id)
}

fn has_run_out(identity: &HostIdentity) -> bool {
    orrery_identity::not_after(&identity.certificate_pem).map_or(true, |end| end <= SystemTime::now())
}

async fn join(reporter: &Reporter, store: &Store) -> Result<HostIdentity, TurnError> {
    let text = reporter.link.token.as_deref().ok_or(TurnError::NoToken)?;
    let token = Token::parse(text).ok_or(TurnError::BadToken)?;
    let pending = match store.pending().await?.filter(|pending| pending.token_id == token.id) {
        Some(pending) => pending,
        None => {
            let made = new_signing_request(&format!("system:host:{}", reporter.name))?;
            let pending = Pending::new(&token, made);
            store.save_pending(&pending).await?;
            pending
        }
    };
    let request = JoinRequest {
        token: token.text.clone(),
        host: reporter.name.to_string(),
        csr_pem: pending.csr_pem,
        facts: reporter.facts.clone(),
    };
    let tls = pin::client(&token.authority)?;
    let reply: JoinReply =
        post(&reporter.link.endpoint, tls, "/hosts/v1/join", &request).await.map_err(TurnError::Join)?;
    if tls::fingerprint(&reply.manager_ca_pem)? != token.authority {
        return Err(TurnError::OtherAuthority);
    }
    let identity = HostIdentity::new(&token, pending.key_pem, reply);
    store.save_host(&identity).await?;
    store.remove_pending().await?;
    info!(cluster = identity.cluster, "the host joined a cluster");
    Ok(identity)
}

fn client(identity: &HostIdentity) -> Result<Arc<rustls::ClientConfig>, IdentityError> {
    let credentials =
        Credentials { certificate_pem: identity.certificate_pem.clone(), key_pem: identity.key_pem.clone() };
    tls::client(&identity.manager_ca_pem, Some(&credentials), &["http/1.1"])
}

async fn heartbeat(reporter: &Reporter, identity: &HostIdentity) -> Result<HeartbeatReply, TurnError> {
    let usage = (reporter.usage)();
    let request = Heartbeat {
        facts: reporter.facts.clone(),
        machines: usage.machines,
        used_cpu_milli: usage.cpu_milli,
        used_memory_bytes: usage.memory_bytes,
        agent_version: BUILD.to_owned(),
        held: Some((reporter.held)()),
        datastore: datastore(&reporter.datastore),
    };
    let endpoint = &reporter.link.endpoint;
    post(endpoint, client(identity)?, "/hosts/v1/heartbeat", &request).await.map_err(TurnError::Heartbeat)
}

/// The room in the file system of a directory; none when it cannot be told.
fn datastore(directory: &std::path::Path) -> Option<LocalDatastore> {
    let told = |error| tracing::debug!(directory = %directory.display(), %error, "the room there cannot be told");
    let found = nix::sys::statvfs::statvfs(directory).map_err(told).ok()?;
    let size = found.fragment_size();
    Some(LocalDatastore {
        path: directory.display().to_string(),
        capacity_bytes: found.blocks().saturating_mul(size),
        free_bytes: found.blocks_available().saturating_mul(size),
    })
}

async fn enrol(reporter: &Reporter, identity: &HostIdentity, supervisor: String) -> Result<Enrolment, TurnError> {
    let node = format!("system:node:{}", reporter.name);
    let (client_key_pem, client_csr_pem) = new_signing_request(&node)?;
    let (serving_key_pem, serving_csr_pem) = new_signing_request(&node)?;
    let request = EnrolRequest {
        supervisor: supervisor.clone(),
        client_csr_pem,
        serving_csr_pem,
        address: reporter.facts.management_address.clone(),
    };
    let reply: EnrolReply = post(&reporter.link.endpoint, client(identity)?, "/hosts/v1/enrol", &request)
        .await
        .map_err(|source| TurnError::Enrol { supervisor: supervisor.clone(), source })?;
    Ok(Enrolment {
        supervisor,
        endpoint: reply.endpoint,
        server_ca_pem: reply.server_ca_pem,
        kubelet_client_ca_pem: reply.kubelet_client_ca_pem,
        client_certificate_pem: reply.client_certificate_pem,
        client_key_pem,
        serving_certificate_pem: reply.serving_certificate_pem,
        serving_key_pem,
        kubelet_port: reporter.kubelet_port,
        cluster_dns: reply.cluster_dns,
    })
}
