//! Lists of tags and of repositories, page after page (distribution-spec, "Listing Tags"; docker's "Listing
//! Repositories").

use super::answer::retry;
use super::client::{Client, Content, Request};
use crate::image::document;
use crate::image::reference::{Name, check_tag};
use anyhow::{Context, Result, bail, ensure};
use std::ops::ControlFlow;
use ureq::http::{Method, Response, Uri};
use ureq::{Body, ResponseExt};

/// As many on a page as most registries give.
const PER_PAGE: usize = 1000;
/// A page is not longer.
const MAX_PAGE: u64 = 4 << 20;
/// A list that is longer has no end.
const MAX_PAGES: usize = 10_000;

impl Client {
    /// The tags of the repository, at most so many.
    pub fn tags(&self, limit: usize) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let first = self.address(&format!("tags/list?n={}", limit.min(PER_PAGE)));
        self.pages(first, &self.pull_scope(), "tags", |tag| {
            // What is no tag cannot be pulled, nor shown.
            if check_tag(&tag).is_ok() {
                found.push(tag);
            }
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(found)
    }

    /// The repositories of the registry that are wanted, at most so many.
    pub fn repositories(&self, wanted: impl Fn(&str) -> bool, limit: usize) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let first = self.root(&format!("v2/_catalog?n={PER_PAGE}"));
        self.pages(first, "registry:catalog:*", "repositories", |name| {
            if wanted(&name) && Name::parse(&format!("{}/{name}", self.registry())).is_ok() {
                found.push(name);
            }
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(found)
    }

    /// Calls `take` for each entry of a list, until it has enough.
    fn pages(
        &self,
        first: String,
        scope: &str,
        field: &str,
        mut take: impl FnMut(String) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut url = first;
        for _ in 0..MAX_PAGES {
            let request = Request { method: Method::GET, headers: &[], body: Content::None, scope };
            let mut response = retry(|| self.exchange(&request, &url))?;
            let next = next_page(&response)?;
            let text = response.body_mut().with_config().limit(MAX_PAGE).read_to_vec();
            let text = text.with_context(|| format!("list of {field}: of at most {MAX_PAGE} bytes a page"))?;
            let page: serde_json::Value = document::read(&text).with_context(|| format!("list of {field}"))?;
            let entries = page[field].as_array().map(Vec::as_slice).unwrap_or_default();
            for entry in entries.iter().filter_map(|entry| entry.as_str()) {
                if take(entry.to_owned()).is_break() {
                    return Ok(());
                }
            }
            match next {
                // Whoever has nothing on a page has nothing more.
                Some(next) if !entries.is_empty() => {
                    ensure!(self.is_own(&next), "list of {field}: goes on at {next}, which is another host");
                    url = next.to_string();
                }
                _ => return Ok(()),
            }
        }
        bail!("list of {field}: more than {MAX_PAGES} pages")
    }
}

/// `Link: </v2/…>; rel="next"` (RFC 8288).
fn next_page(response: &Response<Body>) -> Result<Option<Uri>> {
    let links = response.headers().get_all("link").iter().filter_map(|value| value.to_str().ok());
    let next = links.flat_map(|value| value.split(',')).find_map(target_of_next);
    next.map(|target| super::address::resolve(response.get_uri(), target)).transpose()
}

fn target_of_next(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or_default();
        key.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
    });
    is_next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        for (link, next) in [
            (r#"</v2/_catalog?last=x&n=2>; rel="next""#, Some("/v2/_catalog?last=x&n=2")),
            ("<https://a.example/>;rel=next;title=x", Some("https://a.example/")),
            (r#"</v2/>; rel="prev""#, None),
            ("/v2/; rel=next", None),
            ("", None),
        ] {
            assert_eq!(target_of_next(link), next, "{link}");
        }
    }

    #[test]
    fn fuzz_link() {
        let seeds = [r#"</v2/_catalog?last=x&n=2>; rel="next""#, "<https://a.example/>;rel=next;title=x"];
        crate::fuzz::text("link", &seeds, &["<", ">", ";", "=", "rel", "next", "\"", ",", " "], |link| {
            let target = target_of_next(link);
            assert!(target.is_none_or(|target| !target.contains('>')), "{link}");
            target.is_some()
        });
    }
}
