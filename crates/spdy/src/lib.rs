//! SPDY/3.1, the server's side, as far as Kubernetes clients use it: streams with headers for `exec`, `attach` and
//! `port-forward`. Older clients speak nothing else, and newer ones carry it within a WebSocket.
//!
//! * `frame`: bytes to frames and back, pure. `headers`: header blocks and their compression. `session`: streams on a
//!   connection.
//!
//! The rules are those of the draft `draft-mbelshe-httpbis-spdy-00` and of what version 3.1 adds to it. Windows are not kept:
//! the clients' library (`moby/spdystream`) does not know them either. A stream that is not read holds up its whole
//! connection instead, which bounds memory as well.
//!
//! What this crate is not: it opens no streams of its own, and knows nothing of what streams are for.
//!
//! There is one task for each session, which is the future that [`Session::run`] gives; streams are joined with it by bounded
//! channels. Start reading at [`Session`].
#![forbid(unsafe_code)]

mod frame;
mod headers;
mod session;

pub use frame::ProtocolError;
pub use headers::Headers;
pub use session::{Input, Output, Session, SessionError, Stream};
