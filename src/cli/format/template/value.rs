//! Values of a template: JSON, borrowed from what is printed or made on the way; and how Go prints them.

use super::budget::Text;
use serde_json::Value as Json;
use std::rc::Rc;

/// What Go prints for what is not there.
pub const NO_VALUE: &str = "<no value>";
/// What Go prints for nil.
pub const NIL: &str = "<nil>";

/// A value.
#[derive(Clone)]
pub enum Value<'a> {
    /// A key that is not there. Its fields are not there either, which is no error; those of null are one.
    Missing,
    /// A part of what is printed.
    Part(&'a Json),
    /// Made by a literal or a function.
    Made(Rc<Json>),
}

impl<'a> Value<'a> {
    /// Of anything that is JSON.
    pub fn made(json: impl Into<Json>) -> Value<'a> {
        Value::Made(Rc::new(json.into()))
    }

    /// As JSON; null if missing.
    pub fn json(&self) -> &Json {
        match self {
            Value::Missing => &Json::Null,
            Value::Part(json) => json,
            Value::Made(json) => json,
        }
    }

    /// A part of this value, which `find` picks.
    pub fn part<'j>(&'j self, find: impl for<'b> Fn(&'b Json) -> Option<&'b Json>) -> Value<'a> {
        match self {
            Value::Missing => Value::Missing,
            Value::Part(json) => find(json).map_or(Value::Missing, Value::Part),
            Value::Made(json) => find(json).map_or(Value::Missing, |part| Value::made(part.clone())),
        }
    }

    /// What Go takes for true: anything but false, 0, and what is empty or not there.
    pub fn is_true(&self) -> bool {
        match self.json() {
            Json::Null => false,
            Json::Bool(yes) => *yes,
            Json::Number(number) => number.as_f64() != Some(0.0),
            Json::String(text) => !text.is_empty(),
            Json::Array(list) => !list.is_empty(),
            Json::Object(map) => !map.is_empty(),
        }
    }

    /// What an action prints.
    pub fn print(&self, out: &mut Text) {
        match self.json() {
            Json::Null => out.add(NO_VALUE),
            json => print(json, out),
        }
    }
}

/// Prints as Go's `%v`.
pub fn print(json: &Json, out: &mut Text) {
    match json {
        Json::Null => out.add(NIL),
        Json::Bool(yes) => out.add(if *yes { "true" } else { "false" }),
        Json::Number(number) => out.add(&number_text(number)),
        Json::String(text) => out.add(text),
        Json::Array(list) => {
            out.add("[");
            for (number, item) in list.iter().enumerate() {
                out.add(if number > 0 { " " } else { "" });
                print(item, out);
            }
            out.add("]");
        }
        Json::Object(map) => {
            out.add("map[");
            for (number, (key, item)) in sorted(map).into_iter().enumerate() {
                out.add(if number > 0 { " " } else { "" });
                out.add(key);
                out.add(":");
                print(item, out);
            }
            out.add("]");
        }
    }
}

/// A value as a cell of a table shows it; nothing if there is none.
pub fn shown(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        json => {
            let mut budget = super::budget::Budget::new();
            let mut text = Text::new(&mut budget);
            print(json, &mut text);
            text.finish().unwrap_or_default()
        }
    }
}

/// A map in the order in which Go prints it and ranges over it.
pub fn sorted(map: &serde_json::Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// What kind of value that is, in words of JSON for errors.
pub fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(number) if number.is_f64() => "a number",
        Json::Number(_) => "an integer",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// An integer, if it is one. JSON's are from -2^63 to 2^64-1.
pub fn integer(json: &Json) -> Option<i128> {
    let number = json.as_number()?;
    number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))
}

fn number_text(number: &serde_json::Number) -> String {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), _, _) => integer.to_string(),
        (_, Some(integer), _) => integer.to_string(),
        (.., Some(float)) => float_text(float, None, false),
        _ => number.to_string(),
    }
}

/// A number as Go's `%g`: with as few digits as tell it from others or with so many; `whole`: zeros at the end stay.
pub fn float_text(number: f64, digits: Option<usize>, whole: bool) -> String {
    let shortest = digits.is_none() && !whole;
    let count = digits.unwrap_or(6).max(1);
    let scientific = if shortest { format!("{number:e}") } else { format!("{number:.*e}", count - 1) };
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let strip = |text: &str| match text.contains('.') && !whole {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    // Six is also where the shortest form changes, whatever its digits.
    if exponent < -4 || exponent >= i32::try_from(count).unwrap_or(i32::MAX) {
        return format!("{}{}", strip(mantissa), exponent_text(exponent));
    }
    match shortest {
        true => format!("{number}"),
        false => strip(&format!("{number:.*}", usize::try_from(count as i32 - 1 - exponent).unwrap_or_default())),
    }
}

/// An exponent as Go writes it: a sign, and two digits at least.
pub fn exponent_text(exponent: i32) -> String {
    format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}
