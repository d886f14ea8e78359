//! The channels that Kubernetes puts into one WebSocket: the first byte of a message names its channel. Pure.

use orrery_wire::{guest::ProcessExit, shim::TerminalSize};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
const STDIN: u8 = 0;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// A dialect of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// A client can close its input alone.
    V5,
    /// It cannot.
    V4,
}

impl Protocol {
    /// The dialects by their names, best first.
    pub(super) const NAMES: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];

    /// The dialect with one of the names.
    pub(super) fn of(name: &str) -> Self {
        if name == Self::NAMES[0] { Self::V5 } else { Self::V4 }
    }
}

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FromClient<'a> {
    /// Bytes for standard input.
    Stdin(&'a [u8]),
    /// Standard input is at its end.
    StdinEnd,
    /// The terminal has another size.
    Resize(TerminalSize),
    /// Nothing that means anything.
    Nothing,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// Reads one message of a client.
pub(super) fn read(protocol: Protocol, message: &[u8]) -> FromClient<'_> {
    match message.split_first() {
        Some((&STDIN, bytes)) if !bytes.is_empty() => FromClient::Stdin(bytes),
        Some((&RESIZE, json)) => size(json).map_or(FromClient::Nothing, FromClient::Resize),
        Some((&CLOSE, [STDIN])) if protocol == Protocol::V5 => FromClient::StdinEnd,
        Some(_) | None => FromClient::Nothing,
    }
}

/// The size of a terminal, as clients say it.
pub(super) fn size(json: &[u8]) -> Option<TerminalSize> {
    let size: Size = serde_json::from_slice(json).ok()?;
    Some(TerminalSize { rows: size.height, columns: size.width })
}

/// A message on `channel`.
pub(super) fn message(channel: u8, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.len() + 1);
    message.push(channel);
    message.extend_from_slice(payload);
    message
}

/// What is told at the end of a process, from what the shim says of it.
pub(super) fn end_status(exit: &[u8]) -> Value {
    match serde_json::from_slice(exit) {
        Ok(exit) => exit_status(&exit),
        Err(_) => failure_status("how the process ended could not be read"),
    }
}

/// How a process ended, as clients read it from the error channel.
fn exit_status(exit: &ProcessExit) -> Value {
    if exit.code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    let code = exit.code.to_string();
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: {code}"),
        "reason": "NonZeroExitCode",
        "details": { "causes": [{ "reason": "ExitCode", "message": code }] },
    })
}

/// That the process could not be run or was lost.
pub(super) fn failure_status(message: &str) -> Value {
    json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_clients_read_as_they_are_meant() {
        let size = TerminalSize { rows: 24, columns: 80 };
        let table: [(&[u8], FromClient<'_>); 7] = [
            (b"\0hi", FromClient::Stdin(b"hi")),
            (b"\0", FromClient::Nothing),
            (b"\x04{\"Width\":80,\"Height\":24}", FromClient::Resize(size)),
            (b"\x04nonsense", FromClient::Nothing),
            (b"\xff\0", FromClient::StdinEnd),
            (b"\xff\x01", FromClient::Nothing),
            (b"", FromClient::Nothing),
        ];
        for (message, expected) in table {
            assert_eq!(read(Protocol::V5, message), expected, "{message:?}");
        }
        assert_eq!(read(Protocol::V4, b"\xff\0"), FromClient::Nothing);
    }

    #[test]
    fn an_exit_code_is_told_as_a_cause() {
        let exit = |code| ProcessExit { code, signal: None, out_of_memory: false, unix_nanos: 0, message: None };
        assert_eq!(exit_status(&exit(0))["status"], "Success");
        let status = exit_status(&exit(3));
        assert_eq!(
            (&status["reason"], &status["details"]["causes"][0]["message"]),
            (&json!("NonZeroExitCode"), &json!("3"))
        );
    }
}
