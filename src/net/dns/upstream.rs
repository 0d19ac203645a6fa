//! Which servers are asked now: those that were named once, or those of a resolv.conf as it is at this moment.

use super::message::Query;
use super::names::Names;
use super::resolv_conf::{self, ResolvConf, Server};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// A file's times are not finer than this on some filesystems, so what was changed this recently may be changed again
/// and look the same.
const COARSE: Duration = Duration::from_secs(2);

/// Who answers queries.
#[derive(Debug)]
pub struct Upstream {
    source: Source,
    pub(super) port: u16,
    turn: AtomicUsize,
    names: Option<Arc<Names>>,
}

#[derive(Debug)]
enum Source {
    Fixed(Arc<Servers>),
    Live { path: PathBuf, read: Mutex<Option<Read>> },
}

/// What was read, and from which file: None if it may change without being noticed.
#[derive(Debug)]
struct Read {
    stamp: Option<Stamp>,
    servers: Arc<Servers>,
}

/// The servers and how they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// In the order in which they are asked, at least one.
    pub list: Vec<Server>,
    /// How long a client waits before it asks again.
    pub timeout: Duration,
    /// How often each server is asked.
    pub attempts: usize,
    /// Whether each query begins with another server.
    pub rotate: bool,
}

impl Servers {
    /// Those of `conf`; the host's own if there is none (resolver(3)).
    pub fn of(conf: ResolvConf) -> Servers {
        let (timeout, attempts, rotate) = (conf.timeout(), conf.attempts(), conf.rotate());
        let list = if conf.servers.is_empty() { resolv_conf::default_servers() } else { conf.servers };
        Servers { list, timeout, attempts, rotate }
    }
}

impl Upstream {
    /// Always these.
    pub fn fixed(servers: Servers) -> Upstream {
        Upstream::new(Source::Fixed(Arc::new(servers)))
    }

    /// Those of the file at `path`, usually [`resolv_conf::HOST`], which is looked at for each query.
    pub fn live(path: &Path) -> Upstream {
        Upstream::new(Source::Live { path: path.to_owned(), read: Mutex::new(None) })
    }

    fn new(source: Source) -> Upstream {
        Upstream { source, port: 53, turn: AtomicUsize::new(0), names: None }
    }

    /// With names that are known here.
    pub fn knowing(self, names: Option<Arc<Names>>) -> Upstream {
        Upstream { names, ..self }
    }

    /// The answer to a query that nobody else need be asked.
    pub(super) fn known(&self, client: IpAddr, query: &Query) -> Option<Vec<u8>> {
        self.names.as_ref().and_then(|names| names.answer(client, query))
    }

    /// The servers at this moment.
    pub(super) fn now(&self) -> Arc<Servers> {
        match &self.source {
            Source::Fixed(servers) => servers.clone(),
            Source::Live { path, read } => live(path, &mut read.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// The addresses of `servers` in the order of this query. One whose interface is gone is left out.
    pub(super) fn addresses(&self, servers: &Servers) -> Vec<SocketAddr> {
        let first =
            if servers.rotate { self.turn.fetch_add(1, Ordering::Relaxed) % servers.list.len().max(1) } else { 0 };
        let (later, sooner) = servers.list.split_at_checked(first).unwrap_or_default();
        sooner.iter().chain(later).filter_map(|server| server.socket_address(self.port).ok()).collect()
    }
}

/// Reads the file again if it is another one. If it cannot be read, for want of a descriptor for example, what is
/// known goes on to count.
fn live(path: &Path, known: &mut Option<Read>) -> Arc<Servers> {
    let stamp = Stamp::of(fs_err::metadata(path)).ok();
    if let Some(same) = known.as_ref().filter(|read| read.stamp.is_some() && read.stamp == stamp) {
        return same.servers.clone();
    }
    match (read(path), &known) {
        (Some(read), _) => known.insert(read).servers.clone(),
        (None, Some(read)) => read.servers.clone(),
        (None, None) => Arc::new(Servers::of(ResolvConf::default())),
    }
}

/// The file at `path`; None if it can be neither read nor said to be missing.
fn read(path: &Path) -> Option<Read> {
    // Its stamp is taken before its contents: what is written meanwhile is seen next time.
    match resolv_conf::open(path) {
        Ok(file) => {
            let stamp = Stamp::of(file.metadata()).ok()?;
            let conf = ResolvConf::read_from(file).ok()?;
            Some(Read { stamp: stamp.is_settled().then_some(stamp), servers: Arc::new(Servers::of(conf)) })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(Read { stamp: None, servers: Arc::new(Servers::of(ResolvConf::default())) })
        }
        Err(_) => None,
    }
}

/// What tells a file from another, or from what it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: std::io::Result<std::fs::Metadata>) -> std::io::Result<Stamp> {
        metadata.map(|metadata| Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// True if a change from now on gives it another time.
    fn is_settled(&self) -> bool {
        let changed = UNIX_EPOCH + Duration::from_secs(self.changed.0.try_into().unwrap_or(0));
        changed.elapsed().is_ok_and(|age| age > COARSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(upstream: &Upstream) -> String {
        upstream.now().list[0].to_string()
    }

    #[test]
    fn a_file_that_is_replaced_written_to_missing_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("resolv.conf"), dir.path().join("other"));
        let upstream = Upstream::live(&path);
        assert_eq!(first(&upstream), "127.0.0.1");
        for n in 1..100 {
            // As long as before each time, and often within one tick of the filesystem's clock.
            let text = format!("nameserver 192.0.2.{}\n", 100 + n);
            if n % 2 == 0 {
                fs_err::write(&path, text).unwrap();
            } else {
                fs_err::write(&other, text).unwrap();
                fs_err::rename(&other, &path).unwrap();
            }
            assert_eq!(first(&upstream), format!("192.0.2.{}", 100 + n));
        }
        fs_err::write(&path, "").unwrap();
        assert_eq!(first(&upstream), "127.0.0.1");
        fs_err::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(first(&upstream), "192.0.2.1");
        fs_err::remove_file(&path).unwrap();
        assert_eq!(first(&upstream), "127.0.0.1");
    }

    #[test]
    fn a_link_whose_target_changes() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (path, one, two) = (dir.path().join("resolv.conf"), dir.path().join("one"), dir.path().join("two"));
        fs_err::write(&one, "nameserver 192.0.2.1\n").unwrap();
        fs_err::write(&two, "nameserver 192.0.2.2\n").unwrap();
        symlink(&one, &path).unwrap();
        let upstream = Upstream::live(&path);
        assert_eq!(first(&upstream), "192.0.2.1");
        fs_err::remove_file(&path).unwrap();
        symlink(&two, &path).unwrap();
        assert_eq!(first(&upstream), "192.0.2.2");
        fs_err::write(&two, "nameserver 192.0.2.3\n").unwrap();
        assert_eq!(first(&upstream), "192.0.2.3");
    }

    #[test]
    fn a_file_that_stays_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        fs_err::write(&path, "nameserver 192.0.2.1\n").unwrap();
        let marked = Arc::new(Servers::of(ResolvConf::parse("nameserver 192.0.2.9\n")));
        let stamp = Stamp::of(fs_err::metadata(&path)).ok();
        let mut known = Some(Read { stamp, servers: marked.clone() });
        assert_eq!(live(&path, &mut known), marked);
        fs_err::write(&path, "nameserver 192.0.2.10\n").unwrap();
        assert_ne!(live(&path, &mut known), marked);
        // What was just written is read again whatever its times are.
        assert_eq!(known.unwrap().stamp, None);
    }

    #[test]
    fn times_that_can_be_relied_on() {
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        let changed = |seconds| Stamp { changed: (seconds, 0), device: 1, inode: 1, size: 1, written: (0, 0) };
        assert!(changed(now - 60).is_settled() && changed(0).is_settled());
        assert!(!changed(now).is_settled() && !changed(now + 60).is_settled());
    }

    #[test]
    fn what_cannot_be_read_leaves_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        fs_err::write(&path, "nameserver 192.0.2.1\n").unwrap();
        let upstream = Upstream::live(&path);
        assert_eq!(first(&upstream), "192.0.2.1");
        fs_err::remove_file(&path).unwrap();
        fs_err::create_dir(&path).unwrap();
        assert_eq!(first(&upstream), "192.0.2.1");
    }

    #[test]
    fn turns() {
        let conf = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver fe80::1%none\n";
        let rotating = Servers::of(ResolvConf::parse(&format!("{conf}options rotate\n")));
        let upstream = Upstream::fixed(rotating.clone());
        let order = |servers: &Servers| -> Vec<String> {
            upstream.addresses(servers).iter().map(|address| address.ip().to_string()).collect()
        };
        assert_eq!(order(&rotating), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(order(&rotating), ["192.0.2.2", "192.0.2.1"]);
        assert_eq!(order(&rotating), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(order(&Servers { rotate: false, ..rotating.clone() }), ["192.0.2.1", "192.0.2.2"]);
        let empty = Servers { list: Vec::new(), ..rotating };
        assert_eq!(order(&empty), [""; 0]);
    }
}
