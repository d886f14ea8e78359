//! Certificates that are not good enough: of another authority, for another use, over, or for nobody.

use crate::{
    remote::Remote,
    support::{Authorities, Server},
    wire::try_connect,
};
use orrery_identity::{Credentials, Profile, Usage};
use std::time::Duration;

fn profile(usage: Usage, lifetime: Duration) -> Profile {
    Profile {
        common_name: "root".into(),
        organization: Some("system:masters".into()),
        alternative_names: Vec::new(),
        usage,
        lifetime,
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_use_or_time_opens_nothing() {
    let server = Server::start().await;
    let listening = server.listen().await;
    let hour = Duration::from_secs(3600);
    let own = &listening.authorities;
    let other = Authorities::new(&server.directory.path().join("other"));
    let good = own.clients.issue(&profile(Usage::Client, hour)).unwrap();
    let mut mixed = good.clone();
    mixed.key_pem = own.clients.issue(&profile(Usage::Client, hour)).unwrap().key_pem;
    let over = own.clients.issue(&profile(Usage::Client, Duration::ZERO)).unwrap();
    let bad: [(&str, Credentials); 3] = [
        ("the authority of serving", own.serving.issue(&profile(Usage::Client, hour)).unwrap()),
        ("another cluster's authority", other.clients.issue(&profile(Usage::Client, hour)).unwrap()),
        ("for servers", own.clients.issue(&profile(Usage::Server, hour)).unwrap()),
    ];
    assert!(try_connect(&listening, Some(&good)).await);
    for (what, credentials) in &bad {
        assert!(!try_connect(&listening, Some(credentials)).await, "{what}");
    }
    // Certificates count in whole seconds; the next one ends it.
    let ended = async { while try_connect(&listening, Some(&over)).await {} };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    // Without any, one is let in and is nobody.
    assert!(try_connect(&listening, None).await);
    let nobody = Remote { listening: &listening, credentials: None, headers: Vec::new() };
    assert_eq!(nobody.get("/api/v1/namespaces").await.status, 401);
    // A key that is not the certificate's can't even be used.
    assert!(orrery_identity::tls::client(own.serving.certificate_pem(), Some(&mixed), &["http/1.1"]).is_err());
}
