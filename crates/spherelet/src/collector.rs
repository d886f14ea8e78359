//! Sees to it that images which nobody needs do not stay for ever.

use crate::{host::Hostd, images::ImageSource, node::chain};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often unused images are looked for.
const PERIOD: Duration = Duration::from_secs(60);

/// Removes unused images until `ends`. Nothing is removed while it is not known which machines there are.
pub(crate) async fn run(hostd: Hostd, images: Arc<dyn ImageSource>, ends: CancellationToken) {
    loop {
        tokio::select! {
            () = ends.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        match hostd.list().await {
            Ok(machines) => {
                let disks = machines.into_iter().flat_map(|machine| machine.spec.disks);
                let in_use: Vec<PathBuf> = disks.map(|disk| disk.path.into()).collect();
                let images = images.clone();
                // It cannot be given up half-way, and fails by itself.
                let _ = tokio::task::spawn_blocking(move || images.collect(&in_use)).await;
            }
            Err(error) => tracing::debug!(error = %chain(&error), "hostd does not tell which images are in use"),
        }
    }
}
