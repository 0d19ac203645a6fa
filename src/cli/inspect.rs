//! `rbox inspect`.

use super::each::partly;
use super::{failure, format, grammar, output};
use crate::engine::{container, images, inspect, networks, volumes};
use crate::error::Advise;
use crate::image::find;
use crate::spec::options::IdMode;
use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::Value;

/// What is typed.
#[derive(Debug, Args)]
struct InspectArgs {
    /// Names or ids of containers, images, volumes or networks
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Print in another form: json, or a template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Display total file sizes of containers
    #[arg(short, long)]
    size: bool,
    /// Look for one kind of thing only: container, image, volume, network
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<InspectArgs>(command, "rbox inspect [OPTIONS] NAME...")
}

/// Prints what is known of things, whatever they are: of several with one name a container comes first, then an image, a
/// volume, a network.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = InspectArgs::from_arg_matches_mut(&mut matches)?;
    let wanted = args.kind.as_deref();
    if let Some(other) = wanted.filter(|kind| !["container", "image", "volume", "network", "all"].contains(kind)) {
        bail!("--type {other}: container, image, volume or network is wanted");
    }
    let wants = |kind: &str| matches!(wanted, None | Some("all")) || wanted == Some(kind);
    let mut damaged = 0;
    let (values, status) = partly(&args.names, |name| {
        if wants("container") {
            if let Some(found) = container::find_if_there(name)? {
                let (value, failures) = inspect::inspect(&found, args.size);
                damaged = damaged.max(failure::tell(&failures));
                return Ok(value);
            }
        }
        // What can be no name of an image may be one of a volume.
        if wants("image") && find::check(name).is_ok() {
            if let Some(value) = image(name)? {
                return Ok(value);
            }
        }
        if wants("volume") {
            if let Ok(volume) = volumes::find(name) {
                return super::volume::about(&volume);
            }
        }
        if wants("network") {
            if let Ok(network) = networks::find(name) {
                return super::network::about(&network);
            }
        }
        Err(anyhow!("no such {}: {name}", wanted.filter(|kind| *kind != "all").unwrap_or("object")))
            .hint(|| "`rbox images`, `rbox volume ls` and `rbox network ls` list what is here".to_owned())
    });
    output::print(&format::objects(&values, args.format.as_deref())?)?;
    Ok(status.max(damaged))
}

fn image(name: &str) -> Result<Option<Value>> {
    let store = images::default_store(IdMode::Auto)?;
    let Some(found) = find::find(&store, name)? else { return Ok(None) };
    let listed = images::list::one(&store, &found.descriptor.digest)?.context("no such image")?;
    images::inspect::inspect(&store, &listed).map(Some)
}
