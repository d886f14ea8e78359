//! `list`: pages at one revision.

use super::{
    Context, Registry,
    options::{ListOptions, Match, Selection},
    store_error,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use orrery_machinery::{descriptor::ResourceDescriptor, meta, status::ApiError};
use orrery_store::{Entry, RangeRequest, Revision, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// How many entries are read at a time when most of them may not be selected.
const CHUNK: usize = 500;

/// What a list gives.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) revision: Revision,
    /// Empty on the last page.
    pub(crate) continue_token: String,
    /// How many items come after this page, if that is known without reading them.
    pub(crate) remaining: Option<usize>,
}

/// Where the next page begins. Opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// The revision of all pages; none when the next page shows the present.
    at: Option<u64>,
    after: String,
}

impl Token {
    fn encode(at: Option<Revision>, after: &str) -> String {
        let token = Self { at: at.map(|revision| revision.0), after: after.to_owned() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token is JSON"))
    }

    fn decode(text: &str) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| ApiError::bad_request("continue key is not valid: it is none that this server gave out"))
    }
}

impl Registry {
    /// A page of the objects that the context and options name.
    ///
    /// # Errors
    /// 410 when the revision asked for is no longer kept; for a continued list `details.continue` then has a token for the
    /// rest of the list as it is now.
    pub(crate) async fn list(&self, context: &Context<'_>, options: &ListOptions) -> Result<Listed, ApiError> {
        let prefix = context.prefix();
        let (at, after) = if options.continue_token.is_empty() {
            (self.list_revision(options).await?, None)
        } else {
            let token = Token::decode(&options.continue_token)?;
            // A token is the client's to change: it may not lead out of what was authorized.
            if !token.after.starts_with(&prefix) {
                return Err(ApiError::bad_request("continue key is not valid: it is of another list"));
            }
            (token.at.map(Revision), Some(token.after))
        };
        let resume = after.clone();
        let request = RangeRequest { prefix, after, limit: None, at };
        match self.collect(context.resource, request, options.limit, &options.selection).await {
            Err(StoreError::Compacted { .. }) => Err(expired(resume.as_deref())),
            Err(error) => Err(store_error(error)),
            Ok(Err(error)) => Err(error),
            Ok(Ok(listed)) => Ok(listed),
        }
    }

    /// The revision at which to list; none for the present one.
    async fn list_revision(&self, options: &ListOptions) -> Result<Option<Revision>, ApiError> {
        let Some(asked) = options.version.filter(|version| version.0 > 0) else { return Ok(None) };
        let current = self.store.current_revision().await.map_err(store_error)?;
        if asked > current {
            return Err(store_error(StoreError::Future { asked, current }));
        }
        let exact = match options.version_match {
            Some(Match::Exact) => true,
            Some(Match::NotOlderThan) => false,
            None => options.limit.is_some(),
        };
        Ok(exact.then_some(asked))
    }

    async fn collect(
        &self,
        resource: &ResourceDescriptor,
        mut request: RangeRequest,
        limit: Option<usize>,
        selection: &Selection,
    ) -> Result<Result<Listed, ApiError>, StoreError> {
        let mut entries = Vec::new();
        loop {
            request.limit = match limit {
                None => None,
                Some(limit) if selection.is_everything() => Some(limit),
                Some(_) => Some(CHUNK),
            };
            let page = self.store.range(request.clone()).await?;
            // The first page fixes the revision of all.
            request.at = Some(page.revision);
            let count = page.entries.len();
            let last = page.entries.last().map(|entry| entry.key.clone());
            let readable = match self.conversions.readable(resource, page.entries).await {
                Ok(readable) => readable,
                Err(error) => return Ok(Err(error)),
            };
            for (index, entry) in readable.into_iter().enumerate() {
                match selection.picks(resource, &entry) {
                    Ok(true) => entries.push(entry),
                    Ok(false) => continue,
                    Err(error) => return Ok(Err(error)),
                }
                let left = count - index - 1 + page.remaining;
                if limit.is_some_and(|limit| entries.len() >= limit) && left > 0 {
                    let after = entries.last().map(|entry| entry.key.as_str()).unwrap_or_default();
                    let continue_token = Token::encode(Some(page.revision), after);
                    let remaining = selection.is_everything().then_some(left);
                    return Ok(Ok(Listed { entries, revision: page.revision, continue_token, remaining }));
                }
            }
            match last {
                Some(last) if page.remaining > 0 => request.after = Some(last),
                Some(_) | None => {
                    let revision = page.revision;
                    return Ok(Ok(Listed { entries, revision, continue_token: String::new(), remaining: None }));
                }
            }
        }
    }
}

fn expired(resume: Option<&str>) -> ApiError {
    let Some(after) = resume else {
        return ApiError::expired("The resourceVersion for the provided list is too old.");
    };
    let mut error = ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
         the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
         Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
         deleted between the time the first chunk was returned and now may show up in the list.",
    );
    error.details = Some(json!({CONTINUE: Token::encode(None, after)}));
    error
}

/// Where [`Registry::list`] leaves the fresh token of an expired list.
const CONTINUE: &str = "continue";

/// The `Status` of an expired list, which has its fresh token in `metadata`; none for other errors.
pub(crate) fn expired_status(error: &ApiError) -> Option<Value> {
    let token = error.details.as_ref().filter(|_| error.code == 410)?.get(CONTINUE)?.clone();
    let mut status = ApiError { details: None, ..error.clone() }.to_status();
    meta::metadata_mut(&mut status).insert(CONTINUE.to_owned(), token);
    Some(status)
}
