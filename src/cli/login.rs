//! `rbox login`.

use super::remote::AccessArgs;
use super::{grammar, output, prompt};
use crate::engine::images::Remote;
use crate::engine::login;
use crate::error::Advise;
use crate::image::credentials::{Account, Credentials, Kept};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::io::Read;

/// A password is not longer.
const MAX_PASSWORD: u64 = 64 * 1024;

/// What is typed.
#[derive(Debug, Args)]
struct LoginArgs {
    /// Registry, or a part of one; the first that is searched if none is named
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
    /// Name of the user
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password, which others on this machine can see; better with --password-stdin
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Print the name of the user that is logged in
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,
    #[command(flatten)]
    access: AccessArgs,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<LoginArgs>(command.args_override_self(true), "rbox login [OPTIONS] [REGISTRY]")
}

/// Asks for what was not given, has the registry check it, and keeps it.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = LoginArgs::from_arg_matches_mut(&mut matches)?;
    let remote = args.access.remote(None, &std::env::current_dir().context("current directory")?)?;
    let account = login::account(args.registry.as_deref())?;
    let existing = login::existing(&account, &remote)?;
    if args.get_login {
        return match existing {
            Some(Credentials::Password { user, .. }) => output::print(&format!("{user}\n")),
            Some(Credentials::Identity(_)) => output::print("<token>\n"),
            None => bail!("not logged in to {account}"),
        };
    }
    let given = args.username.is_some() || args.password.is_some();
    if let Some(existing) = existing.as_ref().filter(|_| !given) {
        if is_still_good(&account, existing, &remote)? {
            return output::print("Login Succeeded\n");
        }
    }
    let credentials = ask(&args, &account, existing.as_ref())?;
    match login::login(&account, &credentials, &remote)? {
        Kept::File(file) => output::error(&format!("Kept without encryption in {}\n", file.display())),
        Kept::Helper(name) => output::error(&format!("Kept by docker-credential-{name}\n")),
    }
    output::print("Login Succeeded\n")
}

fn is_still_good(account: &Account, existing: &Credentials, remote: &Remote) -> Result<bool> {
    output::error("Authenticating with existing credentials...\n");
    let good = login::check(account, existing, remote)?;
    if !good {
        output::error("They are not good any more.\n");
    }
    Ok(good)
}

fn ask(args: &LoginArgs, account: &Account, existing: Option<&Credentials>) -> Result<Credentials> {
    let ask_for = |what: &str| -> Result<()> {
        if prompt::is_possible() {
            return Ok(());
        }
        Err(anyhow!("login {account}: no {what} was given, and nobody can be asked: standard input is no terminal"))
            .hint(|| "--username NAME --password-stdin reads the password from standard input".to_owned())
    };
    let user = match &args.username {
        Some(user) => user.clone(),
        None => {
            ask_for("name")?;
            let before = match existing {
                Some(Credentials::Password { user, .. }) => Some(user.as_str()),
                _ => None,
            };
            let shown = before.map(|user| format!(" ({user})")).unwrap_or_default();
            let typed = prompt::line(&format!("Username{shown}: "))?;
            if typed.is_empty() { before.unwrap_or_default().to_owned() } else { typed }
        }
    };
    ensure!(!user.is_empty(), "login {account}: an empty name");
    ensure!(!user.contains(':'), "login {account}: a colon in the name, which ends it where it is kept");
    let password = match &args.password {
        Some(password) => {
            output::error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
            password.clone()
        }
        None if args.password_stdin => password_of_stdin()?,
        None => {
            ask_for("password")?;
            prompt::secret("Password: ")?
        }
    };
    ensure!(!password.is_empty(), "login {account}: an empty password");
    Ok(Credentials::Password { user, password })
}

/// All of standard input, without the end of its last line.
fn password_of_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().take(MAX_PASSWORD + 1).read_to_end(&mut bytes).context("standard input")?;
    ensure!(bytes.len() as u64 <= MAX_PASSWORD, "standard input: a password longer than {MAX_PASSWORD} bytes");
    // The bytes are not shown.
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("standard input: a password that is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
