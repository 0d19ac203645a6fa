//! Options that exclude each other, in docker's words (moby, `daemon/container/hostconfig`) and podman's.

use super::extra_host::Target;
use super::health::OnFailure;
use super::log::Driver;
use super::network::Network;
use super::options::Options;
use super::restart::Restart;
use anyhow::{Result, bail, ensure};

/// Checks options against each other, and drops what does not count. Returned is what the user should know of that.
///
/// The addresses and aliases of a network are checked where it is read ([`network::parse`](super::network::parse)).
pub fn settle(options: &mut Options) -> Result<Option<String>> {
    if options.no_hosts && !options.extra_hosts.is_empty() {
        bail!("--no-hosts and --add-host cannot be set together");
    }
    if options.remove && options.restart != Restart::No {
        bail!("conflicting options: --restart and --rm");
    }
    if options.remove && options.health.on_failure == OnFailure::Restart {
        bail!("conflicting options: --health-on-failure restart and --rm");
    }
    if options.tty && options.detach && options.log.driver == Driver::Passthrough {
        bail!("conflicting options: -t and --log-driver passthrough");
    }
    let may_restart = options.restart != Restart::No || options.health.on_failure == OnFailure::Restart;
    if may_restart && options.log.driver == Driver::Passthrough {
        bail!(
            "conflicting options: --log-driver passthrough and what starts a container again: nobody has the streams then"
        );
    }
    let publishes = !options.publish.is_empty() || options.publish_all;
    match &options.network {
        Network::Container(_) => container(options, publishes)?,
        Network::None => {
            ensure!(!publishes, "conflicting options: port publishing and the network mode none");
            let gateway = options.extra_hosts.iter().find(|host| host.target == Target::HostGateway);
            if let Some(host) = gateway {
                bail!(
                    "--add-host {}:host-gateway: with the network mode none there is no gateway",
                    host.names.join(";")
                );
            }
        }
        Network::Path(_) => {
            ensure!(!publishes, "conflicting options: port publishing and the network mode ns");
        }
        Network::Host if publishes => {
            options.publish.clear();
            options.publish_all = false;
            return Ok(Some("Published ports are discarded when using host network mode".to_owned()));
        }
        Network::Host | Network::Default | Network::Uplink(_) | Network::Shared(_) => {}
    }
    Ok(None)
}

/// Its names, its ports and its files are those of the other container.
fn container(options: &Options, publishes: bool) -> Result<()> {
    ensure!(options.hostname.is_none(), "conflicting options: hostname and the network mode");
    let has_resolver = options.resolver != super::resolver::Resolver::default();
    ensure!(!has_resolver, "conflicting options: dns and the network mode");
    ensure!(options.extra_hosts.is_empty(), "conflicting options: custom host-to-IP mapping and the network mode");
    ensure!(!publishes, "conflicting options: port publishing and the container type network mode");
    ensure!(options.exposed.is_empty(), "conflicting options: port exposing and the container type network mode");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{extra_host, port, resolver};

    fn with(network: Network, change: impl Fn(&mut Options)) -> Result<Option<String>> {
        let mut options = Options { network, ..Options::default() };
        change(&mut options);
        settle(&mut options)
    }

    type Change = fn(&mut Options);

    fn publish(options: &mut Options) {
        options.publish = port::publish(&["8080:80"]).expect("a port");
    }

    fn add_host(options: &mut Options) {
        options.extra_hosts = vec![extra_host::parse("a:host-gateway").expect("a host")];
    }

    #[test]
    fn with_the_network_of_a_container() {
        let web = || Network::Container("web".to_owned());
        let changes: [(Change, &str); 6] = [
            (|options| options.hostname = Some("box".to_owned()), "hostname and the network mode"),
            (
                |options| options.resolver = resolver::parse(&["1.1.1.1".to_owned()], &[], &[]).expect("an address"),
                "dns and the network mode",
            ),
            (add_host, "custom host-to-IP mapping and the network mode"),
            (publish, "port publishing and the container type network mode"),
            (|options| options.publish_all = true, "port publishing and the container type network mode"),
            (
                |options| options.exposed = vec![port::expose("80").expect("a port")],
                "port exposing and the container type network mode",
            ),
        ];
        for (change, message) in changes {
            let error = with(web(), change).expect_err(message);
            assert_eq!(error.to_string(), format!("conflicting options: {message}"));
            with(Network::Default, change).expect("a network of its own");
        }
        assert_eq!(with(web(), |options| options.no_hosts = true).expect("nothing to say"), None);
    }

    #[test]
    fn with_no_network_or_the_hosts() {
        let error = |network, change: Change| with(network, change).expect_err("refused").to_string();
        assert_eq!(error(Network::None, publish), "conflicting options: port publishing and the network mode none");
        let path = || Network::Path("/proc/1/ns/net".into());
        assert_eq!(error(path(), publish), "conflicting options: port publishing and the network mode ns");
        let message = "--add-host a:host-gateway: with the network mode none there is no gateway";
        assert_eq!(error(Network::None, add_host), message);
        let note = "Published ports are discarded when using host network mode";
        assert_eq!(with(Network::Host, publish).expect("a note").as_deref(), Some(note));
        assert_eq!(with(Network::Host, add_host).expect("nothing to say"), None);
        assert_eq!(with(Network::Host, |options| options.hostname = Some("a".into())).expect("as docker"), None);
    }

    #[test]
    fn files() {
        let both = |options: &mut Options| {
            add_host(options);
            options.no_hosts = true;
        };
        let error = with(Network::Default, both).expect_err("both");
        assert_eq!(error.to_string(), "--no-hosts and --add-host cannot be set together");
    }
}
