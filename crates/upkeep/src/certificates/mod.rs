//! Certificate requests: kubelets' own are approved, approved ones are signed, old ones are removed.
//!
//! ```text
//! new ──kubelet's own, and it may──► Approved ──► signed (status.certificate)
//!  │ `──by people───────────────────►    │ `──does not fit its signer──► Failed
//!  `──by people──► Denied                `──► removed an hour later; one that waits, after a day
//! ```
//!
//! * [`request`] reads what is asked for; [`plan`] decides; who holds the keys is behind [`CertificateSigner`].

mod plan;
mod request;

use crate::Config;
use k8s_openapi::{
    ByteString,
    api::{
        authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
        certificates::v1::{self as certificates, CertificateSigningRequestCondition},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use orrery_reconcile::{
    Cache, Controller, ControllerError, Meta, ObjectKey, Options, Outcome, Projected, Queue, Reconcile, Tasks, Term,
};
use plan::{Next, next};
use request::Asked;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// The signers whose requests are answered here
/// (<https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignerName {
    /// `kubernetes.io/kube-apiserver-client`: users of the API.
    Client,
    /// `kubernetes.io/kube-apiserver-client-kubelet`: kubelets as users of the API.
    KubeletClient,
    /// `kubernetes.io/kubelet-serving`: ports of kubelets.
    KubeletServing,
}

impl SignerName {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "kubernetes.io/kube-apiserver-client" => Some(Self::Client),
            "kubernetes.io/kube-apiserver-client-kubelet" => Some(Self::KubeletClient),
            "kubernetes.io/kubelet-serving" => Some(Self::KubeletServing),
            _ => None,
        }
    }
}

/// Whom a certificate is to name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// The common name: a user's name to the API.
    pub common_name: String,
    /// The organizations: a user's groups to the API.
    pub organizations: Vec<String>,
    /// Host names and addresses.
    pub alternative_names: Vec<String>,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the certificate request")]
pub struct SignError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Who holds the keys of the signers.
pub trait CertificateSigner: Send + Sync + 'static {
    /// Signs the key of `request_pem` for `subject`, for `lifetime` at most. The answer is PEM. What is asked for has been
    /// checked against the rules of the signer.
    ///
    /// # Errors
    /// When the request is none, or what it asks for cannot be written into a certificate.
    fn sign(
        &self,
        signer: SignerName,
        subject: &Subject,
        request_pem: &str,
        lifetime: Duration,
    ) -> Result<String, SignError>;
}

/// A request.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    meta: Meta,
    signer: Option<SignerName>,
    username: String,
    usages: Vec<String>,
    lifetime: Option<Duration>,
    pem: String,
    access: SubjectAccessReviewSpec,
    conditions: Vec<CertificateSigningRequestCondition>,
    /// PEM of what was signed.
    certificate: Option<String>,
}

impl Request {
    fn condition(&self, type_: &str) -> Option<&CertificateSigningRequestCondition> {
        self.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    }
}

impl Projected for Request {
    type Object = certificates::CertificateSigningRequest;
    const PLURAL: &'static str = "certificatesigningrequests";

    fn project(mut object: certificates::CertificateSigningRequest) -> Option<Self> {
        let (spec, status) = (object.spec, object.status.unwrap_or_default());
        let text = |bytes: ByteString| String::from_utf8_lossy(&bytes.0).into_owned();
        let seconds = spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Some(Self {
            meta: Meta::take(&mut object.metadata),
            signer: SignerName::parse(&spec.signer_name),
            username: spec.username.clone().unwrap_or_default(),
            usages: spec.usages.unwrap_or_default(),
            lifetime: seconds.map(Duration::from_secs),
            pem: text(spec.request),
            access: SubjectAccessReviewSpec {
                user: spec.username,
                uid: spec.uid,
                groups: spec.groups,
                extra: spec.extra,
                ..SubjectAccessReviewSpec::default()
            },
            conditions: status.conditions.unwrap_or_default(),
            certificate: status.certificate.map(text).filter(|pem| !pem.is_empty()),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

/// Answers requests.
pub(crate) struct Certificates {
    client: kube::Client,
    requests: Cache<Request>,
    signer: Option<Arc<dyn CertificateSigner>>,
}

pub(crate) fn start(tasks: &mut Tasks, config: &Config) {
    let requests: Cache<Request> = Cache::new(config.metrics.clone());
    tasks.follow(&requests, Api::all(config.client.clone()), Options::default());
    let queue = Arc::new(Queue::default());
    let to = Arc::clone(&queue);
    requests.on_change(move |_, new| {
        if let Some(request) = new {
            to.add(request.meta.key.clone());
        }
    });
    let (client, signer) = (config.client.clone(), config.signer.clone());
    let reconciler = Arc::new(Certificates { client, requests: requests.clone(), signer });
    let (name, metrics) = ("certificate-controller", config.metrics.clone());
    let controller = Controller { name, reconciler, queue, workers: 1, metrics };
    tasks.run(controller, async move { requests.synced().await });
}

impl Reconcile for Certificates {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, ControllerError> {
        let Some(request) = self.requests.get(key) else { return Ok(Outcome::Done) };
        let asked = Asked::read(&request.pem);
        match next(&request, asked.as_ref(), Timestamp::now()) {
            Next::Wait(until_old) => Ok(Outcome::maybe_after(until_old)),
            Next::Remove => self.remove(&request).await,
            Next::MayApprove { subresource, message } => {
                if self.may(&request, subresource).await? {
                    self.approve(&request, message).await?;
                }
                Ok(Outcome::Done)
            }
            Next::Fail(message) => self.fail(&request, &message).await,
            Next::Sign { signer, subject, lifetime } => {
                let Some(keys) = &self.signer else { return Ok(Outcome::Done) };
                match keys.sign(signer, &subject, &request.pem, lifetime) {
                    Ok(pem) => self.publish(&request, pem).await,
                    Err(error) => self.fail(&request, &orrery_reconcile::chain(&error)).await,
                }
            }
        }
    }
}

impl Certificates {
    fn api(&self) -> Api<certificates::CertificateSigningRequest> {
        Api::all(self.client.clone())
    }

    async fn remove(&self, request: &Request) -> Result<Outcome, ControllerError> {
        let precondition = Preconditions { uid: Some(request.meta.uid.0.clone()), resource_version: None };
        let params = DeleteParams::default().preconditions(precondition);
        match self.api().delete(&request.meta.key.name, &params).await {
            Ok(_) => Ok(Outcome::Done),
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(Outcome::Done),
            Err(error) => Err(ControllerError::api("remove an old certificate request")(error)),
        }
    }

    /// Whether who asks may have it approved without a person.
    async fn may(&self, request: &Request, subresource: &str) -> Result<bool, ControllerError> {
        let attributes = ResourceAttributes {
            group: Some("certificates.k8s.io".to_owned()),
            resource: Some("certificatesigningrequests".to_owned()),
            subresource: Some(subresource.to_owned()),
            verb: Some("create".to_owned()),
            version: Some("*".to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec { resource_attributes: Some(attributes), ..request.access.clone() };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(ControllerError::api("ask who may have a certificate"))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn approve(&self, request: &Request, message: &str) -> Result<(), ControllerError> {
        let conditions = self.with_condition(request, "Approved", "AutoApproved", message);
        let patch = json!({
            "metadata": {"resourceVersion": request.meta.version.to_string()}, "status": {"conditions": conditions}});
        let (api, name) = (self.api(), &request.meta.key.name);
        let params = PatchParams::default();
        let approved = api.patch_subresource("approval", name, &params, &Patch::Merge(patch)).await;
        approved.map(drop).map_err(ControllerError::api("approve a certificate request"))
    }

    fn with_condition(
        &self,
        request: &Request,
        type_: &str,
        reason: &str,
        message: &str,
    ) -> Vec<CertificateSigningRequestCondition> {
        let now = Some(Time(Timestamp::now()));
        let mut conditions = request.conditions.clone();
        conditions.push(CertificateSigningRequestCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_update_time: now.clone(),
            last_transition_time: now,
        });
        conditions
    }

    async fn fail(&self, request: &Request, message: &str) -> Result<Outcome, ControllerError> {
        let conditions = self.with_condition(request, "Failed", "SignerValidationFailure", message);
        self.write(request, json!({"conditions": conditions}), "say why a certificate request fails").await
    }

    async fn publish(&self, request: &Request, pem: String) -> Result<Outcome, ControllerError> {
        let certificate = ByteString(pem.into_bytes());
        self.write(request, json!({"certificate": certificate}), "publish a certificate").await
    }

    async fn write(
        &self,
        request: &Request,
        status: serde_json::Value,
        doing: &'static str,
    ) -> Result<Outcome, ControllerError> {
        let patch = json!({"metadata": {"resourceVersion": request.meta.version.to_string()}, "status": status});
        let name = &request.meta.key.name;
        let written = self.api().patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.map_err(ControllerError::api(doing))?;
        Ok(Outcome::Done)
    }
}
