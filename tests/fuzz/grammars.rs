//! What users type, and files of images that are lines of text.

use super::kind_of;
use crate::cli::filter::{Filters, pattern};
use crate::cli::{format, human};
use crate::seccomp::capability::EVERY;
use crate::spec::address::{self, Mac};
use crate::spec::network::{self, Network};
use crate::spec::port::{self, HostPort};
use crate::spec::subnet::{self, AnySubnet};
use crate::spec::{annotation, csv, device, env, idmapping, mount, name, namespace, seccomp, security, signal, size};
use crate::spec::{capability, extra_host, resolver, sysctl, tmpfs, ulimit, user, userns, volume};
use crate::storage::owners;
use crate::time::{Time, parse_span};
use anyhow::Result;
use serde_json::json;
use std::path::Path;

fn said<T>(result: Result<T>) -> Option<String> {
    result.err().map(|error| kind_of(&error))
}

#[test]
fn fuzz_options() {
    let seeds = [
        "/a:/b:ro,z",
        "data:/b:nocopy",
        "./a:/b:O",
        "type=bind,source=/a,target=/b,readonly",
        "type=tmpfs,dst=/x,tmpfs-size=1m",
        "type=volume,src=v,dst=/y,\"volume-opt=o=a,b\"",
        "/run:size=64m,mode=1777,uid=5",
        "nofile=1024:2048",
        "core=-1",
        "/dev/fuse:/dev/x:rwm",
        "keep-id:uid=1,gid=2",
        "auto:size=5",
        "container:web",
        "ns:/proc/1/ns/net",
        "web:ip=10.89.0.5,ip6=fd01::5,mac=44:33:22:11:00:99,alias=a,interface_name=x0 db",
        "name=web,alias=a,mac-address=02:00:00:00:00:01",
        "slirp4netns:cidr=10.7.0.0/16,mtu=1500,enable_ipv6=false,outbound_addr=eth0",
        "pasta:-a,10.0.2.7,-n,255.255.255.0,--gateway=fd00::1,-4,--map-host-loopback,169.254.1.2,-t,80",
        "127.0.0.1:8080-8090:80-90/udp [::1]::80 80",
        "02:00:00:00:00:01",
        "10.0.2.0/24",
        "web;db=[2001:db8::1]",
        "SIGRTMIN+3",
        "net.ipv4.ip_forward=1",
        "0:@1000:65536",
        "A=1\nB=2\n# c\n\tD",
        "ada:wheel",
        "1000:1000",
        "12gib",
        "a=b",
        "root:x:0:0::/root:/bin/sh\nada:x:5:5::/:",
        "wheel:x:10:ada,root",
    ];
    let words = [
        ":",
        "=",
        ",",
        "/",
        "\"",
        "..",
        "\n",
        "-",
        "+",
        "@",
        " ",
        ";",
        "[",
        "65535",
        "pasta:",
        "--",
        "::",
        "ip=",
        "alias=",
        "ro",
        "rw",
        "type=",
        "size=",
        "18446744073709551615",
        "-1",
        "k",
        "é",
        "\0",
        "CAP_",
        "ALL",
        "SIG",
    ];
    super::text("options", &seeds, &words, |text| {
        let cwd = Path::new("/home/ada");
        let none = |_: &str| Ok(None);
        let mut targets = Vec::new();
        for mount in [volume::parse(text, cwd, false), mount::parse(text, cwd, true), tmpfs::parse(text)] {
            if let Ok(mount) = &mount {
                let target = mount.target().to_owned();
                assert!(
                    target.starts_with('/') && !target.split('/').any(|part| matches!(part, "." | "..")),
                    "{target}"
                );
            }
            targets.push(said(mount));
        }
        let words: Vec<String> = text.split(',').map(str::to_owned).collect();
        (
            targets,
            [
                said(device::parse(text)),
                said(ulimit::parse(text)),
                said(userns::parse(text)),
                said(idmapping::parse(text)),
            ],
            [said(namespace::ipc(text)), said(signal::parse(text)), said(size::parse(text))],
            network(text),
            [said(sysctl::parse(text)), said(env::parse(text, none)), said(env::parse_file(text.as_bytes(), none))],
            [said(user::find(text, text, text)), said(user::find_group(text, text)), said(csv::split(text))],
            [
                said(name::container(text)),
                said(name::host(text)),
                said(capability::parse(text)),
                said(annotation::parse(text, true)),
            ],
            [
                said(security::parse(&words, |_| Ok(String::new()))),
                said(crate::runtime::mount_options::MountOptions::parse(&words)),
                said(volume::from_container(text, false)),
                said(seccomp::docker::profile(text, EVERY, (6, 1))),
            ],
        )
    });
}

/// Everything that a container's network is described with.
fn network(text: &str) -> [Option<String>; 8] {
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let network = network::parse(&words, network::Own::default());
    if let Ok(Network::Uplink(uplink)) = &network {
        let v4 = uplink.v4.is_none_or(|v4| v4.address != v4.gateway && v4.address != uplink.resolver);
        let v6 = uplink.v6.is_none_or(|v6| v6.address != v6.gateway && v6.subnet().contains(v6.gateway));
        assert!(v4 && v6, "{uplink:?}");
    }
    let published = port::publish(&words);
    if let Ok(published) = &published {
        assert!(published.iter().all(|one| one.container_port != 0 && one.host_port != HostPort::Fixed(0)));
    }
    let mac = text.parse::<Mac>();
    if let Ok(mac) = &mac {
        assert_eq!(mac.to_string().parse::<Mac>().expect("its own text"), *mac);
    }
    let subnet = subnet::parse(text);
    if let Ok(AnySubnet::V4(subnet)) = &subnet {
        assert_eq!(subnet::v4(&subnet.to_string()).expect("its own text"), *subnet);
    }
    [
        said(network),
        said(published),
        said(mac),
        said(subnet),
        said(port::expose(text)),
        said(address::interface(text)),
        said(extra_host::parse(text)),
        said(resolver::parse(&words, &words, &words)),
    ]
}

#[test]
fn fuzz_time() {
    let seeds = [
        "2026-11-24T14:35:16.123456789+01:00",
        "2024-02-29T00:00:00Z",
        "0000-01-01T00:00:00-23:59",
        "9999-12-31T23:59:60Z",
        "2026-11-24",
        "2026-11-24T14:35",
        "1136073600.5",
        "24h",
        "1h2m3.5s",
        "-1.5h",
        "100us",
        "9223372036854775807ns",
    ];
    let words = ["-", ":", ".", "T", "Z", "+", "h", "m", "s", "ms", "µs", "ns", "0", "9", "99999999999"];
    super::text("time", &seeds, &words, |text| {
        let now = Time::parse("2026-11-24T14:35:16Z").expect("valid");
        let times = [Time::parse(text), Time::parse_partial(text), human::moment(text, now)];
        for time in times.iter().flatten() {
            assert_eq!(Time::parse(&time.to_string()).expect("its own text"), *time);
            assert!(!human::ago(*time, now).is_empty() && !human::created_at(*time).is_empty());
        }
        let span = parse_span(text);
        if let Ok(span) = span {
            assert!(!human::span(span.into()).is_empty());
        }
        (times.map(said), said(span))
    });
}

/// The pattern against itself as a name, by the definition.
fn matches_plainly(pattern: &[char], name: &[char]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some('*'), _) => {
            matches_plainly(&pattern[1..], name)
                || name.first().is_some_and(|c| *c != '/') && matches_plainly(pattern, &name[1..])
        }
        (Some('?'), Some(c)) => *c != '/' && matches_plainly(&pattern[1..], &name[1..]),
        (Some(one), Some(c)) => one == c && matches_plainly(&pattern[1..], &name[1..]),
        _ => false,
    }
}

#[test]
fn fuzz_filter() {
    let seeds =
        ["name=a*b?c\na/b", "label!=x=y", "until=24h", "dangling=true", "[a-z]*\nabc", "**a*?b\naaab", "\\*\n*"];
    let words = ["*", "?", "[", "]", "^", "-", "\\", "/", "=", "!", "\n", "a", "b"];
    super::text("filter", &seeds, &words, |text| {
        let (first, name) = text.split_once('\n').unwrap_or((text, ""));
        let filters = Filters::parse(&[first.to_owned()], &["name", "label!", "until", "dangling"]);
        if let Ok(filters) = &filters {
            let now = Time::now();
            let _ = (filters.boolean("dangling"), filters.until(now), filters.labels(|_| Some("y")));
            filters.matches("name", |value| value == name);
        }
        let found = pattern::matches(first, name);
        let short = first.len() < 12 && name.len() < 24;
        if let (Ok(found), true) = (&found, short && !first.contains(['[', '\\'])) {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            assert_eq!(*found, matches_plainly(&chars(first), &chars(name)), "{first:?} {name:?}");
        }
        (said(filters), found.map_err(|error| kind_of(&error)))
    });
}

#[test]
fn fuzz_format() {
    let seeds = [
        "{{.ID}}\t{{.Names}}",
        "table {{.ID}}: {{upper .Image}}",
        "{{range .Mounts}}{{.Type}}{{else}}none{{end}}",
        "{{if and .A (gt .N 3)}}x{{end}}",
        "{{json .}}",
        "{{printf \"%5.2f %q %x\" .N .ID .ID}}",
        "{{with $x := .A}}{{$x}}{{end}}",
        "{{define \"t\"}}{{.}}{{end}}{{template \"t\" .}}",
        "{{index .Mounts 0}}",
        "{{slice .ID 1 2}}",
        "{{- .ID -}}",
        "{{join (split .ID \",\") \"-\"}}",
        "{{range $i, $e := .Mounts}}{{break}}{{end}}",
    ];
    let words = [
        "{{",
        "}}",
        ".",
        "$",
        "|",
        "(",
        ")",
        "\"",
        "`",
        "'",
        "range ",
        "end",
        "else",
        "if ",
        "with ",
        "define \"t\"",
        "template \"t\" .",
        "printf ",
        "%*d",
        "%-9999999d",
        "len ",
        "index ",
        "slice ",
        "99999999999",
        "-1",
        "block ",
        ":=",
        "/*",
        "*/",
        "json ",
    ];
    let row = json!({ "ID": "0123456789abé", "Names": null, "Image": "a", "N": 4.5, "A": { "B": [1, "x", {}] },
        "Mounts": [{ "Type": "bind" }, { "Type": "tmpfs" }] });
    let columns = [format::Column { heading: "ID", field: "ID", shown: true }];
    super::text("format", &seeds, &words, |text| {
        let rows = [row.clone(), json!({ "ID": "" })];
        (said(format::list(&rows, &columns, Some(text), true)), said(format::objects(&rows, Some(text))))
    });
}

#[test]
fn fuzz_owners() {
    let seeds = ["1000 100 /etc/owned\n0 0 c 5 1 /dev/tty\n", "1 2 b 8 0 /a\\n\\x00\\\\", "\u{8}\u{5}\u{10}\u{6}"];
    let words = [" ", "/", "\n", "\\x", "\\", "c", "b", "4294967295", "4294967296", "\u{8}", "\u{10}"];
    super::text("owners", &seeds, &words, |text| {
        let table = owners::read(text.as_bytes());
        if let Ok(table) = &table {
            let mut again = Vec::new();
            for (path, recorded) in table {
                owners::write_line(&mut again, path, recorded).expect("memory");
            }
            assert_eq!(&owners::read(again.as_slice()).expect("its own text"), table);
        }
        let ids = owners::of_attribute(text.as_bytes());
        if let Some((uid, gid)) = ids.filter(|ids| *ids != (0, 0)) {
            let bytes = owners::attribute(uid, gid).expect("not root's");
            assert_eq!(owners::of_attribute(&bytes), ids);
        }
        (said(table), ids.is_some())
    });
}
