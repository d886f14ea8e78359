//! The log's file: appended to, and put aside when it is full.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// When the file is put aside, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// The file is put aside before it gets longer.
    pub max_bytes: u64,
    /// Files put aside that are kept; the oldest go.
    pub keep: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_bytes: 100 * 1024 * 1024, keep: 10 }
    }
}

/// A file that only its owner may read.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    file: io::BufWriter<fs::File>,
    bytes: u64,
}

impl RotatingFile {
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rotation, file: io::BufWriter::new(file), bytes })
    }

    /// Appends a line. `now` names the file that is put aside for it.
    pub(super) fn write(&mut self, line: &[u8], now: jiff::Timestamp) -> io::Result<()> {
        let more = line.len() as u64 + 1;
        if self.bytes > 0 && self.bytes + more > self.rotation.max_bytes {
            self.rotate(now)?;
        }
        self.file.write_all(line)?;
        self.file.write_all(b"\n")?;
        self.bytes += more;
        Ok(())
    }

    /// Hands what was written to the kernel.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn rotate(&mut self, now: jiff::Timestamp) -> io::Result<()> {
        self.file.flush()?;
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("audit");
        let time = now.strftime("%Y-%m-%dT%H-%M-%S.%6f");
        fs::rename(&self.path, self.path.with_file_name(format!("{stem}-{time}.log")))?;
        self.file = io::BufWriter::new(append(&self.path)?);
        self.bytes = 0;
        let mut aside = self.aside()?;
        aside.sort();
        for old in aside.iter().rev().skip(self.rotation.keep) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    /// The files put aside.
    fn aside(&self) -> io::Result<Vec<PathBuf>> {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("audit");
        let prefix = format!("{stem}-");
        let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            if name.starts_with(&prefix) && name.ends_with(".log") {
                found.push(path);
            }
        }
        Ok(found)
    }
}

fn append(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs").join("audit.log");
        let rotation = Rotation { max_bytes: 20, keep: 2 };
        let mut file = RotatingFile::open(&path, rotation).unwrap();
        for second in 0..10 {
            file.write(b"123456789", jiff::Timestamp::from_second(second).unwrap()).unwrap();
        }
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "123456789\n123456789\n");
        let mut aside: Vec<_> =
            file.aside().unwrap().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        aside.sort();
        assert_eq!(aside, ["audit-1970-01-01T00-00-06.000000.log", "audit-1970-01-01T00-00-08.000000.log"]);
    }

    #[test]
    fn a_file_is_gone_on_with_after_a_restart_and_a_long_line_is_kept_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let rotation = Rotation { max_bytes: 8, keep: 1 };
        let mut file = RotatingFile::open(&path, rotation).unwrap();
        file.write(b"first", jiff::Timestamp::UNIX_EPOCH).unwrap();
        file.flush().unwrap();
        let mut file = RotatingFile::open(&path, rotation).unwrap();
        assert_eq!(file.bytes, 6);
        file.write(b"a line that is longer than the file", jiff::Timestamp::UNIX_EPOCH).unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a line that is longer than the file\n");
        assert_eq!(file.aside().unwrap().len(), 1);
    }
}
