//! Where objects lie in the store.

/// Where the group's and resource's objects lie: `/registry/GROUP/PLURAL/`, with the namespace when there is one. The core
/// group is called `core`.
pub(crate) fn prefix(group: &str, plural: &str, namespace: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    if namespace.is_empty() {
        format!("/registry/{group}/{plural}/")
    } else {
        format!("/registry/{group}/{plural}/{namespace}/")
    }
}

/// Where an object lies. The namespace is empty for those without.
pub(crate) fn object(group: &str, plural: &str, namespace: &str, name: &str) -> String {
    format!("{}{name}", prefix(group, plural, namespace))
}

/// The namespace, empty for objects without, and the name that a key ends in.
pub(crate) fn parts(key: &str) -> (&str, &str) {
    let mut parts = key.splitn(5, '/').skip(4);
    let rest = parts.next().unwrap_or_default();
    rest.split_once('/').unwrap_or(("", rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_group_resource_namespace_and_name() {
        assert_eq!(object("", "pods", "demo", "a"), "/registry/core/pods/demo/a");
        assert_eq!(object("apps", "deployments", "demo", "a"), "/registry/apps/deployments/demo/a");
        assert_eq!(object("", "nodes", "", "a"), "/registry/core/nodes/a");
        assert_eq!(parts("/registry/core/nodes/a"), ("", "a"));
        assert_eq!(parts("/registry/apps/deployments/demo/a"), ("demo", "a"));
    }
}
