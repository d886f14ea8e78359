//! Policies by tables.

use super::*;

fn policy(rules: &str) -> AuditPolicy {
    AuditPolicy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}")).unwrap()
}

fn decide(policy: &AuditPolicy, user: &User, verb: &str, resource: [&str; 5]) -> Level {
    policy.decide(&Asked { user, verb, resource: Some(resource), path: "/api/v1/x" }).level
}

#[test]
fn the_first_rule_that_fits_decides_and_none_writes_nothing() {
    let policy = policy(
        "
- {level: None, users: [bob], verbs: [get]}
- {level: Request, userGroups: [devs], resources: [{group: apps}]}
- {level: RequestResponse, namespaces: [demo], resources: [{group: '', resources: [configmaps, 'pods/*', '*/scale']}]}
- {level: Metadata, resources: [{group: '', resources: [secrets], resourceNames: [one]}]}
- {level: Metadata, nonResourceURLs: [/logs/*, /exact]}
",
    );
    let (bob, dev) = (User::new("bob", ["staff"]), User::new("dev", ["devs"]));
    let table = [
        (&bob, "get", ["", "configmaps", "", "demo", "a"], Level::None),
        (&bob, "update", ["", "configmaps", "", "demo", "a"], Level::RequestResponse),
        (&bob, "update", ["", "configmaps", "", "other", "a"], Level::None),
        (&bob, "update", ["", "pods", "", "demo", "a"], Level::RequestResponse),
        (&bob, "update", ["", "pods", "status", "demo", "a"], Level::RequestResponse),
        (&bob, "update", ["", "replicationcontrollers", "scale", "demo", "a"], Level::RequestResponse),
        (&bob, "update", ["", "configmaps", "status", "demo", "a"], Level::None),
        (&dev, "get", ["apps", "deployments", "scale", "x", "a"], Level::Request),
        (&dev, "get", ["", "secrets", "", "x", "one"], Level::Metadata),
        (&dev, "get", ["", "secrets", "", "x", "two"], Level::None),
    ];
    for (user, verb, resource, expected) in table {
        assert_eq!(decide(&policy, user, verb, resource), expected, "{user:?} {verb} {resource:?}");
    }
    for (path, expected) in [("/logs/a", Level::Metadata), ("/exact", Level::Metadata), ("/exact/a", Level::None)] {
        assert_eq!(policy.decide(&Asked { user: &dev, verb: "get", resource: None, path }).level, expected, "{path}");
    }
}

#[test]
fn stages_and_managed_fields_are_left_out_as_rule_and_policy_say() {
    let text = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: Metadata, users: [a], omitStages: [ResponseStarted], omitManagedFields: false}
- {level: Metadata}";
    let policy = AuditPolicy::parse(text).unwrap();
    let decide = |name: &str| {
        let user = User::new(name, ["x"]);
        policy.decide(&Asked { user: &user, verb: "get", resource: None, path: "/" })
    };
    let (first, second) = (decide("a"), decide("b"));
    assert!(!first.writes(Stage::RequestReceived) && !first.writes(Stage::ResponseStarted));
    assert!(
        first.writes(Stage::ResponseComplete) && first.writes(Stage::Panic) && second.writes(Stage::ResponseStarted)
    );
    assert!(!first.omit_managed_fields && second.omit_managed_fields);
    assert!(!Decided::default().writes(Stage::Panic));
}

#[test]
fn the_default_writes_no_objects_and_leaves_out_what_machines_ask_all_the_time() {
    let policy = AuditPolicy::default();
    let admin = User::new("admin", ["system:masters"]);
    let node = User::new("system:node:a", ["system:nodes"]);
    assert_eq!(decide(&policy, &admin, "get", ["", "secrets", "", "demo", "s"]), Level::Metadata);
    assert_eq!(decide(&policy, &admin, "create", ["", "pods", "exec", "demo", "p"]), Level::Metadata);
    assert_eq!(
        decide(&policy, &node, "update", ["coordination.k8s.io", "leases", "", "kube-node-lease", "a"]),
        Level::None
    );
    assert_eq!(decide(&policy, &node, "create", ["", "serviceaccounts", "token", "demo", "a"]), Level::Metadata);
    let health = Asked { user: &admin, verb: "get", resource: None, path: "/readyz" };
    assert_eq!(policy.decide(&health).level, Level::None);
    assert!(policy.rules.iter().all(|rule| rule.level <= Some(Level::Metadata)));
}

#[test]
fn what_is_wrong_with_a_policy_is_said_all_at_once() {
    let text = "
apiVersion: audit.k8s.io/v1beta1
kind: Policy
rules:
- {verbs: [get]}
- {level: Metadata, nonResourceURLs: [logs, '/a*b'], namespaces: [x]}
- {level: Metadata, resources: [{group: apps/v1}, {group: '', resourceNames: [a]}]}";
    let PolicyError::Invalid(mistakes) = AuditPolicy::parse(text).unwrap_err() else { panic!() };
    assert_eq!(mistakes.len(), 7, "{mistakes:#?}");
    for bad in [
        "",
        "rules: 5",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Everything}]",
        "kind: Policy\nextra: 1",
    ] {
        assert!(matches!(AuditPolicy::parse(bad), Err(PolicyError::Malformed(_))), "{bad}");
    }
}
