use super::*;
use serde_json::{Value, json};

fn descriptor(kind: &str) -> ResourceDescriptor {
    all().into_iter().find(|descriptor| descriptor.kind == kind).unwrap()
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "inventory.orrery.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn fields(kind: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    descriptor(kind).rules.validate(new, old).into_iter().map(|error| error.field).collect()
}

fn cells(kind: &str, object: &Value, wide: bool) -> Vec<(String, Value)> {
    let descriptor = descriptor(kind);
    let columns = descriptor.columns.iter().filter(|column| wide || column.priority == 0);
    columns.map(|column| (column.name.to_string(), (column.cell)(object, 0))).collect()
}

#[test]
fn each_kind_demands_its_references_and_a_label_for_a_name() {
    let table: [(&str, &str, Value, &[&str]); 18] = [
        ("Host", "host-1", json!({"cluster": "cluster-1"}), &[]),
        ("Host", "host.1", json!({"cluster": ""}), &["metadata.name", "spec.cluster"]),
        ("ComputeCluster", "Cluster", json!({}), &["metadata.name"]),
        ("Zone", "zone-a", json!({"cluster": "No Cluster"}), &["spec.cluster"]),
        ("Supervisor", "supervisor-1", json!({}), &["spec.cluster"]),
        ("WorkloadNamespace", "kube-system", json!({"supervisor": "supervisor-1"}), &["metadata.name"]),
        ("WorkloadNamespace", "demo", json!({}), &["spec.supervisor"]),
        (
            "WorkloadNamespace",
            "demo",
            json!({"supervisor": "s", "access": [
                {"subjectType": "User", "subject": "ada", "role": "Edit"},
                {"subjectType": "User", "subject": "ada", "role": "View"},
                {"subjectType": "Group", "subject": "ada", "role": "View"},
                {"subjectType": "Group", "subject": "", "role": "View"}]}),
            &["spec.access[1].subject", "spec.access[3].subject"],
        ),
        ("Task", "t", json!({"operation": "EnableSupervisor", "targetKind": "Supervisor"}), &["spec.targetName"]),
        ("PlacementReview", "", json!({"supervisor": "", "pods": []}), &["spec.supervisor"]),
        ("ResourcePool", "p", json!({"cluster": "c", "cpu": {"reservation": 5, "limit": 5}}), &[]),
        (
            "ResourcePool",
            "p",
            json!({"cluster": "c", "parent": "p", "cpu": {"reservation": 6, "limit": 5},
                "memory": {"shares": {"level": "High", "value": 3}}}),
            &["spec.parent", "spec.cpu.limit", "spec.memory.shares.value"],
        ),
        (
            "ResourcePool",
            "p",
            json!({"cluster": "c", "cpu": {"shares": {"level": "Custom"}},
                "memory": {"shares": {"level": "Custom", "value": 1_000_001}}}),
            &["spec.cpu.shares.value", "spec.memory.shares.value"],
        ),
        ("VirtualMachine", "m", json!({"owner": {"kind": "Pod", "name": "p"}, "vcpus": 1, "memoryBytes": 1}), &[]),
        ("VirtualMachine", "m", json!({"owner": {"kind": "Pod"}, "vcpus": 0}), &["spec.owner.name", "spec.vcpus"]),
        ("Datastore", "d", json!({"path": "data"}), &["spec.path"]),
        ("Network", "n", json!({"segment": "pods", "subnet": "10.244.0.0/24"}), &[]),
        ("Network", "n", json!({"subnet": "10.244.0.1/24"}), &["spec.segment", "spec.subnet"]),
    ];
    for (kind, name, spec, expected) in table {
        assert_eq!(fields(kind, &object(kind, name, &spec), None), expected, "{kind} {name} {spec}");
    }
}

#[test]
fn what_an_object_belongs_to_never_changes() {
    let table = [
        ("Host", json!({"cluster": "a"}), json!({"cluster": "b"}), "spec.cluster"),
        ("Supervisor", json!({"cluster": "a"}), json!({"cluster": "b"}), "spec.cluster"),
        ("WorkloadNamespace", json!({"supervisor": "a"}), json!({"supervisor": "b"}), "spec.supervisor"),
        ("ResourcePool", json!({"cluster": "a"}), json!({"cluster": "b"}), "spec.cluster"),
        ("Datastore", json!({"path": "/a"}), json!({"path": "/b"}), "spec.path"),
        (
            "Network",
            json!({"segment": "a", "subnet": "10.0.0.0/8"}),
            json!({"segment": "b", "subnet": "10.0.0.0/8"}),
            "spec.segment",
        ),
        (
            "VirtualMachine",
            json!({"owner": {"kind": "Pod", "name": "p"}, "vcpus": 1}),
            json!({"owner": {"kind": "Pod", "name": "p"}, "vcpus": 2}),
            "spec.vcpus",
        ),
    ];
    for (kind, before, after, field) in table {
        let (old, new) = (object(kind, "x", &before), object(kind, "x", &after));
        assert_eq!(fields(kind, &new, Some(&old)), [field], "{kind}");
        assert!(fields(kind, &old, Some(&old)).is_empty());
    }
}

#[test]
fn an_abort_is_not_taken_back() {
    let spec = |abort| json!({"operation": "o", "targetKind": "k", "targetName": "n", "abort": abort});
    let (going, aborted) = (object("Task", "t", &spec(false)), object("Task", "t", &spec(true)));
    assert!(fields("Task", &aborted, Some(&going)).is_empty());
    assert_eq!(fields("Task", &going, Some(&aborted)), ["spec.abort"]);
}

#[test]
fn unknown_fields_of_a_spec_are_refused_and_a_kind_has_a_schema() {
    for descriptor in all() {
        let schema = descriptor.rules.schema();
        assert!(schema["properties"]["spec"].is_object(), "{}", descriptor.kind);
        assert!(descriptor.rules.decode(&mut object(&descriptor.kind, "x", &json!({"supervisor": 7}))).is_err());
    }
}

#[test]
fn the_columns_of_a_host_tell_where_it_is_and_how_it_does() {
    let mut host = object("Host", "host-1", &json!({"cluster": "cluster-1"}));
    assert!(cells("Host", &host, true).contains(&("Ready".into(), json!("Unknown"))));
    host["status"] = json!({
        "conditions": [{"type": "Ready", "status": "True"}],
        "machines": 3,
        "facts": {"accelerator": "TCG", "cpuMilli": 3500, "memoryBytes": 8_589_934_592u64, "qemuVersion": "7.2.22"},
    });
    let narrow = [
        ("Name", json!("host-1")),
        ("Cluster", json!("cluster-1")),
        ("Ready", json!("True")),
        ("Accelerator", json!("TCG")),
        ("CPU", json!("3500m")),
        ("Memory", json!("8192Mi")),
        ("Machines", json!(3)),
        ("Age", json!("<unknown>")),
    ];
    assert_eq!(cells("Host", &host, false), narrow.map(|(name, value)| (name.to_owned(), value)));
    assert!(cells("Host", &host, true).contains(&("QEMU".into(), json!("7.2.22"))));
}

#[test]
fn the_columns_of_a_pool_and_a_machine_tell_what_they_take() {
    let spec = json!({"cluster": "c", "cpu": {"reservation": 1500, "expandableReservation": true, "limit": 4000},
        "memory": {"shares": {"level": "Low"}}});
    let shown = cells("ResourcePool", &object("ResourcePool", "p", &spec), true);
    for (column, value) in [
        ("Parent", json!("<none>")),
        ("CPU", json!("1500m+/4")),
        ("Memory", json!("0/unlimited")),
        ("CPU shares", json!(4000)),
        ("Memory shares", json!(81_920)),
        ("Admitted", json!("Unknown")),
    ] {
        assert!(shown.contains(&(column.to_owned(), value)), "{column}: {shown:?}");
    }
    let spec = json!({"owner": {"kind": "Pod", "namespace": "demo", "name": "web"}, "host": "host-1", "vcpus": 2,
        "memoryBytes": 536_870_912u64, "powerState": "PoweredOn"});
    let shown = cells("VirtualMachine", &object("VirtualMachine", "m", &spec), false);
    for (column, value) in [("Owner", json!("Pod demo/web")), ("Host", json!("host-1")), ("Memory", json!("512Mi"))] {
        assert!(shown.contains(&(column.to_owned(), value)), "{column}: {shown:?}");
    }
}

#[test]
fn a_new_task_is_queued() {
    let mut task = object("Task", "t", &json!({}));
    descriptor("Task").rules.prepare_create(&mut task);
    assert!(cells("Task", &task, false).contains(&("State".into(), json!("Queued"))));
    assert!(cells("Task", &task, false).contains(&("Progress".into(), json!("0%"))));
}
