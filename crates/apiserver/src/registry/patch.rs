//! `patch`, in its four kinds; server-side apply among them.

use super::{ATTEMPTS, Context, Registry, Written, decode, ownership, store_error, update::Change, update::modified};
use crate::custom::convert::Answers;
use ::http::{HeaderMap, header};
use orrery_documents::{first_in_yaml, parse_json, parse_yaml};
use orrery_machinery::{meta, shape::Shape, status::ApiError};
use orrery_merge::patch::{self, PatchKind};
use orrery_protobuf::accept::Media;
use serde_json::Value;

/// The content type of server-side apply.
const APPLY: &str = "application/apply-patch+yaml";

/// A client's patch.
pub(crate) struct Patch {
    /// None for a configuration to apply.
    kind: Option<PatchKind>,
    value: Value,
    /// Keys that stand twice: their paths, or of a configuration to apply where the first is.
    duplicates: Vec<String>,
}

impl Patch {
    /// Reads a patch as its content type says.
    ///
    /// # Errors
    /// 415 for kinds of patches that are not served.
    pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if Media::parse(content_type).name == APPLY {
            let (value, duplicates) = parse_yaml(body)?;
            let first = (!duplicates.is_empty()).then(|| first_in_yaml(body)).flatten();
            let duplicates = first.map_or(duplicates, |first| vec![first]);
            return Ok(Self { kind: None, value, duplicates });
        }
        let supported = || ApiError::unsupported_media_type(&format!("{}, {APPLY}", PatchKind::SUPPORTED));
        let kind = PatchKind::from_content_type(content_type).ok_or_else(supported)?;
        let (value, duplicates) = parse_json(body)?;
        Ok(Self { kind: Some(kind), value, duplicates })
    }

    /// Whether it is a configuration to apply.
    pub(crate) fn is_apply(&self) -> bool {
        self.kind.is_none()
    }

    /// What was sent.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// What the patch makes of `object`; a configuration is merged as a patch.
    ///
    /// # Errors
    /// When it does not apply.
    pub(crate) fn apply(&self, object: &Value, shape: Option<&Shape>) -> Result<Value, ApiError> {
        patch::apply(self.kind.unwrap_or(PatchKind::Merge), object, &self.value, shape)
    }
}

impl Registry {
    /// Patches the object that the context names.
    ///
    /// # Errors
    /// When the patch does not apply, or what it makes is not allowed.
    pub(crate) async fn patch(&self, context: &Context<'_>, patch: &Patch) -> Result<Written, ApiError> {
        let resource = context.resource;
        if patch.kind == Some(PatchKind::Strategic) && !resource.strategic_patches {
            let supported = format!("application/json-patch+json, application/merge-patch+json, {APPLY}");
            return Err(ApiError::unsupported_media_type(&supported));
        }
        self.change(context, |old| {
            let object = patch.apply(old, Some(&resource.shape))?;
            Ok(Change { object, duplicates: patch.duplicates.clone(), owned: false })
        })
        .await
    }

    /// Applies a configuration to the object that the context names, which is created if it is missing. Whether it was.
    ///
    /// # Errors
    /// 409 when others own what the configuration sets, or when what it makes is not allowed.
    pub(crate) async fn apply(&self, context: &Context<'_>, patch: &Patch) -> Result<(bool, Written), ApiError> {
        let mut config = patch.value.clone();
        let warnings = decode::check_config(context, &mut config, &patch.duplicates)?;
        let warn = |created: bool, mut written: Written| {
            written.warnings.splice(0..0, warnings.clone());
            (created, written)
        };
        let answers = Answers::default();
        for _ in 0..ATTEMPTS {
            let present = self.store.get(&context.key(&context.name)).await.map_err(store_error)?;
            if present.is_some() || !context.subresource.is_empty() {
                let change = |old: &Value| {
                    let object = ownership::applied(context, &self.table(), Some(old), &config, &answers)?;
                    Ok(Change { object, duplicates: Vec::new(), owned: true })
                };
                match self.change(context, change).await {
                    // It was deleted meanwhile.
                    Err(error) if error.code == 404 && context.subresource.is_empty() => continue,
                    // It depends on what the object is in other versions.
                    Err(_) if self.conversions.answer(context.resource, &answers).await? => continue,
                    written => return written.map(|written| warn(false, written)),
                }
            }
            let object = self.first_applied(context, &config)?;
            match self.create_owned(context, object, &[], true).await {
                Err(error) if error.reason == "AlreadyExists" => {}
                written => return written.map(|written| warn(true, written)),
            }
        }
        Err(modified(context))
    }

    /// The object that a configuration makes where there is none.
    fn first_applied(&self, context: &Context<'_>, config: &Value) -> Result<Value, ApiError> {
        let uid = meta::uid(config);
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(ApiError::conflict(context.target(&context.name), &why));
        }
        let mut object = ownership::applied(context, &self.table(), None, config, &Answers::default())?;
        if meta::name(&object).is_empty() {
            meta::metadata_mut(&mut object).insert("name".into(), context.name.clone().into());
        }
        Ok(object)
    }
}
