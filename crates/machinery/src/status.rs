//! `meta/v1 Status`: how the API says no.

use serde_json::{Value, json};

/// Why a field was refused, in the words of `k8s.io/apimachinery/pkg/util/validation/field`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Such as `FieldValueRequired`.
    pub reason: FieldReason,
    /// Such as `spec.containers[0].name`.
    pub field: String,
    /// The cause's text as upstream words it, such as `Required value`.
    pub message: String,
}

/// The kinds of field errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldReason {
    /// A value is missing.
    Required,
    /// A value is not well-formed or not allowed here.
    Invalid,
    /// A value is not one of those supported.
    NotSupported,
    /// A value stands twice.
    Duplicate,
    /// The field may not be set or changed.
    Forbidden,
    /// A text is too long.
    TooLong,
    /// A list or map has too many entries.
    TooMany,
    /// A value refers to something that is not there.
    NotFound,
}

impl FieldReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
        }
    }
}

impl FieldError {
    /// `field` must have a value.
    #[must_use]
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(FieldReason::Required, field, with_detail("Required value", detail))
    }

    /// `field` has the bad value `value`.
    #[must_use]
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(FieldReason::Invalid, field, with_detail(&format!("Invalid value: {value}"), detail))
    }

    /// `field` may not be set or changed.
    #[must_use]
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(FieldReason::Forbidden, field, with_detail("Forbidden", detail))
    }

    /// `field` has a value that stands already elsewhere in its list.
    #[must_use]
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(FieldReason::Duplicate, field, format!("Duplicate value: {value}"))
    }

    /// `field` has a value that is not among `supported`.
    #[must_use]
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
        Self::new(FieldReason::NotSupported, field, message)
    }

    /// `field` refers to `value`, which is not there.
    #[must_use]
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new(FieldReason::NotFound, field, format!("Not found: {value}"))
    }

    /// `field` has more than `limit_bytes`.
    #[must_use]
    pub fn too_long(field: impl Into<String>, limit_bytes: usize) -> Self {
        Self::new(FieldReason::TooLong, field, format!("Too long: may not be more than {limit_bytes} bytes"))
    }

    /// `field` has `count` entries, more than `most`.
    #[must_use]
    pub fn too_many(field: impl Into<String>, count: usize, most: usize) -> Self {
        let items = if most == 1 { "item" } else { "items" };
        Self::new(FieldReason::TooMany, field, format!("Too many: {count}: must have at most {most} {items}"))
    }

    /// `field` is bad as a whole, and its value is too large to show.
    #[must_use]
    pub fn invalid_whole(field: impl Into<String>, detail: &str) -> Self {
        Self::new(FieldReason::Invalid, field, with_detail("Invalid value", detail))
    }

    fn new(reason: FieldReason, field: impl Into<String>, message: String) -> Self {
        Self { reason, field: field.into(), message }
    }
}

fn with_detail(message: &str, detail: &str) -> String {
    if detail.is_empty() { message.to_owned() } else { format!("{message}: {detail}") }
}

/// An error as the API answers it. The HTTP status follows from the reason, here and nowhere else.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status code.
    pub code: u16,
    /// Upstream's `metav1.StatusReason`, such as `NotFound`; empty for none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `details`: name, group, kind, causes, retryAfterSeconds.
    pub details: Option<Value>,
}

/// Names the resource in an error: group, plural and object name.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Plural resource name.
    pub resource: &'a str,
    /// Object name; empty for none.
    pub name: &'a str,
}

impl Target<'_> {
    fn qualified(&self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }

    fn details(&self) -> Value {
        let mut details = json!({"kind": self.resource});
        if !self.name.is_empty() {
            details["name"] = self.name.into();
        }
        if !self.group.is_empty() {
            details["group"] = self.group.into();
        }
        details
    }
}

impl ApiError {
    /// So many mistakes of one object are told: an object of 3 MiB may have a million.
    pub const ERRORS_SHOWN: usize = 500;

    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// 404: there is no such object.
    #[must_use]
    pub fn not_found(target: Target<'_>) -> Self {
        let message = format!("{} {:?} not found", target.qualified(), target.name);
        Self { details: Some(target.details()), ..Self::plain(404, "NotFound", message) }
    }

    /// 404: there is no such path.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::plain(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn already_exists(target: Target<'_>) -> Self {
        let message = format!("{} {:?} already exists", target.qualified(), target.name);
        Self { details: Some(target.details()), ..Self::plain(409, "AlreadyExists", message) }
    }

    /// 409: the object was changed meanwhile.
    #[must_use]
    pub fn conflict(target: Target<'_>, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {:?}: {why}", target.qualified(), target.name);
        Self { details: Some(target.details()), ..Self::plain(409, "Conflict", message) }
    }

    /// 422: the object breaks rules of its kind.
    #[must_use]
    pub fn invalid(kind: &str, target: Target<'_>, errors: &[FieldError]) -> Self {
        let shown = &errors[..errors.len().min(Self::ERRORS_SHOWN)];
        let mut texts: Vec<String> = shown.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
        if errors.len() > shown.len() {
            texts.push(format!("and {} more", errors.len() - shown.len()));
        }
        let list = if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(", ")) };
        let qualified = if target.group.is_empty() { kind.to_owned() } else { format!("{kind}.{}", target.group) };
        let mut details = target.details();
        details["kind"] = kind.into();
        details["causes"] = shown
            .iter()
            .map(|e| json!({"reason": e.reason.as_str(), "message": e.message, "field": e.field}))
            .collect();
        let message = format!("{qualified} {:?} is invalid: {list}", target.name);
        Self { details: Some(details), ..Self::plain(422, "Invalid", message) }
    }

    /// 403: the user may not, or a rule forbids it.
    #[must_use]
    pub fn forbidden(target: Target<'_>, why: &str) -> Self {
        let name = if target.name.is_empty() { String::new() } else { format!(" {:?}", target.name) };
        let message = format!("{}{name} is forbidden: {why}", target.qualified());
        Self { details: Some(target.details()), ..Self::plain(403, "Forbidden", message) }
    }

    /// 401: nobody we know.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 405: the verb is not for this path.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::plain(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 406: no representation that the client accepts.
    #[must_use]
    pub fn not_acceptable(supported: &str) -> Self {
        Self::plain(406, "NotAcceptable", format!("only the following media types are accepted: {supported}"))
    }

    /// 410: the revision is no longer kept.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 413: the body is too long.
    #[must_use]
    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("Request entity is too large: limit is {limit_bytes}");
        Self::plain(413, "RequestEntityTooLarge", message)
    }

    /// 415: a body that cannot be read.
    #[must_use]
    pub fn unsupported_media_type(supported: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {supported}");
        Self::plain(415, "UnsupportedMediaType", message)
    }

    /// 429: come back later.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let details = json!({"retryAfterSeconds": retry_after_seconds});
        Self { details: Some(details), ..Self::plain(429, "TooManyRequests", message) }
    }

    /// 500: our fault.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::plain(500, "InternalError", format!("Internal error occurred: {}", message.into()))
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::plain(503, "ServiceUnavailable", message)
    }

    /// 504: it took too long.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::plain(504, "Timeout", message)
    }

    /// The `meta/v1 Status` document.
    #[must_use]
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}
