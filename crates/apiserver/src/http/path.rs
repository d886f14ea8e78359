//! Paths of the resource API.

/// A path of the resource API that names a resource. Empty texts mean "none".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) plural: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    /// Under `/api/VERSION/` or `/apis/GROUP/VERSION/`, with a resource.
    Resource(ResourcePath),
    /// Anything else.
    Other,
}

/// Sub-resources of namespaces, which tell `/namespaces/A/status` from a resource `status` in namespace `A`.
const OF_NAMESPACES: &[&str] = &["status", "finalize"];

/// Reads a path, percent-encoding included. A malformed one is `Other`, which nobody serves.
pub(crate) fn parse(path: &str) -> Path {
    let raw: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    // What follows `proxy` is a path of something else, and not looked at.
    let end = match raw.as_slice() {
        ["api", _, "namespaces", _, _, _, "proxy", ..] => 7,
        ["api", _, _, _, "proxy", ..] => 5,
        all => all.len(),
    };
    let decoded: Option<Vec<String>> = raw[..end].iter().copied().map(decode).collect();
    let Some(segments) = decoded else { return Path::Other };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Path::Other,
    };
    let (namespace, rest) = match rest {
        ["namespaces", name] => (*name, rest),
        ["namespaces", name, sub] if OF_NAMESPACES.contains(sub) => (*name, rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", String::new()),
        [plural, name] => (*plural, *name, String::new()),
        [plural, name, sub @ ..] => (*plural, *name, sub.join("/")),
        [] => return Path::Other,
    };
    if plural.is_empty() || (rest.len() > 1 && name.is_empty()) {
        return Path::Other;
    }
    Path::Resource(ResourcePath {
        group: group.into(),
        version: version.into(),
        namespace: namespace.into(),
        plural: plural.into(),
        name: name.into(),
        subresource,
    })
}

/// Decodes `%XX`. None when it is malformed, is not UTF-8, or hides a `/`.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let [high, low, tail @ ..] = tail else { return None };
            let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
            bytes.push(digit(high)? * 16 + digit(low)?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('/') && text != "." && text != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_group_namespace_resource_name_and_sub_resource() {
        let table = [
            ("/api/v1/pods", ["", "v1", "", "pods", "", ""]),
            ("/api/v1/namespaces", ["", "v1", "", "namespaces", "", ""]),
            ("/api/v1/namespaces/a", ["", "v1", "a", "namespaces", "a", ""]),
            ("/api/v1/namespaces/a/finalize", ["", "v1", "a", "namespaces", "a", "finalize"]),
            ("/api/v1/namespaces/a/pods", ["", "v1", "a", "pods", "", ""]),
            ("/api/v1/namespaces/a/pods/p/log", ["", "v1", "a", "pods", "p", "log"]),
            ("/apis/apps/v1/namespaces/a/deployments/d", ["apps", "v1", "a", "deployments", "d", ""]),
            ("/apis/g/v1/clusterroles/system%3Anode", ["g", "v1", "", "clusterroles", "system:node", ""]),
        ];
        for (path, [group, version, namespace, plural, name, subresource]) in table {
            let expected = ResourcePath {
                group: group.into(),
                version: version.into(),
                namespace: namespace.into(),
                plural: plural.into(),
                name: name.into(),
                subresource: subresource.into(),
            };
            assert_eq!(parse(path), Path::Resource(expected), "{path}");
        }
    }

    #[test]
    fn what_names_no_resource_is_other() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis/apps/v1",
            "/version",
            "/api/v1/pods/a%2Fb",
            "/api/v1/pods/%zz",
            "/api/v1/pods/..",
        ] {
            assert_eq!(parse(path), Path::Other, "{path}");
        }
    }
}
