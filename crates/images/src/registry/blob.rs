//! Downloads one blob into a file, verified while it comes, and goes on where it was broken off.

use super::error::RegistryError;
use super::session::{Answer, Session};
use crate::digest::Digest;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

/// Tries in a row that bring next to nothing.
const USELESS_TRIES: u32 = 3;
/// What a try has to bring to be of use, in bytes.
const USE: u64 = 64 << 10;
/// Tries at all: a registry that breaks off after each byte is not waited for.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(300);

/// What is to come.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) size: u64,
}

/// What has come.
struct Part {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
}

/// Gets `wanted` into the new file `path`. `came` is told of bytes; what comes again is told again.
pub(super) async fn download(
    session: &Session<'_>,
    wanted: &Wanted,
    path: &Path,
    came: &(dyn Fn(u64) + Sync),
) -> Result<(), RegistryError> {
    let mut part = Part::create(path).await?;
    let mut useless = 0;
    for _ in 0..TRIES {
        let before = part.length;
        let error = match part.go_on(session, wanted, came).await {
            Ok(()) => return part.finish(wanted).await,
            Err(error) => error,
        };
        useless = if part.length >= before + USE { 0 } else { useless + 1 };
        if !error.is_transient() || useless >= USELESS_TRIES {
            return Err(error);
        }
        tracing::info!(blob = %wanted.digest, at = part.length, of = wanted.size, %error, "a download goes on after a failure");
        tokio::time::sleep(PAUSE * (useless + 1)).await;
    }
    let found = format!("{} came in {TRIES} tries", part.length);
    Err(RegistryError::Size { what: wanted.digest.clone(), expected: wanted.size, found })
}

impl Part {
    async fn create(path: &Path) -> Result<Self, RegistryError> {
        let created = File::options().write(true).create_new(true).open(path).await;
        let file = created.map_err(|source| RegistryError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, hasher: Sha256::new(), length: 0 })
    }

    fn write_error(&self, source: std::io::Error) -> RegistryError {
        RegistryError::Write { path: self.path.clone(), source }
    }

    async fn go_on(
        &mut self,
        session: &Session<'_>,
        wanted: &Wanted,
        came: &(dyn Fn(u64) + Sync),
    ) -> Result<(), RegistryError> {
        if self.length == wanted.size && self.length > 0 {
            return Ok(());
        }
        let what = format!("blobs/{}", wanted.digest);
        let Answer { origin, response } = session.once(&what, "*/*", self.length).await?;
        if self.length > 0 && !continues(&response, self.length) {
            self.begin_anew().await?;
        }
        let too_large =
            |found: String| RegistryError::Size { what: wanted.digest.clone(), expected: wanted.size, found };
        let announced =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let Some(total) =
            announced.map(|left| left.saturating_add(self.length)).filter(|total| *total != wanted.size)
        {
            return Err(too_large(format!("{} says {total}", origin.host)));
        }
        let mut body = response.into_body();
        while let Some(chunk) = session.transport.chunk(&origin, &mut body).await? {
            if chunk.len() as u64 > wanted.size - self.length {
                return Err(too_large("more came".to_owned()));
            }
            self.file.write_all(&chunk).await.map_err(|source| self.write_error(source))?;
            self.hasher.update(&chunk);
            self.length += chunk.len() as u64;
            came(chunk.len() as u64);
        }
        if self.length < wanted.size {
            let source = format!("after {} of {} bytes of {what}", self.length, wanted.size).into();
            return Err(RegistryError::Broken { host: origin.host, source });
        }
        Ok(())
    }

    async fn begin_anew(&mut self) -> Result<(), RegistryError> {
        let again = async {
            self.file.flush().await?;
            self.file.set_len(0).await?;
            tokio::io::AsyncSeekExt::rewind(&mut self.file).await
        };
        let again = again.await;
        again.map_err(|source| self.write_error(source))?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    async fn finish(mut self, wanted: &Wanted) -> Result<(), RegistryError> {
        let flushed = self.file.flush().await;
        flushed.map_err(|source| self.write_error(source))?;
        let found = Digest::from_hasher(self.hasher);
        if found == wanted.digest {
            return Ok(());
        }
        let what = format!("a blob of {} bytes", wanted.size);
        Err(RegistryError::Mismatch { what, expected: wanted.digest.clone(), found })
    }
}

/// Whether an answer begins where we left off.
fn continues<T>(response: &http::Response<T>, at: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let begins = range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.trim().parse::<u64>().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && begins == Some(at)
}
