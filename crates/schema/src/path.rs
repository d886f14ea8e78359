//! Field paths as `k8s.io/apimachinery/pkg/util/validation/field` writes them: `spec.list[0].map[key]`.

/// A longer path does not grow any more: it is told for people, and each of millions of values has one.
const LONGEST_BYTES: usize = 2048;
/// More of a name is not shown. Names of Kubernetes' own have 316 at most.
const NAME_BYTES: usize = 512;

/// The field `name` of what stands at `base`.
pub(crate) fn child(base: &str, name: &str) -> String {
    if base.is_empty() { cut(name).to_owned() } else { longer(base, &[".", cut(name)]) }
}

/// [`child`], with a dot before it at the root too.
pub(crate) fn dotted(base: &str, name: &str) -> String {
    longer(base, &[".", cut(name)])
}

/// Element `index` of the list at `base`.
pub(crate) fn index(base: &str, index: usize) -> String {
    longer(base, &["[", &index.to_string(), "]"])
}

/// The entry `key` of the map at `base`.
pub(crate) fn key(base: &str, key: &str) -> String {
    longer(base, &["[", cut(key), "]"])
}

fn longer(base: &str, parts: &[&str]) -> String {
    let mut path = String::with_capacity(base.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    path.push_str(base);
    if base.len() < LONGEST_BYTES {
        parts.iter().for_each(|part| path.push_str(part));
    }
    path
}

fn cut(name: &str) -> &str {
    let end = (0..=NAME_BYTES.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    &name[..end.unwrap_or(0)]
}

/// What upstream prints for a path; it has none for the root.
pub(crate) fn or_nil(path: String) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_upstream_writes_them() {
        assert_eq!(child(&index(&key(&child("", "a"), "k"), 2), "b"), "a[k][2].b");
        assert_eq!(or_nil(String::new()), "<nil>");
    }

    #[test]
    fn paths_of_long_names_are_cut() {
        let long = "ü".repeat(100_000);
        let path = (0..100).fold(String::new(), |path, n| index(&key(&child(&path, &long), &long), n));
        assert!(path.len() < LONGEST_BYTES + NAME_BYTES + 10, "{}", path.len());
        assert!(path.starts_with("üüü"));
    }
}
