//! The options of a container's network.

use super::boolean;
use super::convert::{each, one};
use crate::cli::rare::Rare;
use crate::spec::network::{self, Own};
use crate::spec::options::Options;
use crate::spec::{address, extra_host, name, port, resolver, subnet};
use anyhow::Result;
use clap::Args;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Connect the container to a network: none, host, pasta[:OPTIONS], slirp4netns[:OPTIONS], container:NAME, ns:PATH,
    /// or networks by name, NAME[:ip=…,ip6=…,mac=…,alias=…,interface_name=…]; bridge and private are a network of the
    /// container's own, behind pasta, or slirp4netns where there is no pasta [default: private]
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Vec<String>,
    /// Publish a port or a range of ports to the host; without IP on all of its addresses, without HOST on a free port.
    /// PROTOCOL is tcp or udp. The service sees the client's own address, or the gateway's for clients on the host's
    /// loopback interface; one that listens on the container's 127.0.0.1 is not reached
    #[arg(short, long, value_name = "[[IP:][HOST]:]CONTAINER[/PROTOCOL]")]
    publish: Vec<String>,
    #[command(flatten)]
    more: Rare<MoreArgs>,
}

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct MoreArgs {
    /// Publish all exposed ports to free ports
    #[arg(short = 'P', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    publish_all: Option<bool>,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "PORT[-PORT][/PROTOCOL]")]
    expose: Vec<String>,
    /// Set custom DNS servers; none leaves the image's /etc/resolv.conf as it is
    #[arg(long, value_name = "IP")]
    dns: Vec<String>,
    /// Set custom DNS search domains; `.` is none
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Set DNS options, as in resolv.conf(5)
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Add a line to /etc/hosts; host-gateway is where the host is found
    #[arg(long, value_name = "HOST[;HOST…]:IP")]
    add_host: Vec<String>,
    /// Leave the image's /etc/hosts as it is
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    no_hosts: Option<bool>,
    /// Leave the image's /etc/hostname as it is
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    no_hostname: Option<bool>,
    /// Add a name by which the network's other containers find this one
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    network_alias: Vec<String>,
    /// IPv4 address of the container
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// IPv6 address of the container
    #[arg(long, value_name = "IP")]
    ip6: Option<String>,
    /// Hardware address of the container's interface
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
    /// Addresses of a network of the container's own, for IPv4 and for IPv6 [default: 10.0.2.0/24, fd00::/64]
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    subnet: Vec<String>,
    /// Gateway of a network of the container's own [default: the second address of the subnet]
    #[arg(long, value_name = "IP")]
    gateway: Vec<String>,
}

impl NetworkArgs {
    /// Reads everything.
    pub fn read(&self, options: &mut Options) -> Result<()> {
        let more = &self.more;
        let aliases = each("--network-alias", &more.network_alias, |text| name::dns(text).map(|()| text.to_owned()))?;
        let own = Own {
            ip: one("--ip", &more.ip, address::v4)?,
            ip6: one("--ip6", &more.ip6, address::v6)?,
            mac: one("--mac-address", &more.mac_address, str::parse)?,
            subnets: each("--subnet", &more.subnet, subnet::parse)?,
            gateways: each("--gateway", &more.gateway, address::host)?,
            aliases,
        };
        options.network = network::parse(&self.network, own)?;
        options.publish = port::publish(&self.publish)?;
        options.publish_all = more.publish_all.unwrap_or(false);
        options.exposed = each("--expose", &more.expose, port::expose)?;
        options.resolver = resolver::parse(&more.dns, &more.dns_search, &more.dns_option)?;
        options.extra_hosts = each("--add-host", &more.add_host, extra_host::parse)?;
        options.no_hosts = more.no_hosts.unwrap_or(false);
        options.no_hostname = more.no_hostname.unwrap_or(false);
        Ok(())
    }
}
