//! One attempt's log file: `NAME/ATTEMPT.log`, and one older part `NAME/ATTEMPT.log.1`.

use crate::{
    clock,
    cri::{Formatter, Source},
};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::{fs, io::AsyncWriteExt};

/// The file is set aside once it is longer than this.
const MAX_BYTES: u64 = 10 * 1024 * 1024;

/// Writes one attempt's output.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    file: fs::File,
    written: u64,
    limit: u64,
    formatter: Formatter,
    records: Vec<u8>,
}

/// Where an attempt's output goes, under the machine's log directory.
pub(crate) fn log_file(container: &str, attempt: u32) -> String {
    format!("{container}/{attempt}.log")
}

impl Spool {
    /// Opens the file, after what an earlier shim may have written to it.
    pub(crate) async fn open(log_directory: &Path, container: &str, attempt: u32) -> io::Result<Self> {
        Self::open_with_limit(log_directory, container, attempt, MAX_BYTES).await
    }

    async fn open_with_limit(directory: &Path, container: &str, attempt: u32, limit: u64) -> io::Result<Self> {
        let path = directory.join(log_file(container, attempt));
        fs::create_dir_all(directory.join(container)).await?;
        let file = fs::OpenOptions::new().create(true).append(true).open(&path).await?;
        let written = file.metadata().await?.len();
        Ok(Self { path, file, written, limit, formatter: Formatter::default(), records: Vec::new() })
    }

    /// Writes what the output completes. Once it returns, the bytes are the file's (or wait for their line's end).
    pub(crate) async fn write(&mut self, source: Source, bytes: &[u8]) -> io::Result<()> {
        self.formatter.push(source, bytes, clock::now(), &mut self.records);
        self.put().await
    }

    /// Writes what is left.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.formatter.finish(clock::now(), &mut self.records);
        self.put().await
    }

    async fn put(&mut self) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        if self.written > 0 && self.written + self.records.len() as u64 > self.limit {
            self.rotate().await?;
        }
        let result = self.file.write_all(&self.records).await;
        self.written += self.records.len() as u64;
        // Also after a failure: what could not be written is lost, not piled up.
        self.records.clear();
        result?;
        self.file.flush().await
    }

    async fn rotate(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        fs::rename(&self.path, older).await?;
        self.file = fs::OpenOptions::new().create(true).append(true).open(&self.path).await?;
        self.written = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_file_is_set_aside_and_only_one_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open_with_limit(directory.path(), "web", 3, 500).await.unwrap();
        for number in 0..100 {
            spool.write(Source::Stdout, format!("line {number}\n").as_bytes()).await.unwrap();
        }
        spool.write(Source::Stdout, b"no end").await.unwrap();
        spool.finish().await.unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join("web").join(name)).unwrap();
        assert!(read("3.log").len() <= 500 && read("3.log.1").len() <= 500);
        assert!(read("3.log").ends_with("stdout P no end\n"));
        assert_eq!(std::fs::read_dir(directory.path().join("web")).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_file_that_was_begun_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        for word in ["one\n", "two\n"] {
            let mut spool = Spool::open(directory.path(), "web", 0).await.unwrap();
            spool.write(Source::Stderr, word.as_bytes()).await.unwrap();
        }
        let text = std::fs::read_to_string(directory.path().join("web/0.log")).unwrap();
        assert_eq!(text.lines().count(), 2);
    }
}
