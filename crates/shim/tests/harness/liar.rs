//! A simulated guest that says, between its honest words, what a test puts into its mouth.

use async_trait::async_trait;
use orrery_vmm::{Control, LaunchError, LaunchSpec, Machine, Running, Simulated};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

type Mouth = Arc<Mutex<Option<mpsc::Sender<Vec<u8>>>>>;

#[derive(Clone, Default)]
pub struct Liar {
    mouth: Mouth,
}

impl Liar {
    /// Lets the guest that runs now say `bytes`.
    pub fn say(&self, bytes: Vec<u8>) {
        // Gone already is fine: it was ended for an earlier lie.
        let _ = self.mouth.lock().unwrap().as_ref().unwrap().try_send(bytes);
    }
}

#[async_trait]
impl Machine for Liar {
    async fn launch(&self, spec: LaunchSpec) -> Result<Running, LaunchError> {
        let Running { control, guest } = Simulated::default().launch(spec).await?;
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (say, lies) = mpsc::channel(1);
        *self.mouth.lock().unwrap() = Some(say);
        tokio::spawn(carry(control, ours, lies));
        Ok(Running { control: Box::new(theirs), guest })
    }
}

async fn carry(control: Control, shim: tokio::io::DuplexStream, mut lies: mpsc::Receiver<Vec<u8>>) {
    let (mut from_guest, mut to_guest) = tokio::io::split(control);
    let (mut from_shim, mut to_shim) = tokio::io::split(shim);
    let upwards = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            // A read and a receipt that are given up have taken nothing.
            let written = tokio::select! {
                length = from_guest.read(&mut buffer) => match length {
                    Ok(length @ 1..) => to_shim.write_all(&buffer[..length]).await,
                    _ => return,
                },
                Some(lie) = lies.recv() => to_shim.write_all(&lie).await,
            };
            if written.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = upwards => {}
        _ = tokio::io::copy(&mut from_shim, &mut to_guest) => {}
    }
}
