//! One record of comma-separated values, as `--mount` takes it: `a,"b,c",d` (RFC 4180, without line breaks).

use anyhow::{Result, bail};

/// Splits a record. A field that starts with a quote ends at the next one; a doubled quote in it stands for one.
pub fn split(text: &str) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => take_quoted(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if after.len() + field.len() == rest.len() && field.contains('"') {
            bail!("a quote in the middle of a field: the whole field must be quoted");
        }
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => bail!("text after a closing quote"),
        }
    }
}

/// The field up to the closing quote, and what follows.
fn take_quoted(text: &str) -> Result<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some(end) = rest.find('"') else { bail!("a quote that is not closed") };
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let table: [(&str, &[&str]); 7] = [
            ("", &[""]),
            ("a", &["a"]),
            ("a,b=c,", &["a", "b=c", ""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#"x,"a ""b"" c""#, &["x", r#"a "b" c"#]),
            (r#""""#, &[""]),
            (r#""""""#, &["\""]),
        ];
        for (text, fields) in table {
            assert_eq!(split(text).expect(text), fields, "{text}");
        }
        for text in [r#"a"b"#, r#"src="/a,b""#, r#""a"#, r#""a"b"#, r#""a" ,b"#] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
