//! Reading: the machine and the images of one pod.

use super::machine;
use super::worker::{Held, Worker};
use crate::{host::CallError, images::ResolvedImage, logs, node::chain};
use orrery_images::Reference;
use orrery_lifecycle::{
    env::Addresses,
    pod::{ContainerView, ImageState, Machine},
    pull::Here,
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
                Some(image) => ImageState::Present { id: image.pinned.clone() },
                None => self.look_up(container).await,
            };
            states.insert(container.name.clone(), state);
        }
        states
    }

    async fn look_up(&mut self, container: &ContainerView) -> ImageState {
        if let Err(error) = Reference::parse(&container.image) {
            let image = &container.image;
            let message = format!("Failed to apply default image tag {image:?}: couldn't parse image name: {error}");
            return ImageState::Unusable { reason: "InvalidImageName", message };
        }
        let found = match self.held.is_some() {
            true => self.of_machine(container).await,
            false => self.of_host(container).await,
        };
        let image = match found {
            Ok(Some(image)) => image,
            Ok(None) => return ImageState::Absent,
            Err(message) => return ImageState::Unusable { reason: "ImageInspectError", message },
        };
        let id = image.pinned.clone();
        self.images.insert(container.name.clone(), image);
        ImageState::Present { id }
    }

    /// The image that the pod's machine was admitted with: nobody is asked for it again.
    async fn of_machine(&self, container: &ContainerView) -> Result<Option<ResolvedImage>, String> {
        let has_disk = |image: &ResolvedImage| {
            let (serial, held) = (image.serial(), self.held.as_ref());
            held.is_some_and(|held| held.spec.disks.iter().any(|disk| disk.serial == serial))
        };
        let statuses = [&self.pod.status.init_container_statuses, &self.pod.status.container_statuses];
        let statuses = statuses.into_iter().flatten().flatten();
        let published = statuses.filter(|status| status.name == container.name).map(|status| status.image_id.as_str());
        // The name may stand for another image by now; what was published tells which it was.
        let mut others = false;
        for name in std::iter::once(container.image.as_str()).chain(published.filter(|id| !id.is_empty())) {
            match self.resolve(name).await? {
                Some(image) if has_disk(&image) => return Ok(Some(image)),
                Some(_) => others = true,
                None => {}
            }
        }
        if !others {
            return Ok(None);
        }
        Err(format!(
            "image {} was replaced after the pod's machine was admitted; delete the pod so that it is made anew",
            container.image
        ))
    }

    /// The image that a machine is to be made with, if the pod may use it without asking its registry.
    async fn of_host(&mut self, container: &ContainerView) -> Result<Option<ResolvedImage>, String> {
        if let Some(pulled) = self.pulled.get(&container.image) {
            return Ok(Some(pulled.clone()));
        }
        if self.memory.pulls.is_running(&container.image) {
            // It may be here by now, and how it came is still to be told.
            return Ok(None);
        }
        let Some(image) = self.resolve(&container.image).await? else { return Ok(None) };
        let usable = image.access.allows(&[]) || {
            let keyring = self.keyring().await.map_err(|error| chain(&error))?;
            let (source, reference) = (self.shared.images.clone(), container.image.clone());
            let asked = image.clone();
            let allowed = tokio::task::spawn_blocking(move || source.allows(&reference, &asked, &keyring)).await;
            allowed.unwrap_or_default()
        };
        let here = if usable { Here::Usable } else { Here::Guarded };
        Ok(Some(image).filter(|_| container.pull_policy.takes(here)))
    }

    async fn resolve(&self, reference: &str) -> Result<Option<ResolvedImage>, String> {
        let (source, reference) = (self.shared.images.clone(), reference.to_owned());
        match tokio::task::spawn_blocking(move || source.resolve(&reference)).await {
            Ok(found) => found.map_err(|error| chain(&error)),
            Err(_) => Err("the look-up of the image was broken off".to_owned()),
        }
    }

    /// The addresses to publish.
    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            pod_ip: self.held.as_ref().and_then(|held| machine::pod_ip(&held.admission)),
            host_ip: self.shared.host_ip.clone(),
        }
    }
}
