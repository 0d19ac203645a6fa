//! Containers on networks, on a host of the test network: what they reach, and what not.

use crate::env::bed::{CLIENT, Echo, RBOX, SERVER};
use crate::env::{self, Done, Env, has_range, program, uid};
use crate::{inspected, network, requires};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::Stdio;

/// A private world with these networks, `NAME OPTION…`.
pub fn world(networks: &[&str]) -> Env {
    let env = Env::new();
    for words in networks {
        let mut words: Vec<&str> = words.split(' ').collect();
        words.rotate_left(1);
        network(&env, &[&["create"], words.as_slice()].concat()).ok();
    }
    env
}

/// The only container on a network: its address of a family.
pub fn address(env: &Env, name: &str, key: &str) -> String {
    let containers = inspected(env, name)["Containers"].take();
    let all: Vec<&Value> = containers.as_object().unwrap().values().collect();
    assert_eq!(all.len(), 1, "{containers}");
    all[0][key].as_str().unwrap().split('/').next().unwrap().to_owned()
}

fn gateway(env: &Env, name: &str) -> String {
    inspected(env, name)["IPAM"]["Config"][0]["Gateway"].as_str().unwrap().to_owned()
}

/// What a name leads to, in a container.
fn resolved(env: &Env, options: &[&str], name: &str) -> String {
    let done = env.guest(options, &["resolve", name]);
    // IPv4 comes first.
    done.stdout.lines().next().unwrap_or_default().to_owned()
}

fn knock(env: &Env, options: &[&str], targets: &[&str]) -> String {
    env.guest(options, &[&["knock"], targets].concat()).ok().stdout
}

#[test]
fn by_name_alias_and_address() {
    requires!("by_name_alias_and_address", networks);
    let env = world(&["web", "other"]);
    let options = ["--network=web", "--name=db", "--network-alias=store", "--hostname=host"];
    let _listener = env.listen(&options, &["tcp", "80", "udp", "80"]);
    let own = address(&env, "web", "IPv4Address");
    for name in ["db", "store", "DB"] {
        assert_eq!(resolved(&env, &["--network=web"], name), own, "{name}");
        assert!(resolved(&env, &["--network=other"], name).starts_with("error="), "{name}");
    }
    let target = format!("{own}:80");
    assert_eq!(knock(&env, &["--network=web"], &[&target]), format!("tcp {target}\nudp {target}\n"));
    for option in ["--network=other", "--network=pasta", "--network=none"] {
        assert_eq!(knock(&env, &[option], &[&target]), "", "{option}");
    }
    let done = env.guest(&["--network=web"], &["connect", "tcp", &own, "80", "hello"]).ok();
    let echo = Echo::read(&done.stdout);
    assert_eq!((echo.local.to_string(), echo.text.as_str()), (own.clone(), "hello"));
    // Both sides see the other's own address.
    assert_eq!(echo.peer.ip().to_string().rsplit_once('.').unwrap().0, own.rsplit_once('.').unwrap().0);
}

#[test]
fn what_was_asked_for() {
    requires!("what_was_asked_for", networks);
    let env = world(&["web --subnet 10.98.7.0/24 --ip-range 10.98.7.64/26 --ipv6", "six --subnet fd98:7::/64"]);
    let mac = "--mac-address=02:00:00:00:98:07";
    let options = ["--network=web", "--ip=10.98.7.9", mac, "--name=a", "--hostname=host", "-p", "8301:80"];
    let listener = env.listen(&options, &["tcp", "80"]);
    let containers = inspected(&env, "web")["Containers"].take();
    let (id, about) = containers.as_object().unwrap().iter().next().unwrap();
    assert_eq!(id.len(), 64);
    assert_eq!(
        (&about["Name"], &about["IPv4Address"], &about["MacAddress"]),
        (&json!("a"), &json!("10.98.7.9/24"), &json!("02:00:00:00:98:07"))
    );
    assert!(about["IPv6Address"].as_str().unwrap().starts_with("fd"), "{about}");
    env.guest(&["--network=web", "--ip=10.98.7.9"], &["exit", "0"]).fails(125, "10.98.7.9 is already allocated");
    env.guest(&["--network=web", "--ip=10.98.8.9"], &["exit", "0"]).fails(125, "is not in subnet 10.98.7.0/24");
    env.guest(&["--network=web", "--ip=10.98.7.1"], &["exit", "0"]).fails(125, "is the gateway's");
    env.guest(&["--network=six", "--ip=10.98.7.1"], &["exit", "0"]).fails(125, "is in no subnet of it");
    let done = env.guest(&["--network=nosuch"], &["exit", "0"]);
    done.fails(125, "network nosuch not found").advises("rbox network create nosuch");
    // Of the range, and in /etc/hosts.
    let hosts = env.guest(&["--network=web", "--hostname=other"], &["read", "/etc/hosts"]).ok().stdout;
    assert!(hosts.contains("\n10.98.7.64\tother\n"), "{hosts}");
    let hosts = env.guest(&["--network=six", "--hostname=other"], &["read", "/etc/hosts"]).ok().stdout;
    assert!(hosts.contains("\nfd98:7::2\tother\n"), "{hosts}");
    let port: Done = env.rbox().args(["port", "a"]).output().unwrap().into();
    assert_eq!(port.ok().stdout, "80/tcp -> 0.0.0.0:8301\n80/tcp -> [::]:8301\n");
    drop(listener);
    // What was given back can be had again, at once.
    env.guest(&["--network=web", "--ip=10.98.7.9"], &["exit", "0"]).ok();
    assert_eq!(inspected(&env, "web")["Containers"], json!({}));
}

#[test]
fn a_published_port_of_two_networks() {
    requires!("a_published_port_of_two_networks", networks);
    let env = world(&["back --internal", "front"]);
    let _listener = env.listen(&["--network=front,back", "-p", "8302:80"], &["tcp", "80"]);
    let said = CLIENT.guest(&["connect", "tcp", &RBOX.v4().to_string(), "8302", "hello"]);
    let echo = Echo::read(&said);
    assert_eq!((echo.peer.ip(), echo.text.as_str()), (CLIENT.v4(), "hello"));
    assert_eq!(echo.local.to_string(), address(&env, "front", "IPv4Address"));
}

#[test]
fn connect_and_disconnect() {
    requires!("connect_and_disconnect", networks);
    let env = world(&["web", "db --subnet 10.98.9.0/24"]);
    let listener = env.listen(&["--network=web", "--name=a", "-p", "8303:80"], &["tcp", "80"]);
    let alone = env.listen(&["--network=none", "--name=alone"], &["tcp", "80"]);
    network(&env, &["rm", "web"]).fails(125, "remove web: network is in use by container a");
    network(&env, &["disconnect", "db", "a"]).fails(125, "container a is not connected to network db");
    network(&env, &["disconnect", "-f", "db", "a"]).ok();
    network(&env, &["connect", "--ip", "10.98.9.9", "--alias", "store", "db", "a"]).ok();
    network(&env, &["connect", "db", "a"]).fails(125, "already connected");
    network(&env, &["connect", "db", "nosuch"]).fails(125, "no such container");
    let done = network(&env, &["connect", "db", "alone"]);
    done.fails(125, "container alone is on no network that containers share").advises("--network NAME");
    assert_eq!(address(&env, "db", "IPv4Address"), "10.98.9.9");
    for name in ["a", "store"] {
        assert_eq!(resolved(&env, &["--network=db"], name), "10.98.9.9", "{name}");
    }
    assert_eq!(knock(&env, &["--network=db"], &["10.98.9.9:80"]), "tcp 10.98.9.9:80\n");
    network(&env, &["rm", "db"]).fails(125, "network is in use by container a");
    network(&env, &["disconnect", "db", "a"]).ok();
    assert_eq!(knock(&env, &["--network=db"], &["10.98.9.9:80"]), "");
    assert!(resolved(&env, &["--network=db"], "store").starts_with("error="));
    // The first network is as it was.
    assert_eq!(resolved(&env, &["--network=web"], "a"), address(&env, "web", "IPv4Address"));
    assert_eq!(CLIENT.guest(&["knock", "192.0.2.1:8303"]), "tcp 192.0.2.1:8303\n");
    network(&env, &["rm", "db"]).ok();
    drop((listener, alone));
    network(&env, &["rm", "web"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn networks_do_not_see_each_other() {
    requires!("networks_do_not_see_each_other", networks);
    let env = world(&[
        "web --ipv6",
        "other --ipv6",
        "internal --internal",
        "nameless --disable-dns",
        "open1 -o isolate=false",
        "open2 -o isolate=false",
    ]);
    let _listener = env.listen(&["--network=web", "--name=a"], &["tcp", "80", "udp", "80"]);
    let _friend = env.listen(&["--network=open1", "--name=b"], &["tcp", "80"]);
    let (v4, v6) = (address(&env, "web", "IPv4Address"), address(&env, "web", "IPv6Address"));
    let friend = format!("{}:80", address(&env, "open1", "IPv4Address"));
    let theirs = gateway(&env, "web");
    let targets = [format!("{v4}:80"), format!("[{v6}]:80"), format!("{theirs}:53"), friend.clone()];
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    for (name, reached) in [("other", ""), ("internal", ""), ("open2", format!("tcp {friend}\n").as_str())] {
        let option = format!("--network={name}");
        assert_eq!(knock(&env, &[&option], &targets), reached, "{name}");
    }
    // Not even what the other's gateway knows.
    let ask = [&format!("--dns={theirs}"), "--dns-option=timeout:1", "--dns-option=attempts:1", "--network=nameless"];
    assert!(resolved(&env, &ask, "a").starts_with("error="));
    assert!(
        knock(&env, &["--network=web"], &targets).starts_with(&format!("tcp {v4}:80\nudp {v4}:80\ntcp [{v6}]:80\n"))
    );
}

#[test]
fn internal_networks_have_no_way_out() {
    requires!("internal_networks_have_no_way_out", networks);
    let env = world(&["back --internal --ipv6", "front"]);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let mut targets: Vec<SocketAddr> = SERVER.addresses().map(|address| (address, 7).into()).to_vec();
    let gateway = gateway(&env, "back").parse::<IpAddr>().unwrap();
    for address in [gateway, [10, 0, 2, 2].into(), [10, 0, 2, 100].into(), [127, 0, 0, 1].into(), [192, 0, 2, 1].into()]
    {
        targets.push((address, port).into());
    }
    let targets: Vec<String> = targets.iter().map(SocketAddr::to_string).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let back = ["--network=back"];
    assert_eq!(knock(&env, &back, &targets), "");
    assert!(tcp.accept().is_err() && udp.recv(&mut [0]).is_err());
    // Names do not get out, either; that is said at once, and the next server is asked, to which there is no way.
    for options in [&back[..], &["--network=back", "--dns=192.0.2.2"]] {
        for protocol in ["udp", "tcp"] {
            let asked = env.guest(options, &["dns", protocol, "10.0.2.3", "server.test", "A"]).ok();
            assert!(asked.stdout.starts_with("status=2\n"), "{asked:?}");
        }
    }
    let timeout = ["--dns-option=timeout:1", "--dns-option=attempts:1"];
    let asked = [&["--network=back", "--dns=192.0.2.2"], &timeout[..]].concat();
    assert!(resolved(&env, &asked, "server.test").starts_with("error="));
    let both = ["--network=front,back"];
    assert_eq!(knock(&env, &both, &["192.0.2.2:7"]), "tcp 192.0.2.2:7\nudp 192.0.2.2:7\n");
}

#[test]
fn ids_as_asked_for() {
    requires!("ids_as_asked_for", networks);
    let env = world(&["web --disable-dns"]);
    let map = |options: &[&str]| {
        let done = env.guest(&[&["--network=web"], options].concat(), &["read", "/proc/self/uid_map"]).ok();
        let numbers = |line: &str| line.split_whitespace().map(|word| word.parse().unwrap()).collect::<Vec<u32>>();
        done.stdout.lines().map(numbers).collect::<Vec<_>>()
    };
    // As the namespace around calls them: the caller is its root.
    assert_eq!(map(&["--id-mode=single"]), [[0, 0, 1]]);
    let server = env.guest(&["--network=web"], &["read", "/etc/resolv.conf"]).ok().stdout;
    assert!(server.starts_with("nameserver 10.0.2.3\n"), "{server}");
    if !has_range() {
        assert_eq!(map(&[]), [[0, 0, 1]]);
        return;
    }
    assert_eq!(map(&[])[..], [vec![0, 0, 1], vec![1, 1, map(&[])[1][2]]]);
    let kept = map(&["--userns=keep-id"]);
    assert_eq!(kept[1], [uid(), 0, 1]);
    assert_eq!(map(&["--userns=nomap"])[0][..2], [0, 1]);
    let done = env.guest(&["--network=web", "--user=1000:1000"], &["write", "/tmp/file", "x"]).ok();
    assert_eq!(done.stderr, "");
    assert_eq!(std::fs::read_to_string(env.rootfs().join("tmp/file")).unwrap(), "x");
}

#[test]
fn what_is_missing_is_named() {
    let tools = ["unshare", "mount"]
        .iter()
        .all(|tool| ["/bin", "/usr/bin"].iter().any(|dir| std::path::Path::new(dir).join(tool).exists()));
    requires!(
        "what_is_missing_is_named",
        tools && env::shared::missing().is_none(),
        "unshare, netavark or iptables is missing"
    );
    let env = world(&["web"]);
    for (hidden, missing) in [
        ("/usr/lib/podman/netavark", "need netavark, which is not installed"),
        ("/usr/sbin", "need iptables, which is not installed"),
    ] {
        requires!("what_is_missing_is_named", std::path::Path::new(hidden).exists(), "not where Debian has it");
        let script = "if [ -d \"$1\" ]; then mount -t tmpfs none \"$1\"; else mount --bind /dev/null \"$1\"; fi && \
            exec \"$0\" run --rm --network web --rootfs \"$2\" /guest exit 0";
        let mut command = env.command("unshare");
        command.args(["-Urm", "sh", "-c", script]).arg(program("rbox")).arg(hidden).arg(env.rootfs());
        let done = Done::from(command.env("PATH", "/usr/bin:/bin").output().unwrap());
        done.fails(125, missing).advises("apt install netavark iptables").advises("--network pasta");
    }
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn names_of_all_networks_whenever_they_are_joined() {
    requires!("names_of_all_networks_whenever_they_are_joined", networks);
    let env = world(&["back --internal", "front", "side"]);
    let _db = env.listen(&["--network=back", "--name=db"], &["tcp", "80"]);
    let _web = env.listen(&["--network=front", "--name=web"], &["tcp", "80"]);
    let [db, web] = [address(&env, "back", "IPv4Address"), address(&env, "front", "IPv4Address")];
    for both in ["--network=back,front", "--network=front,back"] {
        for (name, expected) in [("db", db.as_str()), ("web", web.as_str()), ("server.test", "192.0.2.2")] {
            assert_eq!(resolved(&env, &[both], name), expected, "{both} {name}");
        }
    }
    // What joins later finds them, too; and what leaves does not.
    let _late = env.listen(&["--network=side", "--name=late"], &["tcp", "80"]);
    let found = |name: &str| resolved(&env, &["--network=container:late"], name);
    assert!(found("db").starts_with("error="));
    network(&env, &["connect", "back", "late"]).ok();
    network(&env, &["disconnect", "side", "late"]).ok();
    assert_eq!(found("db"), db);
    // The only network that is left has no way out.
    assert!(found("server.test").starts_with("error="));
    network(&env, &["connect", "front", "late"]).ok();
    network(&env, &["disconnect", "back", "late"]).ok();
    assert!(found("db").starts_with("error="));
    assert_eq!((found("web").as_str(), found("server.test").as_str()), (web.as_str(), "192.0.2.2"));
}

#[test]
fn a_published_port_follows() {
    requires!("a_published_port_follows", networks);
    let env = world(&["web", "front"]);
    let _listener = env.listen(&["--network=web,front", "--name=a", "-p", "8321:80"], &["tcp", "80"]);
    let asked = || CLIENT.guest(&["connect", "tcp", &RBOX.v4().to_string(), "8321", "hello"]);
    let works = || asked().starts_with("peer=192.0.2.3");
    assert!(works());
    network(&env, &["disconnect", "web", "a"]).ok();
    env::eventually("the other network's address", works);
    network(&env, &["connect", "web", "a"]).ok();
    network(&env, &["disconnect", "front", "a"]).ok();
    env::eventually("the first network's new address", works);
}

#[test]
fn a_false_source_leads_nowhere() {
    requires!("a_false_source_leads_nowhere", networks);
    let env = world(&["back --internal", "side", "front"]);
    for network in ["back", "side"] {
        let mut command = env.run_command(&["--network=front", "--name=victim"]);
        let mut victim = command.args(["/guest", "hear", "8402"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(victim.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        let own = address(&env, "front", "IPv4Address");
        let _listener = env.listen(&["--network", network, "--name=it"], &["tcp", "80"]);
        // Answers would go there.
        let gateway = gateway(&env, network);
        for target in ["10.0.2.3:53", &format!("{gateway}:53")] {
            env.guest(&["--network=container:it"], &["forge", &format!("{own}:8402"), target]).ok();
        }
        // The last one that is sent is the first that is heard.
        env.guest(&["--network=front"], &["tell", &format!("{own}:8402"), "nothing"]).ok();
        assert_eq!(said.next().unwrap().unwrap(), "nothing", "{network}");
        assert!(victim.wait().unwrap().success());
    }
}

#[test]
fn what_neighbours_remember_stays_true() {
    requires!("what_neighbours_remember_stays_true", networks);
    let env = world(&["web --subnet 10.98.7.0/24"]);
    let _stays = env.listen(&["--network=web", "--name=stays"], &["tcp", "80"]);
    let beside = ["--network=container:stays"];
    for round in 0..3 {
        // One after the other has this address.
        let name = format!("--name=other{round}");
        let _other = env.listen(&["--network=web", "--ip=10.98.7.9", &name], &["tcp", "80"]);
        assert_eq!(knock(&env, &beside, &["10.98.7.9:80"]), "tcp 10.98.7.9:80\n", "{round}");
        // Names are asked for by way of the bridge.
        assert_eq!(resolved(&env, &beside, &format!("other{round}")), "10.98.7.9");
        let known = env.guest(&beside, &["read", "/proc/net/arp"]).ok().stdout;
        for neighbour in ["10.98.7.1", "10.98.7.9"] {
            let line = known.lines().find(|line| line.split_whitespace().next() == Some(neighbour));
            let expected = if neighbour.ends_with(".1") { "02:42:0a:62:07:01" } else { "02:42:0a:62:07:09" };
            assert!(line.is_some_and(|line| line.contains(expected)), "{round} {neighbour}: {known}");
        }
    }
    let word = "--mac-address=02:00:00:00:00:07";
    let own = env.guest(&["--network=web", word], &["read", "/sys/class/net/eth0/address"]).ok().stdout;
    assert_eq!(own.trim(), "02:00:00:00:00:07");
    // Two with one would not hear each other.
    for taken in ["02:42:0a:62:07:01", "02:42:0A:62:07:02"] {
        let done = env.guest(&["--network=web", &format!("--mac-address={taken}")], &["echo"]);
        done.fails(125, "is already in use");
    }
    let next = address(&env, "web", "IPv4Address").rsplit_once('.').unwrap().1.parse::<u8>().unwrap() + 1;
    let _wanted = env.listen(
        &["--network=web", "--ip=10.98.7.100", &format!("--mac-address=02:42:0a:62:07:{next:02x}")],
        &["tcp", "80"],
    );
    let own =
        env.guest(&["--network=web", &format!("--ip=10.98.7.{next}")], &["read", "/sys/class/net/eth0/address"]).ok();
    assert!(!own.stdout.starts_with("02:42:0a:62:07"), "{own:?}");
}
