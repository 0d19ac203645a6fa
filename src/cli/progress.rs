//! How far a transfer is: bars on a terminal, a line for each layer elsewhere. Always on standard error.

use super::output;
use crate::error::Failure;
use crate::image::pull::Progress;
use crate::image::reference::Reference;
use crate::storage::digest::Digest;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};

/// As many digits of a digest as docker shows.
const SHORT: usize = 12;

/// Nothing at all, for `--quiet`.
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _: &Digest, _: u64) {}
    fn advance(&self, _: &Digest, _: u64) {}
    fn end(&self, _: &Digest, _: bool) {}
    fn waiting(&self, _: &Digest, _: Option<i32>) {}
}

/// Bars or lines: bars if standard error is a terminal. Nothing is made before there is something to show.
#[derive(Default)]
pub struct Shown {
    bars: OnceLock<Option<MultiProgress>>,
    running: Mutex<HashMap<Digest, (ProgressBar, u64)>>,
    /// Layers go away from here.
    is_push: bool,
}

impl Shown {
    /// For what is sent.
    pub fn pushing() -> Shown {
        Shown { is_push: true, ..Shown::default() }
    }

    fn bars(&self) -> Option<&MultiProgress> {
        let make = || MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        self.bars.get_or_init(|| std::io::stderr().is_terminal().then(make)).as_ref()
    }

    fn line(&self, layer: &Digest, text: &str) {
        let line = format!("{}: {text}", &layer.hex()[..SHORT]);
        match self.bars() {
            // Above the bars. A terminal that went away is not told.
            Some(bars) => drop(bars.println(line)),
            None => output::error(&format!("{line}\n")),
        }
    }

    fn bar(&self, layer: &Digest) -> Option<(ProgressBar, u64)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }
}

impl Progress for Shown {
    fn begin(&self, layer: &Digest, size: u64) {
        let bar = match self.bars() {
            Some(bars) => {
                let style = ProgressStyle::with_template("{prefix}: [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}");
                let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
                let bar = bars.add(ProgressBar::new(size).with_style(style));
                bar.set_prefix(layer.hex()[..SHORT].to_owned());
                bar
            }
            None => ProgressBar::hidden(),
        };
        let before = self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.clone(), (bar, size));
        if let Some((bar, _)) = before {
            // Another attempt.
            bar.finish_and_clear();
        }
    }

    fn advance(&self, layer: &Digest, bytes: u64) {
        if let Some((bar, _)) = self.bar(layer).filter(|_| self.bars().is_some()) {
            bar.inc(bytes);
        }
    }

    fn end(&self, layer: &Digest, was_there: bool) {
        match self.bar(layer) {
            Some((bar, size)) => {
                bar.finish_and_clear();
                self.line(layer, &format!("done, {}", HumanBytes(size)));
            }
            None if was_there => self.line(layer, if self.is_push { "already there" } else { "already here" }),
            None => {}
        }
    }

    fn waiting(&self, layer: &Digest, holder: Option<i32>) {
        let whom = holder.map(|pid| format!("process {pid}")).unwrap_or("another rbox".to_owned());
        self.line(layer, &format!("waiting for {whom}, which fetches it"));
    }

    fn mounted(&self, layer: &Digest, from: &str) {
        self.line(layer, &format!("already there, mounted from {from}"));
    }

    fn passed_over(&self, place: &Reference, error: &anyhow::Error) {
        let line =
            Failure { message: format!("mirror {place}: {}", Failure::from(error).message), ..Failure::default() };
        let line = line.render();
        match self.bars() {
            Some(bars) => drop(bars.println(line.trim_end())),
            None => output::error(&line),
        }
    }
}
