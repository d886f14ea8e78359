//! Which form of a body a client accepts: its encoding, and what is written.

use http::{HeaderMap, header};
use orrery_machinery::status::ApiError;

/// How an object, a list or a watch is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, which everything has.
    Json,
    /// Kubernetes' protobuf, which kinds of Kubernetes have, and metadata; tables have it not.
    Protobuf,
}

/// What an object, a list or a watch is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// As it is.
    Object,
    /// As `meta.k8s.io/v1 Table`.
    Table,
    /// As `meta.k8s.io/v1 PartialObjectMetadata`, or its list.
    Metadata,
}

/// A media type of a header with its parameters.
#[derive(Debug)]
pub struct Media<'a> {
    /// Its type and subtype, such as `application/json`.
    pub name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Media<'a> {
    /// Reads it; what is malformed is left out.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        Self { name, parameters: parts.filter_map(|part| part.split_once('=')).collect() }
    }

    /// The parameter of this name; empty when there is none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &'a str {
        self.parameters.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    /// Whether JSON is of this type, which may have wild cards.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.name, "application/json" | "application/*" | "*/*" | "")
    }

    fn is_protobuf(&self) -> bool {
        self.name == crate::MEDIA_TYPE
    }

    /// How much the client wants it.
    fn weight(&self) -> f32 {
        self.parameter("q").parse().unwrap_or(1.0)
    }
}

/// The media types that a client accepts, those that it wants most before others, else in its order.
#[must_use]
pub fn media(headers: &HeaderMap) -> Vec<Media<'_>> {
    let mut media: Vec<Media<'_>> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(Media::parse)
        .collect();
    if media.iter().any(|media| !media.parameter("q").is_empty()) {
        media.retain(|media| media.weight() > 0.0);
        media.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
    }
    media
}

/// The first in the client's list that is served. `has_message` says whether the kind has a form in protobuf.
///
/// # Errors
/// 406 when nothing in the list is served.
pub fn accepted(headers: &HeaderMap, has_message: impl Fn() -> bool) -> Result<(Format, Representation), ApiError> {
    let accepted = media(headers);
    if !headers.contains_key(header::ACCEPT) {
        return Ok((Format::Json, Representation::Object));
    }
    for media in &accepted {
        let format = match media {
            media if media.is_json() => Format::Json,
            media if media.is_protobuf() => Format::Protobuf,
            _ => continue,
        };
        let meta = media.parameter("g") == "meta.k8s.io" && media.parameter("v") == "v1";
        match (media.parameter("as"), format) {
            ("", Format::Protobuf) if !has_message() => {}
            ("", _) => return Ok((format, Representation::Object)),
            ("Table", Format::Json) if meta => return Ok((format, Representation::Table)),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", _) if meta => {
                return Ok((format, Representation::Metadata));
            }
            _ => {}
        }
    }
    Err(not_acceptable(has_message()))
}

fn not_acceptable(has_message: bool) -> ApiError {
    let protobuf = "application/json, application/vnd.kubernetes.protobuf";
    ApiError::not_acceptable(if has_message { protobuf } else { "application/json" })
}

/// Whether the client would rather have protobuf, of what has a form in it.
#[must_use]
pub fn prefers_protobuf(headers: &HeaderMap) -> bool {
    accepts_protobuf(headers) && matches!(accepted(headers, || true), Ok((Format::Protobuf, _)))
}

fn accepts_protobuf(headers: &HeaderMap) -> bool {
    let name = crate::MEDIA_TYPE.as_bytes();
    let values = headers.get_all(header::ACCEPT).iter();
    values.map(|value| value.as_bytes()).any(|value| value.windows(name.len()).any(|window| window == name))
}

/// Refuses who takes nothing but protobuf of a kind that has no form in it, before anything is written.
///
/// # Errors
/// 406 for them.
pub fn check_writer(headers: &HeaderMap, has_message: impl Fn() -> bool) -> Result<(), ApiError> {
    if accepts_protobuf(headers) && media(headers).iter().all(Media::is_protobuf) && !has_message() {
        return Err(not_acceptable(false));
    }
    Ok(())
}

/// Whether the client takes an object as it is. What is never stored (a review) has no other form.
#[must_use]
pub fn takes_object(headers: &HeaderMap) -> bool {
    let accepted = media(headers);
    let transformed = |media: &&Media<'_>| media.is_json() && !media.parameter("as").is_empty();
    // Only those who ask for nothing but tables or metadata are turned away.
    accepted.is_empty() || accepted.iter().filter(transformed).count() < accepted.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> HeaderMap {
        [(header::ACCEPT, text.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn the_first_that_is_served_wins() {
        use {Format::*, Representation::*};
        let table = [
            ("application/json", Some((Json, Object))),
            ("*/*", Some((Json, Object))),
            ("application/vnd.kubernetes.protobuf, application/json", Some((Protobuf, Object))),
            ("application/json, application/vnd.kubernetes.protobuf", Some((Json, Object))),
            ("application/json;q=0.5, application/vnd.kubernetes.protobuf;q=0.9", Some((Protobuf, Object))),
            ("application/vnd.kubernetes.protobuf;q=0, */*", Some((Json, Object))),
            ("application/vnd.kubernetes.protobuf;stream=watch", Some((Protobuf, Object))),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io",
                Some((Json, Table)),
            ),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some((Json, Object))),
            (
                "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io",
                Some((Json, Table)),
            ),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some((Json, Metadata))),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
                Some((Protobuf, Metadata)),
            ),
            ("application/xml", None),
            ("application/json;q=0", None),
            ("application/json;as=Other;v=v1;g=meta.k8s.io", None),
        ];
        for (text, expected) in table {
            assert_eq!(accepted(&accept(text), || true).ok(), expected, "{text}");
        }
        assert_eq!(accepted(&HeaderMap::new(), || true).ok(), Some((Json, Object)));
        assert!(!prefers_protobuf(&HeaderMap::new()));
    }

    #[test]
    fn what_has_no_message_is_json_or_refused() {
        let protobuf = "application/vnd.kubernetes.protobuf";
        let both = format!("{protobuf},application/json");
        let json = Some((Format::Json, Representation::Object));
        assert_eq!(accepted(&accept(&both), || false).ok(), json);
        assert!(accepted(&accept(protobuf), || false).is_err());
        assert!(check_writer(&accept(protobuf), || false).is_err());
        assert!(check_writer(&accept(protobuf), || true).is_ok() && check_writer(&accept(&both), || false).is_ok());
    }

    #[test]
    fn only_who_asks_for_nothing_but_transformed_objects_takes_none() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, expected) in [
            (table.to_owned(), false),
            (format!("{table},application/json"), true),
            ("application/json".to_owned(), true),
            ("application/vnd.kubernetes.protobuf".to_owned(), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(takes_object(&headers), expected, "{accept}");
        }
        assert!(takes_object(&HeaderMap::new()));
    }
}
