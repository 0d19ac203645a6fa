//! Logging in to registries, and out of them.

use super::images::{self, Remote};
use crate::error::Advise;
use crate::image::credentials::{self, Account, Credentials, Files, Kept};
use crate::image::reference::Reference;
use crate::image::registries::Registries;
use crate::image::registry::{Client, Status, status};
use anyhow::{Context, Result, anyhow};

/// What one logs in to: what was named, else the first registry that is searched.
pub fn account(named: Option<&str>) -> Result<Account> {
    match named {
        Some(named) => Account::parse(named),
        None => {
            let first = Registries::load()?.search().into_iter().next();
            Account::parse(&first.context("no registry is named, and none is searched")?)
        }
    }
}

/// The credentials that there are for an account.
pub fn existing(account: &Account, remote: &Remote) -> Result<Option<Credentials>> {
    credentials::find_account(&Files::new(remote.authfile.as_deref()), account)
}

/// Shows credentials to the registry. True if it takes them, false if they are wrong.
pub fn check(account: &Account, credentials: &Credentials, remote: &Remote) -> Result<bool> {
    let registry = account.registry().to_owned();
    let image = Reference { registry, repository: "x".to_owned(), tag: None, digest: None };
    let place = Registries::load()?.own_place(&image)?;
    let mut remote = remote.clone();
    remote.access.credentials = Some(credentials.clone());
    let access = images::access(&remote, &place)?;
    let client = Client::to_registry(account.registry(), "", &access)?;
    match client.authenticate() {
        Ok(()) => Ok(true),
        Err(error) if status(&error) == Some(Status::Denied) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("login {account}")),
    }
}

/// Checks credentials and keeps them.
pub fn login(account: &Account, credentials: &Credentials, remote: &Remote) -> Result<Kept> {
    if !check(account, credentials, remote)? {
        return Err(anyhow!("login {account}: the registry does not take the name and the password"))
            .hint(|| "where passwords are not for programs, a token made at the registry stands for one".to_owned());
    }
    credentials::keep(&Files::new(remote.authfile.as_deref()), account, credentials)
}

/// Forgets the credentials for an account. Where they were.
pub fn logout(account: &Account, remote: &Remote) -> Result<Vec<Kept>> {
    credentials::forget(&Files::new(remote.authfile.as_deref()), account)
}

/// Forgets all credentials but those in docker's own file. Where they were.
pub fn logout_all(remote: &Remote) -> Result<Vec<Kept>> {
    credentials::forget_all(&Files::new(remote.authfile.as_deref()))
}
