//! Reading a log file for one client, from where it asked to where the container ends.

use super::record::{Lines, Tail, Writer};
use super::request::LogOptions;
use crate::pods::Known;
use bytes::Bytes;
use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::{mpsc, watch},
};

/// How often a followed file is looked at for more.
const LOOK: Duration = Duration::from_millis(100);
const CHUNK: usize = 32 * 1024;

/// A log, and how to know when it is complete.
#[derive(Debug)]
pub(crate) struct LogSource {
    /// The file.
    pub(crate) path: PathBuf,
    /// The container and the attempt that write it.
    pub(crate) container: String,
    pub(crate) attempt: u32,
    /// Where the pod's machine stands.
    pub(crate) facts: watch::Receiver<Known>,
}

impl LogSource {
    /// Whether the attempt has ended, so that nothing more will be written.
    fn complete(&self) -> bool {
        // The worker ended with its pod or its session.
        if self.facts.has_changed().is_err() {
            return true;
        }
        let facts = self.facts.borrow();
        let container = facts.status.as_ref().and_then(|s| s.containers.iter().find(|c| c.name == self.container));
        container.is_none_or(|container| container.attempt != self.attempt || container.exit.is_some())
    }
}

/// Sends the log to `client` until it is complete, the limit is reached or the client is gone.
///
/// # Errors
/// When the file cannot be read.
pub(crate) async fn send(source: &LogSource, options: &LogOptions, client: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut file = match File::open(&source.path).await {
        Ok(file) => file,
        // A container that has written nothing yet has no file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => match wait_for_file(source, options, client).await? {
            Some(file) => file,
            None => return Ok(()),
        },
        Err(error) => return Err(error),
    };
    if let Some(wanted) = options.tail_lines {
        let start = tail_start(&mut file, wanted).await?;
        file.seek(io::SeekFrom::Start(start)).await?;
    }
    let mut writer = Writer::new(options.since, options.timestamps, options.limit_bytes);
    writer.without_stdout = options.only_stderr == Some(true);
    writer.without_stderr = options.only_stderr == Some(false);
    let mut lines = Lines::default();
    let mut chunk = vec![0; CHUNK];
    // The file that goes on where this one has ended. Found before this one is read to its end for the last time.
    let mut next = None;
    loop {
        // Asked before reading: what was written before the end is then surely read.
        let complete = !options.follow || source.complete();
        let length = file.read(&mut chunk).await?;
        if length == 0 {
            if let Some(next) = next.take() {
                file = next;
                continue;
            }
            if options.follow {
                next = successor(&source.path, &file).await?;
            }
            if next.is_none() {
                if complete || client.is_closed() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
            continue;
        }
        lines.push(&chunk[..length]);
        let mut out = Vec::new();
        while let Some((line, _)) = lines.next_line() {
            writer.write(line, &mut out);
        }
        // Waiting for a slow client is the back pressure.
        if !out.is_empty() && client.send(out.into()).await.is_err() {
            return Ok(());
        }
        if writer.full() {
            return Ok(());
        }
    }
}

async fn wait_for_file(
    source: &LogSource,
    options: &LogOptions,
    client: &mpsc::Sender<Bytes>,
) -> io::Result<Option<File>> {
    while options.follow && !source.complete() && !client.is_closed() {
        match File::open(&source.path).await {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(error),
        }
    }
    match File::open(&source.path).await {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is written after `file`, once that was set aside. One older file is kept: when it is another one, it comes first, and
/// what was between is lost.
async fn successor(path: &Path, file: &File) -> io::Result<Option<File>> {
    let present = |opened: io::Result<File>| match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let ours = identity(file).await?;
    let Some(current) = present(File::open(path).await)? else { return Ok(None) };
    if identity(&current).await? == ours {
        return Ok(None);
    }
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    if let Some(older) = present(File::open(older).await)?
        && identity(&older).await? != ours
    {
        return Ok(Some(older));
    }
    Ok(Some(current))
}

/// Device and inode: no other file has them as long as this one is open.
async fn identity(file: &File) -> io::Result<(u64, u64)> {
    let data = file.metadata().await?;
    Ok((data.dev(), data.ino()))
}

async fn tail_start(file: &mut File, wanted: usize) -> io::Result<u64> {
    let (mut tail, mut lines) = (Tail::new(wanted), Lines::default());
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = file.read(&mut chunk).await?;
        if length == 0 {
            return Ok(tail.start());
        }
        lines.push(&chunk[..length]);
        while let Some((line, length)) = lines.next_line() {
            tail.take(line, length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_wire::guest::ProcessExit;
    use orrery_wire::shim::{ContainerExit, ContainerStatus, MachinePhase, MachineStatus};
    use std::io::Write;

    fn known(ended: bool) -> Known {
        let exit = ProcessExit { code: 0, signal: None, out_of_memory: false, unix_nanos: 1, message: None };
        let container = ContainerStatus {
            name: "main".into(),
            attempt: 0,
            boot: 1,
            started_at: 1,
            exit: ended.then_some(ContainerExit { exit, at: 2, machine_ended: false }),
            log_file: "main/0.log".into(),
        };
        let status = MachineStatus {
            sequence: 1,
            phase: MachinePhase::Running,
            boot: 1,
            booted_at: 1,
            qemu_pid: None,
            last_end: None,
            containers: vec![container],
        };
        Known { status: Some(status), ..Known::default() }
    }

    fn append(path: &Path, text: &str) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[tokio::test]
    async fn following_goes_on_until_the_container_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let (facts_in, facts) = watch::channel(known(false));
        let (client, mut received) = mpsc::channel(4);
        let source = LogSource { path: path.clone(), container: "main".into(), attempt: 0, facts };
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let task = tokio::spawn(async move { send(&source, &options, &client).await });
        append(&path, "2026-07-29T10:00:00Z stdout F one\n2026-07-29T10:00:01Z stdout P tw");
        assert_eq!(received.recv().await.unwrap(), "one\n");
        append(&path, "o\n2026-07-29T10:00:02Z stdout F !\n");
        assert_eq!(received.recv().await.unwrap(), "two!\n");
        facts_in.send_replace(known(true));
        assert_eq!(received.recv().await, None);
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn following_goes_on_in_the_next_file_when_one_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let rotate = || std::fs::rename(&path, directory.path().join("0.log.1")).unwrap();
        let line = |text: &str| append(&path, &format!("2026-07-29T10:00:00Z stdout F {text}\n"));
        let (facts_in, facts) = watch::channel(known(false));
        let (client, mut received) = mpsc::channel(1);
        let source = LogSource { path: path.clone(), container: "main".into(), attempt: 0, facts };
        let options = LogOptions { follow: true, ..LogOptions::default() };
        line("one");
        let task = tokio::spawn(async move { send(&source, &options, &client).await });
        assert_eq!(received.recv().await.unwrap(), "one\n");
        // The last words of a file, which nobody has read yet when it is set aside.
        line("two");
        rotate();
        line("three");
        let mut said = String::new();
        while said != "two\nthree\n" {
            said.push_str(std::str::from_utf8(&received.recv().await.unwrap()).unwrap());
        }
        // Twice before anybody looks: the older file comes first.
        rotate();
        line("four");
        rotate();
        line("five");
        facts_in.send_replace(known(true));
        let mut said = String::new();
        while let Some(bytes) = received.recv().await {
            said.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        assert!(said.ends_with("four\nfive\n"), "{said}");
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_the_last_lines_are_sent_when_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        for number in 0..2000 {
            append(&path, &format!("2026-07-29T10:00:00Z stdout F line {number}\n"));
        }
        let (_facts_in, facts) = watch::channel(known(true));
        let (client, mut received) = mpsc::channel(4);
        let source = LogSource { path, container: "main".into(), attempt: 0, facts };
        let options = LogOptions { tail_lines: Some(2), ..LogOptions::default() };
        send(&source, &options, &client).await.unwrap();
        drop(client);
        assert_eq!(received.recv().await.unwrap(), "line 1998\nline 1999\n");
    }
}
