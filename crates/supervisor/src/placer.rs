//! Asks the manager's DRS for the final host of pods.

use kube::{
    Api, Client,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use orrery_api::inventory::{PlacementReview, PlacementReviewSpec, PlacementReviewStatus};
use orrery_workloads::{Placer, PlacerError};
use std::{fs, path::PathBuf, time::SystemTime};
use tokio::sync::Mutex;

/// Sends placement reviews to the manager. The kubeconfig is read again when the file changes, so that renewed
/// credentials count at once.
pub(crate) struct ManagerPlacer {
    kubeconfig: PathBuf,
    client: Mutex<Option<(SystemTime, Client)>>,
}

impl ManagerPlacer {
    pub(crate) fn new(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, client: Mutex::new(None) }
    }

    async fn client(&self) -> Result<Client, PlacerError> {
        let changed = fs::metadata(&self.kubeconfig).and_then(|metadata| metadata.modified()).map_err(unreachable)?;
        let mut held = self.client.lock().await;
        if let Some((seen, client)) = held.as_ref()
            && *seen == changed
        {
            return Ok(client.clone());
        }
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).map_err(unreachable)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(unreachable)?;
        let client = Client::try_from(config).map_err(unreachable)?;
        *held = Some((changed, client.clone()));
        Ok(client)
    }
}

#[async_trait::async_trait]
impl Placer for ManagerPlacer {
    async fn review(&self, spec: PlacementReviewSpec) -> Result<PlacementReviewStatus, PlacerError> {
        let reviews: Api<PlacementReview> = Api::all(self.client().await?);
        let mut review = PlacementReview::new("", spec);
        review.metadata.name = None;
        let answer = match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) => answer,
            Err(kube::Error::Api(status)) => return Err(PlacerError::Refused(status.message)),
            Err(error) => return Err(unreachable(error)),
        };
        answer.status.ok_or_else(|| PlacerError::Refused("the answer has no status".to_owned()))
    }
}

fn unreachable(error: impl std::error::Error + Send + Sync + 'static) -> PlacerError {
    PlacerError::Unreachable(Box::new(error))
}
