//! JSON of strangers.
//!
//! A value that takes two bytes as text may take hundreds in memory, and texts that nobody looks at now (half a surrogate
//! pair) may be errors for who reads the document later: so a document is looked through before it is taken apart.

use anyhow::Result;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// Keys and values of one document. An image for all platforms has hundreds, one of 500 layers a few thousand.
const MAX_VALUES: usize = 100_000;

/// Reads a document. One that has more than 100000 keys and values is refused, and one that is not valid throughout.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let count = Cell::new(0);
    let mut document = serde_json::Deserializer::from_slice(bytes);
    Values(&count).deserialize(&mut document)?;
    Ok(serde_json::from_slice(bytes)?)
}

/// Passes over a value with all that is in it, and counts.
#[derive(Clone, Copy)]
struct Values<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<(), D::Error> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > MAX_VALUES {
            return Err(D::Error::custom(format!("more than {MAX_VALUES} values")));
        }
        document.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_entry_seed(self, self)?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn valid_throughout() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Part {
            a: u8,
        }
        let with = |rest: &str| read::<Part>(format!(r#"{{"a":1,"b":{rest}}}"#).as_bytes());
        for rest in ["null", "[true, -1, 0.5, 18446744073709551615]", r#"{"c": {"d": []}}"#, r#""\ud83d\ude00""#] {
            assert_eq!(with(rest).expect(rest), Part { a: 1 });
        }
        for rest in [r#""\ud83d""#, r#"{"\udc00":1}"#, "1e999", "tru", "1} {", "\"\u{1}\"", &"[".repeat(100_000)] {
            assert!(with(rest).is_err(), "{rest}");
        }
        assert!(read::<Value>(b"\"\xff\"").is_err() && read::<Value>(b"").is_err());
    }

    #[test]
    fn not_without_end() {
        let list = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        // The list is a value, too.
        assert_eq!(read::<Vec<u8>>(list(MAX_VALUES - 1).as_bytes()).expect("as many as there may be").len(), 99_999);
        let error = read::<Value>(list(MAX_VALUES).as_bytes()).expect_err("more").to_string();
        assert!(error.starts_with("more than 100000 values"), "{error}");
        assert!(read::<Value>("[".repeat(MAX_VALUES).as_bytes()).is_err());
        assert!(read::<Value>(format!("[{}{{}}]", r#"{"":0},"#.repeat(40_000)).as_bytes()).is_err());
    }
}
