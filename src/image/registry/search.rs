//! docker's old index, which alone can search (docker's "Search", `/v1/search`).

use super::agent::{Agent, Time, encoded};
use super::answer::{HttpError, Status, retry, status};
use super::client::{Access, Client, Content, Request};
use crate::image::document;
use anyhow::{Context, Result};
use serde::Deserialize;
use ureq::Body;
use ureq::http::{self, Method, Response};

/// Where docker.io is searched.
const HUB: &str = "https://index.docker.io";
/// An answer is not longer.
const MAX_ANSWER: u64 = 4 << 20;

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// Its name in the registry, as docker shows it.
    pub name: String,
    /// What its owner says of it.
    #[serde(default)]
    pub description: String,
    /// How many like it.
    #[serde(default, rename = "star_count")]
    pub stars: u64,
    /// One of docker's own.
    #[serde(default, rename = "is_official")]
    pub official: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Found>,
}

fn path(term: &str, limit: usize) -> String {
    format!("v1/search?q={}&n={limit}", encoded(term))
}

fn read(mut response: Response<Body>) -> Result<Vec<Found>> {
    let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    let answer: Answer = document::read(&text.context("search")?).context("search")?;
    Ok(answer.results)
}

/// Searches docker.io. Everybody may.
pub fn search_hub(term: &str, limit: usize, access: &Access) -> Result<Vec<Found>> {
    let agent = Agent::new("index.docker.io", access, access.tls_verify.unwrap_or(true))?;
    let response = retry(|| {
        let request = http::Request::get(format!("{HUB}/{}", path(term, limit)));
        let mut response = agent.run(request.body(())?, Time::Short)?;
        if response.status().is_success() { Ok(response) } else { Err(HttpError::of(&mut response).into()) }
    });
    read(response.context(HUB)?)
}

impl Client {
    /// Searches the registry; `None` if it cannot be searched.
    pub fn search(&self, term: &str, limit: usize) -> Result<Option<Vec<Found>>> {
        let request = Request { method: Method::GET, headers: &[], body: Content::None, scope: "registry:catalog:*" };
        match retry(|| self.exchange(&request, &self.root(&path(term, limit)))) {
            // What is no JSON is somebody's page for people.
            Ok(response) => Ok(read(response).ok()),
            Err(error) if matches!(status(&error), Some(Status::NotFound | Status::Denied)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
