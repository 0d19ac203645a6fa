//! The forwarder between a client and servers that behave well or badly, all on loopback.

mod both;
mod datagram;
mod stream;

use super::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long a server gets, if there is one.
const SHORT: Duration = Duration::from_millis(500);
/// Where everything goes well nobody waits for this long.
const LONG: Duration = Duration::from_secs(60);

/// A query for type A of `name`.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// The answer to `query`: this response code, and the address 192.0.2.`last`.
fn answer(query: &[u8], code: u8, last: u8) -> Vec<u8> {
    let mut bytes = query.to_vec();
    bytes[2] |= 0x80;
    bytes[3] = 0x80 | code;
    bytes[7] = 1;
    bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
    bytes
}

/// What a fake server says to a query: any number of messages.
type Behaviour = fn(&[u8]) -> Vec<Vec<u8>>;

fn silent(_: &[u8]) -> Vec<Vec<u8>> {
    Vec::new()
}

fn good(query: &[u8]) -> Vec<Vec<u8>> {
    vec![answer(query, 0, 1)]
}

fn second(query: &[u8]) -> Vec<Vec<u8>> {
    vec![answer(query, 0, 2)]
}

fn servfail(query: &[u8]) -> Vec<Vec<u8>> {
    vec![answer(query, 2, 0)]
}

fn refused(query: &[u8]) -> Vec<Vec<u8>> {
    vec![answer(query, 5, 0)]
}

/// Which server, and what.
type Asked = (IpAddr, Vec<u8>);

/// Servers at 127.0.0.1, 127.0.0.2 and so on, or other addresses, all at one port.
struct Fakes {
    port: u16,
    list: Vec<resolv_conf::Server>,
    seen: Arc<Mutex<Vec<Asked>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Fakes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Fakes {
    /// One for each behaviour, at UDP and TCP.
    async fn new(behaviours: &[Behaviour]) -> Fakes {
        let addresses = (1..).map(|n| Ipv4Addr::new(127, 0, 0, n).into());
        Fakes::at(&addresses.zip(behaviours.iter().copied()).collect::<Vec<_>>()).await.expect("ports on 127.0.0.0/8")
    }

    async fn at(behaviours: &[(IpAddr, Behaviour)]) -> std::io::Result<Fakes> {
        let mut tries = 0;
        let (port, sockets) = loop {
            match bind(behaviours).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries < 100 => tries += 1,
                bound => break bound?,
            }
        };
        let list = behaviours.iter().map(|(address, _)| address.to_string().parse().unwrap()).collect();
        let mut fakes = Fakes { port, list, seen: Arc::default(), tasks: Vec::new() };
        for ((udp, tcp), (address, behaviour)) in sockets.into_iter().zip(behaviours.iter().copied()) {
            let seen = fakes.seen.clone();
            let see = move |query: &[u8]| {
                seen.lock().unwrap().push((address, query.to_vec()));
                behaviour(query)
            };
            fakes.tasks.push(tokio::spawn(datagrams(udp, see.clone())));
            fakes.tasks.push(tokio::spawn(connections(tcp, see)));
        }
        Ok(fakes)
    }

    /// These servers, each having `share` of the time.
    fn upstream(&self, share: Duration, attempts: usize) -> Upstream {
        let timeout = share * self.list.len() as u32;
        let mut upstream = Upstream::fixed(Servers { list: self.list.clone(), timeout, attempts, rotate: false });
        upstream.port = self.port;
        upstream
    }

    /// The last bytes of the addresses of those that were asked.
    fn asked(&self) -> Vec<u8> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|(address, _)| *address.to_string().as_bytes().last().unwrap() - b'0')
            .collect()
    }
}

async fn bind(behaviours: &[(IpAddr, Behaviour)]) -> std::io::Result<(u16, Vec<(UdpSocket, TcpListener)>)> {
    let mut port = 0;
    let mut sockets = Vec::new();
    for (address, _) in behaviours {
        let udp = UdpSocket::bind((*address, port)).await?;
        port = udp.local_addr()?.port();
        sockets.push((udp, TcpListener::bind((*address, port)).await?));
    }
    Ok((port, sockets))
}

async fn datagrams(socket: UdpSocket, behaviour: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    let mut buffer = [0; 8192];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        for message in behaviour(&buffer[..length]) {
            socket.send_to(&message, client).await.unwrap();
        }
    }
}

async fn connections(listener: TcpListener, behaviour: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    loop {
        let (mut connection, _) = listener.accept().await.unwrap();
        if let Some(query) = read(&mut connection).await {
            let messages = behaviour(&query);
            for message in &messages {
                write(&mut connection, message).await;
            }
            if messages.is_empty() {
                // Silent until the client has enough.
                let _ = connection.read_u8().await;
            }
        }
    }
}

async fn write(connection: &mut TcpStream, message: &[u8]) {
    let length = (message.len() as u16).to_be_bytes();
    connection.write_all(&[&length, message].concat()).await.unwrap();
}

/// The next message; None at the end.
async fn read(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let length = connection.read_u16().await.ok()?;
    let mut message = vec![0; length.into()];
    connection.read_exact(&mut message).await.ok().map(|_| message)
}

/// One server at 127.0.0.1, asked so often.
fn only(port: u16, attempts: usize) -> Upstream {
    let list = vec!["127.0.0.1".parse().unwrap()];
    let mut upstream = Upstream::fixed(Servers { list, timeout: LONG, attempts, rotate: false });
    upstream.port = port;
    upstream
}

/// A forwarder, and a client of it.
struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    /// The forwarder's own socket, to see whether anything waits in it.
    theirs: std::net::UdpSocket,
    task: JoinHandle<Result<Infallible>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    async fn new(upstream: Upstream) -> Client {
        Client::limited(upstream, Limits::default()).await
    }

    async fn limited(upstream: Upstream, limits: Limits) -> Client {
        let nobody: [(IpAddr, Behaviour); 1] = [(Ipv4Addr::LOCALHOST.into(), silent)];
        let mut tries = 0;
        let (port, mut sockets) = loop {
            match bind(&nobody).await {
                Err(_) if tries < 100 => tries += 1,
                bound => break bound.unwrap(),
            }
        };
        let (udp, tcp) = sockets.remove(0);
        let (udp, tcp) = (udp.into_std().unwrap(), tcp.into_std().unwrap());
        // The forwarder sees to it that they do not block.
        udp.set_nonblocking(false).unwrap();
        tcp.set_nonblocking(false).unwrap();
        let theirs = udp.try_clone().unwrap();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let task = tokio::spawn(serve(udp.into(), tcp.into(), upstream, limits));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        Client { socket, server, theirs, task }
    }

    async fn send(&self, message: &[u8]) {
        self.socket.send(message).await.unwrap();
    }

    async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65535];
        let length = tokio::time::timeout(LONG, self.socket.recv(&mut buffer)).await.expect("an answer").unwrap();
        buffer.truncate(length);
        buffer
    }

    async fn ask(&self, message: &[u8]) -> Vec<u8> {
        self.send(message).await;
        self.receive().await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server).await.unwrap()
    }

    /// Until the forwarder has taken everything that was sent.
    async fn taken(&self) {
        while rustix::io::ioctl_fionread(self.theirs.as_fd()).unwrap() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
