//! resolv.conf(5): the host's is read, the container's is made of it.

use anyhow::{Context, Error, Result, bail};
use fs_err::os::unix::fs::OpenOptionsExt;
use std::fmt;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// The host's file.
pub const HOST: &str = "/etc/resolv.conf";
/// Nameservers beyond these are not used (MAXNS).
const MAX_SERVERS: usize = 3;
/// What is longer than a file of people is not read to its end.
const MAX_SIZE: u64 = 64 << 10;

/// A nameserver, always at port 53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: IpAddr,
    /// Which interface a link-local IPv6 address is meant for, by name or number.
    pub scope: Option<String>,
}

impl Server {
    /// Where to send to. The interface is looked for now: one that comes back has another number.
    pub fn socket_address(&self, port: u16) -> std::io::Result<SocketAddr> {
        Ok(match (self.address, &self.scope) {
            (IpAddr::V6(address), Some(scope)) => SocketAddrV6::new(address, port, 0, interface(scope)?).into(),
            (address, _) => (address, port).into(),
        })
    }
}

fn interface(scope: &str) -> std::io::Result<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    if let Ok(number) = scope.parse() {
        return Ok(number);
    }
    let any = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(netdevice::name_to_index(any, scope)?)
}

impl FromStr for Server {
    type Err = Error;

    /// An IPv4 address, or an IPv6 address, `%` and an interface after it if need be.
    fn from_str(text: &str) -> Result<Server> {
        let (address, scope) = match text.split_once('%') {
            Some((address, scope)) => (address, Some(scope)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().with_context(|| format!("nameserver {text:?}"))?;
        if scope.is_some_and(|scope| scope.is_empty() || address.is_ipv4() || !is_word(scope)) {
            bail!("nameserver {text:?}: only an IPv6 address has an interface after it");
        }
        Ok(Server { address, scope: scope.map(str::to_owned) })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Some(scope) => write!(f, "{}%{scope}", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// What a resolv.conf says. Displayed, it is the text of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// In the order in which they are asked.
    pub servers: Vec<Server>,
    /// Domains that names are looked for in.
    pub search: Vec<String>,
    /// As they are written, `ndots:2`.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads a file. One that is missing says nothing.
    pub fn read(path: &Path) -> Result<ResolvConf> {
        match open(path) {
            Ok(file) => ResolvConf::read_from(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ResolvConf::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads an open file.
    pub(super) fn read_from(file: fs_err::File) -> Result<ResolvConf> {
        let mut bytes = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut bytes)?;
        Ok(ResolvConf::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// As glibc reads it: a keyword begins a line, the last `search` or `domain` counts, options add up, and what
    /// makes no sense is passed over.
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let Some((keyword, values)) = line.split_once([' ', '\t']) else { continue };
            // `split_whitespace` takes the \r of a line from elsewhere away, too.
            let words = || values.split([';', '#']).next().unwrap_or_default().split_whitespace();
            match keyword {
                "nameserver" if conf.servers.len() < MAX_SERVERS => {
                    conf.servers.extend(words().next().and_then(|word| word.parse().ok()));
                }
                "domain" => conf.search = words().take(1).filter(|word| is_word(word)).map(str::to_owned).collect(),
                "search" => conf.search = words().filter(|word| is_word(word)).map(str::to_owned).collect(),
                "options" => conf.options.extend(words().filter(|word| is_word(word)).map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }

    /// The container's, made of the host's: `servers` instead of the host's, and `search` and `options` if there are
    /// any.
    ///
    /// A search list of `.` is none, as docker and podman have it: musl looks for `name..` then, and finds nothing.
    pub fn for_container(self, servers: &[Server], search: &[String], options: &[String]) -> Result<ResolvConf> {
        for (what, words) in [("search domain", search), ("resolver option", options)] {
            if let Some(word) = words.iter().find(|word| !is_word(word)) {
                bail!("{what} {word:?}: it is one word");
            }
        }
        let or = |given: &[String], host: Vec<String>| if given.is_empty() { host } else { given.to_vec() };
        let mut search = or(search, self.search);
        search.retain(|domain| domain != ".");
        Ok(ResolvConf { servers: servers.to_vec(), search, options: or(options, self.options) })
    }

    /// How long a client waits for an answer before it asks again or asks the next server: `timeout:N` seconds, 5 at
    /// first, at most 30.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.number("timeout:").unwrap_or(5).clamp(1, 30))
    }

    /// How often each server is asked: `attempts:N`, 2 at first, at most 5.
    pub fn attempts(&self) -> usize {
        self.number("attempts:").unwrap_or(2).clamp(1, 5) as usize
    }

    /// Whether each query begins with another server: `rotate`.
    pub fn rotate(&self) -> bool {
        self.options.iter().any(|option| option == "rotate")
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.options.iter().rev().find_map(|option| option.strip_prefix(name)?.parse().ok())
    }
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.search.is_empty() {
            writeln!(f, "search {}", self.search.join(" "))?;
        }
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

/// The servers that are asked if none is named (resolver(3)).
pub(super) fn default_servers() -> Vec<Server> {
    vec![Server { address: Ipv4Addr::LOCALHOST.into(), scope: None }]
}

/// Opened without waiting, whatever it is.
pub(super) fn open(path: &Path) -> std::io::Result<fs_err::File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    fs_err::OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
}

/// True if this is still one word when it is read again.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains([';', '#']) && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn servers(texts: &[&str]) -> Vec<Server> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_usual_file() {
        let conf = ResolvConf::parse(
            "# comment\n; another\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # why not\nnameserver fe80::1%eth0\n\
             nameserver 192.0.2.4\nsearch a.example b.example\noptions ndots:2 timeout:1\noptions attempts:3 rotate\n",
        );
        assert_eq!(conf.servers, servers(&["192.0.2.1", "2001:db8::1", "fe80::1%eth0"]));
        assert_eq!(conf.search, words(&["a.example", "b.example"]));
        assert_eq!(conf.options, words(&["ndots:2", "timeout:1", "attempts:3", "rotate"]));
        assert_eq!((conf.timeout(), conf.attempts(), conf.rotate()), (Duration::from_secs(1), 3, true));
    }

    #[test]
    fn the_last_of_search_and_domain_counts() {
        assert_eq!(ResolvConf::parse("search a b\ndomain c d\n").search, words(&["c"]));
        assert_eq!(ResolvConf::parse("domain c\nsearch a b\n").search, words(&["a", "b"]));
    }

    #[test]
    fn lines_that_end_in_carriage_returns() {
        let conf = ResolvConf::parse("nameserver 192.0.2.1\r\nsearch a.example\r\noptions rotate\r\n");
        assert_eq!(conf.servers, servers(&["192.0.2.1"]));
        assert_eq!((conf.search, conf.options), (words(&["a.example"]), words(&["rotate"])));
    }

    #[test]
    fn nonsense_is_passed_over() {
        let text = "nameserver\nnameserver \nnameserver x\nnameserver 1.2.3\nnameserver 192.0.2.1%e\n\
                    nameserver fe80::1%\n nameserver 192.0.2.1\nnameservers 192.0.2.1\nsearch\noptions #\n\0\u{fffd}\n";
        assert_eq!(ResolvConf::parse(text), ResolvConf::default());
        let default = ResolvConf::parse("options timeout: attempts:x timeout:-1 attempts:99999999999999999999\n");
        assert_eq!((default.timeout(), default.attempts(), default.rotate()), (Duration::from_secs(5), 2, false));
        let least = ResolvConf::parse("options timeout:0 attempts:0\n");
        assert_eq!((least.timeout(), least.attempts()), (Duration::from_secs(1), 1));
        let most = ResolvConf::parse("options timeout:1 attempts:1 timeout:999 attempts:999\n");
        assert_eq!((most.timeout(), most.attempts()), (Duration::from_secs(30), 5));
    }

    #[test]
    fn the_containers_file() {
        let host = ResolvConf::parse("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch a.example\n");
        let own = servers(&["10.0.2.3"]);
        let text = |search: &[&str], options: &[&str]| {
            host.clone().for_container(&own, &words(search), &words(options)).unwrap().to_string()
        };
        assert_eq!(text(&[], &[]), "search a.example\nnameserver 10.0.2.3\noptions edns0 trust-ad\n");
        assert_eq!(text(&["b", "c"], &["ndots:3"]), "search b c\nnameserver 10.0.2.3\noptions ndots:3\n");
        assert_eq!(text(&["."], &[]), "nameserver 10.0.2.3\noptions edns0 trust-ad\n");
        let given = host.clone().for_container(&servers(&["192.0.2.1", "fe80::1%2"]), &[], &[]).unwrap();
        assert_eq!(
            given.to_string(),
            "search a.example\nnameserver 192.0.2.1\nnameserver fe80::1%2\noptions edns0 trust-ad\n"
        );
        // systemd-resolved writes this where there is no domain.
        let none = ResolvConf::parse("search .\n").for_container(&own, &[], &[]).unwrap();
        assert_eq!(none.to_string(), "nameserver 10.0.2.3\n");
    }

    #[test]
    fn no_line_is_slipped_in() {
        for word in ["", "a b", "a\nnameserver 192.0.2.9", "a#", "a\0"] {
            let error = ResolvConf::default().for_container(&[], &words(&[word]), &[]).unwrap_err().to_string();
            assert_eq!(error, format!("search domain {word:?}: it is one word"));
            assert!(ResolvConf::default().for_container(&[], &[], &words(&[word])).is_err());
            assert!(format!("fe80::1%{word}").parse::<Server>().is_err());
        }
    }

    #[test]
    fn interfaces_by_name_and_number() {
        let address = |text: &str| text.parse::<Server>().unwrap().socket_address(53);
        assert_eq!(address("fe80::1%7").unwrap(), SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 7).into());
        assert_eq!(address("fe80::1%lo").unwrap(), SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 1).into());
        assert!(address("fe80::1%none").is_err());
        assert!(address(&format!("fe80::1%{}", "x".repeat(100))).is_err());
    }

    #[test]
    fn a_missing_file_and_a_pipe_say_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ResolvConf::read(&dir.path().join("none")).unwrap(), ResolvConf::default());
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(ResolvConf::read(&pipe).unwrap(), ResolvConf::default());
        assert!(ResolvConf::read(dir.path()).is_err());
    }

    #[test]
    fn fuzz_resolv_conf() {
        let seeds = ["nameserver 192.0.2.1\nsearch a b\noptions timeout:1 attempts:2 rotate\n", "domain x\r\n# y"];
        let words = ["nameserver ", "search ", "options ", "timeout:", "fe80::1%", "\r\n", "#", ";"];
        crate::fuzz::text("resolv_conf", &seeds, &words, |text| {
            let conf = ResolvConf::parse(text);
            assert!(conf.servers.len() <= MAX_SERVERS);
            assert!(conf.timeout() >= Duration::from_secs(1) && conf.attempts() >= 1);
            // What is written reads the same.
            assert_eq!(ResolvConf::parse(&conf.to_string()), conf);
            (conf.servers.len(), conf.search.len(), conf.options.len())
        });
    }
}
