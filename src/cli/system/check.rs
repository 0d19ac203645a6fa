//! `rbox system check`.

use crate::cli::progress::Quiet;
use crate::cli::remote::RemoteArgs;
use crate::cli::{grammar, human, output};
use crate::engine::images;
use crate::engine::system::check::{self, How, Problem};
use crate::error::Failure;
use crate::spec::options::IdMode;
use crate::sys::process;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct CheckArgs {
    /// Mend what is damaged: blobs are fetched again, layers unpacked again
    #[arg(short, long)]
    repair: bool,
    /// Do not compare unpacked layers with their archives
    #[arg(short, long)]
    quick: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<CheckArgs>(command.args_override_self(true), "rbox system check [OPTIONS]")
}

/// 0 if everything is sound, or was mended; 1 if not.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = CheckArgs::from_arg_matches_mut(&mut matches)?;
    let remote = args.remote.remote(&std::env::current_dir().context("current directory")?)?;
    let how = How { repair: args.repair, quick: args.quick };
    let report = check::check(&images::default_store(IdMode::Auto)?, how, &remote, &Quiet)?;
    for Problem { what, why, mended, failure } in &report.problems {
        output::print(&format!("{what}: {why}{}\n", if *mended { "; mended" } else { "" }))?;
        if let Some(failure) = failure {
            output::error(
                &Failure { message: format!("{what}: cannot be mended: {}", failure.message), ..failure.clone() }
                    .render(),
            );
        }
    }
    let unmended = report.problems.iter().filter(|problem| !problem.mended).count();
    let mut text = format!("{} blobs and {} layers checked\n", report.blobs, report.layers);
    if report.unused.bytes > 0 {
        text.push_str(&format!(
            "{} are of no image: `rbox image prune` frees them\n",
            human::size(report.unused.bytes)
        ));
    }
    text.push_str(&match unmended {
        0 => "everything is sound\n".to_owned(),
        number if args.repair => format!("{number} problems are left\n"),
        number => format!("{number} problems; --repair mends what can be mended\n"),
    });
    output::print(&text)?;
    Ok(u8::from(unmended > 0))
}
