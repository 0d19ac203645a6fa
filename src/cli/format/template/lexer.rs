//! Text to tokens: the text between actions, and the words in them.

use super::Fault;
use super::value;

/// A token and its place.
#[derive(Debug, Clone)]
pub struct Token {
    /// In bytes from the beginning of the template.
    pub at: usize,
    /// True if no blank stands before it.
    pub glued: bool,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Outside of actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.` alone.
    Dot,
    /// `.Name`
    Field(String),
    /// `$name`, without the `$`.
    Variable(String),
    /// A name of a function, or a word of the language.
    Word(String),
    Integer(i64),
    Float(f64),
    Quoted(String),
    Pipe,
    LeftParen,
    RightParen,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    Comma,
}

/// Reads all tokens from a place on.
pub fn tokens(source: &str, start: usize) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer { source, at: start, tokens: Vec::new() };
    lexer.template()?;
    Ok(lexer.tokens)
}

/// What Go takes for blanks.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn fault<T>(&self, at: usize, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(at, what))
    }

    fn push(&mut self, at: usize, glued: bool, kind: Kind) {
        self.tokens.push(Token { at, glued, kind });
    }

    fn template(&mut self) -> Result<(), Fault> {
        let mut trim_left = false;
        loop {
            let start = self.at;
            let end = self.rest().find("{{").map_or(self.source.len(), |found| start + found);
            self.at = end;
            let action = self.rest().strip_prefix("{{");
            let trim_right = action.is_some_and(trims);
            // As docker does, before blanks are trimmed.
            let mut text = self.source[start..end].replace("\\t", "\t").replace("\\n", "\n");
            if trim_right {
                text.truncate(text.trim_end_matches(BLANKS).len());
            }
            let text = if trim_left { text.trim_start_matches(BLANKS) } else { &text };
            if !text.is_empty() {
                self.push(start, true, Kind::Text(text.to_owned()));
            }
            if action.is_none() {
                return Ok(());
            }
            self.at += if trim_right { 4 } else { 2 };
            trim_left = if self.rest().starts_with("/*") { self.comment(end)? } else { self.action(end)? };
        }
    }

    /// `/* … */` fills its action. True if the action ends with `-}}`.
    fn comment(&mut self, open: usize) -> Result<bool, Fault> {
        let Some(length) = self.rest()[2..].find("*/") else {
            return self.fault(open, "the comment is not closed");
        };
        self.at += length + 4;
        match self.close() {
            Some(trims) => Ok(trims),
            None => self.fault(self.at, "a comment must be all that is in its {{ }}"),
        }
    }

    /// Reads the end of an action, if it is here. True if it is ` -}}`.
    fn close(&mut self) -> Option<bool> {
        let rest = self.rest();
        let trims = rest.starts_with(BLANKS) && rest[1..].starts_with("-}}");
        let length = if trims { 4 } else { rest.starts_with("}}").then_some(2)? };
        self.at += length;
        Some(trims)
    }

    /// Reads to the end of an action. True if it ends with ` -}}`.
    fn action(&mut self, open: usize) -> Result<bool, Fault> {
        self.push(open, true, Kind::Open);
        let mut glued = false;
        loop {
            let at = self.at;
            if let Some(trims) = self.close() {
                self.push(at, glued, Kind::Close);
                return Ok(trims);
            }
            let Some(c) = self.rest().chars().next() else {
                return self.fault(open, "the action is not closed: }} is missing");
            };
            if BLANKS.contains(&c) {
                self.at += 1;
                glued = false;
                continue;
            }
            let kind = self.token(c)?;
            self.push(at, glued, kind);
            glued = true;
        }
    }

    fn token(&mut self, c: char) -> Result<Kind, Fault> {
        let at = self.at;
        let next = self.rest()[c.len_utf8()..].chars().next().unwrap_or_default();
        let simple = match c {
            '|' => Some(Kind::Pipe),
            '(' => Some(Kind::LeftParen),
            ')' => Some(Kind::RightParen),
            ',' => Some(Kind::Comma),
            '=' => Some(Kind::Assign),
            _ => None,
        };
        if let Some(kind) = simple {
            self.at += 1;
            return Ok(kind);
        }
        match c {
            ':' if next == '=' => {
                self.at += 2;
                Ok(Kind::Declare)
            }
            '"' => self.quoted(),
            '\'' => self.character(),
            '`' => match self.rest()[1..].find('`') {
                Some(length) => {
                    self.at += length + 2;
                    // Go's raw strings have no carriage returns.
                    Ok(Kind::Quoted(self.source[at + 1..self.at - 1].replace('\r', "")))
                }
                None => self.fault(at, "the raw string is not closed: ` is missing"),
            },
            '+' | '-' | '0'..='9' => self.number(),
            '.' if next.is_ascii_digit() => self.number(),
            '.' => {
                self.at += 1;
                match self.name()? {
                    "" => Ok(Kind::Dot),
                    name => Ok(Kind::Field(name.to_owned())),
                }
            }
            '$' => {
                self.at += 1;
                Ok(Kind::Variable(self.name()?.to_owned()))
            }
            c if c == '_' || c.is_alphabetic() => Ok(Kind::Word(self.name()?.to_owned())),
            c => self.fault(at, unexpected(c)),
        }
    }

    /// Letters, digits and `_`; what follows them must be able to.
    fn name(&mut self) -> Result<&'a str, Fault> {
        let rest = self.rest();
        let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        self.at += end;
        match rest[end..].chars().next() {
            Some(c) if end > 0 && !BLANKS.contains(&c) && !".,|:()=}".contains(c) => {
                let mut fault = Fault::new(self.at, unexpected(c));
                if c == '-' || c == '/' {
                    fault.hint = Some(
                        "a key with other characters than letters and digits: {{index .Labels \"a-b\"}}".to_owned(),
                    );
                }
                Err(fault)
            }
            _ => Ok(&rest[..end]),
        }
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let (at, rest) = (self.at, self.rest());
        let mut end = usize::from(rest.starts_with(['+', '-']));
        let based = rest[end..].starts_with("0x") || rest[end..].starts_with("0X");
        let mut point = false;
        for (position, c) in rest.char_indices().skip(end) {
            let exponent = !based && rest[..position].ends_with(['e', 'E']);
            let belongs = match c {
                '.' => !std::mem::replace(&mut point, true) && !based,
                '+' | '-' => exponent,
                c => c == '_' || c.is_alphanumeric(),
            };
            if !belongs {
                break;
            }
            end = position + c.len_utf8();
        }
        self.at += end;
        let text = &rest[..end];
        number(text).map_err(|what| Fault::new(at, format!("{text}: {what}")))
    }

    fn quoted(&mut self) -> Result<Kind, Fault> {
        let at = self.at;
        let mut bytes = Vec::new();
        let mut chars = self.rest()[1..].chars();
        loop {
            match chars.next() {
                Some('"') => break,
                None | Some('\n') => return self.fault(at, "the string is not closed: \" is missing"),
                Some('\\') => match escape(&mut chars, '"') {
                    Some(Escaped::Byte(byte)) => bytes.push(byte),
                    Some(Escaped::Char(c)) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => return self.fault(at, "no such escape in a string"),
                },
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.at = self.source.len() - chars.as_str().len();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Kind::Quoted(text)),
            Err(_) => self.fault(at, "the string is not UTF-8"),
        }
    }

    fn character(&mut self) -> Result<Kind, Fault> {
        let at = self.at;
        let mut chars = self.rest()[1..].chars();
        let c = match chars.next() {
            Some('\\') => escape(&mut chars, '\'').map(|escaped| match escaped {
                Escaped::Byte(byte) => i64::from(byte),
                Escaped::Char(c) => i64::from(u32::from(c)),
            }),
            None | Some('\'' | '\n') => None,
            Some(c) => Some(i64::from(u32::from(c))),
        };
        match (c, chars.next()) {
            (Some(c), Some('\'')) => {
                self.at = self.source.len() - chars.as_str().len();
                Ok(Kind::Integer(c))
            }
            _ => self.fault(at, "no character constant such as 'a' or '\\n'"),
        }
    }
}

/// True if an action begins with `- `, which trims the text before it.
fn trims(action: &str) -> bool {
    action.strip_prefix('-').is_some_and(|rest| rest.starts_with(BLANKS))
}

fn unexpected(c: char) -> String {
    format!("{c:?} is not expected here")
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// What follows a `\`, as in Go (strconv.UnquoteChar).
fn escape(chars: &mut std::str::Chars<'_>, quote: char) -> Option<Escaped> {
    let c = chars.next()?;
    let mut code = |first: u32, count: usize, base: u32| {
        (0..count).try_fold(first, |code, _| Some(code * base + chars.next()?.to_digit(base)?))
    };
    Some(Escaped::Char(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        'x' => return u8::try_from(code(0, 2, 16)?).ok().map(Escaped::Byte),
        '0'..='7' => return u8::try_from(code(c.to_digit(8)?, 2, 8)?).ok().map(Escaped::Byte),
        'u' => char::from_u32(code(0, 4, 16)?)?,
        // Eight digits fill 32 bits.
        'U' => char::from_u32(code(0, 8, 16)?)?,
        c if c == quote => c,
        _ => return None,
    }))
}

/// A constant as Go reads it: `0x1f`, `0b1`, `0o17`, `017`, `1_000`, `1.5e3`.
fn number(text: &str) -> Result<Kind, &'static str> {
    const WRONG: &str = "not a number";
    let unsigned = text.trim_start_matches(['+', '-']);
    let lower = unsigned.to_ascii_lowercase();
    let (base, digits) = match (lower.get(..2), lower.strip_prefix('0')) {
        (Some("0x"), _) => (16, &lower[2..]),
        (Some("0b"), _) => (2, &lower[2..]),
        (Some("0o"), _) => (8, &lower[2..]),
        (_, Some(octal)) if !octal.is_empty() && !lower.contains(['.', 'e']) => (8, octal),
        _ => (10, lower.as_str()),
    };
    if base == 16 && digits.contains('p') {
        return Err("hexadecimal floating point is not supported");
    }
    if lower.ends_with('i') {
        return Err("complex numbers are not supported");
    }
    // An underscore stands between digits, or between the base and a digit.
    if digits.ends_with('_') || digits.contains("__") || (base == 10 && digits.starts_with('_')) {
        return Err(WRONG);
    }
    let digits = digits.replace('_', "");
    if base == 10 && digits.contains(['.', 'e']) {
        let plain = |c: char| c.is_ascii_digit() || ".e+-".contains(c);
        let number: f64 = digits.parse().ok().filter(|_| digits.chars().all(plain)).ok_or(WRONG)?;
        let number = if text.starts_with('-') { -number } else { number };
        return if number.is_finite() { Ok(Kind::Float(number)) } else { Err("too large a number") };
    }
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(WRONG);
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), base).map(Kind::Integer).map_err(|_| "too large an integer")
}

/// A token in words, for errors.
pub fn name(kind: &Kind) -> String {
    match kind {
        Kind::Text(_) => "text".to_owned(),
        Kind::Open => "{{".to_owned(),
        Kind::Close => "}}".to_owned(),
        Kind::Dot => ".".to_owned(),
        Kind::Field(name) => format!(".{name}"),
        Kind::Variable(name) => format!("${name}"),
        Kind::Word(word) => word.clone(),
        Kind::Integer(integer) => integer.to_string(),
        Kind::Float(number) => value::float_text(*number, None, false),
        Kind::Quoted(text) => format!("{text:?}"),
        Kind::Pipe => "|".to_owned(),
        Kind::LeftParen => "(".to_owned(),
        Kind::RightParen => ")".to_owned(),
        Kind::Declare => ":=".to_owned(),
        Kind::Assign => "=".to_owned(),
        Kind::Comma => ",".to_owned(),
    }
}
