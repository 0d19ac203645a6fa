//! The functions of templates: Go's own, and docker's (docker/cli, templates/templates.go).

use super::budget::{Budget, Text};
use super::compare::{self, Comparison};
use super::printf::printf;
use super::value::{self, NO_VALUE, Value};
use serde_json::Value as Json;
use std::cmp::Ordering;

/// Names, and how many arguments they take: at least, and at most.
const FUNCTIONS: [(&str, usize, usize); 25] = [
    ("and", 1, usize::MAX),
    ("eq", 1, usize::MAX),
    ("ge", 2, 2),
    ("gt", 2, 2),
    ("html", 0, usize::MAX),
    ("index", 1, usize::MAX),
    ("join", 2, 2),
    ("json", 1, 1),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lower", 1, 1),
    ("lt", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, usize::MAX),
    ("pad", 3, 3),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("slice", 1, usize::MAX),
    ("split", 2, 2),
    ("title", 1, 1),
    ("truncate", 2, 2),
    ("upper", 1, 1),
    ("urlquery", 0, usize::MAX),
];

/// A piece of a list costs that much beside its text.
const PIECE: usize = 100;

/// The name of a function, if there is one.
pub fn name(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().map(|(known, ..)| *known).find(|known| *known == name)
}

/// Checks the number of arguments.
pub fn count(name: &str, count: usize) -> Result<(), String> {
    match FUNCTIONS.iter().find(|(known, ..)| *known == name) {
        Some((_, least, most)) if count < *least || count > *most => {
            let wanted = if least == most { least.to_string() } else { format!("at least {least}") };
            Err(format!("{count} arguments, where {wanted} are wanted"))
        }
        _ => Ok(()),
    }
}

/// Calls a function, whose arguments are as many as it takes. `heading`: those that would change one leave it.
pub fn call<'a>(name: &str, arguments: &[Value<'a>], heading: bool, budget: &mut Budget) -> Result<Value<'a>, String> {
    let Some(first) = arguments.first() else {
        let text = if name == "println" { "\n" } else { "" };
        return Ok(Value::made(text));
    };
    let rest = &arguments[1..];
    if heading && matches!(name, "join" | "json" | "lower" | "split" | "title" | "truncate" | "upper") {
        return Ok(first.clone());
    }
    Ok(match name {
        // The executor has evaluated as many as were needed.
        "and" | "or" => arguments.last().unwrap_or(first).clone(),
        "not" => Value::made(!first.is_true()),
        "eq" => Value::made(compare::equal(first, rest)?),
        "ne" => Value::made(!compare::equal(first, rest)?),
        "lt" => Value::made(compare::order(first, rest)? == Comparison::Ordered(Ordering::Less)),
        "ge" => Value::made(compare::order(first, rest)?.is(&[Ordering::Greater, Ordering::Equal])),
        "gt" => Value::made(compare::order(first, rest)? == Comparison::Ordered(Ordering::Greater)),
        "le" => Value::made(compare::order(first, rest)?.is(&[Ordering::Less, Ordering::Equal])),
        "len" => Value::made(len(first.json())?),
        "index" => rest.iter().try_fold(first.clone(), |value, index| at(&value, index.json()))?,
        "slice" => slice(first, rest, budget)?,
        "print" => made(budget, |out| print(arguments, out))?,
        "println" => made(budget, |out| println(arguments, out))?,
        "printf" => {
            let rest: Vec<&Json> = rest.iter().map(Value::json).collect();
            let mut out = Text::new(budget);
            printf(text(first)?, &rest, &mut out)?;
            Value::made(out.finish()?)
        }
        "html" => escaped(arguments, budget, html)?,
        "urlquery" => escaped(arguments, budget, urlquery)?,
        "json" => {
            let mut out = Text::new(budget);
            // The only error is that it is too much, which finish() tells.
            let _ = serde_json::to_writer(&mut out, first.json());
            Value::made(out.finish()?)
        }
        "lower" => mapped(first, budget, |c| single(c.to_lowercase(), c))?,
        "upper" => mapped(first, budget, |c| single(c.to_uppercase(), c))?,
        "title" => {
            let mut before = ' ';
            mapped(first, budget, |c| {
                let begins = separates(std::mem::replace(&mut before, c));
                if begins { single(c.to_uppercase(), c) } else { c }
            })?
        }
        "split" => split(text(first)?, text(argument(rest, 0))?, budget)?,
        "join" => join(first.json(), text(argument(rest, 0))?, budget)?,
        "pad" if first.json() == "" => first.clone(),
        "pad" => pad(text(first)?, size(argument(rest, 0))?, size(argument(rest, 1))?, budget)?,
        "truncate" => {
            let (text, mut length) = (text(first)?, size(argument(rest, 0))?.min(text(first)?.len()));
            // docker counts bytes too, and cuts characters in two.
            while !text.is_char_boundary(length) {
                length -= 1;
            }
            made(budget, |out| out.add(&text[..length]))?
        }
        _ => return Err("no such function".to_owned()),
    })
}

fn argument<'v, 'a>(arguments: &'v [Value<'a>], number: usize) -> &'v Value<'a> {
    arguments.get(number).unwrap_or(&Value::Missing)
}

fn made<'a>(budget: &mut Budget, write: impl FnOnce(&mut Text)) -> Result<Value<'a>, String> {
    let mut out = Text::new(budget);
    write(&mut out);
    out.finish().map(Value::made)
}

fn text<'v>(value: &'v Value) -> Result<&'v str, String> {
    value.json().as_str().ok_or_else(|| format!("a string is wanted, not {}", kind(value)))
}

fn kind(value: &Value) -> &'static str {
    if matches!(value, Value::Missing) { "what is not there" } else { value::kind(value.json()) }
}

/// A length or an index: no less than 0.
fn size(value: &Value) -> Result<usize, String> {
    let json = value.json();
    let integer = value::integer(json).ok_or_else(|| format!("an integer is wanted, not {}", kind(value)))?;
    usize::try_from(integer).map_err(|_| format!("{integer} is out of range"))
}

fn len(json: &Json) -> Result<usize, String> {
    match json {
        Json::String(text) => Ok(text.len()),
        Json::Array(list) => Ok(list.len()),
        Json::Object(map) => Ok(map.len()),
        json => Err(format!("{} has no length", value::kind(json))),
    }
}

fn at<'a>(value: &Value<'a>, index: &Json) -> Result<Value<'a>, String> {
    let wrong = || format!("{} has no index that is {}", value::kind(value.json()), value::kind(index));
    if let (Json::Object(_), Json::String(key)) = (value.json(), index) {
        return Ok(value.part(|map| map.get(key)));
    }
    let number = value::integer(index).ok_or_else(wrong)?;
    let place = usize::try_from(number).ok();
    let found = match value.json() {
        Json::Array(list) => place.filter(|place| *place < list.len()).map(|place| value.part(|list| list.get(place))),
        Json::String(text) => place.and_then(|place| text.as_bytes().get(place)).map(|byte| Value::made(*byte)),
        _ => return Err(wrong()),
    };
    found.ok_or_else(|| format!("{number} is out of range: there are {}", len(value.json()).unwrap_or_default()))
}

fn slice<'a>(value: &Value<'a>, indexes: &[Value<'a>], budget: &mut Budget) -> Result<Value<'a>, String> {
    let json = value.json();
    let most = match json {
        Json::Array(_) => 3,
        Json::String(_) => 2,
        json => return Err(format!("{} cannot be sliced", value::kind(json))),
    };
    if indexes.len() > most {
        return Err(format!("{} indexes for {}", indexes.len(), value::kind(json)));
    }
    let length = len(json)?;
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = size(index)?;
        if *bound > length {
            return Err(format!("{bound} is out of range: there are {length}"));
        }
    }
    let [from, to, capacity] = bounds;
    if from > to || to > capacity {
        return Err(format!("from {from} to {to} is out of order"));
    }
    match json {
        Json::Array(list) => {
            // Its size is what it takes as text.
            let items = &list[from..to];
            let mut out = Text::new(budget);
            items.iter().for_each(|item| value::print(item, &mut out));
            out.finish()?;
            budget.take(items.len() * PIECE)?;
            Ok(Value::made(items.to_vec()))
        }
        _ => {
            let bytes = &json.as_str().unwrap_or_default().as_bytes()[from..to];
            made(budget, |out| out.add(&String::from_utf8_lossy(bytes)))
        }
    }
}

/// Go's fmt.Sprint: a blank between two that are no strings.
fn print(arguments: &[Value], out: &mut Text) {
    let mut string_before = true;
    for argument in arguments {
        let string = argument.json().is_string();
        if !string && !string_before {
            out.add(" ");
        }
        string_before = string;
        value::print(argument.json(), out);
    }
}

fn println(arguments: &[Value], out: &mut Text) {
    for (number, argument) in arguments.iter().enumerate() {
        out.add(if number > 0 { " " } else { "" });
        value::print(argument.json(), out);
    }
    out.add("\n");
}

fn escaped<'a>(
    arguments: &[Value<'a>],
    budget: &mut Budget,
    escape: fn(u8, &mut Vec<u8>),
) -> Result<Value<'a>, String> {
    let nothing = |argument: &Value<'a>| match argument.json() {
        Json::Null => Value::made(NO_VALUE),
        _ => argument.clone(),
    };
    let arguments: Vec<Value> = arguments.iter().map(nothing).collect();
    let plain = made(budget, |out| print(&arguments, out))?;
    // Each byte becomes six at most.
    let plain = text(&plain)?;
    budget.take(plain.len() * 6)?;
    let mut bytes = Vec::with_capacity(plain.len());
    plain.bytes().for_each(|byte| escape(byte, &mut bytes));
    Ok(Value::made(String::from_utf8_lossy(&bytes).as_ref()))
}

fn html(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend(b"&#34;"),
        b'\'' => out.extend(b"&#39;"),
        b'&' => out.extend(b"&amp;"),
        b'<' => out.extend(b"&lt;"),
        b'>' => out.extend(b"&gt;"),
        0 => out.extend("\u{fffd}".as_bytes()),
        byte => out.push(byte),
    }
}

fn urlquery(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b' ' => out.push(b'+'),
        b'-' | b'_' | b'.' | b'~' => out.push(byte),
        byte if byte.is_ascii_alphanumeric() => out.push(byte),
        byte => out.extend(format!("%{byte:02X}").bytes()),
    }
}

fn mapped<'a>(value: &Value<'a>, budget: &mut Budget, map: impl FnMut(char) -> char) -> Result<Value<'a>, String> {
    let text = text(value)?;
    made(budget, |out| out.add(&text.chars().map(map).collect::<String>()))
}

/// Go's mapping is of one character to one.
fn single(mut mapped: impl Iterator<Item = char>, or: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(c), None) => c,
        _ => or,
    }
}

/// What stands between words (Go's strings.Title).
fn separates(c: char) -> bool {
    if c.is_ascii() { !c.is_ascii_alphanumeric() && c != '_' } else { !c.is_alphanumeric() && c.is_whitespace() }
}

fn split<'a>(text: &str, separator: &str, budget: &mut Budget) -> Result<Value<'a>, String> {
    // Go splits between characters where there is no separator; Rust would also find nothing before and after them.
    let count = if separator.is_empty() { text.chars().count() } else { text.matches(separator).count() + 1 };
    budget.take(text.len() + count.saturating_mul(PIECE))?;
    let pieces: Vec<String> = match separator {
        "" => text.chars().map(String::from).collect(),
        separator => text.split(separator).map(str::to_owned).collect(),
    };
    Ok(Value::made(pieces))
}

fn join<'a>(list: &Json, separator: &str, budget: &mut Budget) -> Result<Value<'a>, String> {
    let items: &[Json] = match list {
        Json::Array(items) => items,
        // An empty list of Go is null in JSON.
        Json::Null => &[],
        json => return Err(format!("an array is wanted, not {}", value::kind(json))),
    };
    made(budget, |out| {
        for (number, item) in items.iter().enumerate() {
            out.add(if number > 0 { separator } else { "" });
            value::print(item, out);
        }
    })
}

/// Blanks before and after what is not empty.
fn pad<'a>(text: &str, before: usize, after: usize, budget: &mut Budget) -> Result<Value<'a>, String> {
    budget.take(before.saturating_add(after))?;
    Ok(Value::made(format!("{}{text}{}", " ".repeat(before), " ".repeat(after))))
}
