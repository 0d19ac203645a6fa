//! Which server is asked, what is passed on, and how it ends.

use super::*;

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

/// In a process of its own, whose limit concerns nobody else.
#[test]
fn without_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const ALONE: &str = "RBOX_TEST_WITHOUT_DESCRIPTORS";
    if std::env::var_os(ALONE).is_none() {
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "net::dns::tests::both::without_descriptors", "--nocapture"]).env(ALONE, "1");
        let output = test.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let fakes = Fakes::new(&[good]).await;
        let client = Client::new(fakes.upstream(LONG, 2)).await;
        let asked = query(1, "example.org");
        assert_eq!(client.ask(&asked).await, answer(&asked, 0, 1));
        let unconnected = tokio::net::TcpSocket::new_v4().unwrap();
        let lowest = std::os::fd::AsRawFd::as_raw_fd(&std::fs::File::open("/dev/null").unwrap());
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(lowest as u64), ..before }).unwrap();
        assert!(std::fs::File::open("/dev/null").is_err());
        let failed = client.ask(&asked).await;
        assert_eq!(failed[..4], [0, 1, 0x81, 0x82]);
        // The connection waits until somebody can take it.
        let mut connection = unconnected.connect(client.server).await.unwrap();
        write(&mut connection, &asked).await;
        assert_eq!(client.ask(&asked).await, failed);
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!(read(&mut connection).await, Some(answer(&asked, 0, 1)));
        assert_eq!(client.ask(&asked).await, answer(&asked, 0, 1));
        assert_eq!(fakes.asked().len(), 3);
    });
}
