//! Sessions: one after another, each with the credentials that hostd had at its beginning.

use crate::{
    collector,
    config::{Config, RunError},
    host::{CallError, Hostd},
    images::ImageSource,
    node::{self, chain},
    pods::{Directory, PodsTask},
    server::{self, Served},
    stats::Stats,
};
use orrery_client::Access;
use orrery_identity::Credentials;
use orrery_wire::host::Enrolment;
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

const FIRST_POLL: Duration = Duration::from_millis(500);
const SLOWEST_POLL: Duration = Duration::from_secs(1);
/// How often hostd is asked whether it has other credentials by now.
const RENEWAL_POLL: Duration = Duration::from_secs(60);
/// How long a failed session rests.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Runs the Spherelet on any source of images until `shutdown`.
///
/// # Errors
/// When the kubelet port cannot be served.
pub async fn run_with_images(
    config: Config,
    images: Arc<dyn ImageSource>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let listener =
        TcpListener::bind(config.listen).await.map_err(|source| RunError::Listen { address: config.listen, source })?;
    let listener = Arc::new(listener);
    let hostd = Hostd::new(config.hostd_socket.clone());
    while let Some(enrolment) = wait_for_enrolment(&hostd, &shutdown).await {
        tracing::info!(supervisor = enrolment.supervisor, endpoint = enrolment.endpoint, "serving a Supervisor");
        let ends = shutdown.child_token();
        let result = session(&config, &images, &hostd, &listener, enrolment, ends.clone()).await;
        ends.cancel();
        if let Err(error) = result {
            tracing::error!(error = %chain(&error), "the session could not begin");
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(AFTER_FAILURE) => {}
            }
        }
    }
    Ok(())
}

/// Runs the Spherelet on the image store of `config` until `shutdown`.
///
/// # Errors
/// When the image store cannot be opened or the kubelet port cannot be served.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let images = crate::images::open_store(&config.image_store, &config.registries)?;
    run_with_images(config, images, shutdown).await
}

/// Asks until the host belongs to a Supervisor; none when the process ends before.
async fn wait_for_enrolment(hostd: &Hostd, shutdown: &CancellationToken) -> Option<Enrolment> {
    let mut pause = FIRST_POLL;
    let mut told = false;
    while !shutdown.is_cancelled() {
        match hostd.enrolment().await {
            Ok(Some(enrolment)) => return Some(enrolment),
            Ok(None) if told => {}
            Ok(None) => tracing::info!("waiting until the host belongs to a Supervisor"),
            Err(error) => tracing::warn!(error = %chain(&error), "waiting for hostd"),
        }
        told = true;
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(SLOWEST_POLL),
        }
    }
    None
}

/// Why a session could not begin.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("the host's facts are not known")]
    Facts(#[source] CallError),
    #[error("the Supervisor's API cannot be used with the credentials that hostd gave")]
    Client(#[source] orrery_client::AccessError),
    #[error("the kubelet port cannot be served with the credentials that hostd gave")]
    Serving(#[source] orrery_identity::IdentityError),
}

/// Serves one Supervisor until `ends`, or until hostd has other credentials.
async fn session(
    config: &Config,
    images: &Arc<dyn ImageSource>,
    hostd: &Hostd,
    listener: &Arc<TcpListener>,
    enrolment: Enrolment,
    ends: CancellationToken,
) -> Result<(), SessionError> {
    let credentials =
        |certificate: &str, key: &str| Credentials { certificate_pem: certificate.to_owned(), key_pem: key.to_owned() };
    let access = Access {
        endpoint: enrolment.endpoint.clone(),
        server_ca_pem: enrolment.server_ca_pem.clone(),
        credentials: credentials(&enrolment.client_certificate_pem, &enrolment.client_key_pem),
    };
    let facts = hostd.facts().await.map_err(SessionError::Facts)?;
    let client = access.client().await.map_err(SessionError::Client)?;
    let serving = credentials(&enrolment.serving_certificate_pem, &enrolment.serving_key_pem);
    let tls = server::tls(&serving, &enrolment.kubelet_client_ca_pem).map_err(SessionError::Serving)?;
    let directory = Directory::default();
    let stats = Stats::new(directory.clone(), config.image_store.clone());
    let served = Served { directory: directory.clone(), stats, node: config.node.to_string() };
    let mut tasks = JoinSet::new();
    let port = listener.local_addr().map_or(enrolment.kubelet_port, |address| address.port());
    tasks.spawn(node::keep(config.clone(), port, hostd.clone(), images.clone(), client.clone(), ends.clone()));
    tasks.spawn(collector::run(hostd.clone(), images.clone(), ends.clone()));
    tasks.spawn(server::serve(listener.clone(), tls, served, ends.clone()));
    let pods = PodsTask {
        node: config.node.clone(),
        host_ip: facts.management_address,
        cluster_dns: enrolment.cluster_dns.clone(),
        pod_pids_limit: config.pod_pids_limit,
        hostd: hostd.clone(),
        images: images.clone(),
        client,
        directory,
    };
    tasks.spawn(pods.run(ends.clone()));
    until_other_credentials(hostd, &enrolment, &ends).await;
    ends.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn until_other_credentials(hostd: &Hostd, enrolment: &Enrolment, ends: &CancellationToken) {
    loop {
        tokio::select! {
            () = ends.cancelled() => return,
            () = tokio::time::sleep(RENEWAL_POLL) => {}
        }
        match hostd.enrolment().await {
            Ok(now) if now.as_ref() != Some(enrolment) => {
                tracing::info!("hostd has other credentials; beginning anew");
                return;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error = %chain(&error), "hostd does not answer"),
        }
    }
}
