//! The guest's serial console: read always, so that the guest never blocks on it, and kept within a bound.

use crate::machine::Console;
use std::{collections::VecDeque, io, path::PathBuf};
use tokio::{fs, io::AsyncReadExt, io::AsyncWriteExt, net::UnixStream};

const CHUNK: usize = 4096;

/// Copies the console into its file until the guest ends.
pub(crate) async fn copy(mut serial: UnixStream, console: Console) {
    let mut log = match Log::create(console).await {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "there will be no console log");
            None
        }
    };
    let mut chunk = [0; CHUNK];
    while let Ok(length @ 1..) = serial.read(&mut chunk).await {
        let Some(open) = &mut log else { continue };
        if let Err(error) = open.append(&chunk[..length]).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the console log ends here");
            log = None;
        }
    }
}

/// A file of which the newest bytes are kept: it grows to the limit, is then written anew with its newer half.
struct Log {
    path: PathBuf,
    file: fs::File,
    written: usize,
    limit: usize,
    newest: VecDeque<u8>,
}

impl Log {
    async fn create(console: Console) -> io::Result<Self> {
        let file = fs::File::create(&console.path).await?;
        let limit = console.limit_bytes.max(2 * CHUNK);
        Ok(Self { path: console.path, file, written: 0, limit, newest: VecDeque::new() })
    }

    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.newest.extend(bytes);
        let surplus = self.newest.len().saturating_sub(self.limit / 2);
        self.newest.drain(..surplus);
        if self.written + bytes.len() <= self.limit {
            self.file.write_all(bytes).await?;
            self.written += bytes.len();
        } else {
            self.file = fs::File::create(&self.path).await?;
            let newest = self.newest.make_contiguous();
            self.file.write_all(newest).await?;
            self.written = newest.len();
        }
        self.file.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_stays_within_its_limit_and_ends_with_the_newest_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let task = tokio::spawn(copy(ours, Console { path: path.clone(), limit_bytes: 10_000 }));
        let mut sent = Vec::new();
        for number in 0..5000 {
            sent.extend_from_slice(format!("line {number}\n").as_bytes());
        }
        theirs.write_all(&sent).await.unwrap();
        drop(theirs);
        task.await.unwrap();
        let kept = std::fs::read(&path).unwrap();
        assert!(kept.len() <= 10_000 && kept.len() >= 1000, "{}", kept.len());
        assert!(sent.ends_with(&kept));
    }
}
