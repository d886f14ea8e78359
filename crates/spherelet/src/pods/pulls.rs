//! Pulling the images of one pod, with the credentials that it has.

use super::api::PodApiError;
use super::tasks::Done;
use super::worker::Worker;
use crate::images::{Pulled, Pulling};
use k8s_openapi::jiff::Timestamp;
use orrery_images::registry::Keyring;
use orrery_lifecycle::{env::Source, pod::Notice};
use std::time::{Duration, Instant};

/// When the progress of a long pull is told first; the times between double from there.
const FIRST_TELLING: Duration = Duration::from_secs(10);

impl Worker {
    /// The credentials of the pod's secrets. What is missing or malformed is told and left out, as by the kubelet.
    pub(super) async fn keyring(&mut self) -> Result<Keyring, PodApiError> {
        let (mut keyring, mut bad) = (Keyring::default(), Vec::new());
        for name in &self.pod.pull_secrets {
            let files = self.shared.api.files(&self.pod, &Source::Secret(name.clone())).await?;
            let taken = files.is_some_and(|files| {
                let new = files.get(".dockerconfigjson").map(|document| keyring.add_config_json(document));
                let old = files.get(".dockercfg").map(|document| keyring.add_config(document));
                matches!(new.or(old), Some(Ok(())))
            });
            if !taken {
                bad.push(name.as_str());
            }
        }
        if !bad.is_empty() && self.told_bad_secrets != bad {
            let names = bad.join(", ");
            let message = format!(
                "Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."
            );
            self.shared.events.warning(&self.pod, "FailedToRetrieveImagePullSecret", message, None);
        }
        self.told_bad_secrets = bad.into_iter().map(str::to_owned).collect();
        Ok(keyring)
    }

    /// Begins to pull an image.
    pub(super) async fn begin_pull(&mut self, image: &str, container: &str) -> Result<(), PodApiError> {
        let keyring = self.keyring().await?;
        let (events, pod) = (self.shared.events.clone(), self.pod.clone());
        events.normal(&pod, "Pulling", format!("Pulling image {image:?}"), Some(container));
        self.memory.pulls.begun(image);
        let Pulling { mut outcome, progress } = self.shared.images.pull(image, keyring);
        let (image, container) = (image.to_owned(), container.to_owned());
        self.tasks.spawn(async move {
            let (began, mut pause) = (Instant::now(), FIRST_TELLING);
            let result = loop {
                tokio::select! {
                    result = &mut outcome => break result,
                    () = tokio::time::sleep(pause) => pause *= 2,
                }
                let (came, of) = *progress.borrow();
                let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                let (came, of) = (mebibytes(came), mebibytes(of));
                let message =
                    format!("Pulling image {image:?}: {came:.1} of {of:.1} MiB after {:.0?}", began.elapsed());
                events.normal(&pod, "Pulling", message, Some(&container));
            };
            Done::Pull { image, container, result: result.map(Box::new), waited: began.elapsed() }
        });
        Ok(())
    }

    /// Takes in how a pull ended, and says what is to be told.
    pub(super) fn pulled(
        &mut self,
        image: String,
        container: String,
        result: Result<Box<Pulled>, String>,
        waited: Duration,
    ) -> Notice {
        match result {
            Ok(pulled) => {
                let (took, waited) = (in_words(pulled.took.min(waited)), in_words(waited));
                let message = format!(
                    "Successfully pulled image {image:?} in {took} ({waited} including waiting). Image size: {} bytes.",
                    pulled.size_bytes
                );
                self.memory.pulls.done(&image);
                self.pulled.insert(image, pulled.image);
                self.just_pulled.insert(container.clone());
                Notice { warning: false, reason: "Pulled", message, container: Some(container) }
            }
            Err(why) => {
                let message = format!("Failed to pull image {image:?}: {why}");
                self.memory.pulls.failed(&image, why, Timestamp::now());
                Notice { warning: true, reason: "Failed", message, container: Some(container) }
            }
        }
    }
}

/// A duration to the millisecond, as Go prints it.
fn in_words(duration: Duration) -> String {
    let millis = duration.as_millis();
    let trimmed = |text: String| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    let seconds = |millis: u128| format!("{}s", trimmed(format!("{}.{:03}", millis / 1000, millis % 1000)));
    match millis {
        0..1000 => format!("{millis}ms"),
        1000..60_000 => seconds(millis),
        _ => format!("{}m{}", millis / 60_000, seconds(millis % 60_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        let table =
            [(7, "7ms"), (1200, "1.2s"), (1234, "1.234s"), (10_000, "10s"), (61_500, "1m1.5s"), (120_000, "2m0s")];
        for (millis, text) in table {
            assert_eq!(in_words(Duration::from_millis(millis)), text);
        }
    }
}
