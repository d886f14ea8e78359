//! `orrery image`: the images of this machine.

use crate::{args::Image, instance::Instance, say};
use indicatif::{ProgressBar, ProgressStyle};
use orrery_images::{ImageStore, Progress};
use std::{error::Error, time::Duration};

pub(crate) fn run(instance: &Instance, command: Image) -> Result<(), Box<dyn Error + Send + Sync>> {
    let store = ImageStore::open(&instance.images())?;
    match command {
        Image::Import { archive, name } => {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
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
        Image::Rm { name } => {
            if !store.remove(&name)? {
                return Err(format!("there is no image {name:?}; see: orrery image list").into());
            }
            say(&format!("removed {name}"));
        }
    }
    Ok(())
}

fn describe(progress: &Progress) -> String {
    match progress {
        Progress::Reading => "reading the archive".to_owned(),
        Progress::Layer { number, of } => format!("unpacking layer {number} of {of}"),
        Progress::Building => "building the file system".to_owned(),
        Progress::Done { reference } => reference.clone(),
    }
}
