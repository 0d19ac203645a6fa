//! `rbox port`.

use super::{grammar, output};
use crate::engine;
use crate::spec::port;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

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
        None => all.iter().flat_map(|one| one.places().map(|place| format!("{} -> {place}\n", one.inner()))).collect(),
        Some(text) => {
            let wanted = port::expose(&text).with_context(|| text.clone())?;
            if wanted.ports.start() != wanted.ports.end() {
                bail!("{text}: one port is wanted");
            }
            let wanted = format!("{}/{}", wanted.ports.start(), wanted.protocol);
            let found: String = all
                .iter()
                .filter(|one| one.inner() == wanted)
                .flat_map(|one| one.places().map(|place| format!("{place}\n")))
                .collect();
            if found.is_empty() {
                bail!("no public port '{wanted}' published for {container}");
            }
            found
        }
    };
    output::print(&text)
}
