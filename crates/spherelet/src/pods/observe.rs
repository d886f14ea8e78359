//! Reading: the machine and the images of one pod.

use super::machine;
use super::worker::{Held, Worker};
use crate::{
    host::CallError,
    images::{ImageLookupError, ResolvedImage},
    logs,
    node::chain,
};
use orrery_lifecycle::{
    env::Addresses,
    pod::{ContainerView, ImageState, Machine},
};
use orrery_wire::shim::MachineStatus;
use std::{collections::BTreeMap, path::Path};

impl Worker {
    /// Learns, once, whether the host holds the pod's machine from before.
    pub(super) async fn find_machine(&mut self) -> Result<(), CallError> {
        if self.asked_host {
            return Ok(());
        }
        let id = self.pod.uid.to_string();
        let machines = self.shared.hostd.list().await?;
        self.held = machines
            .into_iter()
            .find(|machine| machine.spec.id == id)
            .map(|machine| Held { spec: machine.spec, admission: machine.admission });
        self.asked_host = true;
        Ok(())
    }

    /// Asks the shim how the machine stands, and sees to it that its changes wake the worker.
    pub(super) async fn observe_machine(&mut self) -> Machine {
        let Some(shim) = self.shim() else {
            self.watch = None;
            self.last_status = None;
            return Machine::Absent;
        };
        // The watch comes first: a change between the two is then seen by it.
        if self.watch.is_none() {
            self.watch =
                shim.watch().await.inspect_err(|error| tracing::debug!(error = %chain(error), "no watch")).ok();
        }
        match shim.status().await {
            Ok(status) => {
                self.last_status = Some(status.clone());
                Machine::Present(self.with_last_words(status).await)
            }
            Err(error) => {
                tracing::debug!(pod = self.pod.name, error = %chain(&error), "the shim does not answer");
                self.watch = None;
                Machine::Silent
            }
        }
    }

    /// Lets the end of a log stand for the last words of a container that failed without any, where its pod wants that.
    async fn with_last_words(&mut self, mut status: MachineStatus) -> MachineStatus {
        let Some(held) = &self.held else { return status };
        for container in &mut status.containers {
            let wanted = self.pod.container(&container.name).is_some_and(|container| container.last_words_from_log);
            let failed = container.exit.as_mut().filter(|exit| exit.exit.code != 0 && exit.exit.message.is_none());
            let Some(exit) = failed.filter(|_| wanted) else { continue };
            let attempt = (container.name.clone(), container.attempt);
            if !self.last_words.contains_key(&attempt) {
                let path = Path::new(&held.admission.log_directory).join(&container.log_file);
                let read = tokio::task::spawn_blocking(move || logs::end(&path)).await;
                // A log that cannot be read says nothing.
                self.last_words.insert(attempt.clone(), read.ok().and_then(Result::ok).unwrap_or_default());
            }
            exit.exit.message = self.last_words.get(&attempt).filter(|words| !words.is_empty()).cloned();
        }
        self.last_words.retain(|(name, attempt), _| {
            status.containers.iter().any(|container| container.name == *name && container.attempt == *attempt)
        });
        status
    }

    /// Looks up the images. Those of an admitted machine stay the ones that it was admitted with.
    pub(super) async fn observe_images(&mut self) -> BTreeMap<String, ImageState> {
        if self.held.is_none() {
            self.images.clear();
        }
        let pod = self.pod.clone();
        let mut states = BTreeMap::new();
        for container in pod.all_containers() {
            let state = match self.images.get(&container.name) {
                Some(image) => ImageState::Present { id: image.id.clone() },
                None => self.look_up(container).await,
            };
            states.insert(container.name.clone(), state);
        }
        states
    }

    async fn look_up(&mut self, container: &ContainerView) -> ImageState {
        let (source, reference) = (self.shared.images.clone(), container.image.clone());
        let looked_up = tokio::task::spawn_blocking(move || source.resolve(&reference)).await;
        let image = match looked_up {
            Ok(Ok(Some(image))) => image,
            Ok(Ok(None)) => return ImageState::Absent,
            Ok(Err(error)) => return unusable(&error),
            Err(_) => return ImageState::Unusable { message: "the look-up of the image was broken off".to_owned() },
        };
        if self.held.as_ref().is_some_and(|held| !has_disk(held, &image)) {
            let message = format!(
                "image {} was replaced after the pod's machine was admitted; delete the pod so that it is made anew",
                container.image
            );
            return ImageState::Unusable { message };
        }
        let id = image.id.clone();
        self.images.insert(container.name.clone(), image);
        ImageState::Present { id }
    }

    /// The addresses to publish.
    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            pod_ip: self.held.as_ref().and_then(|held| machine::pod_ip(&held.admission)),
            host_ip: self.shared.host_ip.clone(),
        }
    }
}

fn unusable(error: &ImageLookupError) -> ImageState {
    ImageState::Unusable { message: chain(error) }
}

fn has_disk(held: &Held, image: &ResolvedImage) -> bool {
    let serial = image.serial();
    held.spec.disks.iter().any(|disk| disk.serial == serial)
}
