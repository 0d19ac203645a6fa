//! The forwarder between a client and servers that behave well or badly, all on loopback.

use super::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long a server gets, if there is one.
const SHORT: Duration = Duration::from_millis(200);
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

/// Servers at 127.0.0.1, 127.0.0.2 and so on, or other addresses, all at one port.
struct Fakes {
    port: u16,
    list: Vec<resolv_conf::Server>,
    seen: Arc<Mutex<Vec<(IpAddr, Vec<u8>)>>>,
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
            for message in behaviour(&query) {
                write(&mut connection, &message).await;
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

#[tokio::test]
async fn an_answer_comes_back_with_the_clients_id() {
    let fakes = Fakes::new(&[good]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    // EDNS is none of our business: the record goes there and comes back.
    let mut asked = query(0x1234, "example.org");
    asked[11] = 1;
    asked.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    assert_eq!(client.ask(&asked).await, answer(&asked, 0, 1));
    for id in 0..20 {
        client.ask(&query(id, "example.org")).await;
    }
    let seen = fakes.seen.lock().unwrap();
    assert_eq!(seen[0].1[2..], asked[2..]);
    // Of 20 random numbers of 16 bits hardly two are what was to be.
    let kept = seen.iter().skip(1).zip(0u16..).filter(|((_, query), id)| query[..2] == id.to_be_bytes()).count();
    assert!(kept < 3, "ids are the client's own");
}

#[tokio::test]
async fn each_query_comes_from_another_port() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let list = vec!["127.0.0.1".parse().unwrap()];
    let mut upstream = Upstream::fixed(Servers { list, timeout: LONG, attempts: 1, rotate: false });
    upstream.port = socket.local_addr().unwrap().port();
    let client = Client::new(upstream).await;
    let mut ports = std::collections::HashSet::new();
    for id in 0..5 {
        client.send(&query(id, "example.org")).await;
        ports.insert(socket.recv_from(&mut [0; 512]).await.unwrap().1.port());
    }
    assert_eq!(ports.len(), 5);
}

#[tokio::test]
async fn what_was_not_asked_is_not_passed_on() {
    let forged: Behaviour = |query| {
        let wrong_id = [!query[0], !query[1]];
        let mut forged = vec![[&wrong_id, &answer(query, 0, 66)[2..]].concat()];
        let mut wrong_name = answer(query, 0, 66);
        wrong_name[13] ^= 1;
        let mut wrong_type = answer(query, 0, 66);
        wrong_type[query.len() - 3] = 28;
        let mut no_answer = answer(query, 0, 66);
        no_answer[2] &= 0x7f;
        forged.extend([wrong_name, wrong_type, no_answer, Vec::new(), vec![0; 12]]);
        // In another case it is the same name.
        let mut right = answer(query, 0, 1);
        right[13..20].make_ascii_uppercase();
        forged.push(right);
        forged
    };
    let fakes = Fakes::new(&[forged]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    let mut expected = answer(&query(7, "example.org"), 0, 1);
    expected[13..20].make_ascii_uppercase();
    assert_eq!(client.ask(&query(7, "example.org")).await, expected);
    // Over TCP there is one message, and a wrong one is an error of that server.
    let fakes = Fakes::new(&[forged, second]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    let mut connection = client.connect().await;
    write(&mut connection, &query(8, "example.org")).await;
    assert_eq!(read(&mut connection).await, Some(answer(&query(8, "example.org"), 0, 2)));
}

#[tokio::test]
async fn the_next_server_is_asked() {
    for (first, share) in [(silent as Behaviour, SHORT), (servfail, LONG), (refused, LONG)] {
        let fakes = Fakes::new(&[first, second]).await;
        let client = Client::new(fakes.upstream(share, 1)).await;
        assert_eq!(client.ask(&query(9, "example.org")).await, answer(&query(9, "example.org"), 0, 2));
        assert_eq!(fakes.asked(), [1, 2]);
        let mut connection = client.connect().await;
        write(&mut connection, &query(9, "example.org")).await;
        assert_eq!(read(&mut connection).await, Some(answer(&query(9, "example.org"), 0, 2)));
        assert_eq!(fakes.asked(), [1, 2, 1, 2]);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_costs_no_time() {
    let mut fakes = Fakes::new(&[good]).await;
    fakes.list.insert(0, "127.0.0.9".parse().unwrap());
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    assert_eq!(client.ask(&query(1, "example.org")).await, answer(&query(1, "example.org"), 0, 1));
    let mut connection = client.connect().await;
    write(&mut connection, &query(1, "example.org")).await;
    assert_eq!(read(&mut connection).await, Some(answer(&query(1, "example.org"), 0, 1)));
}

#[tokio::test]
async fn when_nobody_answers() {
    let fakes = Fakes::new(&[silent, silent]).await;
    let client = Client::new(fakes.upstream(SHORT, 2)).await;
    let failed = client.ask(&query(3, "example.org")).await;
    // The header says so, the question is the one that was asked.
    assert_eq!(failed[..12], [0, 3, 0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(failed[12..], query(3, "example.org")[12..]);
    assert_eq!(fakes.asked(), [1, 2, 1, 2]);

    let fakes = Fakes::new(&[servfail, refused]).await;
    let client = Client::new(fakes.upstream(LONG, 2)).await;
    assert_eq!(client.ask(&query(3, "example.org")).await, answer(&query(3, "example.org"), 5, 0));
    assert_eq!(fakes.asked(), [1, 2]);
}

#[tokio::test]
async fn truncated_over_udp_whole_over_tcp() {
    let (port, mut sockets) = bind(&[(Ipv4Addr::LOCALHOST.into(), silent as Behaviour)]).await.unwrap();
    let (udp, tcp) = sockets.remove(0);
    let truncated = |query: &[u8]| {
        let mut answer = answer(query, 0, 1);
        answer[2] |= 2;
        answer
    };
    let whole = |query: &[u8]| [answer(query, 0, 1), vec![0x55; 60_000]].concat();
    let tasks = [
        tokio::spawn(datagrams(udp, move |query| vec![truncated(query)])),
        tokio::spawn(connections(tcp, move |query| vec![whole(query)])),
    ];
    let list = vec!["127.0.0.1".parse().unwrap()];
    let mut upstream = Upstream::fixed(Servers { list, timeout: LONG, attempts: 1, rotate: false });
    upstream.port = port;
    let client = Client::new(upstream).await;
    let asked = query(4, "example.org");
    assert_eq!(client.ask(&asked).await, truncated(&asked));
    let mut connection = client.connect().await;
    write(&mut connection, &asked).await;
    assert_eq!(read(&mut connection).await, Some(whole(&asked)));
    tasks.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn large_datagrams_pass() {
    let large: Behaviour = |query| vec![[answer(query, 0, 1), vec![0x55; 60_000]].concat()];
    let fakes = Fakes::new(&[large]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    assert_eq!(client.ask(&query(4, "example.org")).await, large(&query(4, "example.org"))[0]);
}

#[tokio::test]
async fn resolv_conf_is_replaced_meanwhile() {
    let fakes = Fakes::new(&[good, second]).await;
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("resolv.conf"), dir.path().join("other"));
    fs_err::write(&path, "nameserver 127.0.0.1\n").unwrap();
    let mut upstream = Upstream::live(&path);
    upstream.port = fakes.port;
    let client = Client::new(upstream).await;
    let asked = query(5, "example.org");
    assert_eq!(client.ask(&asked).await, answer(&asked, 0, 1));
    fs_err::write(&other, "nameserver 127.0.0.2\n").unwrap();
    fs_err::rename(&other, &path).unwrap();
    assert_eq!(client.ask(&asked).await, answer(&asked, 0, 2));
    // Without a file it is the host's own.
    fs_err::remove_file(&path).unwrap();
    assert_eq!(client.ask(&asked).await, answer(&asked, 0, 1));
}

#[tokio::test]
async fn a_server_with_ipv6() {
    let fakes = match Fakes::at(&[("::1".parse().unwrap(), good)]).await {
        Ok(fakes) => fakes,
        Err(error) => return skip(&format!("no IPv6 on loopback: {error}")),
    };
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    let asked = query(6, "example.org");
    assert_eq!(client.ask(&asked).await, answer(&asked, 0, 1));
    let mut connection = client.connect().await;
    write(&mut connection, &asked).await;
    assert_eq!(read(&mut connection).await, Some(answer(&asked, 0, 1)));
}

#[allow(clippy::print_stderr)]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

#[tokio::test]
async fn what_is_no_query_is_dropped() {
    let fakes = Fakes::new(&[good]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    let asked = query(1, "example.org");
    client.send(&[]).await;
    client.send(&asked[..11]).await;
    client.send(&answer(&asked, 0, 1)).await;
    client.send(&[asked.clone(), vec![0; 5000]].concat()).await;
    client.send(&[0xff; 65_000]).await;
    // The first answer is that to the only query.
    assert_eq!(client.ask(&query(2, "example.org")).await, answer(&query(2, "example.org"), 0, 1));
    assert_eq!(fakes.asked(), [1]);
}

#[tokio::test]
async fn a_slow_query_holds_up_no_other() {
    let slow: Behaviour = |query| if query[13] == b's' { silent(query) } else { good(query) };
    let fakes = Fakes::new(&[slow]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    client.send(&query(1, "slow.example")).await;
    assert_eq!(client.ask(&query(2, "fast.example")).await, answer(&query(2, "fast.example"), 0, 1));
}

/// A server that answers when the test says so.
#[tokio::test]
async fn what_is_beyond_the_bound_is_dropped() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let list = vec!["127.0.0.1".parse().unwrap()];
    let mut upstream = Upstream::fixed(Servers { list, timeout: LONG, attempts: 1, rotate: false });
    upstream.port = server.local_addr().unwrap().port();
    let client = Client::limited(upstream, Limits { queries: 4, ..Limits::default() }).await;
    let mut buffer = [0; 512];
    for round in 0..3u16 {
        for id in 0..100 {
            client.send(&query(id, "flood.example")).await;
        }
        client.taken().await;
        let mut sources = Vec::new();
        for _ in 0..4 {
            let (length, source) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(buffer[2..length], query(0, "flood.example")[2..]);
            sources.push((buffer[..length].to_vec(), source));
        }
        for (query, source) in &sources {
            server.send_to(&answer(query, 0, 1), source).await.unwrap();
        }
        // The first four were taken, in whichever order they are answered.
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(client.receive().await[1]);
        }
        ids.sort();
        assert_eq!(ids, [0, 1, 2, 3]);
        // The others are gone, and who comes now is served.
        client.send(&query(round, "after.example")).await;
        let (length, source) = server.recv_from(&mut buffer).await.unwrap();
        assert_eq!(buffer[2..length], query(0, "after.example")[2..]);
        server.send_to(&answer(&buffer[..length], 0, 2), source).await.unwrap();
        assert_eq!(client.receive().await, answer(&query(round, "after.example"), 0, 2));
    }
}

#[tokio::test]
async fn several_queries_over_one_connection() {
    let fakes = Fakes::new(&[good]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    let mut connection = client.connect().await;
    // Both before the first answer, as glibc asks for A and AAAA; the second in pieces.
    let (one, two) = (query(1, "one.example"), query(2, "two.example"));
    write(&mut connection, &one).await;
    let length = (two.len() as u16).to_be_bytes();
    for byte in length.iter().chain(&two) {
        connection.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&mut connection).await, Some(answer(&one, 0, 1)));
    assert_eq!(read(&mut connection).await, Some(answer(&two, 0, 1)));
    write(&mut connection, &one).await;
    assert_eq!(read(&mut connection).await, Some(answer(&one, 0, 1)));
}

#[tokio::test]
async fn connections_that_are_closed() {
    let fakes = Fakes::new(&[good]).await;
    let client = Client::limited(fakes.upstream(LONG, 1), Limits { idle: SHORT, ..Limits::default() }).await;
    let asked = query(1, "example.org");
    let half = &[&(asked.len() as u16).to_be_bytes(), &asked[..20]].concat();
    // Nothing, a byte, half a query: until the idle time is over. What is no query: at once.
    for sent in [&[][..], &[0], half, &[0, 3, 1, 2, 3], &[0, 0], &[0xff; 100]] {
        let mut connection = client.connect().await;
        connection.write_all(sent).await.unwrap();
        // An answer, were there one.
        assert_eq!(tokio::time::timeout(LONG, read(&mut connection)).await.expect("closed"), None, "{sent:?}");
    }
    assert!(fakes.asked().is_empty());
}

#[tokio::test]
async fn so_many_connections_and_no_more() {
    let fakes = Fakes::new(&[good]).await;
    let client = Client::limited(fakes.upstream(LONG, 1), Limits { connections: 2, ..Limits::default() }).await;
    let asked = query(1, "example.org");
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut connection = client.connect().await;
        write(&mut connection, &asked).await;
        assert_eq!(read(&mut connection).await, Some(answer(&asked, 0, 1)));
        open.push(connection);
    }
    // The kernel takes a third one; nobody reads from it until there is room.
    let mut third = client.connect().await;
    write(&mut third, &asked).await;
    // Datagrams go on meanwhile, and so does a connection that is there.
    assert_eq!(client.ask(&asked).await, answer(&asked, 0, 1));
    write(&mut open[0], &asked).await;
    assert_eq!(read(&mut open[0]).await, Some(answer(&asked, 0, 1)));
    assert_eq!(fakes.asked().len(), 4);
    open.pop();
    assert_eq!(read(&mut third).await, Some(answer(&asked, 0, 1)));
}

#[tokio::test]
async fn who_never_reads_is_cut_off() {
    let large: Behaviour = |query| vec![[answer(query, 0, 1), vec![0x55; 60_000]].concat()];
    let fakes = Fakes::new(&[large]).await;
    let limits = Limits { connections: 1, idle: SHORT, ..Limits::default() };
    let client = Client::limited(fakes.upstream(LONG, 1), limits).await;
    let mut deaf = client.connect().await;
    let asked = query(1, "example.org");
    let message = [&(asked.len() as u16).to_be_bytes()[..], &asked].concat();
    // It sends until it is told that nobody listens any more.
    let told = async { while deaf.write_all(&message).await.is_ok() {} };
    tokio::time::timeout(LONG, told).await.expect("cut off");
    let mut next = client.connect().await;
    write(&mut next, &asked).await;
    assert_eq!(tokio::time::timeout(LONG, read(&mut next)).await.expect("room again"), Some(large(&asked).remove(0)));
}

#[tokio::test]
async fn servers_that_break_off() {
    let (port, mut sockets) = bind(&[(Ipv4Addr::LOCALHOST.into(), silent as Behaviour)]).await.unwrap();
    let (_udp, tcp) = sockets.remove(0);
    let task = tokio::spawn(async move {
        for sent in [&[][..], &[0], &[0xff, 0xff, 1, 2], &[0, 0], &[0, 2, 1, 2]] {
            let (mut connection, _) = tcp.accept().await.unwrap();
            read(&mut connection).await;
            connection.write_all(sent).await.unwrap();
        }
    });
    let list = vec!["127.0.0.1".parse().unwrap()];
    let mut upstream = Upstream::fixed(Servers { list, timeout: LONG, attempts: 5, rotate: false });
    upstream.port = port;
    let client = Client::new(upstream).await;
    let mut connection = client.connect().await;
    write(&mut connection, &query(1, "example.org")).await;
    let failed = read(&mut connection).await.unwrap();
    assert_eq!(failed[..4], [0, 1, 0x81, 0x82]);
    task.await.unwrap();
}

#[tokio::test]
async fn it_ends_when_it_is_dropped() {
    let fakes = Fakes::new(&[silent]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    client.send(&query(1, "example.org")).await;
    let mut connection = client.connect().await;
    write(&mut connection, &query(2, "example.org")).await;
    while fakes.asked().len() < 2 {
        tokio::task::yield_now().await;
    }
    client.task.abort();
    assert_eq!(tokio::time::timeout(LONG, read(&mut connection)).await.expect("closed"), None);
}
