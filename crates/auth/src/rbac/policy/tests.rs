//! The policy by tables, and against a naive reading of the objects.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.put(
        "clusterroles/reader",
        &json!({"metadata": {"name": "reader"}, "rules": [
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
            {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["*"], "resourceNames": ["web"]},
            {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]},
        ]}),
    );
    policy.put(
        "roles/demo/writer",
        &json!({"metadata": {"name": "writer", "namespace": "demo"}, "rules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*/scale", "configmaps"]}]}),
    );
    for (key, binding) in [
        (
            "clusterrolebindings/a",
            json!({"metadata": {"name": "a"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "User", "name": "alice"}]}),
        ),
        (
            "rolebindings/demo/b",
            json!({"metadata": {"name": "b", "namespace": "demo"}, "roleRef": {"kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "Group", "name": "devs"}]}),
        ),
        (
            "rolebindings/demo/c",
            json!({"metadata": {"name": "c", "namespace": "demo"}, "roleRef": {"kind": "Role", "name": "writer"},
                "subjects": [{"kind": "ServiceAccount", "name": "robot"}]}),
        ),
        (
            "rolebindings/other/d",
            json!({"metadata": {"name": "d", "namespace": "other"}, "roleRef": {"kind": "Role", "name": "writer"},
                "subjects": [{"kind": "User", "name": "alice"}]}),
        ),
    ] {
        policy.put(key, &binding);
    }
    policy
}

fn ask(user: &User, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let mut asked = Attributes::resource(user.clone(), verb, group, resource, namespace, name);
    asked.subresource = subresource.into();
    asked
}

#[test]
fn rules_allow_what_they_say_and_nothing_else() {
    let alice = User::new("alice", ["staff"]);
    let dev = User::new("bob", ["devs"]);
    let robot = User::service_account("demo", "robot");
    let table: [(&User, &str, &str, &str, &str, &str, bool); 15] = [
        (&alice, "get", "", "pods", "demo", "a", true),
        (&alice, "list", "", "pods", "", "", true),
        (&alice, "get", "", "pods/log", "demo", "a", true),
        (&alice, "get", "", "pods/exec", "demo", "a", false),
        (&alice, "delete", "", "pods", "demo", "a", false),
        (&alice, "get", "apps", "deployments", "demo", "web", true),
        (&alice, "get", "apps", "deployments", "demo", "db", false),
        (&alice, "list", "apps", "deployments", "demo", "", false),
        (&alice, "create", "", "configmaps", "other", "", false),
        (&dev, "get", "", "pods", "demo", "a", true),
        (&dev, "get", "", "pods", "other", "a", false),
        (&dev, "list", "", "pods", "", "", false),
        (&robot, "patch", "apps", "deployments/scale", "demo", "x", true),
        (&robot, "patch", "apps", "deployments", "demo", "x", false),
        (&robot, "patch", "apps", "deployments/scale", "other", "x", false),
    ];
    for (user, verb, group, resource, namespace, name, expected) in table {
        let asked = ask(user, verb, group, resource, namespace, name);
        assert_eq!(policy().allows(&asked).is_some(), expected, "{asked:?}");
    }
}

#[test]
fn an_allowance_says_which_binding_gave_it_to_whom() {
    let policy = policy();
    let reason =
        |user: &User, resource| policy.allows(&ask(user, "get", "", resource, "demo", "a")).unwrap().to_string();
    let expected = "RBAC: allowed by ClusterRoleBinding \"a\" of ClusterRole \"reader\" to User \"alice\"";
    assert_eq!(reason(&User::new("alice", ["staff"]), "pods"), expected);
    let expected = "RBAC: allowed by RoleBinding \"c/demo\" of Role \"writer\" to ServiceAccount \"robot/demo\"";
    assert_eq!(reason(&User::service_account("demo", "robot"), "configmaps"), expected);
}

#[test]
fn a_role_that_is_missing_allows_nothing() {
    let alice = User::new("alice", ["staff"]);
    assert!(policy().allows(&ask(&alice, "create", "", "configmaps", "other", "")).is_none());
}

#[test]
fn paths_are_allowed_by_exact_name_or_prefix() {
    let alice = User::new("alice", ["staff"]);
    for (path, expected) in [("/metrics", true), ("/metrics/x", false), ("/logs/a/b", true), ("/version", false)] {
        assert_eq!(policy().allows(&Attributes::path(alice.clone(), "get", path)).is_some(), expected, "{path}");
    }
}

#[test]
fn what_is_removed_allows_nothing_any_more() {
    let alice = User::new("alice", ["staff"]);
    let asked = ask(&alice, "get", "", "pods", "demo", "a");
    let mut without_binding = policy();
    without_binding.remove("clusterrolebindings/a");
    assert!(without_binding.allows(&asked).is_none());
    let mut without_role = policy();
    without_role.remove("clusterroles/reader");
    assert!(without_role.allows(&asked).is_none());
}

/// A write of a role or binding, as a watch shows it.
#[derive(Debug, Clone)]
enum Write {
    Put(String, Value),
    Remove(String),
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(words, 0..=2.min(words.len())).prop_map(|l| l.into_iter().map(str::to_owned).collect())
}

const VERBS: &[&str] = &["get", "list", "*"];
const RESOURCES: &[&str] = &["pods", "pods/log", "*/log", "nodes", "*", "pods/"];
const PATHS: &[&str] = &["/a", "/a/*", "*"];
const NAMESPACES: &[&str] = &["", "n1", "n2"];

fn rule() -> impl Strategy<Value = Value> {
    (some_of(VERBS), some_of(&["", "apps", "*"]), some_of(RESOURCES), some_of(&["x", "y"]), some_of(PATHS)).prop_map(
        |(verbs, groups, resources, names, paths)| {
            json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names,
                "nonResourceURLs": paths})
        },
    )
}

fn subject() -> impl Strategy<Value = Value> {
    (one_of(&["User", "Group", "ServiceAccount"]), one_of(&["a", "b"]), one_of(NAMESPACES))
        .prop_map(|(kind, name, namespace)| json!({"kind": kind, "name": name, "namespace": namespace}))
}

fn key(plural: &str, namespace: &str, name: &str) -> String {
    if namespace.is_empty() { format!("cluster{plural}/{name}") } else { format!("{plural}/{namespace}/{name}") }
}

fn write() -> impl Strategy<Value = Write> {
    let role =
        (one_of(NAMESPACES), one_of(&["r", "s"]), prop::collection::vec(rule(), 0..3)).prop_map(|(ns, name, rules)| {
            Write::Put(key("roles", &ns, &name), json!({"metadata": {"name": name, "namespace": ns}, "rules": rules}))
        });
    let binding = (
        one_of(NAMESPACES),
        one_of(&["p", "q"]),
        one_of(&["Role", "ClusterRole"]),
        one_of(&["r", "s"]),
        prop::collection::vec(subject(), 0..3),
    )
        .prop_map(|(ns, name, kind, role, subjects)| {
            let object = json!({"metadata": {"name": name, "namespace": ns}, "subjects": subjects,
                "roleRef": {"kind": kind, "name": role}});
            Write::Put(key("rolebindings", &ns, &name), object)
        });
    let gone = (one_of(&["roles", "rolebindings"]), one_of(NAMESPACES), one_of(&["p", "q", "r", "s"]))
        .prop_map(|(plural, ns, name)| Write::Remove(key(&plural, &ns, &name)));
    prop_oneof![3 => role, 3 => binding, 1 => gone]
}

fn user() -> impl Strategy<Value = User> {
    let account = (one_of(&["n1", "n2"]), one_of(&["a", "b"])).prop_map(|(ns, name)| User::service_account(&ns, &name));
    let person = (one_of(&["a", "b", "c"]), some_of(&["a", "b"])).prop_map(|(name, groups)| User::new(name, groups));
    prop_oneof![account, person]
}

fn question() -> impl Strategy<Value = Attributes> {
    let resource = (
        user(),
        one_of(&["get", "watch"]),
        one_of(&["", "apps"]),
        one_of(&["pods", "pods/log", "nodes"]),
        one_of(NAMESPACES),
        one_of(&["", "x"]),
    )
        .prop_map(|(user, verb, group, resource, ns, name)| ask(&user, &verb, &group, &resource, &ns, &name));
    let path = (user(), one_of(&["/a", "/a/b", "/c"])).prop_map(|(user, path)| Attributes::path(user, "get", &path));
    prop_oneof![3 => resource, 1 => path]
}

/// The rules of access as they are documented, over the objects as they lie there.
fn naive(objects: &HashMap<String, Value>, asked: &Attributes) -> bool {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let star = |list: &Value, value: &str| texts(list).iter().any(|item| item == "*" || item == value);
    let allows = |rule: &Value| match &asked.path {
        Some(path) => {
            star(&rule["verbs"], &asked.verb)
                && texts(&rule["nonResourceURLs"])
                    .iter()
                    .any(|url| url == path || (url.ends_with('*') && path.starts_with(url.trim_end_matches('*'))))
        }
        None => {
            let wanted = asked.full_resource();
            let names = texts(&rule["resourceNames"]);
            star(&rule["verbs"], &asked.verb)
                && star(&rule["apiGroups"], &asked.group)
                && (star(&rule["resources"], &wanted)
                    || (!asked.subresource.is_empty()
                        && texts(&rule["resources"]).contains(&format!("*/{}", asked.subresource))))
                && (names.is_empty() || names.contains(&asked.name))
        }
    };
    objects.iter().filter(|(key, _)| key.contains("rolebindings/")).any(|(_, binding)| {
        let here = binding["metadata"]["namespace"].as_str().unwrap();
        let is = |subject: &Value| {
            let name = subject["name"].as_str().unwrap();
            match subject["kind"].as_str().unwrap() {
                "User" => asked.user.name() == name,
                "Group" => asked.user.is_in(name),
                _ => {
                    let own = subject["namespace"].as_str().filter(|ns| !ns.is_empty()).unwrap_or(here);
                    !own.is_empty() && asked.user.name() == format!("system:serviceaccount:{own}:{name}")
                }
            }
        };
        let home = if binding["roleRef"]["kind"] == "Role" { here } else { "" };
        // A ClusterRoleBinding of a Role, which validation refuses, names what is not there; so does a missing role.
        let role = objects.get(&key("roles", home, binding["roleRef"]["name"].as_str().unwrap()));
        (here.is_empty() || here == asked.namespace)
            && binding["subjects"].as_array().unwrap().iter().any(is)
            && role.is_some_and(|role| role["rules"].as_array().unwrap().iter().any(allows))
    })
}

proptest! {
    #[test]
    fn the_index_allows_exactly_what_the_objects_say(
        writes in prop::collection::vec(write(), 0..24),
        questions in prop::collection::vec(question(), 1..16),
    ) {
        let mut policy = Policy::default();
        let mut objects = HashMap::new();
        for write in writes {
            match write {
                Write::Put(key, object) => {
                    policy.put(&key, &object);
                    objects.insert(key, object);
                }
                Write::Remove(key) => {
                    policy.remove(&key);
                    objects.remove(&key);
                }
            }
        }
        for asked in questions {
            prop_assert_eq!(policy.allows(&asked).is_some(), naive(&objects, &asked), "{:?}", asked);
        }
    }
}
