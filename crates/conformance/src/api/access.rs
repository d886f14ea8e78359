//! Certificates and access reviews.

use super::operations::{discovery, merge};
use crate::{
    ensure,
    harness::{
        Context, EVENT_TIMEOUT, Failure, Form, Objects, Outcome, Resource, condition, expect_within, resource, version,
    },
    registry::{Test, test},
    run, same,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations [Conformance]",
        run!(signing_requests),
    ),
    test("[sig-auth] SubjectReview should support SubjectReview API operations [Conformance]", run!(subject_reviews)),
];

/// Three requests of one signer, and the one that is changed.
struct Requests {
    objects: Objects,
    signer: String,
    name: String,
}

impl Requests {
    async fn create(context: &Context) -> Outcome<Self> {
        let resource =
            Resource::cluster("certificates.k8s.io/v1", "certificatesigningrequests", "CertificateSigningRequest");
        discovery(&context.api, &resource, &["approval", "status"]).await?;
        let objects = context.cluster(resource);
        let signer = format!("example.com/{}", context.name("e2e"));
        context.remove_path_later(objects.collection(&[("fieldSelector", &format!("spec.signerName={signer}"))]));
        let (_, request) = orrery_identity::new_signing_request("e2e.example.com").map_err(Failure::wrong)?;
        let mut created = Value::Null;
        for _ in 0..3 {
            let object = json!({"metadata": {"generateName": "e2e-example-csr-"}, "spec": {
                "request": BASE64_STANDARD.encode(&request),
                "signerName": signer,
                "expirationSeconds": 3600,
                "usages": ["digital signature", "key encipherment", "server auth"],
            }});
            created = objects.create(&object).await?;
        }
        let name = created["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let got = objects.get(&name).await?;
        same!(got["metadata"]["uid"], created["metadata"]["uid"], "the uid when it is read");
        same!(got["spec"]["expirationSeconds"], 3600, "expirationSeconds when it is read");
        ensure!(got["spec"]["username"].is_string(), "the request does not say who has made it: {}", got["spec"]);
        Ok(Self { objects, signer, name })
    }

    async fn list(&self) -> Outcome<Value> {
        self.objects.list(&[("fieldSelector", &format!("spec.signerName={}", self.signer))]).await
    }

    async fn expect_count(&self, count: usize) -> Outcome {
        same!(self.list().await?["items"].as_array().map(Vec::len), Some(count), "requests of the signer");
        Ok(())
    }

    async fn change(&self) -> Outcome {
        let from = version(&self.list().await?)?;
        let field = format!("metadata.name={}", self.name);
        let mut watch = self.objects.watch(&[("fieldSelector", &field), ("resourceVersion", &from)]).await?;
        let patch = json!({"metadata": {"annotations": {"patched": "true"}}});
        expect_within(&self.objects.merge(&self.name, &patch).await?, &patch, "the patched request")?;
        let updated =
            self.objects.update(&self.name, |object| object["metadata"]["annotations"]["updated"] = "true".into());
        same!(updated.await?["metadata"]["annotations"]["updated"], "true", "the annotation of the updated request");
        for annotation in ["patched", "updated"] {
            let seen = watch
                .find(annotation, EVENT_TIMEOUT, |event| event.object["metadata"]["annotations"][annotation] == "true");
            same!(seen.await?.kind, "MODIFIED", "the event of the {annotation} request");
        }
        Ok(())
    }

    /// Reads a sub-resource and sees that it is the request.
    async fn read(&self, sub: &str) -> Outcome {
        let (got, whole) = (self.objects.sub(sub).get(&self.name).await?, self.objects.get(&self.name).await?);
        same!(got["kind"], "CertificateSigningRequest", "the kind of {sub}");
        same!(got["metadata"]["uid"], whole["metadata"]["uid"], "the uid of {sub}");
        Ok(())
    }

    async fn approve(&self) -> Outcome {
        self.read("approval").await?;
        let approvals = self.objects.sub("approval");
        let patch = json!({
            "metadata": {"annotations": {"patchedapproval": "true"}},
            "status": {"conditions": [{"type": "ApprovalPatch", "status": "True", "reason": "e2e"}]},
        });
        let patched = approvals.patch(&self.name, Form::MergePatch, &patch, &[]).await?.expect(200)?;
        expect_within(&patched, &patch, "the patched approval")?;
        let approved = json!({"type": "Approved", "status": "True", "reason": "E2E", "message": "Set by a test"});
        let updated = approvals.update(&self.name, |object| push_condition(object, &approved)).await?;
        same!(condition(&updated, "ApprovalPatch"), Some("True"), "the patched condition after the update");
        same!(condition(&updated, "Approved"), Some("True"), "the condition Approved");
        let again = approvals.update(&self.name, |object| object["status"]["conditions"] = json!([])).await;
        ensure!(again.is_err(), "an approval was taken back");
        Ok(())
    }

    async fn sign(&self, context: &Context) -> Outcome {
        self.read("status").await?;
        let statuses = self.objects.sub("status");
        let authority =
            orrery_identity::Authority::load_or_create(context.directory(), "signer").map_err(Failure::wrong)?;
        let certificate = BASE64_STANDARD.encode(authority.certificate_pem());
        let patch = json!({
            "metadata": {"annotations": {"patchedstatus": "true"}},
            "status": {"certificate": certificate},
        });
        let patched = statuses.patch(&self.name, Form::MergePatch, &patch, &[]).await?.expect(200)?;
        expect_within(&patched, &patch, "the patched status")?;
        let own = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test"});
        let updated = statuses.update(&self.name, |object| push_condition(object, &own)).await?;
        same!(condition(&updated, "StatusUpdate"), Some("True"), "the condition of the updated status");
        same!(condition(&updated, "Approved"), Some("True"), "the approval after the update of the status");
        Ok(())
    }
}

fn push_condition(object: &mut Value, condition: &Value) {
    match object["status"]["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(condition.clone()),
        None => merge(&mut object["status"], &json!({"conditions": [condition]})),
    }
}

async fn signing_requests(context: &Context) -> Outcome {
    let requests = Requests::create(context).await?;
    requests.expect_count(3).await?;
    requests.change().await?;
    requests.approve().await?;
    requests.sign(context).await?;
    requests.objects.delete(&requests.name).await?;
    requests.objects.read(&requests.name).await?.refused(404, "NotFound")?;
    requests.expect_count(2).await?;
    let selector = format!("spec.signerName={}", requests.signer);
    requests.objects.delete_all(&[("fieldSelector", &selector)]).await?.expect(200)?;
    requests.expect_count(0).await
}

async fn subject_reviews(context: &Context) -> Outcome {
    let namespace = context.namespace().await?;
    let accounts = context.objects(resource::service_accounts(), &namespace);
    let account = accounts.create(&json!({"metadata": {"name": "e2e"}})).await?;
    let user = format!("system:serviceaccount:{namespace}:e2e");
    let own_group = format!("system:serviceaccounts:{namespace}");
    let groups = ["system:authenticated", "system:serviceaccounts", own_group.as_str()];
    let mut impersonated = context.api.with_header("Impersonate-User", &user);
    for group in groups {
        impersonated = impersonated.with_header("Impersonate-Group", group);
    }
    let uid = account["metadata"]["uid"].as_str().unwrap_or_default();
    let impersonated = impersonated.with_header("Impersonate-Uid", uid);
    let spec = json!({
        "resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": namespace, "version": "v1"},
        "user": user, "groups": groups, "uid": uid,
    });
    let maps = context.objects(resource::config_maps(), &namespace).through(&impersonated);
    // Without a role, and with one: reviews say in both cases what the request meets.
    for granted in [false, true] {
        if granted {
            grant(context, &namespace).await?;
        }
        let seen = crate::harness::retry(std::time::Duration::from_secs(20), || async {
            let answer = impersonated.get(&maps.collection(&[])).await?;
            let actual = match answer.status {
                200 => true,
                403 => false,
                _ => return Err(answer.unexpected("200 or 403")),
            };
            same!(actual, granted, "whether the account may list config maps");
            let general = "/apis/authorization.k8s.io/v1/subjectaccessreviews".to_owned();
            let local = format!("/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews");
            for (kind, path) in [("SubjectAccessReview", general), ("LocalSubjectAccessReview", local)] {
                let mut review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
                if kind.starts_with("Local") {
                    review["metadata"]["namespace"] = namespace.clone().into();
                }
                let reviewed = context.api.post(&path, &review).await?.expect(201)?;
                same!(reviewed["status"]["allowed"], actual, "allowed in the {kind}");
            }
            Ok(())
        });
        seen.await?;
    }
    Ok(())
}

async fn grant(context: &Context, namespace: &str) -> Outcome {
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]});
    let role = json!({"metadata": {"name": "lister"}, "rules": [rule]});
    context.objects(resource::roles(), namespace).create(&role).await?;
    let binding = json!({
        "metadata": {"name": "lister"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lister"},
        "subjects": [{"kind": "ServiceAccount", "name": "e2e", "namespace": namespace}],
    });
    context.objects(resource::role_bindings(), namespace).create(&binding).await.map(drop)
}
