//! A registry that does as it is told, on loopback: what it answers and how it fails is written down by each test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) body: String,
    /// How often this path was asked for before.
    pub(crate) before: usize,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What `Content-Length` says; nothing is said without, and the end of the connection is the end.
    pub(crate) length: Option<usize>,
    pub(crate) body: Vec<u8>,
    pub(crate) then: Then,
}

/// What comes after the body.
pub(crate) enum Then {
    /// The connection ends.
    Close,
    /// Nothing, while the connection stays open.
    Silence,
    /// The body again and again.
    Endless,
    /// The body came in pieces, with a pause after each.
    Slowly(Duration),
}

impl Reply {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        Self { status, headers: Vec::new(), length: Some(body.len()), body: body.to_vec(), then: Then::Close }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub(crate) struct Fake {
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Serves until the test's process ends; each connection in a thread that ends with its answer.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        let host = listener.local_addr().expect("it is bound").to_string();
        let (asked, answer) = (Arc::new(Mutex::new(Vec::<Asked>::new())), Arc::new(answer));
        let seen = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || drop(serve(stream, &seen, &*answer)));
            }
        });
        Self { host, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics while holding it").clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "a registry that takes its time is what is tried")]
fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(&Asked) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut host, mut authorization, mut range, mut length) = (String::new(), None, None, 0);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        let Some((name, value)) = header.trim().split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "host" => value.clone_into(&mut host),
            "authorization" => authorization = Some(value.to_owned()),
            "range" => range = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut reader, &mut body)?;
    let asked = {
        let mut seen = seen.lock().expect("no test panics while holding it");
        let before = seen.iter().filter(|other| other.path == path).count();
        let body = String::from_utf8_lossy(&body).into_owned();
        let asked =
            Asked { method: method.to_owned(), path: path.to_owned(), host, authorization, range, body, before };
        seen.push(asked.clone());
        asked
    };
    let reply = answer(&asked);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(length) = reply.length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    match reply.then {
        Then::Close => stream.write_all(&reply.body),
        Then::Silence => {
            stream.write_all(&reply.body)?;
            // Until the other side gives up.
            reader.read_line(&mut String::new()).map(|_| ())
        }
        Then::Endless => loop {
            stream.write_all(&reply.body)?;
        },
        Then::Slowly(pause) => {
            for piece in reply.body.chunks(reply.body.len().div_ceil(5).max(1)) {
                stream.write_all(piece)?;
                std::thread::sleep(pause);
            }
            Ok(())
        }
    }
}
