//! Reasons of refusals, which others name.

/// The reasons of `metav1.StatusReason` that a refusal may have, with their codes.
const KNOWN: [(&str, u16); 18] = [
    ("AlreadyExists", 409),
    ("BadRequest", 400),
    ("Conflict", 409),
    ("Expired", 410),
    ("Forbidden", 403),
    ("Gone", 410),
    ("InternalError", 500),
    ("Invalid", 422),
    ("MethodNotAllowed", 405),
    ("NotAcceptable", 406),
    ("NotFound", 404),
    ("RequestEntityTooLarge", 413),
    ("ServerTimeout", 500),
    ("ServiceUnavailable", 503),
    ("Timeout", 504),
    ("TooManyRequests", 429),
    ("Unauthorized", 401),
    ("UnsupportedMediaType", 415),
];

/// The reason of this name; none for one that upstream does not know.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(known, _)| *known)
}

/// The HTTP status of a policy's reason: 422 for one that policies may not have.
pub(crate) fn policy_code(name: &str) -> u16 {
    const OF_POLICIES: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
    let known = KNOWN.iter().find(|(known, _)| *known == name && OF_POLICIES.contains(known));
    known.map_or(422, |(_, code)| *code)
}
