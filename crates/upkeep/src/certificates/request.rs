//! What a certificate request asks for. Pure.

use super::Subject;
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509CertificationRequest};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Asked {
    pub(super) subject: Subject,
    /// Whether it asks for alternative names that no signer here gives: mail addresses, URIs and others.
    pub(super) other_names: bool,
}

impl Asked {
    /// Reads the PEM text of a request; none when it is none.
    pub(super) fn read(pem_text: &str) -> Option<Self> {
        let block = pem::parse(pem_text).ok().filter(|block| block.tag().ends_with("CERTIFICATE REQUEST"))?;
        let (_, request) = X509CertificationRequest::from_der(block.contents()).ok()?;
        let info = &request.certification_request_info;
        let text =
            |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().map(str::to_owned).ok();
        let mut asked = Self {
            subject: Subject {
                common_name: info.subject.iter_common_name().next().and_then(text).unwrap_or_default(),
                organizations: info.subject.iter_organization().filter_map(text).collect(),
                alternative_names: Vec::new(),
            },
            other_names: false,
        };
        let names = request.requested_extensions().into_iter().flatten().filter_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
        for name in names.flatten() {
            match name {
                GeneralName::DNSName(name) => asked.subject.alternative_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => match address(bytes) {
                    Some(address) => asked.subject.alternative_names.push(address.to_string()),
                    None => asked.other_names = true,
                },
                _ => asked.other_names = true,
            }
        }
        Some(asked)
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
