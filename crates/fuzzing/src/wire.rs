//! Bytes that come over connections: protobuf, frames of a guest, SPDY.

use orrery_wire::frame::{Decoder, Frame};

/// A body. What is written of it is read back, and written the same.
pub(crate) fn protobuf(bytes: &[u8]) {
    let Ok(object) = orrery_protobuf::decode(bytes) else { return };
    assert!(object["apiVersion"].is_string() && object["kind"].is_string(), "an object says what it is");
    let write = |object: &serde_json::Value| orrery_protobuf::encode(object.to_string().as_bytes());
    let Ok(written) = write(&object) else { return };
    let read = orrery_protobuf::decode(&written).expect("what was written can be read");
    assert_eq!(write(&read).expect("what was read can be written"), written, "twice is once");
}

/// What a guest sends on its control port: whole frames are what they were written from, whatever the pieces.
pub(crate) fn guest(bytes: &[u8]) {
    let (mut whole, mut pieces) = (Decoder::default(), Decoder::default());
    whole.push(bytes);
    let mut written = Vec::new();
    let frames: Vec<Frame> = std::iter::from_fn(|| whole.next_frame().ok().flatten()).collect();
    for frame in &frames {
        frame.encode_into(&mut written);
        let _ = serde_json::from_slice::<orrery_wire::guest::FromGuest>(&frame.payload);
    }
    assert!(bytes.starts_with(&written), "a frame is written as it was read");
    let mut seen = Vec::new();
    for piece in bytes.chunks(3) {
        pieces.push(piece);
        seen.extend(std::iter::from_fn(|| pieces.next_frame().ok().flatten()));
    }
    assert_eq!(seen, frames, "frames do not depend on the pieces in which they come");
}

/// What a client sends after it has left HTTP for SPDY: the session ends, and says no more than it was asked.
pub(crate) fn spdy(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let mut answer = Vec::new();
        let (mut session, carried) = orrery_spdy::Session::run(tokio::io::join(bytes, &mut answer));
        let served = async {
            while let Some(mut stream) = session.accept().await {
                while stream.input.next().await.is_some() {}
                stream.output.finish().await;
            }
        };
        tokio::join!(async { drop(carried.await) }, served);
        assert!(answer.len() <= 16 * bytes.len() + 64, "{} bytes answer {}", answer.len(), bytes.len());
    });
}
