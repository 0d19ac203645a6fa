//! A registry in memory that does as it is told: honest, unless a test answers a request itself.

use crate::image::Image;
use rbox::storage::digest::Digest;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, as it came.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The Content-Length, where it is not the body's.
    pub length: Option<u64>,
    /// The body is followed by so many letters.
    pub padding: u64,
}

impl Answer {
    pub fn new(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    pub fn with(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { body: body.into(), ..Answer::new(status) }
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Answer {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn redirect(to: impl ToString) -> Answer {
        Answer::new(307).header("Location", to)
    }

    /// `{"…": "aaaa…`: JSON that has no end.
    pub fn endless(status: u16, beginning: &str) -> Answer {
        Answer { padding: 100 << 20, ..Answer::with(status, beginning) }
    }
}

/// What the registry has.
#[derive(Default)]
pub struct State {
    pub blobs: HashMap<String, Vec<u8>>,
    /// Which repositories have them.
    pub held: Vec<(String, String)>,
    /// By repository and tag or digest: media type and bytes.
    pub manifests: HashMap<(String, String), (String, Vec<u8>)>,
    seen: Vec<Request>,
}

impl State {
    pub fn blob(&mut self, repository: &str, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes).to_string();
        self.blobs.insert(digest.clone(), bytes.to_vec());
        self.held.push((repository.to_owned(), digest.clone()));
        digest
    }

    pub fn manifest(&mut self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        for version in [tag.to_owned(), Digest::of(bytes).to_string()] {
            self.manifests.insert((repository.to_owned(), version), (media_type.to_owned(), bytes.to_vec()));
        }
    }

    fn has(&self, repository: &str, digest: &str) -> bool {
        self.held.iter().any(|(holder, held)| (holder.as_str(), held.as_str()) == (repository, digest))
    }
}

type Hook = dyn Fn(&Request, &mut State) -> Option<Answer> + Send + Sync;

/// A registry that serves until the test ends.
pub struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// One that does everything right.
    pub fn honest() -> Fake {
        Fake::new(|_, _| None)
    }

    /// One whose answers are `hook`'s, where it has some.
    pub fn new(hook: impl Fn(&Request, &mut State) -> Option<Answer> + Send + Sync + 'static) -> Fake {
        Fake::serve(hook, None)
    }

    /// The same with TLS.
    pub fn tls(
        config: Arc<rustls::ServerConfig>,
        hook: impl Fn(&Request, &mut State) -> Option<Answer> + Send + Sync + 'static,
    ) -> Fake {
        Fake::serve(hook, Some(config))
    }

    fn serve(
        hook: impl Fn(&Request, &mut State) -> Option<Answer> + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, hook): (_, Arc<Hook>) = (state.clone(), Arc::new(hook));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, hook, tls) = (shared.clone(), hook.clone(), tls.clone());
                // A client that goes away is its own business.
                std::thread::spawn(move || match tls {
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        answer(rustls::StreamOwned::new(connection, stream), &state, &*hook)
                    }
                    None => answer(stream, &state, &*hook),
                });
            }
        });
        Fake { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of a repository of it.
    pub fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.address)
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Gives it an image.
    pub fn add(&self, repository: &str, tag: &str, image: &Image) {
        let mut state = self.state();
        image.layers.iter().chain([&image.config]).for_each(|bytes| drop(state.blob(repository, bytes)));
        state.manifest(repository, tag, &image.media_type, &image.manifest);
    }

    /// What was asked of it so far.
    pub fn seen(&self) -> Vec<Request> {
        self.state().seen.clone()
    }

    /// How often that was asked.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.seen().iter().filter(|request| request.is(method, part)).count()
    }
}

fn answer(stream: impl Read + Write, state: &Mutex<State>, hook: &Hook) -> Option<()> {
    let mut stream = BufReader::new(stream);
    // Who speaks TLS to a plain server hangs up.
    if stream.fill_buf().ok()?.first() == Some(&0x16) {
        return None;
    }
    let request = read(&mut stream)?;
    let mut locked = state.lock().unwrap();
    locked.seen.push(request.clone());
    let mut answer = hook(&request, &mut locked).unwrap_or_else(|| honest(&request, &mut locked));
    drop(locked);
    let length = answer.length.unwrap_or(answer.body.len() as u64 + answer.padding);
    if request.method == "HEAD" {
        (answer.body, answer.padding) = (vec![], 0);
    }
    let stream = stream.get_mut();
    let headers: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("HTTP/1.1 {} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n", answer.status);
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&answer.body).ok()?;
    let letters = [b'a'; 64 * 1024];
    let mut left = answer.padding as usize;
    while left > 0 {
        let length = left.min(letters.len());
        stream.write_all(&letters[..length]).ok()?;
        left -= length;
    }
    stream.flush().ok()
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let line = |stream: &mut dyn BufRead| {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line(stream)?;
    let mut words = first.split(' ');
    let mut request =
        Request { method: words.next()?.to_owned(), target: words.next()?.to_owned(), ..Request::default() };
    loop {
        let header = line(stream)?;
        let Some((name, value)) = header.split_once(':') else { break };
        request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    assert!(request.header("Transfer-Encoding").is_none(), "not every registry knows it: {request:?}");
    let length = request.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// What a registry does.
fn honest(request: &Request, state: &mut State) -> Answer {
    let path = request.path().to_owned();
    let Some(path) = path.strip_prefix("/v2/") else { return Answer::new(404) };
    let at = |part: &str| path.split_once(part);
    if path.is_empty() {
        Answer::with(200, "{}")
    } else if path == "_catalog" {
        let mut names: Vec<&String> = state.manifests.keys().map(|(repository, _)| repository).collect();
        names.sort();
        names.dedup();
        Answer::with(200, serde_json::json!({ "repositories": names }).to_string())
    } else if let Some((repository, "list")) = at("/tags/") {
        let own = state.manifests.keys().filter(|(of, version)| of == repository && !version.contains(':'));
        let mut tags: Vec<&String> = own.map(|(_, tag)| tag).collect();
        tags.sort();
        Answer::with(200, serde_json::json!({ "name": repository, "tags": tags }).to_string())
    } else if let Some((repository, version)) = at("/manifests/") {
        let key = (repository.to_owned(), version.to_owned());
        if request.method == "PUT" {
            let media_type = request.header("Content-Type").unwrap_or_default().to_owned();
            state.manifest(repository, version, &media_type, &request.body);
            return Answer::new(201).header("Docker-Content-Digest", Digest::of(&request.body));
        }
        match state.manifests.get(&key) {
            Some((media_type, bytes)) => Answer::with(200, bytes.clone()).header("Content-Type", media_type),
            None => Answer::with(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
        }
    } else if let Some((repository, session)) = at("/blobs/uploads/") {
        upload(request, state, repository, session)
    } else if let Some((repository, digest)) = at("/blobs/") {
        match state.blobs.get(digest).filter(|_| state.has(repository, digest)) {
            Some(bytes) => blob(request, bytes),
            None => Answer::new(404),
        }
    } else {
        Answer::new(404)
    }
}

fn blob(request: &Request, bytes: &[u8]) -> Answer {
    let from = request.header("Range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match from {
        Some(from) => Answer::with(206, &bytes[from..])
            .header("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
        None => Answer::with(200, bytes),
    }
}

fn upload(request: &Request, state: &mut State, repository: &str, session: &str) -> Answer {
    match (request.method.as_str(), request.query("mount"), request.query("from")) {
        ("POST", Some(digest), Some(from)) if state.has(from, digest) => {
            state.held.push((repository.to_owned(), digest.to_owned()));
            Answer::new(201)
        }
        ("POST", ..) => Answer::new(202).header("Location", format!("/v2/{repository}/blobs/uploads/1?state=x")),
        ("PUT", ..) if !session.is_empty() => {
            let got = state.blob(repository, &request.body);
            if request.query("digest") == Some(&got) { Answer::new(201) } else { Answer::new(400) }
        }
        _ => Answer::new(405),
    }
}

/// A proxy that lets everything through to one place, and notes what it is asked for.
pub struct Proxy {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Proxy {
    pub fn to(place: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = noted.clone();
                std::thread::spawn(move || tunnel(stream, place, &noted));
            }
        });
        Proxy { address, seen }
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn tunnel(mut client: TcpStream, place: SocketAddr, noted: &Mutex<Vec<Request>>) -> Option<()> {
    // One byte at a time: what follows the head is not for this one.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let request = read(&mut head.as_slice())?;
    noted.lock().unwrap().push(request.clone());
    if request.method != "CONNECT" {
        return client.write_all(b"HTTP/1.1 405 X\r\nContent-Length: 0\r\n\r\n").ok();
    }
    let mut server = TcpStream::connect(place).ok()?;
    client.write_all(b"HTTP/1.1 200 X\r\n\r\n").ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    std::io::copy(&mut server, &mut client).ok()?;
    client.shutdown(std::net::Shutdown::Both).ok()
}
