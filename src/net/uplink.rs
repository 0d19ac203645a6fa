//! Who carries the packets of a container to the host's network, and how: pasta(1) or slirp4netns(1).

use super::relay::Places;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The programs that can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Turns packets into sockets of the host, one for each connection.
    Pasta,
    /// The same with a TCP stack of its own.
    Slirp,
}

impl Kind {
    /// The name of the program.
    pub fn program(self) -> &'static str {
        match self {
            Kind::Pasta => "pasta",
            Kind::Slirp => "slirp4netns",
        }
    }
}

/// The container's address of one family, and where all else is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family<A> {
    /// The container's.
    pub address: A,
    /// How many bits of it are the network's.
    pub prefix: u8,
    /// The other end's, in the same network.
    pub gateway: A,
}

/// By which addresses the container reaches what listens on the host's loopback interface alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HostLoopback {
    /// By none.
    #[default]
    Closed,
    /// The gateways'.
    Gateway,
    /// These.
    At(Vec<IpAddr>),
}

/// Whence the host's end of connections comes. What is none is the kernel's choice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outbound {
    /// An IPv4 address of the host.
    pub v4: Option<Ipv4Addr>,
    /// An IPv6 address of the host.
    pub v6: Option<Ipv6Addr>,
    /// An interface of the host, for IPv4.
    pub interface4: Option<String>,
    /// An interface of the host, for IPv6.
    pub interface6: Option<String>,
    /// The interface of the host whose routes count; without it the one with the default route.
    pub routes_of: Option<String>,
}

impl Outbound {
    /// Something of it is about IPv4.
    pub fn is_v4(&self) -> bool {
        self.v4.is_some() || self.interface4.is_some()
    }

    /// Something of it is about IPv6.
    pub fn is_v6(&self) -> bool {
        self.v6.is_some() || self.interface6.is_some()
    }
}

/// A helper that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Which.
    pub kind: Kind,
    /// Its absolute path.
    pub path: PathBuf,
}

/// The way out of a container: what a helper finds there, and what it is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uplink {
    /// The helpers that will do, the best one first.
    pub programs: Vec<Program>,
    /// The container's interface; at most 15 bytes.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The gateway's, if pasta's own will not do.
    pub gateway_mac: Option<[u8; 6]>,
    /// The largest packet, bytes.
    pub mtu: u32,
    /// IPv4, if the container has it.
    pub v4: Option<Family<Ipv4Addr>>,
    /// IPv6, if the container has it.
    pub v6: Option<Family<Ipv6Addr>>,
    /// Whether the host's loopback interface is open to the container.
    pub host_loopback: HostLoopback,
    /// The host's end.
    pub outbound: Outbound,
}

impl Uplink {
    /// Where published ports lead.
    pub fn places(&self) -> Places {
        Places {
            v4: self.v4.map(|Family { address, gateway, .. }| (address, gateway)),
            v6: self.v6.map(|Family { address, gateway, .. }| (address, gateway)),
        }
    }

    /// The arguments: for the network namespace of a process, with a tap of this name. The helper makes the tap and
    /// nothing else; addresses and routes are there.
    pub fn arguments(&self, kind: Kind, pid: i32, tap: &str) -> Result<Vec<OsString>> {
        let all = match kind {
            Kind::Pasta => self.pasta(pid, tap),
            Kind::Slirp => self.slirp(pid, tap)?,
        };
        Ok(all.into_iter().map(Into::into).collect())
    }

    /// Neither the host's ports nor the container's are to be connected with each other, nor may the helper offer
    /// addresses of its own.
    fn pasta(&self, pid: i32, tap: &str) -> Vec<String> {
        let mut all = words("--foreground --quiet --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none");
        all.extend(words("--no-dhcp --no-dhcpv6 --no-ra"));
        let mut add = |option: &str, value: String| all.extend([option.to_owned(), value]);
        add("--ns-ifname", tap.to_owned());
        add("--mtu", self.mtu.to_string());
        if let Some(Family { address, prefix, gateway }) = &self.v4 {
            add("--address", address.to_string());
            add("--netmask", prefix.to_string());
            add("--gateway", gateway.to_string());
        }
        if let Some(Family { address, gateway, .. }) = &self.v6 {
            add("--address", address.to_string());
            add("--gateway", gateway.to_string());
        }
        let Outbound { v4, v6, interface4, interface6, routes_of } = &self.outbound;
        for address in v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)) {
            add("--outbound", address.to_string());
        }
        for (option, name) in
            [("--outbound-if4", interface4), ("--outbound-if6", interface6), ("--interface", routes_of)]
        {
            if let Some(name) = name {
                add(option, name.clone());
            }
        }
        if let Some([a, b, c, d, e, f]) = self.gateway_mac {
            add("--mac-addr", format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"));
        }
        if let HostLoopback::At(addresses) = &self.host_loopback {
            addresses.iter().for_each(|address| add("--map-host-loopback", address.to_string()));
        }
        add("--userns", format!("/proc/{pid}/ns/user"));
        add("--netns", format!("/proc/{pid}/ns/net"));
        if self.host_loopback == HostLoopback::Closed {
            all.push("--no-map-gw".to_owned());
        }
        match (self.v4.is_some(), self.v6.is_some()) {
            (true, false) => all.push("--ipv4-only".to_owned()),
            (false, true) => all.push("--ipv6-only".to_owned()),
            _ => {}
        }
        all
    }

    /// Its addresses are counted from the network's: the gateway is the second.
    fn slirp(&self, pid: i32, tap: &str) -> Result<Vec<String>> {
        let mut all = words("--enable-sandbox --enable-seccomp --disable-dns");
        all.push(format!("--mtu={}", self.mtu));
        if let Some(Family { address, prefix, .. }) = self.v4 {
            let network = u32::from(address) & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            all.push(format!("--cidr={}/{prefix}", Ipv4Addr::from(network)));
        }
        if self.v6.is_some() {
            all.push("--enable-ipv6".to_owned());
        }
        match &self.host_loopback {
            HostLoopback::Closed => all.push("--disable-host-loopback".to_owned()),
            HostLoopback::Gateway => {}
            HostLoopback::At(_) => {
                bail!("slirp4netns opens the host's loopback interface by the gateway's address alone")
            }
        }
        let Outbound { v4, v6, interface4, interface6, .. } = &self.outbound;
        let v4 = v4.map(|address| address.to_string()).or(interface4.clone());
        let v6 = v6.map(|address| address.to_string()).or(interface6.clone());
        all.extend(v4.map(|from| format!("--outbound-addr={from}")));
        all.extend(v6.map(|from| format!("--outbound-addr6={from}")));
        // By paths, it would not find the user namespace again for its sandbox.
        all.extend([pid.to_string(), tap.to_owned()]);
        Ok(all)
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uplink() -> Uplink {
        Uplink {
            programs: vec![],
            name: "eth0".to_owned(),
            mac: [2, 0x42, 10, 0, 2, 100],
            gateway_mac: None,
            mtu: 65520,
            v4: Some(Family { address: [10, 0, 2, 100].into(), prefix: 24, gateway: [10, 0, 2, 2].into() }),
            v6: None,
            host_loopback: HostLoopback::Closed,
            outbound: Outbound::default(),
        }
    }

    fn line(uplink: &Uplink, kind: Kind) -> String {
        let all = uplink.arguments(kind, 7, "tap9").unwrap();
        all.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nothing_of_the_host_is_open() {
        let pasta = line(&uplink(), Kind::Pasta);
        let closed = "--tcp-ports none --udp-ports none --tcp-ns none --udp-ns none ";
        assert!(pasta.contains(closed) && pasta.contains(" --no-map-gw"), "{pasta}");
        assert!(pasta.contains(" --address 10.0.2.100 --netmask 24 --gateway 10.0.2.2 "), "{pasta}");
        assert!(pasta.ends_with(" --ipv4-only"), "{pasta}");
        let slirp = line(&uplink(), Kind::Slirp);
        assert!(slirp.contains(" --disable-host-loopback ") && slirp.contains(" --disable-dns "), "{slirp}");
        assert!(slirp.contains(" --cidr=10.0.2.0/24 "), "{slirp}");
        assert!(slirp.ends_with(" 7 tap9"), "{slirp}");
    }

    #[test]
    fn what_was_opened() {
        let gateway = Uplink { host_loopback: HostLoopback::Gateway, ..uplink() };
        for kind in [Kind::Pasta, Kind::Slirp] {
            let opened = line(&gateway, kind);
            assert!(!opened.contains("map-gw") && !opened.contains("disable-host-loopback"), "{opened}");
        }
        let at = Uplink { host_loopback: HostLoopback::At(vec![[10, 0, 2, 9].into()]), ..uplink() };
        assert!(line(&at, Kind::Pasta).contains("--map-host-loopback 10.0.2.9"));
        assert!(at.arguments(Kind::Slirp, 7, "tap9").is_err());
    }

    #[test]
    fn networks_of_every_size() {
        for (prefix, network) in [(0, "0.0.0.0/0"), (1, "0.0.0.0/1"), (30, "10.0.2.100/30"), (32, "10.0.2.100/32")] {
            let v4 = Some(Family { address: [10, 0, 2, 100].into(), prefix, gateway: [10, 0, 2, 2].into() });
            let slirp = line(&Uplink { v4, ..uplink() }, Kind::Slirp);
            assert!(slirp.contains(&format!("--cidr={network} ")), "{slirp}");
        }
    }
}
