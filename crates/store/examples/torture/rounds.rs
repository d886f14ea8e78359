//! The process that kills: it starts a child, kills it at some moment, opens the store and checks it, again and again.

use crate::{child, script};
use orrery_store::{Embedded, EmbeddedOptions, RangeRequest, Revision, Store as _};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How a child ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// `kill -9`.
    Kill,
    /// The power fails: what was not synced is lost, or some of it.
    PowerLoss,
    /// The same with a disk that only says that it has synced. The check has to notice.
    Lie,
}

/// What one round was.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) acknowledged: usize,
    /// Steps that were there although nobody had been told.
    pub(crate) unannounced: usize,
}

/// The same store, killed again and again.
pub(crate) struct Torture {
    path: PathBuf,
    end: End,
    random: u64,
    /// Makes the command that runs a child.
    child: fn() -> Command,
    models: Vec<script::Model>,
    revision: Revision,
}

impl Torture {
    pub(crate) fn new(path: PathBuf, end: End, seed: u64, child: fn() -> Command) -> Self {
        let models = (0..script::WRITERS).map(|_| script::Model::default()).collect();
        Self { path, end, random: seed, child, models, revision: Revision(0) }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = script::scatter(self.random);
        self.random % below
    }

    /// One round; what is wrong, if anything is.
    pub(crate) async fn round(&mut self) -> Result<Round, String> {
        let acknowledged = self.run_child()?;
        let store = Embedded::open(&self.path, EmbeddedOptions::default()).await;
        let store = store.map_err(|error| format!("the store does not open again: {error}"))?;
        let checked = self.check(&store, &acknowledged).await;
        store.close().await;
        checked.map(|unannounced| Round { acknowledged: acknowledged.len(), unannounced })
    }

    /// Runs a child to its violent end; gives what it was told: writer, step, revision.
    fn run_child(&mut self) -> Result<Vec<(usize, u64, Revision)>, String> {
        let mut command = (self.child)();
        command.env(child::PATH, &self.path).stdout(Stdio::piped());
        let enough = self.random(250) + 1;
        if self.end != End::Kill {
            // Sometimes while it opens, mostly later.
            let (below, seed) = (if self.random(4) == 0 { 60 } else { 3_000 }, self.random(u64::MAX));
            let honest = self.end == End::PowerLoss;
            command.env(child::DISK, format!("{} {seed} {honest}", self.random(below) + 1));
        }
        let mut child = command.spawn().map_err(|error| format!("the child does not start: {error}"))?;
        let mut acknowledged = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
            let line = line.map_err(|error| format!("the child says nonsense: {error}"))?;
            // The end may cut the last line off; one that ends with the dot is whole.
            if let ["ack", writer, step, revision, "."] = line.split(' ').collect::<Vec<_>>()[..] {
                let number = |text: &str| text.parse::<u64>().map_err(|_| format!("the child says {line:?}"));
                let writer = writer.parse().map_err(|_| format!("the child says {line:?}"))?;
                acknowledged.push((writer, number(step)?, Revision(number(revision)?)));
            }
            if self.end == End::Kill && acknowledged.len() as u64 == enough {
                child.kill().map_err(|error| format!("the child cannot be killed: {error}"))?;
            }
        }
        let status = child.wait().map_err(|error| format!("the child is gone: {error}"))?;
        if std::os::unix::process::ExitStatusExt::signal(&status).is_none() {
            return Err(format!("the child ended by itself: {status}"));
        }
        Ok(acknowledged)
    }

    /// Everything acknowledged is there, every step wholly or not at all, and revisions only went up.
    async fn check(&mut self, store: &Embedded, acknowledged: &[(usize, u64, Revision)]) -> Result<usize, String> {
        let mut revisions: Vec<Revision> = acknowledged.iter().map(|(_, _, revision)| *revision).collect();
        revisions.sort_unstable();
        let current = store.current_revision().await.map_err(|error| error.to_string())?;
        if revisions.first().is_some_and(|first| *first <= self.revision)
            || revisions.windows(2).any(|two| two[0] == two[1])
        {
            return Err(format!("a revision was given twice; {:?} had been reached before", self.revision));
        }
        if current < revisions.last().copied().unwrap_or(self.revision) {
            return Err(format!("revision {current:?} after {:?} was acknowledged", revisions.last()));
        }
        self.revision = current;
        let mut unannounced = 0;
        for writer in 0..script::WRITERS {
            let told = acknowledged.iter().rev().find(|(of, _, _)| *of == writer).map(|(_, step, at)| (*step, *at));
            unannounced += usize::from(check_writer(store, writer, &mut self.models[writer], told).await?);
        }
        Ok(unannounced)
    }
}

/// Compares what a writer's keys hold with the script; gives whether there is a step that was not acknowledged.
async fn check_writer(
    store: &Embedded,
    writer: usize,
    model: &mut script::Model,
    told: Option<(u64, Revision)>,
) -> Result<bool, String> {
    let request = RangeRequest { prefix: script::prefix(writer), ..RangeRequest::default() };
    let page = store.range(request).await.map_err(|error| error.to_string())?;
    let counter = page.entries.iter().find(|entry| entry.key == script::counter(writer));
    let found: Option<u64> = counter.and_then(|entry| String::from_utf8_lossy(&entry.value).parse().ok());
    let least = told.map(|(step, _)| step).or(model.done);
    // The next step may have been under way.
    let most = Some(least.map_or(0, |least| least + 1));
    if found < least || found > most {
        return Err(format!("writer {writer}: step {found:?} is the last, {least:?} was acknowledged"));
    }
    if let (Some((step, revision)), Some(counter)) = (told, counter)
        && found == Some(step)
        && counter.mod_revision != revision
    {
        return Err(format!("writer {writer}: {:?} instead of the acknowledged {revision:?}", counter.mod_revision));
    }
    if let Some(found) = found {
        model.advance(writer, found);
    }
    let values: Vec<_> = page.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect();
    let expected: Vec<_> = model.values.iter().map(|(key, value)| (&**key, &**value)).collect();
    if values != expected {
        return Err(format!("writer {writer}: the keys do not hold what the first {found:?} steps wrote"));
    }
    Ok(found > least)
}
