//! Objects of other versions, where another program converts them (`spec.conversion.strategy: Webhook`).
//!
//! Everything that reads and writes objects decodes and encodes them without waiting. So entries are converted as a whole
//! before anything looks at them ([`Conversions::readable`]), objects before they are stored ([`Conversions::stored`]), and
//! for what is asked in the middle of a computation, the computation is repeated with the answers ([`Answers`]).

use crate::{admission::Reader, envelope, registry::Table};
use orrery_machinery::{descriptor::ResourceDescriptor, discovery::group_version, status::ApiError};
use orrery_merge::apply::ConvertError;
use orrery_store::Entry;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

/// Asks another program to convert objects.
#[async_trait::async_trait]
pub trait Converter: Send + Sync + 'static {
    /// The objects in the version `to` (group and version), in their order. None of them is in that version. `hook` is the
    /// definition's `spec.conversion.webhook`.
    ///
    /// # Errors
    /// When the program cannot be asked, or answers what is no conversion.
    async fn convert(
        &self,
        reader: &Reader,
        hook: &Value,
        objects: Vec<Value>,
        to: &str,
    ) -> Result<Vec<Value>, ApiError>;
}

/// Converts by the programs that definitions name.
#[derive(Clone)]
pub(crate) struct Conversions {
    converter: Option<Arc<dyn Converter>>,
    reader: Reader,
    table: Arc<RwLock<Arc<Table>>>,
}

impl Conversions {
    pub(crate) fn new(converter: Option<Arc<dyn Converter>>, reader: Reader, table: Arc<RwLock<Arc<Table>>>) -> Self {
        Self { converter, reader, table }
    }

    /// The same entries, each in a form that can be read as `resource` without asking anybody.
    ///
    /// # Errors
    /// When an entry is damaged, or the objects cannot be converted.
    pub(crate) async fn readable(
        &self,
        resource: &ResourceDescriptor,
        mut entries: Vec<Arc<Entry>>,
    ) -> Result<Vec<Arc<Entry>>, ApiError> {
        let Some(hook) = &resource.converter else { return Ok(entries) };
        let to = resource.api_version();
        let (mut places, mut objects) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            if envelope::is_of_version(entry, &to) {
                continue;
            }
            let mut object = envelope::decode_stored(entry)?;
            self.restore(resource, &mut object)?;
            places.push(place);
            objects.push(object);
        }
        if objects.is_empty() {
            return Ok(entries);
        }
        let converted = self.convert(hook, objects, &to).await?;
        for (place, mut object) in places.into_iter().zip(converted) {
            resource.rules.on_read(&mut object)?;
            let value = envelope::encode_as_is(resource, &object);
            let Entry { key, create_revision, mod_revision, .. } = &*entries[place];
            let (create_revision, mod_revision) = (*create_revision, *mod_revision);
            entries[place] = Arc::new(Entry { key: key.clone(), value, create_revision, mod_revision });
        }
        Ok(entries)
    }

    /// [`Self::readable`], of one.
    pub(crate) async fn readable_one(&self, resource: &ResourceDescriptor, entry: Entry) -> Result<Entry, ApiError> {
        if resource.converter.is_none() {
            return Ok(entry);
        }
        let mut entries = self.readable(resource, vec![Arc::new(entry)]).await?;
        Ok(entries.pop().map(Arc::unwrap_or_clone).expect("as many come back as were given"))
    }

    /// An object of `resource` in the version in which it is stored.
    ///
    /// # Errors
    /// When it cannot be converted.
    pub(crate) async fn stored(&self, resource: &ResourceDescriptor, object: Value) -> Result<Value, ApiError> {
        let stored = &resource.stored;
        let (Some(hook), to) = (&resource.converter, group_version(&stored.group, &stored.version)) else {
            return Ok(object);
        };
        if resource.api_version() == to {
            return Ok(object);
        }
        let mut converted = self.convert(hook, vec![object], &to).await?;
        let mut object = converted.pop().expect("as many come back as were given");
        self.restore(resource, &mut object)?;
        Ok(object)
    }

    /// Brings an object of any version into the shape that its own version's schema gives it, if that one is served.
    fn restore(&self, resource: &ResourceDescriptor, object: &mut Value) -> Result<(), ApiError> {
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(own) = table.resource(&resource.group, version, &resource.plural) {
            own.rules.on_read(object)?;
            object["apiVersion"] = api_version.into();
        }
        Ok(())
    }

    async fn convert(&self, hook: &Value, objects: Vec<Value>, to: &str) -> Result<Vec<Value>, ApiError> {
        let Some(converter) = &self.converter else {
            return Err(ApiError::internal("this server asks no webhooks to convert objects"));
        };
        let count = objects.len();
        let converted = converter.convert(&self.reader, hook, objects, to).await?;
        if converted.len() == count {
            Ok(converted)
        } else {
            Err(ApiError::internal(format!(
                "{} objects came back of {count} that were to be converted",
                converted.len()
            )))
        }
    }

    /// Asks for what a computation wanted to know. Whether there was anything, so that it is worth repeating.
    ///
    /// # Errors
    /// When an object cannot be converted.
    pub(crate) async fn answer(&self, resource: &ResourceDescriptor, answers: &Answers) -> Result<bool, ApiError> {
        let Some(hook) = &resource.converter else { return Ok(false) };
        let wanted = std::mem::take(&mut answers.lock().wanted);
        for (object, to) in &wanted {
            let converted = self.convert(hook, vec![object.clone()], to).await?.pop().unwrap_or_default();
            answers.lock().known.insert((object.to_string(), to.clone()), converted);
        }
        Ok(!wanted.is_empty())
    }
}

/// Conversions that a computation needs which cannot wait for them: it fails with the first that is not known, and is
/// repeated once that is.
#[derive(Default)]
pub(crate) struct Answers(Mutex<Asked>);

#[derive(Default)]
struct Asked {
    known: HashMap<(String, String), Value>,
    wanted: Vec<(Value, String)>,
}

impl Answers {
    fn lock(&self) -> std::sync::MutexGuard<'_, Asked> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object in the version `to`, if that is known by now.
    pub(crate) fn get(&self, object: Value, to: &str) -> Result<Value, ConvertError> {
        let mut asked = self.lock();
        if let Some(known) = asked.known.get(&(object.to_string(), to.to_owned())) {
            return Ok(known.clone());
        }
        asked.wanted.push((object, to.to_owned()));
        Err(ConvertError::Failed(format!("the object in version {to} is not known yet")))
    }
}
