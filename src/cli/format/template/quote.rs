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
            '\u{7}' => quoted += "\\a",
            '\u{8}' => quoted += "\\b",
            '\u{c}' => quoted += "\\f",
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            '\u{b}' => quoted += "\\v",
            '\\' => quoted += "\\\\",
            c if c == mark => quoted.extend(['\\', c]),
            c if c.is_ascii_control() => quoted += &format!("\\x{:02x}", u32::from(c)),
            c if c.is_ascii() || (!ascii && is_printable(c)) => quoted.push(c),
            c if u32::from(c) < 0x10000 => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted += &format!("\\U{:08x}", u32::from(c)),
        }
    }
    quoted.push(mark);
    quoted
}
