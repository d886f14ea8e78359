//! `patch`.

use super::{Context, Registry, Written, decode, update::Change};
use ::http::{HeaderMap, header};
use orrery_machinery::{
    descriptor::MergeKey,
    patch::{self, PatchKind},
    status::ApiError,
};
use serde_json::Value;

/// A client's patch.
pub(crate) struct Patch {
    kind: PatchKind,
    value: Value,
    duplicates: Vec<String>,
}

impl Patch {
    /// Reads a patch as its content type says.
    ///
    /// # Errors
    /// 415 for kinds of patches that are not served; server-side apply is among them.
    pub(crate) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = PatchKind::from_content_type(content_type)
            .ok_or_else(|| ApiError::unsupported_media_type(PatchKind::SUPPORTED))?;
        let (value, duplicates) = decode::parse_json(body)?;
        Ok(Self { kind, value, duplicates })
    }

    /// What the patch makes of `object`.
    ///
    /// # Errors
    /// When it does not apply.
    pub(crate) fn apply(&self, object: &Value, merge_keys: &[MergeKey]) -> Result<Value, ApiError> {
        patch::apply(self.kind, object, &self.value, merge_keys)
    }
}

impl Registry {
    /// Patches the object that the context names.
    ///
    /// # Errors
    /// When the patch does not apply, or what it makes is not allowed.
    pub(crate) async fn patch(&self, context: &Context<'_>, patch: &Patch) -> Result<Written, ApiError> {
        let merge_keys = match context.resource.merge_keys {
            None if patch.kind == PatchKind::Strategic => {
                return Err(ApiError::unsupported_media_type(
                    "application/json-patch+json, application/merge-patch+json",
                ));
            }
            keys => keys.unwrap_or_default(),
        };
        self.change(context, |old| {
            let object = patch.apply(old, merge_keys)?;
            Ok(Change { object, duplicates: patch.duplicates.clone() })
        })
        .await
    }
}
