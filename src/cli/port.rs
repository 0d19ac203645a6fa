//! `rbox port`.

use super::{grammar, output};
use crate::engine;
use crate::net::port::Published;
use crate::spec::port;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

#[derive(Debug, Args)]
struct PortArgs {
    /// Name or id
    container: String,
    /// A port of the container
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<PortArgs>(command, "rbox port CONTAINER [PORT[/PROTOCOL]]")
}

/// Prints the addresses of the host at which a container's ports are reached.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let PortArgs { container, port } = PortArgs::from_arg_matches_mut(&mut matches)?;
    let all = engine::port::published(&container)?;
    let text: String = match port {
        None => all.iter().flat_map(|one| places(one).map(|place| format!("{} -> {place}\n", inner(one)))).collect(),
        Some(text) => {
            let wanted = port::expose(&text).with_context(|| text.clone())?;
            if wanted.ports.start() != wanted.ports.end() {
                bail!("{text}: one port is wanted");
            }
            let wanted = format!("{}/{}", wanted.ports.start(), wanted.protocol);
            let found: String = all
                .iter()
                .filter(|one| inner(one) == wanted)
                .flat_map(|one| places(one).map(|place| format!("{place}\n")))
                .collect();
            if found.is_empty() {
                bail!("no public port '{wanted}' published for {container}");
            }
            found
        }
    };
    output::print(&text)
}

fn inner(published: &Published) -> String {
    format!("{}/{}", published.container_port, published.protocol)
}

/// One line for each family, as docker has them.
fn places(published: &Published) -> impl Iterator<Item = SocketAddr> {
    let port = published.host_port;
    let v4 = published.dual.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    v4.into_iter().chain([published.host]).map(move |host| SocketAddr::new(host, port))
}

/// As `ps` shows it: `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp`.
pub fn shown(published: &Published) -> String {
    places(published).map(|place| format!("{place}->{}", inner(published))).collect::<Vec<_>>().join(", ")
}
