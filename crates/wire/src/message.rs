//! Length-prefixed JSON for the Unix sockets: a little-endian `u32` length, then that many bytes of JSON.

use serde::{Serialize, de::DeserializeOwned};

/// The longest message that is accepted, in bytes.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The length prefix is over [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is longer than the limit of {MAX_MESSAGE}")]
    TooLong(usize),
    /// The bytes are not JSON of the expected shape.
    #[error("a message could not be read as JSON")]
    Json(#[source] serde_json::Error),
}

/// `message` with its length prefix.
///
/// # Errors
/// When it cannot be written as JSON or is too long.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MessageError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(MessageError::Json)?;
    let length = bytes.len() - 4;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_MESSAGE).ok_or(MessageError::TooLong(length))?;
    bytes[..4].copy_from_slice(&prefix.to_le_bytes());
    Ok(bytes)
}

/// Takes one whole message from the front of `buffer`, or none when more bytes are needed.
///
/// # Errors
/// When the prefix is over the limit or the bytes are not the expected JSON; the connection is then of no more use.
pub fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, MessageError> {
    let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > MAX_MESSAGE {
        return Err(MessageError::TooLong(length));
    }
    let Some(body) = buffer.get(4..4 + length) else { return Ok(None) };
    let message = serde_json::from_slice(body).map_err(MessageError::Json)?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_survive_any_split(texts in prop::collection::vec(".{0,40}", 0..8), cut in 1usize..16) {
            let sent: Vec<u8> = texts.iter().flat_map(|text| encode(text).unwrap()).collect();
            let mut buffer = Vec::new();
            let mut received: Vec<String> = Vec::new();
            for chunk in sent.chunks(cut) {
                buffer.extend_from_slice(chunk);
                while let Some(text) = decode(&mut buffer).unwrap() {
                    received.push(text);
                }
            }
            prop_assert_eq!(received, texts);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode::<serde_json::Value>(&mut bytes);
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_body() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        assert!(matches!(decode::<String>(&mut bytes), Err(MessageError::TooLong(_))));
    }
}
