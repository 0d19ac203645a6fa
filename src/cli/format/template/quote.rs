//! Literals of Go's source.

/// True if Go would write the character as it is (strconv.IsPrint).
pub fn is_printable(c: char) -> bool {
    // The mark before it keeps a combining character from being taken for one that stands alone.
    let text = format!("x{c}");
    matches!(c, '\\' | '"' | '\'') || text.escape_debug().eq(text.chars())
}

/// True if the text can stand between backquotes (strconv.CanBackquote).
pub fn can_be_raw(text: &str) -> bool {
    text.chars().all(|c| c != '`' && c != '\u{feff}' && (c == '\t' || !c.is_control()))
}

/// A literal (strconv.Quote). `ascii`: other characters are escaped.
pub fn quote(text: &str, mark: char, ascii: bool) -> String {
    let mut quoted = String::from(mark);
    for c in text.chars() {
        match c {
            '\\' => quoted += "\\\\",
            c if c == mark => quoted.extend(['\\', c]),
            c if !c.is_control() && (c.is_ascii() || (!ascii && is_printable(c))) => quoted.push(c),
            c => quoted += &escaped(c),
        }
    }
    quoted.push(mark);
    quoted
}

/// The escape of a character that is not to be written as it is.
pub fn escaped(c: char) -> String {
    match c {
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        c if c.is_ascii() => format!("\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x10000 => format!("\\u{:04x}", u32::from(c)),
        c => format!("\\U{:08x}", u32::from(c)),
    }
}
