//! Fuzz targets: what reads bytes of strangers, with random ones. `docs/design/014-fuzzing.md` says how and why.
//!
//! The tests run each target for a moment, `scripts/fuzz TARGET SECONDS` for longer and guided by coverage. A target is a
//! test whose name begins with `fuzz_`; those of what is private to a module are among that module's own tests.
//!
//! | variable | what it is |
//! | --- | --- |
//! | `RBOX_FUZZ_SECONDS` | how long each target runs; from 10 on memory and time have limits, too |
//! | `RBOX_FUZZ_SEED` | the number that all randomness comes from |
//! | `RBOX_FUZZ_INPUT` | a file: nothing but this input is run |
//! | `RBOX_FUZZ_CORPUS` | a directory where inputs worth keeping are read from and written to |

#![allow(clippy::print_stderr)]

mod bytes;
mod compression;
mod config;
mod coverage;
mod grammars;
pub mod json;
mod manifest;
mod random;
mod reference;
mod tar;
mod unpack;

pub use random::Random;

use crate::storage::digest::Digest;
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Without a word in the environment a target runs for this long.
const MOMENT: Duration = Duration::from_secs(1);
/// From here on it is a run of its own, with nobody else in the process.
const ALONE: Duration = Duration::from_secs(10);
/// An input takes less of the processor's time: in a build without optimisation, and alone.
const SLOW: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(1)];
/// A longer one is no place to go on from: there would not be many.
const KEPT: usize = 32 << 10;
/// In a moment no input is longer.
const SHORT: usize = 64 << 10;
/// Whoever is not back by then hangs.
const HANGS: Duration = Duration::from_secs(60);
/// All of the process; an allocation beyond it fails, and that ends the process.
const ADDRESSES: u64 = 2 << 30;
/// One input does not add more to the most that the process ever had in memory.
const GROWS: u64 = 300 << 20;

/// A structure-aware mutation: an input, another one to take parts from.
pub type Mutate = fn(&mut Random, &[u8], &[u8]) -> Option<Vec<u8>>;

/// What is fuzzed.
pub struct Target<'a> {
    /// Its name, without `fuzz_`.
    pub name: &'a str,
    /// Inputs to begin with.
    pub seeds: Vec<Vec<u8>>,
    /// What is likely to mean something in an input.
    pub words: &'a [&'a [u8]],
    /// Inputs are not longer.
    pub longest: usize,
    /// What knows the form of inputs. Else they are bytes.
    pub mutate: Option<Mutate>,
}

/// Fuzzes a function of text.
pub fn text<S: Hash>(name: &str, seeds: &[&str], words: &[&str], test: impl Fn(&str) -> S) {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let seeds = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let target = Target { name, seeds, words: &words, longest: 4096, mutate: None };
    target.run(|bytes| test(&String::from_utf8_lossy(bytes)));
}

/// What the environment says.
struct Settings {
    time: Duration,
    seed: u64,
    input: Option<PathBuf>,
    corpus: Option<PathBuf>,
}

impl Settings {
    fn read() -> Settings {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect(name));
        let nanos = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        Settings {
            time: number("RBOX_FUZZ_SECONDS").map_or(MOMENT, Duration::from_secs),
            seed: number("RBOX_FUZZ_SEED").unwrap_or_else(nanos),
            input: std::env::var_os("RBOX_FUZZ_INPUT").map(PathBuf::from),
            corpus: std::env::var_os("RBOX_FUZZ_CORPUS").map(PathBuf::from),
        }
    }
}

/// The input that is run, in a file: whatever becomes of the process, it is there.
struct Current {
    file: fs_err::File,
    path: PathBuf,
}

impl Current {
    fn new(name: &str) -> Current {
        let path = std::env::temp_dir().join(format!("rbox-fuzz-{name}-{}", std::process::id()));
        Current { file: fs_err::File::create(&path).expect("a temporary file"), path }
    }

    fn set(&self, input: &[u8]) {
        self.file.file().write_all_at(input, 0).expect("written");
        self.file.file().set_len(input.len() as u64).expect("written");
    }
}

/// Ends the process if an input does not come back.
struct Watch(Arc<AtomicU64>);

impl Watch {
    fn new(name: &str, path: &std::path::Path) -> Watch {
        let inputs = Arc::new(AtomicU64::new(0));
        let weak = Arc::downgrade(&inputs);
        let message = format!("{name}: no end within {HANGS:?} of {}", path.display());
        std::thread::spawn(move || {
            let mut last = (u64::MAX, Instant::now());
            while let Some(inputs) = weak.upgrade() {
                let number = inputs.load(Ordering::Relaxed);
                drop(inputs);
                if number != last.0 {
                    last = (number, Instant::now());
                } else if last.1.elapsed() > HANGS {
                    eprintln!("{message}");
                    std::process::abort();
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        Watch(inputs)
    }

    fn next(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Inputs that did something new.
#[derive(Default)]
struct Corpus {
    inputs: Vec<Vec<u8>>,
    /// What came out, where nothing counts what was run.
    shapes: HashSet<u64>,
    covered: coverage::Seen,
}

impl Corpus {
    /// One to go on from: rather a new one, rather a short one.
    fn choose<'a>(&'a self, random: &mut Random) -> &'a [u8] {
        let mut index = random.below(self.inputs.len());
        if random.one_in(2) {
            index = index.max(random.below(self.inputs.len()));
        }
        let other = random.below(self.inputs.len());
        let (one, other) = (&self.inputs[index], &self.inputs[other]);
        if other.len() < one.len() && random.one_in(3) { other } else { one }
    }
}

impl Target<'_> {
    /// Runs until the time is over. What `test` returns tells apart what inputs have come to; it panics on what must not be.
    pub fn run<S: Hash>(&self, test: impl Fn(&[u8]) -> S) {
        let settings = Settings::read();
        if let Some(file) = settings.input {
            test(&fs_err::read(file).expect("the input"));
            return;
        }
        let alone = settings.time >= ALONE;
        if alone {
            setrlimit(Resource::RLIMIT_AS, ADDRESSES, ADDRESSES).expect("a limit");
        }
        let mut random = Random::new(settings.seed);
        let (mut corpus, current) = (Corpus::default(), Current::new(self.name));
        let watch = Watch::new(self.name, &current.path);
        let kept = settings.corpus.map(|dir| dir.join(self.name));
        let mut seeds = self.seeds.clone();
        if let Some(dir) = &kept {
            fs_err::create_dir_all(dir).expect("a directory");
            for entry in fs_err::read_dir(dir).expect("a directory") {
                seeds.push(fs_err::read(entry.expect("an entry").path()).expect("readable"));
            }
        }
        let mut seeds = seeds.into_iter();
        let (start, mut count, mut slowest, mut told) = (Instant::now(), 0u64, (Duration::ZERO, 0), Instant::now());
        let mut peak = usage().1;
        while start.elapsed() < settings.time || seeds.len() > 0 {
            let (mut input, is_seed) = match seeds.next() {
                Some(seed) => (seed, true),
                None => (self.mutated(&mut random, &corpus), false),
            };
            let length = input.len().min(if alone { self.longest } else { self.longest.min(SHORT) });
            input.truncate(length);
            current.set(&input);
            watch.next();
            coverage::reset();
            let (before, _) = usage();
            let result = catch_unwind(AssertUnwindSafe(|| test(&input)));
            let (after, memory) = usage();
            let took = after.saturating_sub(before);
            count += 1;
            let failed = |why: &str| {
                eprintln!("{}: {why}: seed {}, input {}", self.name, settings.seed, current.path.display());
                eprintln!("again: scripts/fuzz {} {}", self.name, current.path.display());
            };
            let shape = match result {
                Ok(shape) => shape,
                Err(panic) => {
                    failed("failed");
                    resume_unwind(panic)
                }
            };
            if took > SLOW[usize::from(alone)] {
                failed("slow");
                panic!("{took:?} for {} bytes", input.len());
            }
            if alone {
                if memory > peak + GROWS {
                    failed("large");
                    panic!("{} MiB more in memory for {} bytes", (memory - peak) >> 20, input.len());
                }
                peak = memory.max(peak);
            }
            slowest = slowest.max((took, input.len()));
            let mut hasher = DefaultHasher::new();
            shape.hash(&mut hasher);
            let is_new = match corpus.covered.take() {
                Some(is_new) => is_new,
                None => corpus.shapes.insert(hasher.finish()),
            };
            if (is_new && input.len() <= KEPT) || is_seed {
                if let Some(dir) = kept.as_ref().filter(|_| is_new) {
                    fs_err::write(dir.join(Digest::of(&input).hex()), &input).expect("written");
                }
                corpus.inputs.push(input);
            }
            if alone && told.elapsed() > Duration::from_secs(30) {
                told = Instant::now();
                self.tell(start, count, &corpus, slowest);
            }
        }
        self.tell(start, count, &corpus, slowest);
        eprintln!("{}: seed {}", self.name, settings.seed);
        fs_err::remove_file(&current.path).expect("removed");
    }

    fn mutated(&self, random: &mut Random, corpus: &Corpus) -> Vec<u8> {
        let mut input = corpus.choose(random).to_vec();
        for _ in 0..=random.below(4) {
            let other = corpus.choose(random);
            let known = self.mutate.filter(|_| !random.one_in(6)).and_then(|mutate| mutate(random, &input, other));
            match known {
                Some(mutated) => input = mutated,
                None => bytes::mutate(random, &mut input, other, self.words),
            }
        }
        input
    }

    fn tell(&self, start: Instant, count: u64, corpus: &Corpus, (took, length): (Duration, usize)) {
        let covered = match corpus.covered.count() {
            Some((seen, all)) => format!("{seen} of {all} edges"),
            None => format!("{} outcomes", corpus.shapes.len()),
        };
        eprintln!(
            "{}: {} s, {count} inputs, {} kept, {covered}, slowest {took:?} for {length} bytes",
            self.name,
            start.elapsed().as_secs(),
            corpus.inputs.len(),
        );
    }
}

/// The processor's time for this thread, for others may be busy, and the most that the process has had in memory, in
/// bytes.
fn usage() -> (Duration, u64) {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("its own");
    let time = [usage.user_time(), usage.system_time()]
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000));
    (time[0] + time[1], usage.max_rss() as u64 * 1024)
}

/// What an error says, without what differs from input to input.
pub fn kind_of(error: &anyhow::Error) -> String {
    let text = error.root_cause().to_string();
    text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 2).take(4).collect()
}
