//! Header blocks: names and values, compressed with what both sides know beforehand.

use crate::frame::ProtocolError;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::collections::BTreeMap;

/// Names, in lower case, and values.
pub type Headers = BTreeMap<String, String>;

/// Most bytes of a header block once it is inflated.
const LONGEST: usize = 64 * 1024;

/// The words of the dictionary that the draft gives (section 2.6.10.1), each of which stands there after its length.
const WORDS: [&str; 65] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
/// What stands in the dictionary after the words.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
    Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec \
    00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
    application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,\
    utf-,*,enq=0.";

fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in WORDS {
        put_text(&mut bytes, word);
    }
    bytes.extend_from_slice(REST.as_bytes());
    bytes
}

/// Reads the header blocks of one direction, in order.
#[derive(Debug)]
pub(crate) struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflater {
    pub(crate) fn read(&mut self, mut block: &[u8]) -> Result<Headers, ProtocolError> {
        let mut plain = Vec::with_capacity(4096);
        loop {
            let (before, written) = (self.0.total_in(), plain.len());
            let done = self.0.decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(block.len());
            block = &block[taken.min(block.len())..];
            match done {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| ProtocolError::Compression)?;
                    continue;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(ProtocolError::Compression),
                Ok(Status::Ok | Status::BufError) => {}
            }
            if plain.len() > LONGEST {
                return Err(ProtocolError::HeadersTooLong);
            }
            let full = plain.len() == plain.capacity();
            if full {
                plain.reserve(4096);
            } else if block.is_empty() || (taken == 0 && plain.len() == written) {
                break;
            }
        }
        parse(&plain)
    }
}

/// Writes the header blocks of one direction, in order.
#[derive(Debug)]
pub(crate) struct Deflater(Compress);

impl Default for Deflater {
    fn default() -> Self {
        let mut deflate = Compress::new(Compression::default(), true);
        deflate.set_dictionary(&dictionary()).expect("nothing was compressed yet");
        Self(deflate)
    }
}

impl Deflater {
    pub(crate) fn write(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = number(headers.len()).to_vec();
        for (name, value) in headers {
            put_text(&mut plain, name);
            put_text(&mut plain, value);
        }
        let start = self.0.total_in();
        let mut block = Vec::with_capacity(plain.len() + 64);
        loop {
            let taken = usize::try_from(self.0.total_in() - start).unwrap_or(plain.len());
            let done = self.0.compress_vec(&plain[taken..], &mut block, FlushCompress::Sync);
            done.expect("compressing into memory does not fail");
            if block.len() < block.capacity() {
                return block;
            }
            block.reserve(256);
        }
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&number(text.len()));
    bytes.extend_from_slice(text.as_bytes());
}

fn number(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("headers are short").to_be_bytes()
}

fn parse(mut plain: &[u8]) -> Result<Headers, ProtocolError> {
    let count = take_number(&mut plain)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_text(&mut plain)?.to_ascii_lowercase();
        let value = take_text(&mut plain)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn take_number(plain: &mut &[u8]) -> Result<usize, ProtocolError> {
    let (number, rest) = plain.split_first_chunk().ok_or(ProtocolError::Headers)?;
    *plain = rest;
    Ok(u32::from_be_bytes(*number) as usize)
}

fn take_text(plain: &mut &[u8]) -> Result<String, ProtocolError> {
    let length = take_number(plain)?;
    let (text, rest) = plain.split_at_checked(length).ok_or(ProtocolError::Headers)?;
    *plain = rest;
    String::from_utf8(text.to_vec()).map_err(|_| ProtocolError::Headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_dictionary_is_that_of_the_draft() {
        // Its length and its identifier, the Adler-32 checksum, as zlib streams of other implementations name it.
        let bytes = dictionary();
        let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
            let low = (low + u32::from(*byte)) % 65_521;
            (low, (high + low) % 65_521)
        });
        assert_eq!((bytes.len(), (high << 16) | low), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let mut deflater = Deflater::default();
        let block = deflater.write(&Headers::from([("streamtype".into(), "data".into())]));
        for cut in 0..block.len() / 2 {
            assert!(Inflater::default().read(&block[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Inflater::default().read(&[1, 2, 3, 4, 5]).is_err());
        let long = Headers::from([("a".into(), "x".repeat(LONGEST))]);
        let error = Inflater::default().read(&Deflater::default().write(&long)).unwrap_err();
        assert_eq!(error, ProtocolError::HeadersTooLong);
    }

    proptest! {
        #[test]
        fn headers_read_back_one_block_after_the_other(
            blocks in prop::collection::vec(prop::collection::btree_map("[a-z-]{0,12}", ".{0,300}", 0..9), 1..5),
        ) {
            let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
            for headers in blocks {
                let block = deflater.write(&headers);
                prop_assert_eq!(inflater.read(&block), Ok(headers));
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Inflater::default().read(&bytes);
            let _ = parse(&bytes);
        }
    }
}
