//! How templates compare.

use super::value::{self, Value};
use serde_json::Value as Json;
use std::cmp::Ordering;

/// The order of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// They have one.
    Ordered(Ordering),
    /// They are of the same kind, which has none.
    Unordered,
}

impl Comparison {
    /// True if it is one of these.
    pub fn is(self, orders: &[Ordering]) -> bool {
        orders.iter().any(|order| self == Comparison::Ordered(*order))
    }
}

/// True if the value equals one of the others.
pub fn equal(value: &Value, others: &[Value]) -> Result<bool, String> {
    let value = value.json();
    if others.is_empty() {
        return Err("there is nothing to compare with".to_owned());
    }
    for other in others.iter().map(Value::json) {
        let equal = match (value, other) {
            (Json::Null, other) => other.is_null(),
            (_, Json::Null) => false,
            (Json::Bool(one), Json::Bool(other)) => one == other,
            (Json::Array(_) | Json::Object(_), _) => return Err(format!("{} cannot be compared", value::kind(value))),
            (one, other) => pair(one, other)?.is(&[Ordering::Equal]),
        };
        if equal {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How the value stands to the other, the first of the rest.
pub fn order(value: &Value, rest: &[Value]) -> Result<Comparison, String> {
    pair(value.json(), rest.first().map_or(&Json::Null, Value::json))
}

fn pair(one: &Json, other: &Json) -> Result<Comparison, String> {
    match (one, other) {
        (Json::String(one), Json::String(other)) => Ok(Comparison::Ordered(one.cmp(other))),
        (Json::Number(number), Json::Number(against)) => {
            let order = match (value::integer(one), value::integer(other)) {
                (Some(one), Some(other)) => Some(one.cmp(&other)),
                _ => number.as_f64().partial_cmp(&against.as_f64()),
            };
            Ok(order.map_or(Comparison::Unordered, Comparison::Ordered))
        }
        (one, other) => Err(format!("{} and {} cannot be compared", value::kind(one), value::kind(other))),
    }
}
