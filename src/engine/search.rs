//! What registries have.

use super::images::{self, Remote};
use crate::image::reference::{DOCKER_HUB, Name, Reference, split_registry};
use crate::image::registries::{Place, Registries};
use crate::image::registry::{Client, Found, search_hub};
use anyhow::{Context, Result, bail, ensure};

/// Which of the repositories found count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// docker's own, or all others.
    pub official: Option<bool>,
    /// At least so many stars.
    pub stars: u64,
}

/// What was found, and which registries could not be searched.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Repositories by their familiar names.
    pub found: Vec<Found>,
    /// What failed, if something else did not.
    pub failed: Vec<anyhow::Error>,
}

/// Searches the registry before the term's first slash, or all that short names are looked for in; at most `limit` of
/// each.
pub fn search(term: &str, limit: usize, filter: Filter, remote: &Remote) -> Result<Outcome> {
    let registries = Registries::load()?;
    let (registry, term) = split_registry(term);
    let asked = match registry {
        Some(registry) => vec![Name::parse(&format!("{registry}/x"))?.within(DOCKER_HUB).registry],
        None => registries.search(),
    };
    ensure!(!asked.is_empty(), "no registry is named, and none is searched");
    let several = asked.len() > 1;
    ensure!(!several || remote.access.credentials.is_none(), "--creds: for one registry: name it before the term");
    let mut outcome = Outcome::default();
    for registry in &asked {
        match search_one(&registries, registry, term, limit, remote) {
            Ok(found) => outcome.found.extend(found),
            Err(error) => outcome.failed.push(error.context(format!("search {registry}"))),
        }
    }
    if outcome.failed.len() == asked.len() {
        if let Some(error) = outcome.failed.into_iter().next() {
            return Err(error);
        }
        bail!("no registry to search");
    }
    outcome.found.retain(|found| {
        found.stars >= filter.stars && filter.official.is_none_or(|official| official == found.official)
    });
    Ok(outcome)
}

fn search_one(
    registries: &Registries,
    registry: &str,
    term: &str,
    limit: usize,
    remote: &Remote,
) -> Result<Vec<Found>> {
    // A registry may be at another location, or in a part of one.
    const ANY: &str = "x";
    let any = Reference { registry: registry.to_owned(), repository: ANY.to_owned(), tag: None, digest: None };
    let place = place_of(registries, &any)?;
    let access = images::access(remote, &place)?;
    if place.reference.registry == DOCKER_HUB {
        let mut found = search_hub(term, limit, &access)?;
        found.truncate(limit);
        return Ok(found);
    }
    let below = place.reference.repository.strip_suffix(ANY).unwrap_or_default().to_owned();
    let client = Client::to_registry(&place.reference.registry, "", &access)?;
    let found = match client.search(term, limit)? {
        Some(found) => found,
        None => {
            let wanted = |name: &str| name.starts_with(&below) && name[below.len()..].contains(term);
            let names = client.repositories(wanted, limit).context("it can be neither searched nor listed")?;
            let found = |name| Found { name, description: String::new(), stars: 0, official: false };
            names.into_iter().map(found).collect()
        }
    };
    let named = found.into_iter().filter_map(|found| {
        let name = found.name.strip_prefix(&below).unwrap_or(&found.name);
        let name = Name::parse(&format!("{registry}/{name}")).ok()?.within(DOCKER_HUB).familiar_name();
        Some(Found { name, ..found })
    });
    Ok(named.take(limit).collect())
}

/// Where images are read, mirrors apart: they have what somebody asked for before.
fn place_of(registries: &Registries, image: &Reference) -> Result<Place> {
    registries.places(image)?.pop().context("no place")
}

/// The tags of a repository, at most so many, and its familiar name.
pub fn tags(name: &Name, limit: usize, remote: &Remote) -> Result<(String, Vec<String>)> {
    ensure!(name.is_bare(), "--list-tags: a name without a tag is wanted");
    let registries = Registries::load()?;
    let sources = registries.sources(name)?;
    let [image] = sources.as_slice() else {
        let names: Vec<String> = sources.iter().map(Reference::name).collect();
        bail!("--list-tags: one registry is wanted: name it: {}", names.join(", "));
    };
    let place = place_of(&registries, image)?;
    let access = images::access(remote, &place)?;
    let client = Client::connect(&place.reference, &access)?;
    Ok((image.familiar_name(), client.tags(limit).with_context(|| format!("tags of {}", image.name()))?))
}
