//! `rbox network`.

use super::confirm::confirm;
use super::container::convert::{each as several, one};
use super::each::{each, partly};
use super::filter::Filters;
use super::format::{self, Column};
use super::{boolean, grammar, group, output, verb};
use crate::engine::networks::{self, Definition, Wanted, membership, wanted};
use crate::spec::network::Membership;
use crate::spec::{address, name, volume};
use crate::sys::process;
use crate::time::Time;
use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Args)]
struct CreateArgs {
    /// Name of the network
    #[arg(value_name = "NETWORK")]
    name: String,
    /// Enable manual container attachment, which every network has
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    attachable: Option<bool>,
    /// Do not answer names of containers
    #[arg(long)]
    disable_dns: bool,
    /// Driver to manage the network: bridge is the only one
    #[arg(short, long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Address of the bridge, to which containers send what leaves the network [default: the first of its subnet]
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// A network that is there already is no error
    #[arg(long)]
    ignore: bool,
    /// Restrict external access to the network
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    internal: Option<bool>,
    /// IP address management driver: default is the only one
    #[arg(long, value_name = "DRIVER")]
    ipam_driver: Option<String>,
    /// Addresses for containers that ask for none: a part of the subnet
    #[arg(long, value_name = "SUBNET|FIRST-LAST")]
    ip_range: Vec<String>,
    /// Enable IPv4 networking, which every network has but one with IPv6 subnets alone
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    ipv4: Option<bool>,
    /// Enable IPv6 networking
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    ipv6: Option<bool>,
    /// Set metadata on a network
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Set driver specific options: mtu=BYTES; isolate=false lets it reach other networks that say so, too
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Where the network is: local is the only place
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Addresses of the network, one subnet of each family [default: one that is free]
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    subnet: Vec<String>,
}

#[derive(Debug, Args)]
struct ConnectArgs {
    /// Name or id of the network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Name or id of a running container that was started with --network NAME
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Add a name by which the network's other containers find this one
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "IP")]
    ip6: Option<String>,
    /// Hardware address of the interface
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
}

#[derive(Debug, Args)]
struct DisconnectArgs {
    /// Name or id of the network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Name or id of a running container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// A container that is not connected is no error
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Provide filter values: dangling=BOOL, driver=NAME, id=TEXT, label=KEY[=VALUE], name=TEXT, until=TIME
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Do not print the headings
    #[arg(short, long)]
    noheading: bool,
    /// Only display network ids
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// Names or ids of networks
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// Names or ids of networks
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
    /// A network that is not there is no error. One in use stays all the same
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// Provide filter values: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    group(command, "rbox network COMMAND")
        .subcommand(verb("connect", "Connect a container to a network", |command| {
            let usage = "rbox network connect [OPTIONS] NETWORK CONTAINER";
            grammar::<ConnectArgs>(command.args_override_self(true), usage)
        }))
        .subcommand(verb("create", "Create a network", |command| {
            grammar::<CreateArgs>(command.args_override_self(true), "rbox network create [OPTIONS] NETWORK")
        }))
        .subcommand(verb("disconnect", "Disconnect a container from a network", |command| {
            grammar::<DisconnectArgs>(command, "rbox network disconnect [OPTIONS] NETWORK CONTAINER")
        }))
        .subcommand(verb("inspect", "Display detailed information on one or more networks", |command| {
            grammar::<InspectArgs>(command, "rbox network inspect [OPTIONS] NETWORK [NETWORK...]")
        }))
        .subcommand(
            verb("ls", "List networks", |command| grammar::<ListArgs>(command, "rbox network ls [OPTIONS]"))
                .visible_alias("list"),
        )
        .subcommand(verb("prune", "Remove all unused networks", |command| {
            grammar::<PruneArgs>(command, "rbox network prune [OPTIONS]")
        }))
        .subcommand(
            verb("rm", "Remove one or more networks", |command| {
                grammar::<RemoveArgs>(command, "rbox network rm [OPTIONS] NETWORK [NETWORK...]")
            })
            .visible_alias("remove"),
        )
}

/// One line for each verb.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let (verb, mut matches) = super::chosen(&mut matches)?;
    match verb.as_str() {
        "connect" => connect(&ConnectArgs::from_arg_matches_mut(&mut matches)?),
        "create" => create(CreateArgs::from_arg_matches_mut(&mut matches)?),
        "disconnect" => disconnect(&DisconnectArgs::from_arg_matches_mut(&mut matches)?),
        "inspect" => inspect(&InspectArgs::from_arg_matches_mut(&mut matches)?),
        "ls" => list(&ListArgs::from_arg_matches_mut(&mut matches)?),
        "prune" => prune(&PruneArgs::from_arg_matches_mut(&mut matches)?),
        _ => remove(&RemoveArgs::from_arg_matches_mut(&mut matches)?),
    }
}

fn create(args: CreateArgs) -> Result<u8> {
    let driver = args.driver.unwrap_or_default();
    wanted::driver(&driver).with_context(|| format!("--driver {driver}"))?;
    ensure!(args.attachable != Some(false), "--attachable=false: containers are attached to every network");
    ensure!(args.ipv4 != Some(false), "--ipv4=false: --subnet with one of IPv6 makes a network without IPv4");
    for (option, given, known) in
        [("--ipam-driver", &args.ipam_driver, ["default", "host-local"]), ("--scope", &args.scope, ["local", "local"])]
    {
        let other = given.as_deref().filter(|given| !known.contains(given));
        ensure!(other.is_none(), "{option} {}: {} is the only one", other.unwrap_or_default(), known[0]);
    }
    let wanted = Wanted {
        name: args.name,
        pools: wanted::addresses(&args.subnet, &args.gateway, &args.ip_range)?,
        ipv6: args.ipv6.unwrap_or(false),
        internal: args.internal.unwrap_or(false),
        no_dns: args.disable_dns,
        labels: pairs("--label", &args.label)?,
        options: pairs("--opt", &args.opt)?,
    };
    let network = networks::create(&wanted, args.ignore)?;
    output::print(&format!("{}\n", network.id))
}

fn connect(args: &ConnectArgs) -> Result<u8> {
    let wanted = Membership {
        network: args.network.clone(),
        ipv4: one("--ip", &args.ip, address::v4)?,
        ipv6: one("--ip6", &args.ip6, address::v6)?,
        mac: one("--mac-address", &args.mac_address, str::parse)?,
        aliases: several("--alias", &args.alias, |text| name::dns(text).map(|()| text.to_owned()))?,
        interface: None,
    };
    membership::connect(&wanted, &args.container)?;
    Ok(0)
}

fn disconnect(args: &DisconnectArgs) -> Result<u8> {
    membership::disconnect(&args.network, &args.container, args.force)?;
    Ok(0)
}

fn pairs(option: &str, texts: &[String]) -> Result<BTreeMap<String, String>> {
    texts.iter().map(|text| volume::pair(text).with_context(|| format!("{option} {text}"))).collect()
}

const COLUMNS: [Column; 9] = [
    Column { heading: "NETWORK ID", field: "ID", shown: true },
    Column { heading: "NAME", field: "Name", shown: true },
    Column { heading: "DRIVER", field: "Driver", shown: true },
    Column { heading: "SCOPE", field: "Scope", shown: true },
    Column { heading: "IPV4", field: "IPv4", shown: false },
    Column { heading: "IPV6", field: "IPv6", shown: false },
    Column { heading: "INTERNAL", field: "Internal", shown: false },
    Column { heading: "LABELS", field: "Labels", shown: false },
    Column { heading: "CREATED AT", field: "CreatedAt", shown: false },
];

fn list(args: &ListArgs) -> Result<u8> {
    let filters = Filters::parse(&args.filter, &["dangling", "driver", "id", "label", "name", "until"])?;
    let dangling = filters.boolean("dangling")?;
    let until = filters.until(Time::now())?;
    let mut found = Vec::new();
    for network in networks::list()? {
        let wanted = filters.matches("name", |text| network.name.contains(text))
            && filters.matches("id", |text| network.id.contains(text))
            && filters.matches("driver", |driver| driver == network.driver)
            && until.is_none_or(|until| network.created < until)
            && labels(&filters, &network);
        if wanted && (dangling.is_none() || dangling == Some(networks::is_dangling(&network)?)) {
            found.push(network);
        }
    }
    let id =
        |network: &Definition| network.id.get(..if args.no_trunc { 64 } else { 12 }).unwrap_or_default().to_owned();
    if args.quiet && args.format.is_none() {
        return output::print(&found.iter().map(|network| id(network) + "\n").collect::<String>());
    }
    let rows: Vec<Value> = found.iter().map(|network| row(network, id(network))).collect();
    output::print(&format::list(&rows, &COLUMNS, args.format.as_deref(), !args.noheading)?)
}

/// As in docker all values are texts.
fn row(network: &Definition, id: String) -> Value {
    let labels: Vec<String> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "CreatedAt": super::human::created_at(network.created),
        "Driver": network.driver,
        "ID": id,
        "IPv4": has_ipv4(network).to_string(),
        "IPv6": network.ipv6_enabled.to_string(),
        "Internal": network.internal.to_string(),
        "Labels": labels.join(","),
        "Name": network.name,
        "Scope": "local",
    })
}

fn has_ipv4(network: &Definition) -> bool {
    network.subnets.iter().any(|pool| !pool.subnet.is_ipv6())
}

fn labels(filters: &Filters, network: &Definition) -> bool {
    filters.labels(|key| network.labels.get(key).map(String::as_str))
}

fn inspect(args: &InspectArgs) -> Result<u8> {
    let (found, status) = partly(&args.names, |name| about(&networks::find(name)?));
    output::print(&format::objects(&found, args.format.as_deref())?)?;
    Ok(status)
}

/// The object that `inspect` shows: docker's.
pub fn about(network: &Definition) -> Result<Value> {
    let containers = containers(network)?;
    let pool = |pool: &networks::Pool| {
        let mut config = json!({ "Subnet": pool.subnet, "Gateway": pool.gateway });
        if let Some(lease) = pool.lease_range {
            config["IPRange"] = format!("{}-{}", lease.start_ip, lease.end_ip).into();
        }
        config
    };
    Ok(json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": has_ipv4(network),
        "EnableIPv6": network.ipv6_enabled,
        "EnableDNS": network.dns_enabled,
        "IPAM": {
            "Driver": "default",
            "Options": Value::Null,
            "Config": network.subnets.iter().map(pool).collect::<Vec<_>>(),
        },
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Options": network.options,
        "Labels": network.labels,
        "Containers": containers,
    }))
}

/// docker's map of those that are connected.
fn containers(network: &Definition) -> Result<Value> {
    let mut all = Map::new();
    for (connected, attached) in membership::users(network)? {
        let address = |ipv6: bool| {
            let mut places = attached.addresses.iter();
            let place = places.find(|place| place.address.is_ipv6() == ipv6);
            place.map(|place| format!("{}/{}", place.address, place.subnet.prefix())).unwrap_or_default()
        };
        let about = json!({
            "Name": connected.container.name,
            "MacAddress": attached.mac,
            "IPv4Address": address(false),
            "IPv6Address": address(true),
        });
        all.insert(connected.container.id, about);
    }
    Ok(all.into())
}

fn remove(args: &RemoveArgs) -> Result<u8> {
    Ok(each(&args.names, |name| {
        networks::remove(name, args.force)?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}

fn prune(args: &PruneArgs) -> Result<u8> {
    let filters = Filters::parse(&args.filter, &["until", "label!"])?;
    let until = filters.until(Time::now())?;
    if !args.force && !confirm("This will remove all custom networks not used by at least one container.")? {
        return Ok(0);
    }
    let removed =
        networks::prune(|network| until.is_none_or(|until| network.created < until) && labels(&filters, network))?;
    if removed.is_empty() {
        return Ok(0);
    }
    output::print(&format!("Deleted Networks:\n{}\n\n", removed.join("\n")))
}
