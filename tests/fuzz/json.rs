//! Mutations of JSON that keep it JSON.

use super::Random;
use serde_json::{Map, Value, json};

/// Strings that mean something to some reader of an image.
const STRINGS: [&str; 40] = [
    "",
    "/",
    "..",
    "/..",
    "/a/../../b",
    "/proc",
    "/sys/fs",
    "/dev/shm",
    "=",
    "A=",
    "=A",
    "A=1",
    "PATH=/x",
    "HOME=",
    "A",
    "\0",
    "a\0b=c\0",
    "\n",
    "é\u{202e}",
    "0",
    "-1",
    "+1",
    "4294967295",
    "65534",
    "root",
    "ada:wheel",
    "a:b:c",
    ":",
    "SIGTERM",
    "SIGRTMAX-1",
    "65",
    "amd64",
    "arm",
    "linux",
    "v8",
    "2024-02-29T23:59:60.999999999+14:00",
    "0000-01-01T00:00:00Z",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha256:../../x",
    "application/vnd.oci.image.index.v1+json",
];

/// Changes one value somewhere in a document. `None` if it is no JSON.
pub fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(input).ok()?;
    let donor: Value = serde_json::from_slice(other).unwrap_or_default();
    let count = size(&document);
    let place = nth(&mut document, &mut random.below(count))?;
    change(random, place, &donor);
    serde_json::to_vec(&document).ok()
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum::<usize>(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

fn nth<'a>(value: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, n)),
        Value::Object(map) => map.values_mut().find_map(|item| nth(item, n)),
        _ => None,
    }
}

fn part(random: &mut Random, value: &Value) -> Value {
    let mut copy = value.clone();
    let count = size(value);
    nth(&mut copy, &mut random.below(count)).map(std::mem::take).unwrap_or_default()
}

fn change(random: &mut Random, place: &mut Value, donor: &Value) {
    match (&mut *place, random.below(8)) {
        (Value::Array(items), 0..=2) => {
            let at = random.below(items.len() + 1);
            match random.below(5) {
                0 if at < items.len() => drop(items.remove(at)),
                1 if at < items.len() => items.insert(at, items[at].clone()),
                2 => items.insert(at, part(random, donor)),
                3 if random.one_in(32) && at < items.len() => {
                    // Many that differ.
                    let (item, many) = (items[at].clone(), 1 << random.below(17));
                    items.extend((0..many).map(|number| numbered(&item, number)));
                }
                _ => items.insert(at, json!(random.of(&STRINGS))),
            }
        }
        (Value::Object(map), 0..=3) => change_object(random, map, donor),
        (Value::String(text), 0..=3) => {
            let mut bytes = std::mem::take(text).into_bytes();
            super::bytes::mutate(random, &mut bytes, b"/:=.,@", &[b"/", b"=", b":", b"..", b"\0", b"sha256:"]);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        _ => {
            *place = match random.below(9) {
                0 => Value::Null,
                1 => json!(random.one_in(2)),
                2 => json!(random.number()),
                3 => json!(random.number() as i64),
                4 => json!(random.number() as f64 / 3.0),
                5 => json!([place.clone()]),
                6 => json!({ random.of(&STRINGS): place.clone() }),
                7 => part(random, donor),
                _ => json!(random.of(&STRINGS)),
            }
        }
    }
}

fn change_object(random: &mut Random, map: &mut Map<String, Value>, donor: &Value) {
    let keys: Vec<String> = map.keys().cloned().collect();
    let key = keys.get(random.below(keys.len())).cloned().unwrap_or_default();
    match random.below(5) {
        0 => drop(map.remove(&key)),
        1 => {
            let value = part(random, donor);
            map.insert(key, value);
        }
        2 => {
            // What another document has here.
            if let Some((key, value)) = donor.as_object().and_then(|all| all.iter().nth(random.below(all.len()))) {
                map.insert(key.clone(), value.clone());
            }
        }
        3 if random.one_in(32) => {
            let value = map.get(&key).cloned().unwrap_or_default();
            map.extend((0..1 << random.below(17)).map(|number| (format!("{key}{number}"), value.clone())));
        }
        _ => {
            let value = map.get(&key).cloned().unwrap_or_default();
            map.insert((*random.of(&STRINGS)).to_owned(), value);
        }
    }
}

/// A copy that is another value.
fn numbered(value: &Value, number: usize) -> Value {
    match value {
        Value::String(text) => json!(format!("{text}{number}")),
        Value::Array(items) => items.iter().map(|item| numbered(item, number)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), numbered(value, number))).collect(),
        other => other.clone(),
    }
}
