//! The command line of an OCI runtime, in runc's words.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// An OCI runtime that needs no root.
#[derive(Debug, Parser)]
#[command(name = "rbox-runtime", version)]
pub struct Cli {
    /// Directory for the state of containers.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// File that errors are appended to, besides standard error.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Format of that file.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What cgroups are managed with, in crun's words; disabled is what there is at present.
    #[arg(long, value_name = "MANAGER", value_parser = ["disabled"], hide = true)]
    pub cgroup_manager: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// As on standard error.
    Text,
    /// One object a line, as engines read it.
    Json,
}

/// The verbs of runtime-spec runtime.md, "Operations", and `run`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a container; `start` then starts its program.
    Create(Create),
    /// Create a container, start it, wait for its end.
    Run(Create),
    /// Start the program of a created container.
    Start {
        /// The container.
        id: String,
    },
    /// Print the state of a container.
    State {
        /// The container.
        id: String,
    },
    /// Send a signal to the first process of a container.
    Kill {
        /// The container.
        id: String,
        /// Name or number.
        #[arg(default_value = "SIGTERM")]
        signal: String,
        /// Accepted for older callers: the end of pid 1 ends all other processes of its pid namespace anyway.
        #[arg(long, short, hide = true)]
        all: bool,
    },
    /// Delete a stopped container.
    Delete {
        /// The container.
        id: String,
        /// Kill it first if it runs; not an error if there is none.
        #[arg(long, short)]
        force: bool,
    },
}

/// Options of `create` and `run`.
#[derive(Debug, Args)]
pub struct Create {
    /// Directory with config.json.
    #[arg(long, short, default_value = ".", value_name = "DIR")]
    pub bundle: PathBuf,
    /// File for the number of the first process.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that gets the terminal's master side.
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// The container's name, chosen by the caller.
    pub id: String,
}
