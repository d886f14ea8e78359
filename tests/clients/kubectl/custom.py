"""A custom resource, from its definition to its end."""

import json
import re

from ..report import contains, equal, expect


def group(k):
    """Each version of kubectl has a group of its own, so that none finds what another cached or left."""
    return f"v1-{k.minor}.clients.test"


def definition(k, more=""):
    return f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: gadgets.{group(k)}}}
spec:
  group: {group(k)}
  scope: Namespaced
  names: {{plural: gadgets, singular: gadget, kind: Gadget, shortNames: [gd], categories: [toys]}}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {{name: Size, type: integer, jsonPath: .spec.size, description: How big it is.}}
    - {{name: Phase, type: string, jsonPath: .status.phase, priority: 1}}
    subresources:
      status: {{}}
      scale: {{specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    selectableFields: [{{jsonPath: .spec.colour}}]
    schema:
      openAPIV3Schema:
        type: object
        description: A gadget is a thing.
        required: [spec]
        properties:
          spec:
            type: object
            required: [size]
            x-kubernetes-validations:
            - {{rule: "self.size < 100 || self.colour == 'red'", message: only red ones are big}}
            properties:
              size: {{type: integer, minimum: 1, description: How big it is.}}
              colour: {{type: string, enum: [red, blue], default: blue}}
              {more}
          status:
            type: object
            properties: {{phase: {{type: string}}, size: {{type: integer}}}}
"""


def gadget(k, name, spec):
    return f"apiVersion: {group(k)}/v1\nkind: Gadget\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def check_definition(k):
    """a definition is established"""
    k(
        "apply",
        "-f",
        k.file("crd.yaml", definition(k)),
        says=f"customresourcedefinition.apiextensions.k8s.io/gadgets.{group(k)} created",
    )
    k("wait", "--for=condition=Established", f"crd/gadgets.{group(k)}", "--timeout=30s", says="condition met")
    k("api-resources", f"--api-group={group(k)}", says=["gadgets", "gd", "Gadget"])


def check_create(k):
    """an object of it is made, with defaults, and shown in its columns"""
    k("apply", "-f", "-", input=gadget(k, "first", "{size: 3}"), says=f"gadget.{group(k)}/first created")
    table = k("get", "gd")
    equal([line.split()[:2] for line in table.splitlines()], [["NAME", "SIZE"], ["first", "3"]], "table")
    equal(k.value("gadget/first", ".spec.colour"), "blue", "default")
    contains(k("get", "toys"), "first")
    contains(k("get", f"gadgets.v1.{group(k)}", "-o", "wide").splitlines()[0], "PHASE")


def check_explain(k):
    """explain shows its schema"""
    k.eventually(lambda: k.run("explain", "gadget.spec").code == 0, "its documentation is served")
    k("explain", "gadget", says=[f"GROUP:      {group(k)}", "KIND:       Gadget", "A gadget is a thing."])
    k("explain", "gadget.spec.size", says=["FIELD: size <integer>", "How big it is."])
    k("explain", "gadgets", "--recursive", says=["colour", "-required-"])


def check_refused(k):
    """what its schema and rules forbid is refused"""
    k.refused(
        "apply",
        "-f",
        "-",
        input=gadget(k, "bad", "{size: 0}"),
        says=["spec.size", "should be greater than or equal to 1"],
    )
    k.refused(
        "apply",
        "-f",
        "-",
        input=gadget(k, "bad", "{size: 2, colour: green}"),
        says=["spec.colour", 'supported values: "red", "blue"'],
    )
    k.refused("apply", "-f", "-", input=gadget(k, "bad", "{size: 200}"), says="only red ones are big")
    k.refused("apply", "-f", "-", input=gadget(k, "bad", "{}"), says="spec.size: Required value")
    k.refused(
        "create",
        "--validate=strict",
        "-f",
        "-",
        input=gadget(k, "bad", "{size: 2, sise: 3}"),
        says='unknown field "spec.sise"',
    )


def check_change(k):
    """apply, patch, edit and scale change it"""
    k("apply", "-f", "-", input=gadget(k, "first", "{size: 4}"), says="configured")
    k("apply", "-f", "-", input=gadget(k, "first", "{size: 4}"), says="unchanged")
    k("patch", "gadget", "first", "--type=merge", "-p", '{"spec": {"colour": "red"}}', says="patched")
    strategic = "application/strategic-merge-patch+json is not supported"
    k.refused("patch", "gadget", "first", "-p", '{"spec": {"colour": "red"}}', says=strategic)
    k("edit", "gadget", "first", env={"KUBE_EDITOR": "sed -i s/size:.4/size:\\ 5/"}, says="edited")
    k("scale", "gadget/first", "--replicas=6", says="scaled")
    equal(k.value("gadget/first", ".spec.size"), "6", "size")
    equal(k.value("gadget/first", ".metadata.generation"), "5", "generation")


def check_status(k):
    """its status is a subresource"""
    k(
        "patch",
        "gadget",
        "first",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status": {"phase": "Fine"}, "spec": {"size": 50}}',
        says="patched",
    )
    equal(k("get", "gadget", "first", "-o", "jsonpath={.status.phase} {.spec.size}"), "Fine 6", "phase and size")
    k("wait", "--for=jsonpath={.status.phase}=Fine", "gadget/first", "--timeout=10s", says="condition met")


def check_fields(k):
    """its selectable fields select"""
    k("apply", "-f", "-", input=gadget(k, "second", "{size: 1}"))
    equal(
        k("get", "gadgets", "--field-selector", "spec.colour=blue", "-o", "name").strip(),
        f"gadget.{group(k)}/second",
        "names",
    )


def check_server_side(k):
    """apply --server-side and diff work on it"""
    k(
        "apply",
        "--server-side",
        "--field-manager=other",
        "-f",
        "-",
        input=gadget(k, "third", "{size: 1}"),
        says="serverside-applied",
    )
    k.refused("apply", "--server-side", "-f", "-", input=gadget(k, "third", "{size: 2}"), says='conflict with "other"')
    result = k.run("diff", "-f", k.file("second.yaml", gadget(k, "second", "{size: 9}")))
    expect(result.code == 1 and re.search(r"^\+  size: 9$", result.out, re.M), "no difference", result.all)


def check_schema_grows(k):
    """a changed definition is served within a moment"""
    k(
        "apply",
        "-f",
        k.file("crd.yaml", definition(k, "weight: {type: integer, description: In grams.}")),
        says="configured",
    )
    k.eventually(
        lambda: k.run("apply", "-f", "-", input=gadget(k, "second", "{size: 1, weight: 5}"), env={}).code == 0
        and k.value("gadget/second", ".spec.weight") == "5",
        "the new field is kept",
    )
    k.eventually(lambda: "In grams." in k.run("explain", "gadget.spec.weight").out, "the new field is explained")


def check_end(k):
    """the definition takes its objects along"""
    k("delete", "gadget", "first", says=f'gadget.{group(k)} "first" deleted')
    k("delete", "crd", f"gadgets.{group(k)}", says="deleted")
    k.refused("get", "gadgets", says="gadgets")
    listed = json.loads(k("get", "--raw", "/apis"))["groups"]
    expect(group(k) not in [item["name"] for item in listed], "the group is still listed")
