//! Go's fmt.Sprintf over JSON: an integer is an int, another number a float64, an object a map, an array a slice, null nil.
//! What a verb cannot print is said in the text, as in Go: `%!d(string=x)`.

use super::budget::Text;
use super::quote::{can_be_raw, is_printable, quote};
use super::value::{self, NIL, exponent_text, float_text};
use serde_json::Value as Json;

/// The largest width and precision.
const WIDEST: usize = 10_000;

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Default)]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
    /// `%#v`: as Go's source would have it.
    source: bool,
}

/// Writes the arguments as the format says.
///
/// # Errors
/// A width or a precision above 10000. Go takes some that are a thousand times as large.
pub fn printf(format: &str, arguments: &[&Json], out: &mut Text) -> Result<(), String> {
    let mut rest = format;
    let mut next = Next { arguments, number: 0, reordered: false, good: true };
    while let Some((plain, after)) = rest.split_once('%') {
        out.add(plain);
        rest = after;
        next.good = true;
        let mut flags = Flags::default();
        while let Some(c @ ('#' | '0' | '+' | '-' | ' ')) = rest.chars().next() {
            rest = &rest[1..];
            match c {
                '#' => flags.sharp = true,
                '0' => flags.zero = !flags.minus,
                '+' => flags.plus = true,
                '-' => (flags.minus, flags.zero) = (true, false),
                _ => flags.space = true,
            }
        }
        let mut indexed = next.index(&mut rest);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            indexed = false;
            match next.integer()? {
                Some(width) => {
                    flags.width = Some(width.unsigned_abs());
                    if width < 0 {
                        (flags.minus, flags.zero) = (true, false);
                    }
                }
                None => out.add("%!(BADWIDTH)"),
            }
        } else {
            flags.width = number(&mut rest)?;
            next.good &= !(indexed && flags.width.is_some());
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            next.good &= !indexed;
            indexed = next.index(&mut rest);
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                indexed = false;
                flags.precision = next.integer()?.and_then(|precision| usize::try_from(precision).ok());
                if flags.precision.is_none() {
                    out.add("%!(BADPREC)");
                }
            } else {
                flags.precision = Some(number(&mut rest)?.unwrap_or_default());
            }
        }
        if !indexed {
            next.index(&mut rest);
        }
        let Some(verb) = rest.chars().next() else {
            out.add("%!(NOVERB)");
            break;
        };
        rest = &rest[verb.len_utf8()..];
        let missing = if next.good { "(MISSING)" } else { "(BADINDEX)" };
        match next.argument() {
            _ if verb == '%' => {
                out.add("%");
                continue;
            }
            Some(argument) if next.good => {
                if verb == 'v' {
                    // What + asks for, names of fields, a map has anyway.
                    flags.plus = false;
                    flags.source = std::mem::take(&mut flags.sharp);
                }
                flags.print(argument, verb, 0, out);
            }
            _ => {
                out.add("%!");
                out.add_char(verb);
                out.add(missing);
                continue;
            }
        }
        next.number += 1;
    }
    out.add(rest);
    next.extra(out);
    Ok(())
}

/// Which argument is the next.
struct Next<'a> {
    arguments: &'a [&'a Json],
    number: usize,
    /// True once an index was given: then those that are left are no mistake.
    reordered: bool,
    /// False if the index of this verb is none.
    good: bool,
}

impl<'a> Next<'a> {
    fn argument(&self) -> Option<&'a Json> {
        self.arguments.get(self.number).copied()
    }

    /// Reads `[n]`. True if there was one.
    fn index(&mut self, rest: &mut &str) -> bool {
        let Some(after) = rest.strip_prefix('[') else {
            return false;
        };
        self.reordered = true;
        let Some((index, behind)) = after.split_once(']') else {
            *rest = after;
            self.good = false;
            return false;
        };
        *rest = behind;
        let index = index.parse::<usize>().ok().and_then(|index| index.checked_sub(1));
        match index.filter(|index| *index < self.arguments.len()) {
            Some(index) => {
                self.number = index;
                true
            }
            None => {
                self.good = false;
                false
            }
        }
    }

    /// The next argument as a width; none if it is no integer.
    fn integer(&mut self) -> Result<Option<isize>, String> {
        let integer = self.argument().and_then(value::integer);
        self.number += usize::from(self.argument().is_some());
        match integer {
            Some(integer) if integer.unsigned_abs() > WIDEST as u128 => Err(too_wide()),
            integer => Ok(integer.and_then(|integer| isize::try_from(integer).ok())),
        }
    }

    /// Arguments that no verb has printed.
    fn extra(&self, out: &mut Text) {
        if self.reordered || self.number >= self.arguments.len() {
            return;
        }
        out.add("%!(EXTRA ");
        for (number, argument) in self.arguments[self.number..].iter().enumerate() {
            out.add(if number > 0 { ", " } else { "" });
            if !argument.is_null() {
                out.add(type_name(argument));
                out.add("=");
            }
            value::print(argument, out);
        }
        out.add(")");
    }
}

fn too_wide() -> String {
    format!("a width or precision above {WIDEST}")
}

fn number(rest: &mut &str) -> Result<Option<usize>, String> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    if digits.is_empty() {
        return Ok(None);
    }
    digits.parse().ok().filter(|number| *number <= WIDEST).map(Some).ok_or_else(too_wide)
}

fn type_name(json: &Json) -> &'static str {
    match json {
        Json::Null => NIL,
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

impl Flags {
    /// `depth`: how many lists and maps are around the value.
    fn print(&self, json: &Json, verb: char, depth: usize, out: &mut Text) {
        match (json, verb) {
            (json, 'T') if depth == 0 => self.string(type_name(json), 's', out),
            (Json::Null, _) if depth > 0 => out.add(if self.source { "interface {}(nil)" } else { NIL }),
            (Json::Null, 'v') => self.text(NIL, out),
            (Json::Array(list), _) => {
                out.add(if self.source { "[]interface {}{" } else { "[" });
                for (number, item) in list.iter().enumerate() {
                    out.add(if number == 0 {
                        ""
                    } else if self.source {
                        ", "
                    } else {
                        " "
                    });
                    self.print(item, verb, depth + 1, out);
                }
                out.add(if self.source { "}" } else { "]" });
            }
            (Json::Object(map), _) => {
                out.add(if self.source { "map[string]interface {}{" } else { "map[" });
                for (number, (key, item)) in value::sorted(map).into_iter().enumerate() {
                    out.add(if number == 0 {
                        ""
                    } else if self.source {
                        ", "
                    } else {
                        " "
                    });
                    self.string(key, verb, out);
                    out.add(":");
                    self.print(item, verb, depth + 1, out);
                }
                out.add(if self.source { "}" } else { "]" });
            }
            (Json::Bool(yes), 't' | 'v') => self.text(if *yes { "true" } else { "false" }, out),
            (Json::String(text), 's' | 'v' | 'x' | 'X' | 'q') => self.string(text, verb, out),
            (Json::Number(number), 'v' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G') if number.is_f64() => {
                self.float(number.as_f64().unwrap_or_default(), verb, out);
            }
            (json, 'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U') if value::integer(json).is_some() => {
                self.integer(value::integer(json).unwrap_or_default(), verb, out);
            }
            (json, verb) => {
                out.add("%!");
                out.add_char(verb);
                out.add("(");
                if json.is_null() {
                    out.add(NIL);
                } else {
                    out.add(type_name(json));
                    out.add("=");
                    self.print(json, 'v', depth, out);
                }
                out.add(")");
            }
        }
    }

    /// Text in its width.
    fn text(&self, text: &str, out: &mut Text) {
        let missing = self.width.unwrap_or_default().saturating_sub(text.chars().count());
        let filling = if self.zero { "0" } else { " " }.repeat(missing);
        if self.minus {
            out.add(text);
            out.add(&filling);
        } else {
            out.add(&filling);
            out.add(text);
        }
    }

    fn string(&self, text: &str, verb: char, out: &mut Text) {
        if let 'x' | 'X' = verb {
            let bytes = &text.as_bytes()[..self.precision.unwrap_or(text.len()).min(text.len())];
            return self.text(&self.hexadecimal(bytes, verb), out);
        }
        let end = self.precision.and_then(|count| text.char_indices().nth(count)).map_or(text.len(), |(end, _)| end);
        let text = &text[..end];
        match verb {
            's' => self.text(text, out),
            'v' if !self.source => self.text(text, out),
            'q' if self.sharp && can_be_raw(text) => self.text(&format!("`{text}`"), out),
            'q' | 'v' => self.text(&quote(text, '"', self.plus), out),
            // A key of a map whose values were asked for as something else.
            verb => {
                out.add("%!");
                out.add_char(verb);
                out.add("(string=");
                self.text(text, out);
                out.add(")");
            }
        }
    }

    fn hexadecimal(&self, bytes: &[u8], verb: char) -> String {
        let mut text = String::new();
        for (number, byte) in bytes.iter().enumerate() {
            if number > 0 && self.space {
                text.push(' ');
            }
            if self.sharp && (number == 0 || self.space) {
                text += if verb == 'x' { "0x" } else { "0X" };
            }
            text += &if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
        }
        text
    }

    fn integer(&self, integer: i128, verb: char, out: &mut Text) {
        let plain = Flags { zero: false, ..self.clone() };
        let character = u32::try_from(integer).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
        match verb {
            'c' => return self.text(&character.to_string(), out),
            'q' => return self.text(&quote(&character.to_string(), '\'', self.plus), out),
            'U' => {
                let digits = self.precision.unwrap_or_default().max(4);
                let mut text = format!("U+{integer:0digits$X}");
                if self.sharp && is_printable(character) {
                    text += &format!(" '{character}'");
                }
                return plain.text(&text, out);
            }
            _ => {}
        }
        let size = integer.unsigned_abs();
        if self.precision == Some(0) && size == 0 {
            return plain.text("", out);
        }
        let mut digits = match verb {
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            _ => size.to_string(),
        };
        let sign = match () {
            () if integer < 0 => "-",
            () if self.plus => "+",
            () if self.space => " ",
            () => "",
        };
        let least = match (self.precision, self.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if self.zero => width.saturating_sub(sign.len()),
            _ => 0,
        };
        digits = "0".repeat(least.saturating_sub(digits.len())) + &digits;
        let prefix = match verb {
            'b' if self.sharp => "0b",
            'x' if self.sharp => "0x",
            'X' if self.sharp => "0X",
            'o' if self.sharp && !digits.starts_with('0') => "0",
            'O' => "0o",
            _ => "",
        };
        plain.text(&format!("{sign}{prefix}{digits}"), out);
    }

    fn float(&self, number: f64, verb: char, out: &mut Text) {
        let lower = verb.to_ascii_lowercase();
        let size = number.abs();
        let mut text = match lower {
            'e' => {
                let text = format!("{size:.*e}", self.precision.unwrap_or(6));
                match text.split_once('e') {
                    Some((mantissa, exponent)) => {
                        format!("{mantissa}{}", exponent_text(exponent.parse().unwrap_or_default()))
                    }
                    None => text,
                }
            }
            'f' => format!("{size:.*}", self.precision.unwrap_or(6)),
            _ => float_text(size, self.precision, self.sharp),
        };
        if verb.is_ascii_uppercase() {
            text = text.to_ascii_uppercase();
        }
        let sign = match () {
            () if number.is_sign_negative() => "-",
            () if self.plus => "+",
            () if self.space => " ",
            () => "",
        };
        let zeros = if self.zero { self.width.unwrap_or_default().saturating_sub(sign.len() + text.len()) } else { 0 };
        self.text(&format!("{sign}{}{text}", "0".repeat(zeros)), out);
    }
}
