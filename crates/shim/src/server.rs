//! The socket: agreement on a version, then one reply to each request.

use crate::{
    clock,
    connection::{ConnectionError, Reader, Writer, split},
    driver::{Handle, Order},
    failure::{Failure, chain},
    link::{QUICK, START},
    relay,
};
use orrery_wire::{
    guest::GuestRequest,
    hello::{Hello, Welcome, agree},
    shim::{ShimReply, ShimRequest, VERSIONS},
    stats::MachineStats,
    volume::VolumeRequest,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Most connections at once; the next ones wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// How long what is being answered may take once the shim ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Accepts connections until `closing`, then lets them finish their replies.
pub(crate) async fn serve(listener: UnixListener, handle: Handle, closing: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            // Cancel-safe: no connection is taken when another branch wins.
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (handle, closing) = (handle.clone(), closing.clone());
                connections.spawn(async move {
                    if let Err(error) = converse(stream, handle, closing).await {
                        tracing::debug!(error = chain(&error), "a connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    connections.close();
    // Relays of processes do not end by themselves; the process does, and they with it.
    let _ = tokio::time::timeout(LAST_WORDS, connections.wait()).await;
}

async fn converse(stream: UnixStream, handle: Handle, closing: CancellationToken) -> Result<(), ConnectionError> {
    let (mut reader, mut writer) = split(stream);
    if !welcome(&mut reader, &mut writer).await? {
        return Ok(());
    }
    loop {
        let request = tokio::select! {
            // Cancel-safe, see there.
            request = reader.message() => request?,
            () = closing.cancelled() => return Ok(()),
        };
        let Some(request) = request else { return Ok(()) };
        let reply = match request {
            ShimRequest::Watch => return watch(&mut reader, &mut writer, handle, &closing).await,
            ShimRequest::Exec { container, process, bound } => match find(&handle, container).await {
                Ok(container) => return relay::exec(reader, writer, container, *process, bound).await,
                Err(failure) => failure.into(),
            },
            ShimRequest::Attach { container, stdin } => match find(&handle, container).await {
                Ok(container) => return relay::attach(reader, writer, container, stdin).await,
                Err(failure) => failure.into(),
            },
            ShimRequest::Forward { port } => match handle.order(|reply| Order::FindGuest { reply }).await {
                Ok(guest) => return relay::forward(reader, writer, guest, port).await,
                Err(failure) => failure.into(),
            },
            ShimRequest::Status => ShimReply::Status(Box::new(handle.status.borrow().clone())),
            ShimRequest::PowerOn { identity } => {
                outcome(handle.order(|reply| Order::PowerOn { identity, reply }).await)
            }
            ShimRequest::PowerOff { grace_seconds } => {
                let grace = Duration::from_secs(grace_seconds.into());
                outcome(handle.order(|reply| Order::PowerOff { grace, reply }).await)
            }
            ShimRequest::StartContainer { spec, attempt } => {
                outcome(handle.order(|reply| Order::Start { spec, attempt, reply }).await)
            }
            ShimRequest::Volume(request) => outcome(make_volume(&handle, request).await),
            ShimRequest::SignalContainer { name, signal, all } => outcome(deliver(&handle, name, signal, all).await),
            ShimRequest::Stats => match stats(&handle).await {
                Ok(stats) => ShimReply::Stats(Box::new(stats)),
                Err(failure) => failure.into(),
            },
            ShimRequest::Exit => outcome(handle.order(|reply| Order::Exit { reply }).await),
        };
        writer.message(&reply).await?;
    }
}

async fn welcome(reader: &mut Reader, writer: &mut Writer) -> Result<bool, ConnectionError> {
    let Ok(hello) = tokio::time::timeout(HELLO_PATIENCE, reader.message::<Hello>()).await else { return Ok(false) };
    let Some(hello) = hello? else { return Ok(false) };
    let agreed = agree(VERSIONS, &hello.versions);
    let welcome = match agreed {
        Some(version) => Welcome::Agreed { version, build: env!("CARGO_PKG_VERSION").into() },
        None => Welcome::Refused {
            versions: VERSIONS.to_vec(),
            message: "this machine was started by another build; restart the machine to use the newer one".into(),
        },
    };
    writer.message(&welcome).await?;
    Ok(agreed.is_some())
}

async fn watch(
    reader: &mut Reader,
    writer: &mut Writer,
    mut handle: Handle,
    closing: &CancellationToken,
) -> Result<(), ConnectionError> {
    writer.message(&ShimReply::Watching).await?;
    loop {
        let status = handle.status.borrow_and_update().clone();
        writer.message(&status).await?;
        tokio::select! {
            // Cancel-safe: a change that was not seen yet is seen by the next call. Its end is the driver's.
            changed = handle.status.changed() => if changed.is_err() { return Ok(()) },
            // Nothing is to come; this is how the other side's end is noticed.
            _ = reader.message::<serde_json::Value>() => return Ok(()),
            () = closing.cancelled() => return Ok(()),
        }
    }
}

async fn find(handle: &Handle, container: String) -> Result<crate::container::ContainerHandle, Failure> {
    handle.order(|reply| Order::Find { container, reply }).await
}

async fn deliver(handle: &Handle, name: String, signal: i32, all: bool) -> Result<(), Failure> {
    let container = find(handle, name).await?;
    let request = GuestRequest::Signal { stream: container.stream, signal, all };
    container.link.request(request, QUICK).await.map(drop)
}

async fn stats(handle: &Handle) -> Result<MachineStats, Failure> {
    let (guest, names) = handle.order(|reply| Order::Streams { reply }).await?;
    Ok(MachineStats { unix_nanos: clock::now(), guest: guest.link.stats().await?, names })
}

async fn make_volume(handle: &Handle, request: VolumeRequest) -> Result<(), Failure> {
    let guest = handle.order(|reply| Order::FindGuest { reply }).await?;
    guest.link.request(GuestRequest::Volume(request), START).await.map(drop)
}

fn outcome(result: Result<(), Failure>) -> ShimReply {
    match result {
        Ok(()) => ShimReply::Done,
        Err(failure) => failure.into(),
    }
}
