//! Published ports. Each test has ports of its own: all share the host.

use crate::env::bed::{CLIENT, Echo, Listener, RBOX};
use crate::env::{self, Done, Env, program};
use crate::{in_each_mode_apart, requires};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::process::Command;

/// Echo on port 80 of both protocols, in a container.
fn echo(env: &Env, mode: &[&str], options: &[&str]) -> Listener {
    env.listen(&[mode, options].concat(), &["tcp", "80", "udp", "80"])
}

/// A verb of the guest on this host.
fn here(verb: &[&str]) -> Done {
    Command::new(program("rbox-guest")).args(verb).output().unwrap().into()
}

/// Asks a port of this host, from the client host.
#[track_caller]
fn from_client(protocol: &str, to: IpAddr, port: &str) -> Echo {
    Echo::read(&CLIENT.guest(&["connect", protocol, &to.to_string(), port, "hello"]))
}

/// Which of this host's addresses answer at a port, from the client host.
fn seen_by_client(port: u16) -> String {
    let targets = RBOX.addresses().map(|address| std::net::SocketAddr::new(address, port).to_string());
    CLIENT.guest(&["knock", &targets[0], &targets[1]])
}

#[test]
fn a_published_port_shows_the_clients_address() {
    requires!("a_published_port_shows_the_clients_address", bed);
    in_each_mode_apart(|env, mode| {
        let _listener = echo(env, mode, &["-p", "8101:80", "-p", "8101:80/udp"]);
        for protocol in ["tcp", "udp"] {
            for (to, from) in RBOX.addresses().into_iter().zip(CLIENT.addresses()) {
                // Twice: a second client of the same address has a port of its own.
                for _ in 0..2 {
                    let echo = from_client(protocol, to, "8101");
                    assert_eq!((echo.peer.ip(), echo.text.as_str()), (from, "hello"), "{mode:?} {protocol}");
                    assert!(!echo.local.is_loopback(), "{mode:?} {echo:?}");
                }
            }
        }
    });
}

#[test]
fn a_client_on_the_hosts_loopback_is_not_shown_as_loopback() {
    requires!("a_client_on_the_hosts_loopback_is_not_shown_as_loopback", bed);
    in_each_mode_apart(|env, mode| {
        let _listener = echo(env, mode, &["-p", "8102:80", "-p", "8102:80/udp"]);
        for protocol in ["tcp", "udp"] {
            for to in ["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"] {
                let echo = Echo::read(&here(&["connect", protocol, to, "8102", "hello"]).ok().stdout);
                assert_eq!(echo.text, "hello", "{mode:?} {protocol} {to}");
                // CVE-2021-20199
                assert!(!echo.peer.ip().is_loopback(), "{mode:?} {protocol} {to}: {echo:?}");
            }
        }
    });
}

#[test]
fn the_containers_own_loopback_is_not_published() {
    requires!("the_containers_own_loopback_is_not_published", bed);
    in_each_mode_apart(|env, mode| {
        let options = [mode, &["-p", "8103:80", "-p", "8103:80/udp"]].concat();
        let _listener = env.listen(&options, &["tcp", "127.0.0.1:80", "[::1]:80", "udp", "127.0.0.1:80", "[::1]:80"]);
        for to in RBOX.addresses() {
            // Whoever takes connections before the service does may close them only then.
            let said = CLIENT.guest(&["connect", "tcp", &to.to_string(), "8103", "hello"]);
            assert!(said.starts_with("error="), "{mode:?} {to}: {said}");
        }
        assert!(!seen_by_client(8103).contains("udp"), "{mode:?}");
    });
}

#[test]
fn a_port_of_one_address_is_no_others() {
    requires!("a_port_of_one_address_is_no_others", bed);
    in_each_mode_apart(|env, mode| {
        let options = ["-p", "127.0.0.1:8104:80", "-p", "[::1]:8104:80", "-p", "192.0.2.1:8105:80/udp"];
        let _listener = echo(env, mode, &options);
        assert_eq!(seen_by_client(8104), "", "{mode:?}");
        assert_eq!(seen_by_client(8105), "udp 192.0.2.1:8105\n", "{mode:?}");
        for (protocol, to, port) in [("tcp", "127.0.0.1", "8104"), ("tcp", "::1", "8104"), ("udp", "192.0.2.1", "8105")]
        {
            Echo::read(&here(&["connect", protocol, to, port, "hello"]).ok().stdout);
        }
        assert_eq!(here(&["knock", "127.0.0.1:8105"]).ok().stdout, "", "{mode:?}");
    });
}

#[test]
fn a_range_of_ports() {
    requires!("a_range_of_ports", bed);
    in_each_mode_apart(|env, mode| {
        let options = [mode, &["-p", "8106-8108:80-82"]].concat();
        let _listener = env.listen(&options, &["tcp", "80", "81", "82"]);
        for (outside, inside) in [("8106", "80"), ("8107", "81"), ("8108", "82")] {
            for to in RBOX.addresses() {
                assert_eq!(from_client("tcp", to, outside).text, "hello", "{mode:?} {outside} {inside}");
            }
        }
    });
}

#[test]
fn a_port_that_the_host_chooses_is_told() {
    requires!("a_port_that_the_host_chooses_is_told", bed);
    in_each_mode_apart(|env, mode| {
        let _listener = echo(env, mode, &["--name", "web", "-p", "80", "-p", "80/udp"]);
        for protocol in ["tcp", "udp"] {
            let port = |words: &[&str]| -> String {
                let done: Done = env.rbox().arg("port").args(words).output().unwrap().into();
                done.ok().stdout
            };
            let one = port(&["web", &format!("80/{protocol}")]);
            let number = one.lines().next().and_then(|line| line.strip_prefix("0.0.0.0:")).unwrap_or_default();
            assert_eq!(one, format!("0.0.0.0:{number}\n[::]:{number}\n"), "{mode:?}");
            let all = port(&["web"]);
            for line in one.lines() {
                assert!(all.contains(&format!("80/{protocol} -> {line}\n")), "{mode:?} {all}");
            }
            for to in RBOX.addresses() {
                assert_eq!(from_client(protocol, to, number).text, "hello", "{mode:?} {protocol}");
            }
        }
    });
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    requires!("a_port_that_is_taken_is_an_error", bed);
    in_each_mode_apart(|env, mode| {
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let udp = UdpSocket::bind("192.0.2.1:0").unwrap();
        for (port, protocol) in [(tcp.local_addr().unwrap().port(), "tcp"), (udp.local_addr().unwrap().port(), "udp")] {
            let publish = format!("{port}:80/{protocol}");
            // The payload is not started.
            let done = env.guest(&[mode, &["-p", &publish]].concat(), &["echo", "started"]);
            assert_eq!(done.stdout, "", "{mode:?}");
            // This test itself has it.
            done.fails(125, &port.to_string()).fails(125, &format!("(pid {})", std::process::id()));
        }
        assert_eq!(env.leftovers(), Vec::<String>::new());
    });
}

#[test]
fn a_port_for_root_is_an_error_that_says_so() {
    requires!("a_port_for_root_is_an_error_that_says_so", bed);
    in_each_mode_apart(|env, mode| {
        let done = env.guest(&[mode, &["-p", "81:80"]].concat(), &["echo", "started"]);
        assert_eq!(done.stdout, "", "{mode:?}");
        done.fails(125, "81").advises("net.ipv4.ip_unprivileged_port_start");
    });
}

#[test]
fn an_address_that_the_host_lacks_is_an_error() {
    requires!("an_address_that_the_host_lacks_is_an_error", bed);
    in_each_mode_apart(|env, mode| {
        env.guest(&[mode, &["-p", "192.0.2.77:8109:80"]].concat(), &["echo", "started"]).fails(125, "192.0.2.77");
    });
}

#[test]
fn a_port_is_free_when_the_container_has_ended() {
    requires!("a_port_is_free_when_the_container_has_ended", bed);
    in_each_mode_apart(|env, mode| {
        for _ in 0..5 {
            let listener = echo(env, mode, &["-p", "8110:80", "-p", "8110:80/udp"]);
            assert_eq!(from_client("tcp", RBOX.v4(), "8110").text, "hello", "{mode:?}");
            drop(listener);
            drop(UdpSocket::bind("[::]:8110").expect("nobody has it"));
            // Connections that linger (TIME_WAIT) are no obstacle: std's listeners reuse addresses.
            drop(TcpListener::bind("[::]:8110").expect("nobody has it"));
        }
    });
}
