"""get in all its forms, describe, events."""

import re

from ..report import contains, equal, expect


def check_setting(k):
    """the objects that are read are there"""
    k(
        "apply",
        "-f",
        "-",
        input=k.deployment("web", 2) + "---" + k.pod("alone", labels="tier: back") + """
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
""",
    )
    k.settled("web")
    k("wait", "--for=condition=Ready", "pod/alone", "--timeout=60s", says="pod/alone condition met")


def check_table(k):
    """get prints the columns of each kind"""
    table = k("get", "pods")
    equal(table.splitlines()[0].split(), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"], "columns")
    expect(re.search(r"^alone +1/1 +Running +0 +\d+[sm]", table, re.M), "no line of the pod", table)
    equal(
        k("get", "deployments").splitlines()[0].split(), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"], "columns"
    )
    expect(re.search(r"^web +2/2 +2 +2 ", k("get", "deploy", "web", "--no-headers"), re.M), "numbers of the Deployment")


def check_wide(k):
    """get -o wide prints more columns"""
    contains(k("get", "pods", "-o", "wide").splitlines()[0], "IP", "NODE", "NOMINATED NODE", "READINESS GATES")
    contains(k("get", "deploy", "-o", "wide"), "CONTAINERS", "IMAGES", "SELECTOR", "app=web", k.image)
    contains(k("get", "nodes", "-o", "wide"), "INTERNAL-IP", "KERNEL-VERSION", "CONTAINER-RUNTIME", "Ready")
    contains(k("get", "service", "web", "-o", "wide"), "CLUSTER-IP", "80/TCP", "app=web")


def check_yaml_and_json(k):
    """get -o yaml and json print the whole object"""
    yaml = k("get", "pod", "alone", "-o", "yaml", says=["apiVersion: v1", "kind: Pod", "uid: ", "phase: Running"])
    expect("managedFields" not in yaml, "managed fields are shown unasked", yaml)
    k("get", "pod", "alone", "-o", "yaml", "--show-managed-fields", says="managedFields:")
    pods = k.get("pods")
    equal((pods["kind"], len(pods["items"])), ("List", 3), "kind and number of a list")


def check_paths(k):
    """get -o jsonpath, custom-columns, go-template and name"""
    equal(k("get", "pod", "alone", "-o", "jsonpath={.spec.containers[0].name}"), "main", "jsonpath")
    equal(
        sorted(
            k(
                "get",
                "pods",
                "-o",
                'jsonpath={range .items[?(@.metadata.labels.app=="web")]}{.status.phase}{"\\n"}{end}',
            ).split()
        ),
        ["Running", "Running"],
        "jsonpath with a filter",
    )
    table = k("get", "pods", "-o", "custom-columns=NAME:.metadata.name,PHASE:.status.phase", "-l", "app=alone")
    equal([line.split() for line in table.splitlines()], [["NAME", "PHASE"], ["alone", "Running"]], "custom columns")
    equal(k("get", "pod", "alone", "-o", "go-template={{.status.phase}}"), "Running", "template")
    equal(k("get", "pod/alone", "service/web", "-o", "name").split(), ["pod/alone", "service/web"], "names")


def check_selectors(k):
    """get -l and --field-selector choose"""

    def names(*arguments):
        return k("get", "pods", "-o", "name", *arguments).split()

    equal(names("-l", "tier=back"), ["pod/alone"], "equality")
    equal(len(names("-l", "app in (web, alone)")), 3, "set")
    equal(len(names("-l", "!tier")), 2, "absence")
    equal(names("-l", "app notin (web)"), ["pod/alone"], "complement")
    equal(names("--field-selector", "metadata.name=alone"), ["pod/alone"], "name")
    equal(len(names("--field-selector", "status.phase=Running")), 3, "phase")
    equal(names("--field-selector", "status.phase!=Running"), [], "phase, the others")
    node = k.value("pod/alone", ".spec.nodeName")
    expect("pod/alone" in names("--field-selector", f"spec.nodeName={node}"), "node")
    k.refused("get", "pods", "--field-selector", "spec.nonsense=1", says="spec.nonsense")


def check_all_namespaces(k):
    """get -A has the namespace of each object"""
    table = k("get", "pods", "-A")
    equal(table.splitlines()[0].split()[0], "NAMESPACE", "first column")
    contains(table, k.namespace)


def check_labels(k):
    """get --show-labels, -L and --sort-by"""
    contains(k("get", "pods", "--show-labels"), "LABELS", "app=alone,tier=back")
    expect(re.search(r"^alone .* back$", k("get", "pods", "-L", "tier"), re.M), "no column of the label")
    names = k("get", "pods", "--sort-by=.metadata.name", "-o", "name").split()
    equal(names, sorted(names), "order")


def check_several(k):
    """get takes several types, and all"""
    out = k("get", "deploy,rs,svc,po")
    contains(out, "deployment.apps/web", "replicaset.apps/web-", "service/web", "pod/alone")
    contains(k("get", "all"), "deployment.apps/web", "pod/alone", "service/web")
    contains(k("get", "pods", "--show-kind"), "pod/alone")


def check_missing(k):
    """get says what is not there"""
    k.refused("get", "pod", "nobody", says='Error from server (NotFound): pods "nobody" not found')
    equal(k("get", "pod", "nobody", "--ignore-not-found"), "", "output with --ignore-not-found")
    result = k.run("get", "pods", "-l", "app=nobody")
    expect(
        result.code == 0 and f"No resources found in {k.namespace} namespace." in result.err, "empty list", result.all
    )


def check_chunks(k):
    """get --chunk-size reads a list in pieces"""
    items = "".join(
        f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: piece-{i:02}, labels: {{pieces: 'yes'}}}}\n"
        for i in range(25)
    )
    k("create", "-f", "-", input=items)
    result = k.run("get", "configmap", "-l", "pieces=yes", "-o", "name", "--chunk-size=10", "-v=8")
    equal(result.out.split(), [f"configmap/piece-{i:02}" for i in range(25)], "names")
    requests = {match for match in re.findall(r"GET\W+\S*configmaps\?(\S*continue=[^&\s\"]+)", result.err)}
    equal(len(requests), 2, "lists that continue another")
    equal(
        len(k("get", "configmap", "-l", "pieces=yes", "--no-headers", "--chunk-size=7").splitlines()),
        25,
        "lines of tables",
    )


def check_watch(k):
    """get --watch shows what changes"""
    k("create", "configmap", "watched")
    lines = k.until(
        "get",
        "configmap",
        "watched",
        "--watch",
        "--output-watch-events",
        "--no-headers",
        meanwhile=lambda: (k("label", "configmap", "watched", "seen=yes"), k("delete", "configmap", "watched")),
        seen=lambda line: line.startswith("DELETED"),
    )
    equal(
        [line.split()[:2] for line in lines],
        [["ADDED", "watched"], ["MODIFIED", "watched"], ["DELETED", "watched"]],
        "events",
    )
    lines = k.until("get", "pods", "-w", "-o", "name", seen=lambda line: line == "pod/alone")
    expect(lines, "no lines")


def check_watch_only(k):
    """get --watch-only begins with what comes next"""
    k("create", "configmap", "before")
    # The pod's own annotation is what is seen first; the client says nothing before.
    result = k.run("get", "configmap", "before", "--watch-only", "--request-timeout=2s", "-o", "name")
    equal(result.out, "", "what was there already")


def check_describe(k):
    """describe tells the story of each kind"""
    pod = k("describe", "pod", "alone")
    for pattern in [
        r"^Name: +alone$",
        r"^Node: +\S+/\S+$",
        r"^Status: +Running$",
        r"^ +Command:$",
        r"^Conditions:$",
        r"^QoS Class: +BestEffort$",
        r"Normal +Scheduled .*Successfully assigned",
    ]:
        expect(re.search(pattern, pod, re.M), f"no line {pattern}", pod)
    deployment = k("describe", "deployment", "web")
    for pattern in [
        r"^Replicas: +2 desired \| 2 updated \| 2 total \| 2 available \| 0 unavailable$",
        r"^NewReplicaSet: +web-\w+ \(2/2 replicas created\)$",
        r"ScalingReplicaSet .*Scaled up replica set web-",
    ]:
        expect(re.search(pattern, deployment, re.M), f"no line {pattern}", deployment)
    contains(k("describe", "replicaset", "-l", "app=web"), "Controlled By:  Deployment/web", "SuccessfulCreate")
    service = k("describe", "service", "web")
    expect(re.search(r"^Endpoints: +\d+\.\d+\.\d+\.\d+:8080,", service, re.M), "no endpoints", service)
    node = k.value("pod/alone", ".spec.nodeName")
    contains(
        k("describe", "node", node),
        "Capacity:",
        "Allocatable:",
        "Non-terminated Pods:",
        "Allocated resources:",
        "alone",
    )
    contains(k("describe", "namespace", k.namespace), "Status:       Active")
    contains(k("describe", "configmap", "piece-01"), "BinaryData")
    contains(k("describe", "serviceaccount", "default"), "Image pull secrets:")
    contains(k("describe", "endpointslice", "-l", "kubernetes.io/service-name=web"), "AddressType:", "IPv4")


def check_describe_secret(k):
    """describe does not show what is secret"""
    k("create", "secret", "generic", "hidden", "--from-literal=word=open-sesame")
    out = k("describe", "secret", "hidden", says="word:  11 bytes")
    expect("sesame" not in out, "the secret is shown", out)


def check_events(k):
    """events lists what happened, also of one object"""
    contains(k("events"), "LAST SEEN", "Scheduled", "Pod/alone")
    own = k("events", "--for", "pod/alone", "--types=Normal,Warning")
    contains(own, "Scheduled")
    expect("Deployment/web" not in own, "events of others", own)
    contains(k("get", "events", "--field-selector", "involvedObject.name=alone"), "Scheduled")
    contains(k("get", "events", "--sort-by=.lastTimestamp"), "ScalingReplicaSet")
