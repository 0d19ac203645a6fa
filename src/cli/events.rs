//! `rbox events`.

use super::filter::Filters;
use super::{format, grammar, human, output};
use crate::engine::events::reader::Reader;
use crate::engine::events::{Event, Kind};
use crate::time::{Time, parse_span};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

#[derive(Debug, Args)]
struct EventsArgs {
    /// Provide filter values: container=, image=, volume=, network=, type=, event=, label=KEY[=VALUE]
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show all events since a time, or for a span until now
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Do not wait for events that come: false [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = super::boolean)]
    stream: Option<bool>,
    /// End at a time, or after a span: 2006-01-02T15:04:05Z, 10s
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<EventsArgs>(command, "rbox events [OPTIONS]")
}

/// Prints what happens, a line each.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = EventsArgs::from_arg_matches_mut(&mut matches)?;
    let filters =
        Filters::parse(&args.filter, &["container", "image", "volume", "network", "type", "event", "label!"])?;
    let now = Time::now();
    let since = args.since.as_deref().map(|text| human::moment(text, now).with_context(|| format!("--since {text}")));
    let since = since.transpose()?;
    let until = args.until.as_deref().map(|text| end(text, now).with_context(|| format!("--until {text}")));
    let until = until.transpose()?;
    let follows = args.stream.unwrap_or(true) && until.is_none_or(|until| until > now);
    let mut reader = Reader::open(follows)?;
    // As in docker, without a time nothing is shown that was before.
    let from = since.unwrap_or(if args.stream == Some(false) || until.is_some() { Time::NEVER } else { now });
    loop {
        let is_over = !follows || until.is_some_and(|until| Time::now() >= until);
        let mut text = String::new();
        for event in reader.unread()? {
            let wanted = event.time >= from && until.is_none_or(|until| event.time <= until);
            if wanted && admits(&filters, &event) {
                text += &line(&event, args.format.as_deref())?;
            }
        }
        if !text.is_empty() {
            output::print(&text)?;
        }
        if is_over {
            return Ok(0);
        }
        reader.wait()?;
    }
}

/// As in docker a span is one before now, and podman's is one after.
fn end(text: &str, now: Time) -> Result<Time> {
    match parse_span(text) {
        Ok(nanos) => Ok(now.plus(nanos)),
        Err(_) => human::moment(text, now),
    }
}

fn admits(filters: &Filters, event: &Event) -> bool {
    let Event { kind, actor, .. } = event;
    let known = |key: &str| actor.attributes.get(key).map(String::as_str);
    let is = |wanted: Kind, key: &str| {
        filters.matches(key, |text| {
            let named = known("name") == Some(text) || actor.id.starts_with(text);
            // What happens to a container happens to its image's users, too, and to those of a network.
            (*kind == wanted && named) || (*kind != wanted && known(key).is_some_and(|value| value.starts_with(text)))
        })
    };
    is(Kind::Container, "container")
        && is(Kind::Image, "image")
        && is(Kind::Volume, "volume")
        && is(Kind::Network, "network")
        && filters.matches("type", |text| kind.name() == text)
        && filters.matches("event", |text| event.action == text || event.action.split(':').next() == Some(text))
        && filters.labels(known)
}

fn line(event: &Event, format: Option<&str>) -> Result<String> {
    let Event { kind, action, actor, time } = event;
    match format {
        Some(format) => format::list(&[object(event)], &[], Some(format), false),
        None => {
            let known: Vec<String> = actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
            Ok(format!("{time} {} {action} {}{known}\n", kind.name(), actor.id))
        }
    }
}

/// In docker's fields, the old ones among them.
fn object(event: &Event) -> Value {
    let Event { kind, action, actor, time } = event;
    let mut object = json!({
        "Type": kind.name(),
        "Action": action,
        "Actor": { "ID": actor.id, "Attributes": actor.attributes },
        "scope": "local",
        "time": time.seconds(),
        "timeNano": i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanos()),
    });
    if matches!(kind, Kind::Container | Kind::Image) {
        object["status"] = json!(action);
        object["id"] = json!(actor.id);
        if let Some(image) = actor.attributes.get("image") {
            object["from"] = json!(image);
        }
    }
    object
}
