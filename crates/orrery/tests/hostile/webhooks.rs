//! Webhooks that never answer, answer for ever, answer nonsense, or hang up.

use crate::server::{LONG, MAPS, Server};
use base64::{Engine, engine::general_purpose::STANDARD};
use orrery_identity::{Authority, Profile, Usage, tls};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What a webhook does once it is asked.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Does not even shake hands.
    Nothing,
    /// Takes the question and says nothing.
    Hangs,
    /// Begins its answer and goes on for ever.
    AnswersForEver,
    /// Sends a byte of its head now and then.
    Drips,
    Garbage,
    NoReview,
    HangsUp,
}

async fn webhook(does: Does, directory: &std::path::Path) -> (String, String) {
    let authority = Authority::load_or_create(directory, &format!("{does:?}")).unwrap();
    let profile = Profile {
        common_name: "webhook".into(),
        organization: None,
        alternative_names: vec!["127.0.0.1".into()],
        usage: Usage::Server,
        lifetime: Duration::from_secs(3600),
    };
    let clients = tls::Clients::Optional(authority.certificate_pem());
    let config = tls::server(&authority.issue(&profile).unwrap(), clients, &["http/1.1"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let acceptor = Arc::new(TlsAcceptor::from(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = Arc::clone(&acceptor);
            tokio::spawn(async move {
                if matches!(does, Does::Nothing) {
                    std::future::pending::<()>().await;
                }
                let mut stream = acceptor.accept(stream).await?;
                let _asked = stream.read(&mut vec![0; 65536]).await?;
                answer(does, &mut stream).await
            });
        }
    });
    (url, STANDARD.encode(authority.certificate_pem()))
}

async fn answer<S: tokio::io::AsyncWrite + Unpin>(does: Does, stream: &mut S) -> std::io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match does {
        Does::Nothing | Does::Hangs => std::future::pending().await,
        Does::HangsUp => Ok(()),
        Does::Garbage => stream.write_all(b"\x00\x01garbage\r\n\r\n").await,
        Does::NoReview => {
            stream.write_all(head).await?;
            stream.write_all(b"content-length: 13\r\n\r\n{\"kind\":\"Pod\"").await
        }
        Does::Drips => {
            stream.write_all(head).await?;
            loop {
                stream.write_all(b"x").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Does::AnswersForEver => {
            stream.write_all(head).await?;
            stream.write_all(b"transfer-encoding: chunked\r\n\r\n").await?;
            loop {
                stream.write_all(b"1000\r\n").await?;
                stream.write_all(&[b' '; 0x1000]).await?;
                stream.write_all(b"\r\n").await?;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_misbehaves_costs_its_time_out_and_its_policy_decides() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let all =
        [Does::Nothing, Does::Hangs, Does::AnswersForEver, Does::Drips, Does::Garbage, Does::NoReview, Does::HangsUp];
    for does in all {
        let (url, bundle) = webhook(does, directory.path()).await;
        for policy in ["Fail", "Ignore"] {
            let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "bad"}, "webhooks": [{
                    "name": "bad.example.com", "clientConfig": {"url": url, "caBundle": bundle},
                    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
                    "objectSelector": {"matchLabels": {"asked": "yes"}},
                    "failurePolicy": policy, "timeoutSeconds": 1, "sideEffects": "None", "admissionReviewVersions": ["v1"]}]});
            server.api.post(configurations, &configuration).await.unwrap().expect(201).unwrap();
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"generateName": "asked-", "labels": {"asked": "yes"}}});
            let expected = if policy == "Fail" { 500 } else { 201 };
            // The configuration counts from a moment on.
            let decided = async {
                loop {
                    let answer = server.api.post(MAPS, &object).await.unwrap();
                    if answer.status == expected {
                        break answer;
                    }
                    assert_eq!((policy, answer.status), ("Fail", 201), "{does:?}: {}", answer.message());
                }
            };
            let answer = tokio::time::timeout(LONG, decided).await.unwrap_or_else(|_| panic!("{does:?} {policy}"));
            if policy == "Fail" {
                assert!(answer.message().contains("failed calling webhook"), "{does:?}: {}", answer.message());
            }
            server.serves("a bad webhook").await;
            server.api.delete(&format!("{configurations}/bad"), &json!({})).await.unwrap().expect(200).unwrap();
        }
    }
    server.control_plane.stop().await.unwrap();
}
