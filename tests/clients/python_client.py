"""The Python client (`kubernetes` of PyPI), imported from the directory of tools."""

import base64
import json
import logging
import secrets
import sys
import threading
import time

from .report import Failure, Skip, checks_of, contains, equal, eventually, expect
from .tools import PYTHON_CLIENT, Unavailable

GROUP = "python.clients.test"


class Python:
    """The client's modules, APIs, and a namespace of its own."""

    def __init__(self, setting, modules):
        sys.path.insert(0, str(modules))
        import kubernetes

        self.kubernetes, self.setting = kubernetes, setting
        # What it logs is not told among the checks; what matters is raised.
        logging.getLogger().addHandler(logging.NullHandler())
        # The one configuration of the process: the election's locks take no other.
        kubernetes.config.load_kube_config(str(setting.kubeconfig))
        client = self.client = kubernetes.client
        self.core, self.apps, self.batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
        self.custom, self.extensions = client.CustomObjectsApi(), client.ApiextensionsV1Api()
        self.namespace = f"clients-python-{secrets.token_hex(3)}"
        self.core.create_namespace({"metadata": {"name": self.namespace}})

    def end(self):
        self.core.delete_namespace(self.namespace)

    def config_map(self, name, data, **metadata):
        return {"metadata": {"name": name, **metadata}, "data": data}

    def deployment(self, name, replicas=1):
        container = {
            "name": "main",
            "image": self.setting.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "3600"],
        }
        return {
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
                },
            },
        }

    def refused(self, status, reason, call, *arguments, **options):
        """The call has to be refused so; the body of the answer."""
        try:
            call(*arguments, **options)
        except self.client.ApiException as error:
            equal((error.status, error.reason), (status, reason[0]), "status and reason of HTTP")
            body = json.loads(error.body)
            equal(
                (body["kind"], body["status"], body["code"], body["reason"]),
                ("Status", "Failure", status, reason[1]),
                "body",
            )
            return body
        raise Failure("it should have been refused")


NOT_FOUND = (404, ("Not Found", "NotFound"))
CONFLICT = (409, ("Conflict", "Conflict"))


def run(setting, report):
    group = f"python {PYTHON_CLIENT}"
    checks = [check for check in checks_of(sys.modules[__name__]) if report.wants(group, check)]
    if not checks:
        return
    try:
        modules = setting.tools.python_client()
    except Unavailable as why:
        report.skip(group, why)
        return
    try:
        python = Python(setting, modules)
    except Exception as error:
        report.fail(group, f"it does not start: {type(error).__name__}: {error}")
        return
    try:
        for check in checks:
            report.run(group, check, python)
    finally:
        if not setting.keep:
            python.end()


def check_version(p):
    """the version and the APIs are read"""
    equal(p.client.VersionApi().get_code().major, "1", "major")
    groups = [group.name for group in p.client.ApisApi().get_api_versions().groups]
    expect("apps" in groups and "batch" in groups, "groups are missing", groups)
    expect("pods" in [resource.name for resource in p.core.get_api_resources().resources], "pods are missing")


def check_core(p):
    """config maps and secrets are made, read, replaced and deleted"""
    made = p.core.create_namespaced_config_map(p.namespace, p.config_map("a", {"k": "1"}))
    expect(made.metadata.uid and made.metadata.creation_timestamp.year > 2000, "metadata is not filled in", made)
    made.data["k"] = "2"
    replaced = p.core.replace_namespaced_config_map("a", p.namespace, made)
    equal(p.core.read_namespaced_config_map("a", p.namespace).data, {"k": "2"}, "data")
    expect(replaced.metadata.resource_version != made.metadata.resource_version, "the version stayed")
    p.core.create_namespaced_secret(p.namespace, {"metadata": {"name": "s"}, "stringData": {"word": "sesame"}})
    equal(base64.b64decode(p.core.read_namespaced_secret("s", p.namespace).data["word"]), b"sesame", "word")
    p.core.delete_namespaced_config_map("a", p.namespace)
    p.refused(*NOT_FOUND, p.core.read_namespaced_config_map, "a", p.namespace)


def check_errors(p):
    """refusals come as ApiException with a reason and details"""
    body = p.refused(*NOT_FOUND, p.core.read_namespaced_pod, "nobody", p.namespace)
    equal(
        (body["message"], body["details"]),
        ('pods "nobody" not found', {"name": "nobody", "kind": "pods"}),
        "message and details",
    )
    p.core.create_namespaced_config_map(p.namespace, p.config_map("twice", {}))
    p.refused(
        409, ("Conflict", "AlreadyExists"), p.core.create_namespaced_config_map, p.namespace, p.config_map("twice", {})
    )
    body = p.refused(
        422, ("Unprocessable Entity", "Invalid"), p.apps.create_namespaced_deployment, p.namespace, p.deployment("BAD")
    )
    equal(body["details"]["causes"][0]["field"], "metadata.name", "field of the first cause")
    old = p.core.read_namespaced_config_map("twice", p.namespace)
    p.core.patch_namespaced_config_map("twice", p.namespace, {"data": {"a": "1"}})
    p.refused(*CONFLICT, p.core.replace_namespaced_config_map, "twice", p.namespace, old)


def check_lists(p):
    """lists come in pieces with limit and continue, and by labels and fields"""
    for index in range(12):
        p.core.create_namespaced_config_map(
            p.namespace, p.config_map(f"piece-{index:02}", {}, labels={"pieces": "yes"})
        )
    names, token, requests = [], None, 0
    while token is None or token:
        page = p.core.list_namespaced_config_map(p.namespace, label_selector="pieces=yes", limit=5, _continue=token)
        names += [item.metadata.name for item in page.items]
        token, requests = page.metadata._continue or "", requests + 1
    equal((names, requests), ([f"piece-{index:02}" for index in range(12)], 3), "names and requests")
    found = p.core.list_namespaced_config_map(p.namespace, field_selector="metadata.name=piece-03").items
    equal([item.metadata.name for item in found], ["piece-03"], "by name")
    expect(
        p.namespace in [item.metadata.namespace for item in p.core.list_config_map_for_all_namespaces().items],
        "all namespaces",
    )
    p.core.delete_collection_namespaced_config_map(p.namespace, label_selector="pieces=yes")
    equal(p.core.list_namespaced_config_map(p.namespace, label_selector="pieces=yes").items, [], "what is left")


def check_watch(p):
    """a watch from a resourceVersion tells what happened since, and ends in time"""
    since = p.core.list_namespaced_config_map(p.namespace).metadata.resource_version
    p.core.create_namespaced_config_map(p.namespace, p.config_map("watched", {"k": "1"}))
    p.core.patch_namespaced_config_map("watched", p.namespace, {"data": {"k": "2"}})
    p.core.delete_namespaced_config_map("watched", p.namespace)
    watch = p.kubernetes.watch.Watch()
    began = time.monotonic()
    events = [
        (event["type"], event["object"].metadata.name, event["object"].data)
        for event in watch.stream(
            p.core.list_namespaced_config_map, p.namespace, resource_version=since, timeout_seconds=2
        )
    ]
    equal(
        events,
        [("ADDED", "watched", {"k": "1"}), ("MODIFIED", "watched", {"k": "2"}), ("DELETED", "watched", {"k": "2"})],
        "events",
    )
    expect(1 < time.monotonic() - began < 20, "it did not end after two seconds")


def check_watch_live(p):
    """a watch tells what happens while it runs, and is stopped"""
    watch, seen = p.kubernetes.watch.Watch(), []
    timer = threading.Timer(1, p.core.create_namespaced_config_map, (p.namespace, p.config_map("live", {})))
    timer.start()
    for event in watch.stream(p.core.list_namespaced_config_map, p.namespace, timeout_seconds=30):
        seen.append(event["object"].metadata.name)
        if seen[-1] == "live":
            watch.stop()
    timer.join()
    equal(seen[-1], "live", "last event")


def check_watch_too_old(p):
    """a watch from a version that never was ends with 410 or waits"""
    watch = p.kubernetes.watch.Watch()
    try:
        events = list(
            watch.stream(p.core.list_namespaced_config_map, p.namespace, resource_version="1", timeout_seconds=2)
        )
        expect(all(event["type"] in ("ADDED", "MODIFIED", "DELETED") for event in events), "other events", events)
    except p.client.ApiException as error:
        equal(error.status, 410, "status")


def check_informer(p):
    """an informer fills its cache and tells what changes"""
    from kubernetes import informer

    added = []
    shared = informer.SharedInformer(
        list_func=p.core.list_namespaced_config_map, namespace=p.namespace, resync_period=0
    )
    shared.add_event_handler(informer.ADDED, lambda item: added.append(item.metadata.name))
    shared.start()
    try:
        p.core.create_namespaced_config_map(p.namespace, p.config_map("informed", {}))
        eventually(lambda: "informed" in added, "the informer tells of it")
        expect(shared.cache.get_by_key(f"{p.namespace}/informed") is not None, "it is not in the cache")
    finally:
        shared.stop()


def check_apps(p):
    """a Deployment becomes available, is scaled and restarted, and takes its pods along"""
    made = p.apps.create_namespaced_deployment(p.namespace, p.deployment("web"))
    expect(made.status is not None, "a new one has no status, which scripts read at once")

    def ready(count):
        status = p.apps.read_namespaced_deployment_status("web", p.namespace).status
        return (status.ready_replicas or 0) == count and (status.updated_replicas or 0) == count

    eventually(lambda: ready(1), "one ready replica", seconds=60)
    p.apps.patch_namespaced_deployment_scale("web", p.namespace, {"spec": {"replicas": 2}})
    eventually(lambda: ready(2), "two ready replicas", seconds=60)
    scale = p.apps.read_namespaced_deployment_scale("web", p.namespace)
    equal((scale.spec.replicas, scale.status.selector), (2, "app=web"), "scale")
    scale.spec.replicas = 1
    p.apps.replace_namespaced_deployment_scale("web", p.namespace, scale)
    eventually(lambda: ready(1), "one ready replica again", seconds=60)
    p.apps.delete_namespaced_deployment("web", p.namespace, propagation_policy="Foreground")
    eventually(
        lambda: not p.core.list_namespaced_pod(p.namespace, label_selector="app=web").items, "the pods go", seconds=60
    )


def check_batch(p):
    """a Job completes, and a CronJob is made"""
    template = p.deployment("x")["spec"]["template"]
    template["spec"].update(restartPolicy="Never")
    template["spec"]["containers"][0]["command"] = ["true"]
    p.batch.create_namespaced_job(p.namespace, {"metadata": {"name": "once"}, "spec": {"template": template}})
    eventually(
        lambda: p.batch.read_namespaced_job_status("once", p.namespace).status.succeeded == 1, "it succeeds", seconds=60
    )
    cron = p.batch.create_namespaced_cron_job(
        p.namespace,
        {
            "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}},
        },
    )
    equal((cron.spec.concurrency_policy, cron.spec.suspend), ("Allow", False), "defaults")
    p.batch.delete_namespaced_job("once", p.namespace, propagation_policy="Background")
    eventually(lambda: not p.core.list_namespaced_pod(p.namespace, label_selector="job-name=once").items, "its pods go")


def check_patches(p):
    """patches of all four types, each by its content type"""
    p.apps.create_namespaced_deployment(p.namespace, p.deployment("patched", 0))
    patch = p.apps.patch_namespaced_deployment
    container = {"name": "main", "env": [{"name": "A", "value": "1"}]}
    spec = {"spec": {"template": {"spec": {"containers": [container]}}}}
    merged = patch(
        "patched", p.namespace, spec, _content_type="application/strategic-merge-patch+json"
    ).spec.template.spec.containers[0]
    equal((merged.image, merged.env[0].name), (p.setting.image, "A"), "strategic merge")
    labelled = patch(
        "patched",
        p.namespace,
        {"metadata": {"labels": {"a": "b", "c": None}}},
        _content_type="application/merge-patch+json",
    )
    equal(labelled.metadata.labels, {"a": "b"}, "merge")
    patched = patch(
        "patched",
        p.namespace,
        [{"op": "replace", "path": "/metadata/labels/a", "value": "c"}],
        _content_type="application/json-patch+json",
    )
    equal(patched.metadata.labels, {"a": "c"}, "JSON patch")
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "patched", "labels": {"a": "d"}}}
    options = {"field_manager": "python", "_content_type": "application/apply-patch+yaml"}
    body = p.refused(*CONFLICT, patch, "patched", p.namespace, applied, **options)
    contains(body["message"], ".metadata.labels.a")
    equal(patch("patched", p.namespace, applied, force=True, **options).metadata.labels, {"a": "d"}, "apply")


def check_status(p):
    """status is a subresource of its own"""
    condition = {"type": "of.test/Own", "status": "True"}
    pod = p.deployment("x")["spec"]["template"]
    p.core.create_namespaced_pod(p.namespace, {"metadata": {"name": "alone"}, "spec": pod["spec"]})
    p.core.patch_namespaced_pod_status(
        "alone", p.namespace, {"status": {"conditions": [condition]}, "metadata": {"labels": {"a": "b"}}}
    )
    types = [found.type for found in p.core.read_namespaced_pod_status("alone", p.namespace).status.conditions]
    expect("of.test/Own" in types, "the condition is not there", types)
    p.core.delete_namespaced_pod("alone", p.namespace, grace_period_seconds=0)


def check_token(p):
    """a token of a service account is somebody"""
    p.core.create_namespaced_service_account(p.namespace, {"metadata": {"name": "robot"}})
    token = p.core.create_namespaced_service_account_token(
        "robot", p.namespace, {"spec": {"expirationSeconds": 600}}
    ).status
    expect(token.expiration_timestamp, "it does not expire")
    own = p.client.Configuration()
    own.host, own.ssl_ca_cert = p.core.api_client.configuration.host, p.core.api_client.configuration.ssl_ca_cert
    own.api_key = {"authorization": f"Bearer {token.token}", "BearerToken": f"Bearer {token.token}"}
    with p.client.ApiClient(own) as robot:
        user = p.client.AuthenticationV1Api(robot).create_self_subject_review({}).status.user_info.username
        equal(user, f"system:serviceaccount:{p.namespace}:robot", "user")
        p.refused(403, ("Forbidden", "Forbidden"), p.client.CoreV1Api(robot).list_namespaced_pod, p.namespace)
    review = p.client.AuthenticationV1Api().create_token_review({"spec": {"token": token.token}})
    equal(review.status.authenticated, True, "review of the token")


def check_access(p):
    """access reviews are answered"""
    review = {
        "spec": {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": p.namespace}}
    }
    equal(p.client.AuthorizationV1Api().create_subject_access_review(review).status.allowed, False, "allowed")


def definition():
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer", "minimum": 1}}},
            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
        },
    }
    return {
        "metadata": {"name": f"boxes.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "boxes", "singular": "box", "kind": "Box"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def check_custom(p):
    """custom objects are made, changed and deleted, and so is their definition"""
    p.extensions.create_custom_resource_definition(definition())
    try:
        eventually(
            lambda: any(
                condition.type == "Established" and condition.status == "True"
                for condition in p.extensions.read_custom_resource_definition(f"boxes.{GROUP}").status.conditions or []
            ),
            "it is established",
        )
        place = (GROUP, "v1", p.namespace, "boxes")
        box = {"apiVersion": f"{GROUP}/v1", "kind": "Box", "metadata": {"name": "a"}, "spec": {"size": 1}}
        p.custom.create_namespaced_custom_object(*place, box)
        p.custom.patch_namespaced_custom_object(*place, "a", {"spec": {"size": 2}})
        p.custom.patch_namespaced_custom_object_status(*place, "a", {"status": {"phase": "Fine"}})
        found = p.custom.get_namespaced_custom_object(*place, "a")
        equal((found["spec"], found["status"]), ({"size": 2}, {"phase": "Fine"}), "spec and status")
        p.refused(
            422,
            ("Unprocessable Entity", "Invalid"),
            p.custom.patch_namespaced_custom_object,
            *place,
            "a",
            {"spec": {"size": 0}},
        )
        equal(len(p.custom.list_namespaced_custom_object(*place)["items"]), 1, "items")
        _dynamic(p)
        p.custom.delete_namespaced_custom_object(*place, "a")
        p.refused(*NOT_FOUND, p.custom.get_namespaced_custom_object, *place, "a")
    finally:
        p.extensions.delete_custom_resource_definition(f"boxes.{GROUP}")


def _dynamic(p):
    """The dynamic client discovers the kind and applies an object of it."""
    from kubernetes import dynamic

    boxes = dynamic.DynamicClient(p.client.ApiClient()).resources.get(api_version=f"{GROUP}/v1", kind="Box")
    equal((boxes.name, boxes.namespaced), ("boxes", True), "what was discovered")
    body = {"apiVersion": f"{GROUP}/v1", "kind": "Box", "metadata": {"name": "b"}, "spec": {"size": 7}}
    equal(boxes.server_side_apply(body=body, namespace=p.namespace, field_manager="dynamic").spec.size, 7, "size")
    equal(sorted(item.metadata.name for item in boxes.get(namespace=p.namespace).items), ["a", "b"], "names")
    boxes.delete(name="b", namespace=p.namespace)


def check_dynamic(p):
    """the dynamic client works on built-in kinds"""
    from kubernetes import dynamic

    maps = dynamic.DynamicClient(p.client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
    maps.create(body=p.config_map("dynamic", {"a": "1"}), namespace=p.namespace)
    maps.patch(
        name="dynamic", body={"data": {"b": "2"}}, namespace=p.namespace, content_type="application/merge-patch+json"
    )
    equal(maps.get(name="dynamic", namespace=p.namespace).data.to_dict(), {"a": "1", "b": "2"}, "data")
    for event in maps.watch(namespace=p.namespace, field_selector="metadata.name=dynamic", timeout=10):
        equal((event["type"], event["object"].metadata.name), ("ADDED", "dynamic"), "event")
        break
    maps.delete(name="dynamic", namespace=p.namespace)


def check_from_yaml(p):
    """utils.create_from_yaml makes what a file holds"""
    file = p.setting.directory / "python.yaml"
    file.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\napiVersion: v1\nkind: Service\n"
        "metadata: {name: two}\nspec: {ports: [{port: 80}]}\n",
        encoding="utf-8",
    )
    p.kubernetes.utils.create_from_yaml(p.client.ApiClient(), str(file), namespace=p.namespace)
    equal(p.core.read_namespaced_service("two", p.namespace).spec.ports[0].protocol, "TCP", "protocol")


def check_election(p):
    """of two candidates one leads, and the other follows it"""
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock import leaselock

    led, stopped = [], threading.Event()

    def candidate(name):
        def lead():
            led.append(name)
            if name == "first":
                stopped.wait(60)
                # It gives up the lead: the lease is not renewed any more.
                raise RuntimeError("ended as the check wants it")

        lock = leaselock.LeaseLock("election", p.namespace, name)
        settings = electionconfig.Config(
            lock,
            lease_duration=4,
            renew_deadline=3,
            retry_period=1,
            onstarted_leading=lead,
            onstopped_leading=lambda: None,
        )
        threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()

    candidate("first")
    eventually(lambda: led == ["first"], "the first leads")
    candidate("second")
    time.sleep(5)
    equal(led, ["first"], "leaders while the first renews")
    lease = p.client.CoordinationV1Api().read_namespaced_lease("election", p.namespace).spec
    equal(lease.holder_identity, "first", "holder")
    stopped.set()
    eventually(lambda: led == ["first", "second"], "the second leads")
    equal(
        p.client.CoordinationV1Api().read_namespaced_lease("election", p.namespace).spec.holder_identity,
        "second",
        "holder",
    )


def check_streams(p):
    """logs and exec of hollow nodes are refused with the reason"""
    if not p.setting.hollow:
        raise Skip("the nodes are real")
    pod = p.deployment("x")["spec"]["template"]["spec"]
    p.core.create_namespaced_pod(p.namespace, {"metadata": {"name": "hollow"}, "spec": pod})
    eventually(lambda: p.core.read_namespaced_pod("hollow", p.namespace).status.phase == "Running", "it runs")
    body = p.refused(
        503, ("Service Unavailable", "ServiceUnavailable"), p.core.read_namespaced_pod_log, "hollow", p.namespace
    )
    contains(body["message"], "cannot reach the kubelet")
    try:
        p.kubernetes.stream.stream(
            p.core.connect_get_namespaced_pod_exec, "hollow", p.namespace, command=["true"], stdout=True
        )
        raise Failure("exec was not refused")
    except p.client.ApiException as error:
        contains(str(error), "503")
