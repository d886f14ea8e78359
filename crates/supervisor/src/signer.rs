//! Certificates that are asked for through the API, signed by the Supervisor's authorities.

use crate::Authorities;
use orrery_identity::{IdentityError, Profile, Usage};
use orrery_workloads::{CertificateSigner, SignError, SignerName, Subject};
use std::{sync::Arc, time::Duration};

/// Why a request that fits its signer is not signed all the same.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "a certificate names one organization here, not {0}; ask for one group and bind the other groups' roles to the user"
    )]
    Organizations(usize),
    #[error("the authority refused")]
    Identity(#[from] IdentityError),
}

/// Signs with the authorities of a Supervisor.
#[derive(Debug)]
pub(crate) struct AuthoritySigner(pub(crate) Arc<Authorities>);

impl CertificateSigner for AuthoritySigner {
    fn sign(
        &self,
        signer: SignerName,
        subject: &Subject,
        request_pem: &str,
        lifetime: Duration,
    ) -> Result<String, SignError> {
        let refused = |refusal: Refusal| SignError(Box::new(refusal));
        let organization = match subject.organizations.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => return Err(refused(Refusal::Organizations(several.len()))),
        };
        let usage = match signer {
            SignerName::Client | SignerName::KubeletClient => Usage::Client,
            SignerName::KubeletServing => Usage::Server,
        };
        let profile = Profile {
            common_name: subject.common_name.clone(),
            organization,
            alternative_names: subject.alternative_names.clone(),
            usage,
            lifetime,
        };
        self.0.sign_requested(&profile, request_pem).map_err(|error| refused(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signer_has_its_authority_and_more_groups_than_a_certificate_holds_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let signer = AuthoritySigner(Arc::new(Authorities::load_or_create(directory.path()).unwrap()));
        let (_, request) = orrery_identity::new_signing_request("anything").unwrap();
        let subject = |groups: &[&str]| Subject {
            common_name: "alice".into(),
            organizations: groups.iter().map(|group| (*group).to_owned()).collect(),
            alternative_names: Vec::new(),
        };
        let hour = Duration::from_secs(3600);
        let pem = signer.sign(SignerName::Client, &subject(&["devs"]), &request, hour).unwrap();
        assert!(pem.contains("BEGIN CERTIFICATE"));
        assert!(signer.sign(SignerName::Client, &subject(&["a", "b"]), &request, hour).is_err());
        assert!(signer.sign(SignerName::Client, &subject(&[]), "nothing", hour).is_err());
    }
}
