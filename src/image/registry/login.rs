//! Whether a registry takes credentials.

use super::answer::retry;
use super::challenge::Challenge;
use super::client::{Client, Content, Request};
use anyhow::{Context, Result, ensure};
use ureq::http::{Method, Uri};

impl Client {
    /// Shows the credentials to the registry, or to its token service. An error if they are not taken; a registry that
    /// is open to everybody takes any.
    pub fn authenticate(&self) -> Result<()> {
        if let Some(Challenge::Bearer { realm, .. }) = self.challenge() {
            let uri: Uri = realm.parse().with_context(|| format!("token service {realm:?}: not an address"))?;
            ensure!(
                self.trusts(&uri),
                "token service {realm}: another host than the registry {}, so that the credentials cannot be checked",
                self.registry()
            );
        }
        let request = Request { method: Method::GET, headers: &[], body: Content::None, scope: "" };
        retry(|| self.exchange(&request, &self.root("v2/"))).map(drop)
    }
}
