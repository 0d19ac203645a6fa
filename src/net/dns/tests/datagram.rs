//! Over UDP.

use super::*;

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
    let upstream = only(socket.local_addr().unwrap().port(), 1);
    let client = Client::new(upstream).await;
    let mut ports = std::collections::HashSet::new();
    for id in 0..5 {
        client.send(&query(id, "example.org")).await;
        ports.insert(socket.recv_from(&mut [0; 512]).await.unwrap().1.port());
    }
    assert_eq!(ports.len(), 5);
}

#[tokio::test]
async fn large_datagrams_pass() {
    let large: Behaviour = |query| vec![[answer(query, 0, 1), vec![0x55; 60_000]].concat()];
    let fakes = Fakes::new(&[large]).await;
    let client = Client::new(fakes.upstream(LONG, 1)).await;
    assert_eq!(client.ask(&query(4, "example.org")).await, large(&query(4, "example.org"))[0]);
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
    let upstream = only(server.local_addr().unwrap().port(), 1);
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
