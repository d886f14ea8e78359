//! The host's templates: what guests go on from instead of booting.
//!
//! ```text
//!   a shim is started --wants--> table --next--> maker: a shim of its own boots a guest and freezes it
//!          ^                       |                               |
//!          +------ template -------+<-------- sealed files --------+
//! ```
//! One template is made at a time, with what time others leave. They live in the memory of this process and of the shims
//! that were given them, so they end with the host's boot and are made anew by the next agent; a machine that finds none
//! boots.
//!
//! A template serves machines of one size in one resource pool: tenants share no memory, not even the part that only says
//! where things are in their kernels.

mod maker;
mod table;

pub(crate) use maker::OVERHEAD;

use crate::{
    config::{Config, GuestBoot, GuestSize, Hypervisor, TemplateSettings},
    effects::chain,
};
use maker::Maker;
use orrery_vmm::Template;
use orrery_wire::{host::MachineSpec, machine::Acceleration};
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use table::{Rules, Table};
use tokio::sync::Notify;
use tracing::{info, warn};

/// How often templates are looked over when nobody wants one.
const LOOK_OVER: Duration = Duration::from_secs(60);

/// What machines have to have in common to go on from the same template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Whom it serves: a resource pool.
    pub(crate) domain: String,
    pub(crate) size: GuestSize,
    pub(crate) build: Build,
}

/// What a guest's state depends on beside its size. A file that was replaced makes another build.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Build {
    qemu: Stamp,
    kernel: Stamp,
    initrd: Stamp,
    emulated: bool,
}

/// Tells one version of a file from the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.size(), modified })
    }
}

/// The templates of a host.
pub(crate) struct Templates {
    settings: TemplateSettings,
    guest: GuestBoot,
    hypervisor: Hypervisor,
    table: Mutex<Table<Key, Template>>,
    maker: Maker,
    wake: Notify,
}

impl Templates {
    /// None when the configuration wants none.
    pub(crate) fn new(config: &Config) -> Option<Arc<Self>> {
        let settings = config.templates.clone()?;
        let rules = Rules { most: settings.most, max_age: settings.max_age };
        let templates = Self {
            guest: config.guest.clone(),
            hypervisor: config.hypervisor.clone(),
            table: Mutex::new(Table::new(rules)),
            maker: Maker::new(config),
            wake: Notify::new(),
            settings,
        };
        Some(Arc::new(templates))
    }

    /// What a machine goes on from, if it can; if not, one that comes later may.
    pub(crate) fn want(&self, spec: &MachineSpec) -> Option<Template> {
        self.want_kind(&self.kind(&spec.pool, GuestSize { memory_bytes: spec.memory_bytes, vcpus: spec.vcpus })?)
    }

    /// The same for all machines of a kind.
    pub(crate) fn want_kind(&self, key: &Key) -> Option<Template> {
        let template = self.table().want(key, Instant::now());
        self.wake.notify_one();
        template
    }

    /// What machines of a size in a resource pool go on from, as the host's files are now; none while one is replaced.
    pub(crate) fn kind(&self, domain: &str, size: GuestSize) -> Option<Key> {
        Some(Key { domain: domain.to_owned(), size, build: self.build()? })
    }

    /// Makes what is wanted and lets go of what is not, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.look_over();
            let next = self.table().next(Instant::now());
            let Some(key) = next else {
                // Cancel-safe, and a wake-up that comes before is kept.
                let _ = tokio::time::timeout(LOOK_OVER, self.wake.notified()).await;
                continue;
            };
            let began = Instant::now();
            let made = self.maker.make(&key.domain, key.size).await;
            let (memory, vcpus) = (key.size.memory_bytes, key.size.vcpus);
            match &made {
                Ok(template) => info!(
                    domain = key.domain,
                    memory,
                    vcpus,
                    resident = template.resident_bytes(),
                    seconds = began.elapsed().as_secs_f32(),
                    "made a template"
                ),
                Err(error) => warn!(domain = key.domain, memory, vcpus, error = chain(error), "no template was made"),
            }
            self.table().made(&key, made.ok(), Instant::now());
        }
    }

    fn look_over(&self) {
        // A file that is just being replaced has no stamp; the next look will see the new one.
        let Some(build) = self.build() else { return };
        let mut table = self.table();
        for (domain, size) in &self.settings.ahead {
            table.keep(&Key { domain: domain.clone(), size: *size, build: build.clone() });
        }
        table.tidy(Instant::now(), |key| key.build == build);
    }

    fn build(&self) -> Option<Build> {
        Some(Build {
            qemu: Stamp::of(&self.hypervisor.qemu)?,
            kernel: Stamp::of(&self.guest.kernel)?,
            initrd: Stamp::of(&self.guest.initrd)?,
            emulated: self.hypervisor.accelerator == Acceleration::Tcg,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table<Key, Template>> {
        self.table.lock().expect("no step panics while it holds the lock: it only reads and writes a map")
    }
}
