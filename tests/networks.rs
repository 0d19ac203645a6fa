//! Networks that containers share.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

#[path = "networks/ends.rs"]
mod ends;
#[path = "networks/together.rs"]
mod together;

use env::{Done, Env};
use serde_json::{Value, json};
use std::process::{Child, Stdio};

fn network(env: &Env, words: &[&str]) -> Done {
    env.rbox().arg("network").args(words).output().expect("rbox starts").into()
}

fn inspected(env: &Env, name: &str) -> Value {
    let mut all: Value = serde_json::from_str(&network(env, &["inspect", name]).ok().stdout).unwrap();
    all[0].take()
}

fn names(env: &Env, options: &[&str]) -> Vec<String> {
    let done = network(env, &[&["ls", "--format", "{{.Name}}"], options].concat()).ok();
    done.stdout.lines().map(str::to_owned).collect()
}

/// What is in the directory of all networks.
fn entries(env: &Env) -> Vec<String> {
    let all = std::fs::read_dir(env.path("data/rbox/networks")).into_iter().flatten().flatten();
    let mut all: Vec<String> = all.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

#[test]
fn words_of_docker() {
    let env = Env::new();
    assert_eq!(network(&env, &["ls"]).ok().stdout, "NETWORK ID   NAME      DRIVER    SCOPE\n");
    let id = network(&env, &["create", "--label", "a=b", "--label", "c", "-o", "mtu=1400", "web-1.x"]).ok().stdout;
    let id = id.trim();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let table = network(&env, &["ls"]).ok().stdout;
    assert_eq!(table.lines().nth(1).unwrap(), format!("{}   web-1.x   bridge    local", &id[..12]));
    assert_eq!(network(&env, &["ls", "-q"]).ok().stdout, format!("{}\n", &id[..12]));
    assert_eq!(network(&env, &["ls", "-q", "--no-trunc"]).ok().stdout, format!("{id}\n"));
    for (filter, is) in [
        ("name=web", true),
        ("name=db", false),
        ("label=a=b", true),
        ("label=a=x", false),
        ("driver=bridge", true),
        ("driver=macvlan", false),
        ("id=0", id.contains('0')),
        ("dangling=true", true),
        ("dangling=false", false),
        ("until=1h", false),
        ("until=2100-01-01", true),
    ] {
        let expected: &[&str] = if is { &["web-1.x"] } else { &[] };
        assert_eq!(names(&env, &["--filter", filter]), expected, "{filter}");
    }
    let about = inspected(&env, "web-1.x");
    assert_eq!(about["Id"], id);
    assert_eq!(about["Labels"], json!({ "a": "b", "c": "" }));
    assert_eq!(about["Options"], json!({ "mtu": "1400" }));
    assert_eq!((&about["Driver"], &about["Scope"]), (&json!("bridge"), &json!("local")));
    assert_eq!((&about["EnableIPv4"], &about["EnableIPv6"]), (&json!(true), &json!(false)));
    assert_eq!((&about["Internal"], &about["EnableDNS"]), (&json!(false), &json!(true)));
    let any: Value =
        serde_json::from_str(&env.rbox().args(["inspect", "web-1.x"]).output().map(Done::from).unwrap().ok().stdout)
            .unwrap();
    assert_eq!(any[0]["Id"], id);
    network(&env, &["create", "web-1.x"]).fails(125, "network with name web-1.x already exists");
    assert_eq!(network(&env, &["create", "--ignore", "web-1.x"]).ok().stdout.trim(), id);
    network(&env, &["inspect", "none"]).fails(125, "network none not found");
    network(&env, &["rm", "none"]).fails(125, "network none not found");
    assert_eq!(network(&env, &["rm", "-f", "none"]).ok().stdout, "none\n");
    for (words, text) in [
        (&["create", "_x"][..], "only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed"),
        (&["create", "../x"], "only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed"),
        (&["create", "host"], "operation is not permitted on predefined host network"),
        (&["create", "-d", "macvlan", "x"], "without root"),
        (&["create", "-d", "weave", "x"], "no such network driver"),
        (&["create", "-o", "vlan=1", "x"], "unsupported bridge network option vlan"),
        (&["create", "--ip-range", "10.5.0.0/24", "x"], "no matching subnet"),
    ] {
        network(&env, words).fails(125, text);
    }
    // By the beginning of its id.
    let both = network(&env, &["rm", "none", &id[..7]]);
    assert_eq!((both.status, both.stdout), (125, format!("{}\n", &id[..7])));
    assert_eq!(entries(&env), Vec::<String>::new());
}

#[test]
fn addresses() {
    let env = Env::new();
    let subnets = |name: &str| inspected(&env, name)["IPAM"]["Config"].clone();
    network(&env, &["create", "first"]).ok();
    let first = subnets("first")[0]["Subnet"].as_str().unwrap().to_owned();
    assert_eq!(
        subnets("first")[0]["Gateway"].as_str(),
        first.strip_suffix("0/24").map(|net| format!("{net}1")).as_deref()
    );
    network(&env, &["create", "second"]).ok();
    assert_ne!(subnets("second")[0]["Subnet"], *first);
    // What was freed is given out again.
    network(&env, &["rm", "first"]).ok();
    network(&env, &["create", "third"]).ok();
    assert_eq!(subnets("third")[0]["Subnet"], *first);
    let words =
        ["create", "--subnet", "172.30.5.9/24", "--gateway", "172.30.5.9", "--ip-range", "172.30.5.64/26", "own"];
    network(&env, &words).ok();
    let own = json!([{ "Subnet": "172.30.5.0/24", "Gateway": "172.30.5.9", "IPRange": "172.30.5.64-172.30.5.127" }]);
    assert_eq!(subnets("own"), own);
    let done = network(&env, &["create", "--subnet", "172.30.0.0/16", "other"]);
    done.fails(125, "subnet 172.30.0.0/16: overlaps with 172.30.5.0/24, which network own has");
    network(&env, &["create", "--subnet", "10.0.2.128/25", "other"]).fails(125, "overlaps with 10.0.2.0/24");
    network(&env, &["create", "--ipv6", "--internal", "six"]).ok();
    let six = inspected(&env, "six");
    assert_eq!((&six["EnableIPv6"], &six["Internal"]), (&json!(true), &json!(true)));
    assert!(subnets("six")[1]["Subnet"].as_str().is_some_and(|net| net.starts_with("fd") && net.ends_with("::/64")));
    network(&env, &["create", "--subnet", "fd05::/64", "only-six"]).ok();
    assert_eq!(inspected(&env, "only-six")["EnableIPv4"], false);
    assert_eq!(subnets("only-six"), json!([{ "Subnet": "fd05::/64", "Gateway": "fd05::1" }]));
    network(&env, &["create", "--ipv6", "-o", "mtu=1000", "small"]).fails(125, "a number from 1280 to 65535");
    // The file is podman's.
    let text = std::fs::read_to_string(env.path("data/rbox/networks/own.json")).unwrap();
    let own: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(own["subnets"][0]["lease_range"], json!({ "start_ip": "172.30.5.64", "end_ip": "172.30.5.127" }));
    assert_eq!(own["ipam_options"], json!({ "driver": "host-local" }));
    let id = own["id"].as_str().unwrap();
    assert_eq!(own["network_interface"], format!("br-{}", &id[..12]));
}

#[test]
fn the_routes_of_the_host_are_left_alone() {
    let tools = ["unshare --version", "ip -V"].iter().all(|tool| {
        let mut words = tool.split(' ');
        std::process::Command::new(words.next().unwrap()).args(words).output().is_ok_and(|done| done.status.success())
    });
    requires!("the_routes_of_the_host_are_left_alone", tools, "unshare or ip is not installed");
    let env = Env::new();
    // A VPN that has nearly all of the first pool, in another network namespace.
    let script = "ip link add vpn type veth peer name end && ip link set vpn up && ip route add 10.0.0.0/9 dev vpn &&
        ip route add 10.128.0.0/10 dev vpn && ip route add default dev vpn && exec \"$0\" network create there";
    let mut command = env.command("unshare");
    command.args(["-Urn", "sh", "-c", script]).arg(env::program("rbox"));
    Done::from(command.output().unwrap()).ok();
    assert_eq!(inspected(&env, "there")["IPAM"]["Config"][0]["Subnet"], "10.192.0.0/24");
}

#[test]
fn a_network_in_use_stays() {
    let env = Env::new();
    network(&env, &["create", "used"]).ok();
    network(&env, &["create", "--label", "keep", "kept"]).ok();
    network(&env, &["create", "unused"]).ok();
    let file = std::fs::File::open(env.path("data/rbox/networks/used.json")).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared).unwrap();
    for words in [&["rm", "used"][..], &["rm", "-f", "used"]] {
        network(&env, words).fails(125, "remove used: network is in use by a container");
    }
    assert_eq!(names(&env, &["--filter", "dangling=false"]), ["used"]);
    // No answer is no.
    let asked = network(&env, &["prune"]).ok().stdout;
    assert_eq!(
        asked,
        "WARNING! This will remove all custom networks not used by at least one container.\n\
         Are you sure you want to continue? [y/N] "
    );
    let pruned = network(&env, &["prune", "-f", "--filter", "label!=keep"]).ok().stdout;
    assert_eq!(pruned, "Deleted Networks:\nunused\n\n");
    assert_eq!(names(&env, &[]), ["kept", "used"]);
    // Not by closing it: another test's child, which starts at this moment, may have it open, too.
    rustix::fs::flock(&file, rustix::fs::FlockOperation::Unlock).unwrap();
    let pruned: Done = env.rbox().args(["system", "prune", "-f", "--filter", "label!=x"]).output().unwrap().into();
    assert_eq!(pruned.ok().stdout, "Deleted Networks:\nkept\nused\n\nTotal reclaimed space: 0B\n");
    assert_eq!(network(&env, &["prune", "-f"]).ok().stdout, "");
}

#[test]
fn many_at_once() {
    let env = Env::new();
    let start = |name: &str| -> Child {
        let mut command = env.rbox();
        command.args(["network", "create", name]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("rbox starts")
    };
    let different: Vec<Child> = (0..8).map(|number| start(&format!("n{number}"))).collect();
    let same: Vec<Child> = (0..8).map(|_| start("same")).collect();
    for child in different {
        Done::from(child.wait_with_output().unwrap()).ok();
    }
    let made = same.into_iter().map(|child| Done::from(child.wait_with_output().unwrap()));
    let (made, failed): (Vec<Done>, Vec<Done>) = made.partition(|done| done.status == 0);
    assert_eq!(made.len(), 1);
    for done in failed {
        done.fails(125, "network with name same already exists");
    }
    let mut all: Vec<String> =
        names(&env, &[]).iter().map(|name| inspected(&env, name)["IPAM"]["Config"][0]["Subnet"].to_string()).collect();
    assert_eq!(all.len(), 9);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 9, "no two have the same addresses: {all:?}");
}

#[test]
fn half_a_network_is_none() {
    let env = Env::new();
    network(&env, &["create", "whole"]).ok();
    let dir = env.path("data/rbox/networks");
    std::fs::write(dir.join(".new-0123456789abcdef"), "{").unwrap();
    assert_eq!(names(&env, &[]), ["whole"]);
    network(&env, &["create", "next"]).ok();
    assert_eq!(entries(&env), ["next.json", "whole.json"], "what a dead one left is gone");
    std::fs::write(dir.join("broken.json"), "{").unwrap();
    network(&env, &["ls"]).fails(125, "broken.json");
    std::fs::rename(dir.join("next.json"), dir.join("broken.json")).unwrap();
    network(&env, &["inspect", "broken"]).fails(125, "it has the name next");
}
