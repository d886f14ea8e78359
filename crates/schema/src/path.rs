//! Field paths as `k8s.io/apimachinery/pkg/util/validation/field` writes them: `spec.list[0].map[key]`.

/// The field `name` of what stands at `base`.
pub(crate) fn child(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}.{name}") }
}

/// Element `index` of the list at `base`.
pub(crate) fn index(base: &str, index: usize) -> String {
    format!("{base}[{index}]")
}

/// The entry `key` of the map at `base`.
pub(crate) fn key(base: &str, key: &str) -> String {
    format!("{base}[{key}]")
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
}
