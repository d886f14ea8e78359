"""Who may do what, and as whom: can-i, whoami, tokens, impersonation, certificates."""

import base64
import json

from ..pki import make_request
from ..report import contains, equal, expect


def check_whoami(k):
    """auth whoami tells user and groups"""
    k("auth", "whoami", says=["ATTRIBUTE", "Username", "Groups"])
    groups = json.loads(k("auth", "whoami", "-o", "json"))["status"]["userInfo"]["groups"]
    expect("system:authenticated" in groups, "groups", groups)


def check_can_i(k):
    """auth can-i says yes and no"""
    equal(k("auth", "can-i", "create", "deployments").strip(), "yes", "for the administrator")
    result = k.run("auth", "can-i", "create", "deployments", "--as=nobody")
    equal((result.out.strip(), result.code), ("no", 1), "for nobody")
    equal(
        k("auth", "can-i", "get", "/healthz", "--as=nobody", "--as-group=system:authenticated").strip(), "yes", "a path"
    )


def check_can_i_list(k):
    """auth can-i --list lists the rights in a namespace"""
    k("create", "role", "reader", "--verb=get,list", "--resource=pods")
    k("create", "rolebinding", "readers", "--role=reader", "--user=ann")
    own = k("auth", "can-i", "--list", says=["Resources", "Verbs", "*.*"])
    expect("[*]" in own, "the administrator has not all", own)
    listed = k("auth", "can-i", "--list", "--as=ann", "--as-group=system:authenticated", says="pods")
    contains(listed, "[get list]", "selfsubjectreviews.authentication.k8s.io")


def check_role_binds(k):
    """a role that is bound gives its rights and no more"""
    k("get", "pods", "--as=ann")
    k.refused(
        "get",
        "pods",
        "--as=bob",
        says=[
            'pods is forbidden: User "bob" cannot list resource "pods" in API group ""',
            f'in the namespace "{k.namespace}"',
        ],
    )
    k.refused("get", "pods", "--as=ann", "-n", "default", says="forbidden")
    k.refused("create", "configmap", "x", "--as=ann", says='cannot create resource "configmaps"')
    k.refused("get", "nodes", "--as=ann", says="at the cluster scope")


def check_escalation(k):
    """nobody gives rights that he does not have"""
    k("create", "rolebinding", "editors", "--clusterrole=admin", "--user=eve")
    k.refused(
        "create",
        "role",
        "all",
        "--verb=*",
        "--resource=*",
        "--as=eve",
        says=["forbidden", "attempting to grant RBAC permissions not currently held"],
    )


def check_reconcile(k):
    """auth reconcile makes roles and bindings as they are given"""
    text = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reconciled, namespace: NAMESPACE}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, watch]}]
"""
    text = text.replace("NAMESPACE", k.namespace)
    k("auth", "reconcile", "-f", k.file("role.yaml", text), says="reconciled")
    k("auth", "reconcile", "-f", k.file("role.yaml", text.replace("[get, watch]", "[get, list]")), says="reconciled")
    verbs = {verb for rule in k.get("role", "reconciled")["rules"] for verb in rule["verbs"]}
    equal(verbs, {"get", "watch", "list"}, "verbs")


def check_token(k):
    """create token makes a token that is somebody"""
    k("create", "serviceaccount", "robot")
    token = k("create", "token", "robot", "--duration=10m").strip()
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    equal(claims["sub"], f"system:serviceaccount:{k.namespace}:robot", "subject")
    equal(claims["exp"] - claims["iat"], 600, "seconds that it lives")
    k("config", "set-credentials", "robot", f"--token={token}", says='User "robot" set')
    user = json.loads(k("--user=robot", "auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    equal(user, f"system:serviceaccount:{k.namespace}:robot", "user")
    k.refused("--user=robot", "get", "pods", says="forbidden")
    k("create", "rolebinding", "robots", "--clusterrole=view", f"--serviceaccount={k.namespace}:robot")
    k("--user=robot", "get", "pods")
    k.refused("--user=robot", "get", "secrets", says='cannot list resource "secrets"')


def check_token_bound(k):
    """create token binds to an object and dies with it"""
    k("create", "secret", "generic", "anchor")
    token = k("create", "token", "robot", "--bound-object-kind=Secret", "--bound-object-name=anchor").strip()
    k("config", "set-credentials", "bound", f"--token={token}")
    k("--user=bound", "auth", "whoami")
    k("delete", "secret", "anchor")
    k.eventually(lambda: k.run("--user=bound", "get", "pods").code != 0, "the token is refused")
    k.refused("create", "token", "nobody", says='serviceaccounts "nobody" not found')


def check_bad_token(k):
    """a token that is none is refused"""
    k("config", "set-credentials", "liar", "--token=not.a.token")
    k.refused("--user=liar", "get", "pods", says="You must be logged in to the server")


def request(k, name, user):
    _, file = make_request(k.directory, f"/CN={user}")
    text = base64.b64encode(file.read_bytes()).decode()
    k(
        "apply",
        "-f",
        "-",
        input=f"""
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: {name}}}
spec: {{request: {text}, signerName: kubernetes.io/kube-apiserver-client, expirationSeconds: 3600, usages: [client auth]}}
""",
        says="created",
    )


def check_certificate(k):
    """certificate approve gives a certificate that is somebody"""
    name = k.namespace
    request(k, name, "ann")
    try:
        contains(k("get", "csr", name), "kubernetes.io/kube-apiserver-client", "Pending")
        k("certificate", "approve", name, says="approved")
        k("wait", "--for=jsonpath={.status.certificate}", f"csr/{name}", "--timeout=30s")
        contains(k("get", "csr", name), "Approved,Issued")
        certificate = k.directory / "ann.crt"
        certificate.write_bytes(base64.b64decode(k.value(f"csr/{name}", ".status.certificate")))
        k(
            "config",
            "set-credentials",
            "ann",
            f"--client-certificate={certificate}",
            f"--client-key={k.directory / 'request.key'}",
        )
        user = json.loads(k("--user=ann", "auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
        equal(user, "ann", "user")
        k("--user=ann", "get", "pods")
    finally:
        k.run("delete", "csr", name, "--ignore-not-found")


def check_certificate_denied(k):
    """certificate deny is final"""
    name = f"{k.namespace}-denied"
    request(k, name, "eve")
    try:
        k("certificate", "deny", name, says="denied")
        contains(k("get", "csr", name), "Denied")
        k.refused("certificate", "approve", name, says="is already Denied")
    finally:
        k.run("delete", "csr", name, "--ignore-not-found")
