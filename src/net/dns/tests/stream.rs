//! Over TCP.

use super::*;

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
    let upstream = only(port, 1);
    let client = Client::new(upstream).await;
    let asked = query(4, "example.org");
    assert_eq!(client.ask(&asked).await, truncated(&asked));
    let mut connection = client.connect().await;
    write(&mut connection, &asked).await;
    assert_eq!(read(&mut connection).await, Some(whole(&asked)));
    tasks.iter().for_each(JoinHandle::abort);
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
    let upstream = only(port, 5);
    let client = Client::new(upstream).await;
    let mut connection = client.connect().await;
    write(&mut connection, &query(1, "example.org")).await;
    let failed = read(&mut connection).await.unwrap();
    assert_eq!(failed[..4], [0, 1, 0x81, 0x82]);
    task.await.unwrap();
}
