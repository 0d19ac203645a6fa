//! `cp`: files between a container and the host, or two containers.
//!
//! What is copied is looked at first, then where it goes; from both follows what it is called there. The files of a container
//! are looked at, sent and received by a process that enters it (`runtime/visitor.rs`), those of the host by this one; in
//! between is a pipe.

use super::container;
use super::mounted::Mounted;
use super::{record, scratch, state};
use crate::runtime::namespaces::Namespaces;
use crate::runtime::visitor::{self, Ended, Go, Look, Task, Visitor};
use crate::storage::transfer::find::{self, AboutSource, AboutTarget, Source, Target, Typed, View};
use crate::storage::transfer::receive::{Place, Rules, Whose};
use crate::storage::transfer::send::Form;
use crate::storage::transfer::{self, Report};
use crate::storage::unpack::Owners;
use crate::sys::clone::{CLONE_NEWNS, CLONE_NEWUSER};
use crate::sys::{self, Named};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A path of the host.
    Host(String),
    /// A path of a container.
    Container {
        /// Its name or id.
        name: String,
        /// From its root.
        path: String,
    },
    /// A tar archive: standard input or standard output.
    Stream,
}

/// How it is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// `-a`.
    pub archive: bool,
    /// `-L`.
    pub follow: bool,
    /// `--overwrite`.
    pub overwrite: bool,
}

/// How long somebody else may be at the files of a container that does not run.
const PATIENCE: Duration = Duration::from_secs(60);
/// As much is in a pipe, if the user may have that much (pipe(7), pipe-user-pages-soft).
const PIPE: usize = 1 << 20;

/// Copies. At least one of the two has to be a container.
pub fn copy(from: &End, to: &End, options: Options) -> Result<Report> {
    ensure!(
        [from, to].iter().any(|end| matches!(end, End::Container { .. })),
        "one of the two has to be a path of a container: CONTAINER:PATH"
    );
    let entered = Entered::all(&[from, to])?;
    let cwd = std::env::current_dir().context("current directory")?;
    let typed = |end: &End| match end {
        End::Host(path) => Some(Typed::new(&cwd, path)),
        End::Container { path, .. } => Some(Typed::new(Path::new("/"), path)),
        End::Stream => None,
    };
    let (source, target) = (typed(from), typed(to));
    let (sending, about) = sending(from, source.as_ref(), &entered, options).with_context(|| shown(from))?;
    let known = source.as_ref().zip(about);
    let receiving = receiving(to, target.as_ref(), &entered, known, options).with_context(|| shown(to))?;
    let container = |end: &End| match end {
        End::Container { name, .. } => entered.of(name).ok(),
        _ => None,
    };
    // Others read it as any archive.
    let name = (*to == End::Stream).then(|| match source.as_ref().filter(|typed| !typed.is_contents) {
        Some(typed) => typed.name().unwrap_or_default().to_string_lossy().into_owned(),
        None => ".".to_owned(),
    });
    let form = Form {
        nanoseconds: name.is_none(),
        name,
        recorded: container(from).is_some_and(|container| container.owners == Owners::Record),
    };
    let whose = match container(to) {
        None => Whose::Caller,
        Some(container) if options.archive => Whose::Kept(container.owners),
        Some(_) => Whose::Root,
    };
    let (sent, received) = carry(sending, receiving, form, Rules { whose, overwrite: options.overwrite })?;
    // If the one side breaks off, so does the other: the one that does not say so knows why.
    match (sent.with_context(|| shown(from))?, received.with_context(|| shown(to))?) {
        (Ended::Done(sent), Some(received)) => Ok(sent.with(received)),
        (Ended::Done(sent), None) => Ok(sent),
        // Whoever reads standard output has had enough.
        (Ended::Closed, None) => Ok(Report::default()),
        (Ended::Closed, Some(_)) => bail!("{}: more came than was taken", shown(to)),
    }
}

/// Has both sides do their work, and waits for them. What nobody of rbox receives is standard output's.
fn carry(
    sending: Sending,
    receiving: Receiving,
    form: Form,
    rules: Rules,
) -> Result<(Result<Ended>, Result<Option<Report>>)> {
    Ok(match (sending, receiving) {
        (Sending::There(sender), Receiving::Stream) => {
            sender.go(&Go::Send(form), rustix::stdio::stdout())?;
            (sender.end(), Ok(None))
        }
        (Sending::Stream, Receiving::There(receiver, place)) => {
            receiver.go(&Go::Receive(place, rules), rustix::stdio::stdin())?;
            (Ok(Ended::Done(Report::default())), done(receiver))
        }
        (Sending::There(sender), Receiving::There(receiver, place)) => {
            let (reader, writer) = pipe()?;
            receiver.go(&Go::Receive(place, rules), reader.as_fd())?;
            sender.go(&Go::Send(form), writer.as_fd())?;
            drop((reader, writer));
            (sender.end(), done(receiver))
        }
        (Sending::Here(source), Receiving::There(receiver, place)) => {
            let (reader, writer) = pipe()?;
            receiver.go(&Go::Receive(place, rules), reader.as_fd())?;
            drop(reader);
            let sent = match transfer::send(&source, &form, writer) {
                Ok(report) => Ok(Ended::Done(report)),
                Err(error) if sys::errno(&error) == Some(Errno::PIPE) => Ok(Ended::Closed),
                Err(error) => Err(error),
            };
            (sent, done(receiver))
        }
        (Sending::There(sender), Receiving::Here(target, place)) => {
            let (reader, writer) = pipe()?;
            sender.go(&Go::Send(form), writer.as_fd())?;
            drop(writer);
            // Modes are those of what is copied.
            rustix::process::umask(Mode::empty());
            let received = transfer::receive(target, &place, rules, reader);
            (sender.end(), received.map(Some))
        }
        (Sending::Here(_) | Sending::Stream, Receiving::Here(..) | Receiving::Stream) => {
            bail!("neither side is a container's")
        }
    })
}

fn done(receiver: Visitor) -> Result<Option<Report>> {
    match receiver.end()? {
        Ended::Done(report) => Ok(Some(report)),
        Ended::Closed => bail!("broke off"),
    }
}

fn shown(end: &End) -> String {
    match end {
        End::Host(path) => path.clone(),
        End::Container { name, path } => format!("{name}:{path}"),
        End::Stream => "-".to_owned(),
    }
}

/// Who sends.
enum Sending {
    Here(Source),
    There(Visitor),
    Stream,
}

/// Who receives.
enum Receiving {
    Here(Target, Place),
    There(Visitor, Place),
    Stream,
}

fn sending(
    end: &End,
    typed: Option<&Typed>,
    entered: &All,
    options: Options,
) -> Result<(Sending, Option<AboutSource>)> {
    let Some(typed) = typed else { return Ok((Sending::Stream, None)) };
    let End::Container { name, .. } = end else {
        let source = find::source(&View::Own, typed, options.follow)?;
        let about = source.about;
        return Ok((Sending::Here(source), Some(about)));
    };
    match entered.of(name)?.visit(Look::Source(typed.clone(), options.follow))? {
        (visitor, visitor::Found::Source(about)) => Ok((Sending::There(visitor), Some(about))),
        (_, found) => bail!("visitor: {found:?}"),
    }
}

fn receiving(
    end: &End,
    typed: Option<&Typed>,
    entered: &All,
    source: Option<(&Typed, AboutSource)>,
    options: Options,
) -> Result<Receiving> {
    let Some(typed) = typed else { return Ok(Receiving::Stream) };
    let about = source.map(|(_, about)| about);
    let End::Container { name, .. } = end else {
        let target = find::target(&View::Own, typed, about.as_ref())?;
        let place = place(source, (typed, target.about), options)?;
        return Ok(Receiving::Here(target, place));
    };
    match entered.of(name)?.visit(Look::Target(typed.clone(), about))? {
        (visitor, visitor::Found::Target(there)) => {
            Ok(Receiving::There(visitor, place(source, (typed, there), options)?))
        }
        (_, found) => bail!("visitor: {found:?}"),
    }
}

/// What goes where (docker, `docker container cp`, "Extended description"; moby, `archive.PrepareArchiveCopy`).
fn place(
    source: Option<(&Typed, AboutSource)>,
    (target, there): (&Typed, AboutTarget),
    options: Options,
) -> Result<Place> {
    let Some((typed, source)) = source else {
        ensure!(there == AboutTarget::Directory, "an archive goes into a directory, and this is none");
        return Ok(Place::Inside);
    };
    Ok(match (there, typed.name()) {
        (AboutTarget::Directory, Some(name)) if !typed.is_contents => {
            Place::InsideAs(name.to_str().context("the name of what is to be copied is not UTF-8")?.to_owned())
        }
        (AboutTarget::Directory, _) => Place::Inside,
        (AboutTarget::File, _) if source.is_directory && !options.overwrite => {
            bail!("a file is there, and a directory does not take its place")
        }
        (AboutTarget::Nothing, _) if target.is_directory && !source.is_directory => bail!("no such directory"),
        (AboutTarget::File | AboutTarget::Nothing, _) => Place::Itself,
    })
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).named(|| "pipe".to_owned())?;
    // It works with less.
    let _ = fcntl_setpipe_size(&writer, PIPE);
    Ok((reader, writer))
}

/// The containers of a copy by what they were called.
struct All {
    /// By id: one that is both is entered once.
    entered: BTreeMap<String, Entered>,
    /// Their ids by name.
    ids: BTreeMap<String, String>,
}

/// A container that can be entered.
struct Entered {
    init: Init,
    /// CLONE_NEW*.
    namespaces: u32,
    /// What became of the owners of its files.
    owners: Owners,
}

enum Init {
    /// Its first process, or another one that may be looked at.
    Running(OwnedFd),
    /// One that was made for its mounts.
    Made(Box<Mounted>),
}

impl Entered {
    /// All that two sides name, in the order of their ids, so that two copies do not wait for one another.
    fn all(ends: &[&End]) -> Result<All> {
        let mut all = All { entered: BTreeMap::new(), ids: BTreeMap::new() };
        for end in ends {
            if let End::Container { name, .. } = end {
                all.ids.insert(name.clone(), container::find(name)?.container.id);
            }
        }
        let ids: std::collections::BTreeSet<String> = all.ids.values().cloned().collect();
        for id in ids {
            let entered = Entered::one(&id).with_context(|| {
                let name = all.ids.iter().find(|(_, known)| **known == id).map(|(name, _)| name.as_str());
                format!("container {}", name.unwrap_or(&id))
            })?;
            all.entered.insert(id, entered);
        }
        Ok(all)
    }

    fn one(id: &str) -> Result<Entered> {
        let start = Instant::now();
        loop {
            let found = container::find(id)?;
            let owners = found.container.owners;
            let run = state::run(&found)?.filter(|_| found.live);
            if let Some((_, init)) = run.and_then(|run| run.visible()) {
                let has_users = Namespaces::of(&record::spec_of(id)?)?.has(CLONE_NEWUSER);
                let namespaces = CLONE_NEWNS | if has_users { CLONE_NEWUSER } else { 0 };
                return Ok(Entered { init: Init::Running(init), namespaces, owners });
            }
            // Trying takes a moment.
            match if found.live { None } else { Mounted::of(&found)? } {
                Some(mounted) => {
                    let namespaces = CLONE_NEWNS | CLONE_NEWUSER;
                    return Ok(Entered { init: Init::Made(Box::new(mounted)), namespaces, owners });
                }
                None if start.elapsed() > PATIENCE => {
                    bail!("somebody else is at its files, for more than {} s", PATIENCE.as_secs())
                }
                None => drop(scratch::wait(&found.dir, Duration::from_millis(100))?),
            }
        }
    }

    fn visit(&self, look: Look) -> Result<(Visitor, visitor::Found)> {
        let init: BorrowedFd<'_> = match &self.init {
            Init::Running(init) => init.as_fd(),
            Init::Made(mounted) => mounted.init(),
        };
        Visitor::start(&Task { namespaces: self.namespaces, look }, init)
    }
}

impl All {
    fn of(&self, name: &str) -> Result<&Entered> {
        self.ids.get(name).and_then(|id| self.entered.get(id)).context("no such container")
    }
}
