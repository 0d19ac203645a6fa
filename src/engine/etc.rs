//! The files of a container's /etc that depend on where it runs: hosts, hostname, resolv.conf. They are made anew with each
//! start and lie beside its record.

use super::network::Outside;
use super::networks::membership::Shared;
use super::record;
use crate::net::dns::resolv_conf::{HOST, ResolvConf, Server};
use crate::spec::extra_host::Target;
use crate::spec::host::Etc;
use crate::spec::network::Network;
use crate::spec::options::{Namespace, Options};
use crate::spec::uplink::{HostLoopback, Uplink};
use anyhow::Result;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

/// The files' names, in the container's /etc and beside its record.
pub const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// Writes them into `dir`. With the network of another container they are that one's. Addresses on networks that containers
/// share come later.
pub fn write(
    options: &Options,
    outside: Option<&Outside>,
    shared: Option<&Shared>,
    hostname: &str,
    dir: &Path,
) -> Result<Etc> {
    if let Network::Container(name) = &options.network {
        let theirs = record::find(name)?;
        let [hosts, hostname, resolv_conf] = FILES.map(|file| Some(theirs.join(file)).filter(|path| path.exists()));
        return Ok(Etc { hosts, hostname, resolv_conf });
    }
    let put = |file: &str, text: String| {
        let path = dir.join(file);
        fs_err::write(&path, text)?;
        Ok::<_, anyhow::Error>(path)
    };
    let mut etc = Etc::default();
    if !options.no_hosts {
        etc.hosts = Some(put(FILES[0], hosts(options, outside, shared, hostname)?)?);
    }
    if !options.no_hostname && options.uts != Namespace::Host {
        etc.hostname = Some(put(FILES[1], format!("{hostname}\n"))?);
    }
    if let Some(text) = resolv_conf(options, outside, shared)? {
        etc.resolv_conf = Some(put(FILES[2], text)?);
    }
    Ok(etc)
}

/// The host's own with the host's network; otherwise what every container has, and its own address.
fn hosts(options: &Options, outside: Option<&Outside>, shared: Option<&Shared>, hostname: &str) -> Result<String> {
    let mut text = match &options.network {
        Network::Host => fs_err::read_to_string("/etc/hosts").unwrap_or_default(),
        _ => "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
              ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            .to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let asked = outside.map(|outside| &outside.asked);
    let way_out = asked.or(shared.and_then(|shared| shared.uplink.as_ref()));
    let mut line = |address: IpAddr, names: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address}\t{names}");
    };
    for host in &options.extra_hosts {
        let names = host.names.join(" ");
        match host.target {
            Target::Address(address) => line(address, &names),
            Target::HostGateway => {
                host_addresses(options, way_out).into_iter().for_each(|address| line(address, &names))
            }
        }
    }
    if let Some(asked) = asked {
        if asked.host_loopback != HostLoopback::Closed {
            for address in host_addresses(options, Some(asked)) {
                line(address, "host.containers.internal host.docker.internal");
            }
        }
        for address in own_addresses(asked) {
            line(address, hostname);
        }
    }
    Ok(text)
}

/// Where the container finds the host: docker's `host-gateway`.
fn host_addresses(options: &Options, asked: Option<&Uplink>) -> Vec<IpAddr> {
    let Some(asked) = asked else {
        return if options.network == Network::Host { vec![IpAddr::from([127, 0, 0, 1])] } else { vec![] };
    };
    let (v4, v6) = asked.host_gateway();
    v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)).collect()
}

fn own_addresses(asked: &Uplink) -> impl Iterator<Item = IpAddr> {
    let v4 = asked.v4.map(|own| own.address.into());
    v4.into_iter().chain(asked.v6.map(|own| own.address.into()))
}

/// None: the image's own file stays.
fn resolv_conf(options: &Options, outside: Option<&Outside>, shared: Option<&Shared>) -> Result<Option<String>> {
    let resolver = &options.resolver;
    if resolver.is_image_own {
        return Ok(None);
    }
    let host = match &options.network {
        // There is nobody to ask.
        Network::None if *resolver == Default::default() => return Ok(None),
        Network::Shared(_) if shared.is_some_and(|shared| shared.servers.is_empty()) => return Ok(None),
        _ => ResolvConf::read(Path::new(HOST))?,
    };
    let server = |address: IpAddr| Server { address, scope: None };
    let servers = match (resolver.servers.as_slice(), outside, shared) {
        // Those that are given are asked by them.
        (_, _, Some(shared)) => shared.servers.iter().copied().map(server).collect(),
        ([], Some(outside), _) => vec![server(outside.asked.resolver.into())],
        ([], None, _) => host.servers.clone(),
        (given, ..) => given.iter().copied().map(server).collect(),
    };
    let none = [".".to_owned()];
    let search = match resolver.search.as_deref() {
        Some([]) => &none,
        given => given.unwrap_or_default(),
    };
    Ok(Some(host.for_container(&servers, search, &resolver.options)?.to_string()))
}
