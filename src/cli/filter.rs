//! `--filter KEY=VALUE`: which rows a list shows.
//!
//! A key that is given twice admits what either value admits; labels must all be there. podman's `KEY!=VALUE` takes out
//! what the value admits, whatever else is given.

pub mod pattern;

use super::{boolean, human};
use crate::error::Advise;
use crate::time::Time;
use anyhow::{Context, Result, anyhow, bail, ensure};

/// What was typed, checked against the keys of the verb.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    given: Vec<Filter>,
}

#[derive(Debug, Clone)]
struct Filter {
    key: String,
    negated: bool,
    value: String,
}

impl Filters {
    /// Reads the values of all `--filter`. `keys` are those that the verb has, in lower case; one that ends in `!` may also
    /// be given as `KEY!=VALUE`.
    ///
    /// # Errors
    /// No `=`, a key that the verb has not, `!=` where the verb has none of it.
    pub fn parse(texts: &[String], keys: &[&str]) -> Result<Filters> {
        let read = |text: &String| {
            one(text, keys).with_context(|| format!("--filter {text}")).hint(|| {
                let all: Vec<&str> = keys.iter().map(|key| key.trim_end_matches('!')).collect();
                format!("the filters are {}", all.join(", "))
            })
        };
        Ok(Filters { given: texts.iter().map(read).collect::<Result<_>>()? })
    }

    /// True if there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// True if the key was given, negated or not.
    pub fn has(&self, key: &str) -> bool {
        self.of(key).next().is_some()
    }

    /// The values of a key that are not negated, as typed.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.of(key).filter(|filter| !filter.negated).map(|filter| filter.value.as_str())
    }

    /// True if the filters of this key admit a row. `admits`: does one value?
    pub fn matches(&self, key: &str, mut admits: impl FnMut(&str) -> bool) -> bool {
        let mut wanted = self.values(key).peekable();
        let any = wanted.peek().is_none() || wanted.any(&mut admits);
        any && !self.of(key).any(|filter| filter.negated && admits(&filter.value))
    }

    /// True if the filters `label=KEY` and `label=KEY=VALUE` admit a row. `label`: the value of a label of that row.
    pub fn labels<'a>(&self, mut label: impl FnMut(&str) -> Option<&'a str>) -> bool {
        self.of("label").all(|filter| {
            let there = match filter.value.split_once('=') {
                Some((key, value)) => label(key) == Some(value),
                None => label(&filter.value).is_some(),
            };
            there != filter.negated
        })
    }

    /// The only value of a key that says yes or no, such as `dangling`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.single(key, boolean)
    }

    /// The only value of `until`: rows before that time are wanted.
    pub fn until(&self, now: Time) -> Result<Option<Time>> {
        self.single("until", |value| human::moment(value, now))
    }

    fn single<T>(&self, key: &str, read: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
        let mut values = self.values(key);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        // The same said twice is no contradiction.
        if values.any(|other| other != value) {
            bail!("--filter {key}: two different values");
        }
        read(value).with_context(|| format!("--filter {key}={value}")).map(Some)
    }

    fn of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Filter> {
        self.given.iter().filter(move |filter| filter.key == key)
    }
}

fn one(text: &str, keys: &[&str]) -> Result<Filter> {
    let (key, value) = text.split_once('=').ok_or_else(|| anyhow!("KEY=VALUE is wanted"))?;
    let (key, negated) = key.strip_suffix('!').map_or((key, false), |key| (key, true));
    let key = key.trim().to_ascii_lowercase();
    let known = keys.iter().find(|known| known.trim_end_matches('!') == key);
    let known = known.ok_or_else(|| anyhow!("there is no such filter"))?;
    ensure!(!negated || known.ends_with('!'), "this filter has no !=");
    Ok(Filter { key, negated, value: value.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn filters(texts: &[&str]) -> Result<Filters> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Filters::parse(&texts, &["name", "label!", "until", "dangling", "status!"])
    }

    #[test]
    fn either_value_will_do() {
        let table: &[(&[&str], &str, bool)] = &[
            (&[], "web", true),
            (&["name=web"], "web", true),
            (&["name=web"], "db", false),
            (&["name=web", "name=db"], "db", true),
            (&["name=web", "name=db"], "dns", false),
            (&["NAME = web "], "web", true),
            (&["status=up"], "web", true),
        ];
        for (texts, name, admitted) in table {
            let filters = filters(texts).expect("valid");
            assert_eq!(filters.matches("name", |value| value == *name), *admitted, "{texts:?} {name}");
        }
    }

    #[test]
    fn not() {
        let table: &[(&[&str], &str, bool)] = &[
            (&["status!=up"], "up", false),
            (&["status!=up"], "down", true),
            (&["status!=up", "status!=down"], "down", false),
            (&["status!=up", "status=up"], "up", false),
            (&["status!=up", "status=down"], "down", true),
            (&["status!=up", "status=down"], "lost", false),
        ];
        for (texts, status, admitted) in table {
            let filters = filters(texts).expect("valid");
            assert_eq!(filters.matches("status", |value| value == *status), *admitted, "{texts:?} {status}");
        }
    }

    #[test]
    fn all_labels_are_wanted() {
        let table: &[(&[&str], bool)] = &[
            (&[], true),
            (&["label=a"], true),
            (&["label=a=1"], true),
            (&["label=a=2"], false),
            (&["label=a="], false),
            (&["label=empty="], true),
            (&["label=c"], false),
            (&["label=a", "label=b=x=y"], true),
            (&["label=a", "label=c"], false),
            (&["label!=a"], false),
            (&["label!=c"], true),
            (&["label!=a=2"], true),
            (&["label!=a=1", "label=b"], false),
            (&["name=web"], true),
        ];
        let labels = [("a", "1"), ("b", "x=y"), ("empty", "")];
        let label = |wanted: &str| labels.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        for (texts, admitted) in table {
            assert_eq!(filters(texts).expect("valid").labels(label), *admitted, "{texts:?}");
        }
    }

    #[test]
    fn single_values() {
        assert_eq!(filters(&[]).expect("valid").boolean("dangling").expect("none"), None);
        assert_eq!(filters(&["dangling=1"]).expect("valid").boolean("dangling").expect("one"), Some(true));
        let same = filters(&["dangling=false", "dangling=false"]).expect("valid");
        assert_eq!(same.boolean("dangling").expect("one"), Some(false));
        let now = Time::parse("2026-11-24T14:35:16Z").expect("valid");
        let until = |text| filters(&[text]).expect("valid").until(now);
        assert_eq!(until("until=24h").expect("a span"), Some(now.plus(-86_400_000_000_000)));
        for (texts, key, said) in [
            (&["dangling=perhaps"][..], "dangling", "--filter dangling=perhaps: true or false is wanted"),
            (&["dangling=true", "dangling=false"], "dangling", "--filter dangling: two different values"),
        ] {
            let error = filters(texts).expect("valid").boolean(key).expect_err(said);
            assert_eq!(Failure::from(&error).message, said);
        }
        assert!(until("until=yesterday").is_err());
    }

    #[test]
    fn what_is_no_filter() {
        let table = [
            ("name", "--filter name: KEY=VALUE is wanted"),
            ("nmae=web", "--filter nmae=web: there is no such filter"),
            ("name!=web", "--filter name!=web: this filter has no !="),
            ("=web", "--filter =web: there is no such filter"),
        ];
        for (text, said) in table {
            let failure = Failure::from(&filters(&[text]).expect_err(text));
            assert_eq!(failure.message, said);
            assert_eq!(failure.hints, ["the filters are name, label, until, dangling, status"]);
        }
    }

    #[test]
    fn what_was_given() {
        let filters = filters(&["name=a", "name=b", "status!=up"]).expect("valid");
        assert!(!filters.is_empty() && filters.has("name") && filters.has("status") && !filters.has("label"));
        assert_eq!(filters.values("name").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(filters.values("status").count(), 0);
    }
}
