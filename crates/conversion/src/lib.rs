//! Conversion of custom resources between their versions by webhooks (`spec.conversion.strategy: Webhook`), as
//! `k8s.io/apiextensions-apiserver/pkg/apiserver/conversion` does it and with its texts.
//!
//! ```text
//! objects of one kind, in other versions ──ConversionReview──► webhook ──► answer checked ──► identity put back ──► objects
//! ```
//!
//! * `review`: the question, and what of an answer is believed. Pure.
//!
//! When objects are converted is the API server's: it reads in one version what was stored in another, a page of a list in
//! one question. What it is not: it knows no schemas, and asks no webhook that understands only `v1beta1`.
//!
//! Tasks: those that keep connections. Start reading at [`Webhooks`].
#![forbid(unsafe_code)]

mod review;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use orrery_apiserver::{Converter, Reader};
use orrery_callout::{Clients, Target, Trust};
use orrery_machinery::status::ApiError;
use serde_json::Value;
use std::time::Duration;

/// How long a webhook may take; upstream gives all as long.
const TIMEOUT: Duration = Duration::from_secs(30);
const AGENT: &str = concat!("orrery-conversion/", env!("CARGO_PKG_VERSION"));

/// Asks the webhooks that definitions name.
#[derive(Default)]
pub struct Webhooks {
    clients: Clients,
}

#[async_trait::async_trait]
impl Converter for Webhooks {
    async fn convert(
        &self,
        reader: &Reader,
        hook: &Value,
        objects: Vec<Value>,
        to: &str,
    ) -> Result<Vec<Value>, ApiError> {
        let Some(first) = objects.first() else { return Ok(objects) };
        let from = review::kind_of(first);
        let uid = uuid::Uuid::new_v4().to_string();
        let asked = review::ask(&uid, to, &objects);
        let answered = async {
            let answer = self.call(reader, hook, Bytes::from(asked.to_string())).await?;
            review::read(&answer, &uid)
        };
        let answered = answered.await.and_then(|converted| review::settle(&objects, converted, to));
        answered.map_err(|why| ApiError::internal(format!("conversion webhook for {from} {why}")))
    }
}

impl Webhooks {
    async fn call(&self, reader: &Reader, hook: &Value, body: Bytes) -> Result<Bytes, String> {
        let versions = hook["conversionReviewVersions"].as_array();
        if !versions.is_some_and(|versions| versions.iter().any(|version| version == "v1")) {
            return Err("failed: it does not understand ConversionReview v1".to_owned());
        }
        let client = &hook["clientConfig"];
        let target = Target::read(client).map_err(|why| format!("failed: {why}"))?;
        let pem = BASE64_STANDARD.decode(client["caBundle"].as_str().unwrap_or_default()).unwrap_or_default();
        let trust = Trust::Authority(String::from_utf8_lossy(&pem).into_owned());
        let url = format!("{}?timeout={}s", target.url(), TIMEOUT.as_secs());
        let post = async {
            let address = target.resolve(reader).await?;
            self.clients.post((&address, &trust), AGENT, &url, body).await
        };
        let outcome = tokio::time::timeout(TIMEOUT, post).await;
        let outcome = outcome.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()));
        outcome.map_err(|why| format!("failed: Post {url:?}: {why}"))
    }
}
