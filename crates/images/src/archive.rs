//! The outer archive: a tar of named members, read in any order.

use flate2::read::MultiGzDecoder;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Members that are read into memory (manifests, configurations) may be so long.
const DOCUMENT_BYTES: u64 = 8 << 20;
/// Members of an archive, at most.
const MEMBERS: usize = 100_000;
/// A gzipped archive may unpack to so many bytes.
const UNPACKED_BYTES: u64 = 64 << 30;

/// An open archive.
#[derive(Debug)]
pub(crate) struct Archive {
    file: File,
    members: HashMap<String, Member>,
}

#[derive(Debug, Clone)]
enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// Names another member: older `docker save` shares layers that way.
    Link {
        to: String,
    },
}

impl Archive {
    /// Opens an archive. A gzipped one is unpacked into `staging` first.
    pub(crate) fn open(path: &Path, staging: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let file = if is_gzip(&file)? { gunzip(&file, &staging.join("archive.tar"))? } else { file };
        let members = list(&file)?;
        Ok(Self { file, members })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A member's content.
    pub(crate) fn reader(&self, name: &str) -> Option<MemberReader<'_>> {
        let (offset, size) = self.find(name)?;
        Some(MemberReader { file: &self.file, offset, end: offset + size })
    }

    /// A small member's content.
    pub(crate) fn document(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(reader) = self.reader(name) else { return Ok(None) };
        if reader.end - reader.offset > DOCUMENT_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is too long")));
        }
        let mut content = Vec::new();
        BufReader::new(reader).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name.to_owned();
        // A link to a link is as far as any known writer goes.
        for _ in 0..4 {
            match self.members.get(&name)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link { to } => name.clone_from(to),
            }
        }
        None
    }
}

/// Reads one member; does not move the file's position, so that several can be read.
#[derive(Debug)]
pub(crate) struct MemberReader<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl Read for MemberReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.offset)?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"));
        }
        self.offset += count as u64;
        Ok(count)
    }
}

fn is_gzip(file: &File) -> io::Result<bool> {
    let mut magic = [0; 2];
    Ok(file.read_at(&mut magic, 0)? == 2 && magic == [0x1f, 0x8b])
}

fn gunzip(file: &File, to: &Path) -> io::Result<File> {
    let mut unpacked = File::options().read(true).write(true).create_new(true).open(to)?;
    let mut content = MultiGzDecoder::new(BufReader::with_capacity(1 << 20, file)).take(UNPACKED_BYTES);
    if io::copy(&mut content, &mut unpacked)? == UNPACKED_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the archive is too large unpacked"));
    }
    Ok(unpacked)
}

fn list(mut file: &File) -> io::Result<HashMap<String, Member>> {
    file.seek(SeekFrom::Start(0))?;
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let Some(name) = normal("", &String::from_utf8_lossy(&entry.path_bytes())) else { continue };
        let kind = entry.header().entry_type();
        let member = if kind.is_file() || kind == tar::EntryType::Continuous {
            Member::File { offset: entry.raw_file_position(), size: entry.size() }
        } else if let Some(to) = entry.link_name_bytes().filter(|_| kind.is_symlink() || kind.is_hard_link()) {
            let from = if kind.is_symlink() { name.rsplit_once('/').map_or("", |(parent, _)| parent) } else { "" };
            let Some(to) = normal(from, &String::from_utf8_lossy(&to)) else { continue };
            Member::Link { to }
        } else {
            continue;
        };
        members.insert(name, member);
        if members.len() > MEMBERS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive has too many members"));
        }
    }
    Ok(members)
}

/// Joins a directory and a path and works out `.` and `..`; none if that leads out.
fn normal(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
