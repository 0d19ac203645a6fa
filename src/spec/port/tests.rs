use super::*;
use crate::error::Failure;

/// As the option would be written in full.
fn written(publish: &Publish) -> String {
    let address = publish.host_ip.map_or("*".to_owned(), |address| address.to_string());
    let host = match &publish.host_port {
        HostPort::Random => "?".to_owned(),
        HostPort::Fixed(port) => port.to_string(),
        HostPort::FirstFree(ports) => format!("{}..{}", ports.start(), ports.end()),
    };
    format!("{address} {host} {} {}", publish.container_port, publish.protocol)
}

fn all(texts: &[&str]) -> Result<Vec<String>> {
    Ok(publish(texts)?.iter().map(written).collect())
}

fn message(texts: &[&str]) -> String {
    Failure::from(&publish(texts).expect_err("refused")).message
}

#[test]
fn forms() {
    for (text, expected) in [
        ("80", "* ? 80 tcp"),
        ("80/UDP", "* ? 80 udp"),
        ("8080:80", "* 8080 80 tcp"),
        (":80", "* ? 80 tcp"),
        ("::80", "* ? 80 tcp"),
        ("127.0.0.1::80/udp", "127.0.0.1 ? 80 udp"),
        ("127.0.0.1:8080:80", "127.0.0.1 8080 80 tcp"),
        ("0.0.0.0:1:65535", "0.0.0.0 1 65535 tcp"),
        ("[::1]:8080:80", "::1 8080 80 tcp"),
        ("[::]::80/tcp", ":: ? 80 tcp"),
        ("[::ffff:127.0.0.1]:8080:80", "127.0.0.1 8080 80 tcp"),
        ("8080-8090:80", "* 8080..8090 80 tcp"),
        ("00080:080", "* 80 80 tcp"),
    ] {
        assert_eq!(all(&[text]).expect(text), [expected], "{text}");
    }
    let pairs = ["* 8080 80 tcp", "* 8081 81 tcp", "* 8082 82 tcp"];
    assert_eq!(all(&["8080-8082:80-82"]).expect("ranges"), pairs);
    assert_eq!(all(&["80-81/udp"]).expect("a range"), ["* ? 80 udp", "* ? 81 udp"]);
    assert_eq!(all(&["1-65535:1-65535"]).expect("all of them").len(), 65535);
    assert_eq!(all(&["65535-65535:1-1"]).expect("one"), ["* 65535 1 tcp"]);
}

#[test]
fn what_is_refused() {
    for (text, expected) in [
        ("", "no port specified: <empty>"),
        (":", "no port specified: :<empty>"),
        ("::", "no port specified: ::<empty>"),
        ("8080:", "no port specified: 8080:<empty>"),
        ("/tcp", "no port specified: /tcp<empty>"),
        ("x", "invalid containerPort: \"x\" is not a port"),
        ("80:x", "invalid containerPort: \"x\" is not a port"),
        ("x:80", "invalid hostPort: \"x\" is not a port"),
        ("0", "invalid containerPort: \"0\": ports go from 1 to 65535"),
        ("0:80", "invalid hostPort: \"0\": ports go from 1 to 65535"),
        ("65536:80", "invalid hostPort: \"65536\": ports go from 1 to 65535"),
        ("80:99999999999999999999", "invalid containerPort: \"99999999999999999999\": ports go from 1 to 65535"),
        ("-1", "invalid containerPort: \"\" is not a port"),
        ("+80", "invalid containerPort: \"+80\" is not a port"),
        (" 80", "invalid containerPort: \" 80\" is not a port"),
        ("８０", "invalid containerPort: \"８０\" is not a port"),
        ("81-80", "invalid containerPort: invalid range specified for port: 81-80"),
        ("1-2-3", "invalid containerPort: \"2-3\" is not a port"),
        ("80-81:90-95", "invalid ranges specified for container and host Ports: 90-95 and 80-81"),
        ("80:90-95", "invalid ranges specified for container and host Ports: 90-95 and 80"),
        ("80/sctp", "sctp: neither pasta nor slirp4netns carries it: tcp or udp is wanted"),
        ("80/", "invalid proto: : tcp or udp is wanted"),
        ("80/tcp/udp", "invalid proto: tcp/udp: tcp or udp is wanted"),
        ("80/tcp:80", "invalid proto: tcp:80: tcp or udp is wanted"),
        ("localhost:80:80", "\"localhost\" is not an ip address"),
        ("1.2.3:80:80", "\"1.2.3\" is not an ip address"),
        ("[fe80::1%eth0]:80:80", "\"fe80::1%eth0\" is not an ip address"),
        ("::1:80:80", "invalid port format: [[IP:][HOST]:]CONTAINER[/PROTOCOL] is wanted"),
        ("1:2:3:4", "invalid port format: [[IP:][HOST]:]CONTAINER[/PROTOCOL] is wanted"),
        ("[::1]", "not of the form [IPv6]:HOST:CONTAINER"),
        ("[::1]:80", "not of the form [IPv6]:HOST:CONTAINER"),
        ("[::1]:80:80:80", "not of the form [IPv6]:HOST:CONTAINER"),
        ("[", "not of the form [IPv6]:HOST:CONTAINER"),
        ("[]:80:80", "\"\" is not an ip address"),
    ] {
        assert_eq!(message(&[text]), format!("-p {text}: {expected}"));
    }
    for text in ["9".repeat(1 << 20), ":".repeat(1 << 20), "é".repeat(1 << 20), "1-".repeat(1 << 20)] {
        assert!(publish(&[text]).is_err());
    }
    let hints = Failure::from(&publish(&["0:80"]).expect_err("0")).hints;
    assert_eq!(hints, ["without a host port a free one is taken: -p 80, -p 127.0.0.1::80"]);
}

#[test]
fn no_port_is_taken_twice() {
    for (first, second) in [
        ("8080:80", "8080:81"),
        ("8080:80", "8080:80"),
        ("8080:80", "127.0.0.1:8080:80"),
        ("[::1]:8080:80", "8080:80"),
        ("0.0.0.0:8080:80", "127.0.0.1:8080:80"),
        ("127.0.0.1:8080:80", "0.0.0.0:8080:80"),
        ("[::1]:8080:80", "[::]:8080:80"),
        ("8000-8100:8000-8100", "8080:80"),
        ("8080:80/udp", "0.0.0.0:8080:80/udp"),
    ] {
        let taken = format!("-p {second}: port 80");
        let message = message(&[first, second]);
        assert!(message.starts_with(&taken) && message.ends_with(&format!("taken by -p {first}")), "{message}");
    }
    for (first, second) in [
        ("8080:80", "8080:80/udp"),
        ("8080:80", "8081:80"),
        ("127.0.0.1:8080:80", "127.0.0.2:8080:80"),
        ("0.0.0.0:8080:80", "[::]:8080:80"),
        ("127.0.0.1:8080:80", "[::]:8080:80"),
        ("80", "80"),
        ("8080-8090:80", "8080:81"),
    ] {
        publish(&[first, second]).unwrap_or_else(|error| panic!("{first} {second}: {error}"));
    }
    let many: Vec<String> = (0..60_000).map(|n| format!("127.1.{}.{}:80:80", n / 256, n % 256)).collect();
    assert_eq!(publish(&many).expect("different addresses").len(), 60_000);
}

#[test]
fn not_more_than_can_be() {
    assert_eq!(all(&["1-65535", "1/udp"]).expect("65536").len(), MOST);
    assert_eq!(message(&["1-65535", "1-2/udp"]), "-p 1-2/udp: more than 65536 ports are published");
}

#[test]
fn exposed_ports() {
    let exposed = |text: &str| expose(text).map(|one| (shown(&one.ports), one.protocol));
    assert_eq!(exposed("80").expect("a port"), ("80".to_owned(), Protocol::Tcp));
    assert_eq!(exposed("53-60/udp").expect("ports"), ("53-60".to_owned(), Protocol::Udp));
    for text in ["", "x", "0", "65536", "80-79", "80/foo", "80/sctp", "8080:80", "80-", "-", "é", "1-2-3"] {
        assert!(expose(text).is_err(), "{text}");
    }
    let published = publish(&["8080:80"]).expect("a port");
    let exposed = [expose("80-81").expect("ports"), expose("1-65000/udp").expect("ports")];
    let of_image = ["443/tcp".to_owned(), "53/udp".to_owned()];
    let added = publish_all(&published, &exposed, &of_image).expect("ports");
    let added: Vec<String> = added.iter().map(written).collect();
    assert_eq!((added[0].as_str(), added.len()), ("* ? 81 tcp", 1 + 65000 + 1));
    assert_eq!(added.last().map(String::as_str), Some("* ? 443 tcp"));
    let error = publish_all(&[], &[], &["80/sctp".to_owned()]).expect_err("sctp");
    assert!(Failure::from(&error).message.starts_with("the image exposes port 80/sctp: sctp: neither"));
    let exposed = [expose("1-65535").expect("ports"), expose("1-65535/udp").expect("ports")];
    assert_eq!(
        publish_all(&[], &exposed, &[]).expect_err("many").to_string(),
        "-P: more than 65536 ports are published"
    );
}
