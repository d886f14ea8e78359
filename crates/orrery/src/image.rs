//! `orrery image`: the images of this machine.

use crate::{
    args::Image,
    instance::{HOST, Instance},
    say,
};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use orrery_images::{
    Digest, ImageStore, Progress, Reference,
    registry::{self, CollectionSettings, Keyring, Settings},
};
use std::{collections::BTreeSet, error::Error, path::Path, sync::Arc, time::Duration, time::Instant};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

pub(crate) async fn run(instance: &Instance, command: Image) -> Outcome {
    let store = ImageStore::open(&instance.images())?;
    match command {
        Image::Pull { name, auth_file } => pull(instance, &store, &name, auth_file.as_deref()).await?,
        Image::Import { archive, name } => {
            let bar = spinner();
            let show = |progress: Progress| bar.set_message(describe(&progress));
            let imported = store.import_archive(&archive, name.as_deref(), &show);
            bar.finish_and_clear();
            for image in imported? {
                say(&format!("{}  {}", image.reference, image.id.as_str()));
            }
        }
        Image::List => {
            say(&format!("{:<56} {:<16} {:>10}", "NAME", "ID", "SIZE"));
            for image in store.list()? {
                let id: String = image.id.hex().chars().take(12).collect();
                let mebibytes = image.size_bytes.div_ceil(1024 * 1024);
                say(&format!("{:<56} {id:<16} {:>10}", image.reference, format!("{mebibytes} MiB")));
            }
        }
        Image::Remove { name, force } => {
            let image =
                store.resolve(&name).ok_or_else(|| format!("there is no image {name:?}; see: orrery image list"))?;
            if !force && in_use(instance, &store).await?.contains(&image.id) {
                return Err(format!("a machine uses {name}; delete its pod first, or use --force").into());
            }
            if !store.remove(&name)? {
                return Err(format!("{name:?} is not a name of the list: orrery image list").into());
            }
            say(&format!("removed {name}"));
        }
        Image::Prune { unused_hours } => {
            let unused = Duration::from_secs(unused_hours.saturating_mul(3600));
            let settings = CollectionSettings { max_unused: Some(unused), ..CollectionSettings::default() };
            let removed = store.prune(&settings, &in_use(instance, &store).await?)?;
            for image in &removed {
                let names = if image.names.is_empty() { "(no name)".to_owned() } else { image.names.join(" ") };
                say(&format!("removed {names}  {}", HumanBytes(image.size_bytes)));
            }
            let freed = removed.iter().map(|image| image.size_bytes).sum();
            say(&format!("{} images removed, {} freed", removed.len(), HumanBytes(freed)));
        }
    }
    Ok(())
}

/// The images that machines of this installation use.
async fn in_use(instance: &Instance, store: &ImageStore) -> Result<BTreeSet<Digest>, Box<dyn Error + Send + Sync>> {
    let socket = instance.hostd_socket(HOST);
    if !socket.exists() {
        // Nothing of the installation runs.
        return Ok(BTreeSet::new());
    }
    let machines = orrery_spherelet::machines(socket).await;
    let machines =
        machines.map_err(|error| format!("the host agent does not tell which images are in use: {error}"))?;
    let disks = machines.into_iter().flat_map(|machine| machine.spec.disks);
    Ok(disks.filter_map(|disk| store.image_of(Path::new(&disk.path))).collect())
}

async fn pull(instance: &Instance, store: &ImageStore, name: &str, auth_file: Option<&Path>) -> Outcome {
    let reference = Reference::parse(name)?;
    let settings = Settings::read(&instance.registries())?;
    let mut keyring = Keyring::default();
    if let Some(path) = auth_file {
        let document = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        keyring.add_config_json(&document).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let (bar, began) = (spinner(), Instant::now());
    let shown = bar.clone();
    let show = Arc::new(move |progress: Progress| shown.set_message(describe(&progress)));
    let pulled = registry::pull(store, &settings, &reference, &keyring, show).await;
    bar.finish_and_clear();
    let pulled = pulled?;
    say(&format!("{}  {}", pulled.reference, pulled.id.as_str()));
    let (came, took) = (HumanBytes(pulled.downloaded_bytes), began.elapsed().as_secs_f64());
    let how = if pulled.was_present { "was here already" } else { "is here" };
    say(&format!("  {how} as {}; {came} came in {took:.1} s", pulled.digest));
    Ok(())
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn describe(progress: &Progress) -> String {
    match progress {
        Progress::Reading => "reading what is there".to_owned(),
        Progress::Downloading { bytes, of } => format!("downloading {} of {}", HumanBytes(*bytes), HumanBytes(*of)),
        Progress::Layer { number, of } => format!("unpacking layer {number} of {of}"),
        Progress::Building => "building the file system".to_owned(),
        Progress::Done { reference } => reference.clone(),
    }
}
