//! Words of a systemd unit (systemd.syntax(7), systemd.service(5), "Command lines"). Pure.

/// An argument of a command line.
pub fn argument(text: &str) -> String {
    word(&text.replace('$', "$$"))
}

/// The program of one, an absolute path: no variable counts there.
pub fn program(path: &str) -> String {
    word(path)
}

/// An assignment for `Environment=`.
pub fn assignment(name: &str, value: &str) -> String {
    word(&format!("{name}={value}"))
}

/// Text where nothing is split.
pub fn text(text: &str) -> String {
    text.replace('%', "%%").replace('\n', " ")
}

fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,=@$".contains(c);
    let mut quoted = String::new();
    for c in text.chars() {
        match c {
            '%' => quoted += "%%",
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            c => quoted.push(c),
        }
    }
    match text.is_empty() || !text.chars().all(is_plain) {
        true => format!("\"{quoted}\""),
        false => quoted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (plain, expected) in [
            ("web_1.x-y", "web_1.x-y"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("100%", "\"100%%\""),
            ("$HOME", "$$HOME"),
            ("a\"\\b\n", "\"a\\\"\\\\b\\n\""),
            ("; rm", "\"; rm\""),
        ] {
            assert_eq!(argument(plain), expected);
        }
        assert_eq!(program("/opt/a $x/rbox"), "\"/opt/a $x/rbox\"");
        assert_eq!(assignment("A", "b c"), "\"A=b c\"");
        assert_eq!(text("100%\nx"), "100%% x");
    }
}
