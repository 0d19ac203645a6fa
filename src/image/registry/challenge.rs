//! What a registry asks for before it answers: the WWW-Authenticate header (RFC 9110, section 11.6.1).

/// One way to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token, to be had at another address.
    Bearer {
        /// The address.
        realm: String,
        /// Whom the token is for.
        service: Option<String>,
        /// What it is good for.
        scope: Option<String>,
    },
}

/// The best challenge of a header: a token, if one is offered. Unknown schemes are passed over.
pub fn parse(header: &str) -> Option<Challenge> {
    let mut basic = false;
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let (scheme, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let (parameters, next) = parameters(after);
        let get =
            |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
        if scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = get("realm") {
                return Some(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
            }
        }
        basic |= scheme.trim_end_matches(',').eq_ignore_ascii_case("basic");
        rest = next.trim_start_matches([',', ' ']);
    }
    basic.then_some(Challenge::Basic)
}

/// `key=value` or `key="value"`, with commas between, up to the next scheme.
fn parameters(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ', '\t']);
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.~+".contains(c))).unwrap_or(text.len());
        let (key, after) = text.split_at(end);
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            // Not a parameter: another scheme, or the end.
            return (found, text);
        };
        if key.is_empty() {
            return (found, "");
        }
        let (value, rest) = match value.strip_prefix('"') {
            Some(quoted) => until_quote(quoted),
            None => {
                let end = value.find([',', ' ']).unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        found.push((key.to_owned(), value));
        text = rest;
    }
}

/// A quoted string without its quotes and backslashes, and what follows it.
fn until_quote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn headers() {
        for (header, challenge) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push")),
            ),
            (r#"Basic realm="x, y", Bearer realm="r""#, bearer("r", None, None)),
            (r#"bearer Realm = r , service=s"#, bearer("r", Some("s"), None)),
            (r#"Bearer realm="a\"b""#, bearer("a\"b", None, None)),
            (r#"Basic realm="Registry""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Negotiate, Basic realm=x", Some(Challenge::Basic)),
            ("Negotiate abc==", None),
            ("Bearer service=x", None),
            ("", None),
            ("=", None),
            (",,,", None),
            (r#"Bearer realm="unclosed"#, bearer("unclosed", None, None)),
        ] {
            assert_eq!(parse(header), challenge, "{header}");
        }
    }

    #[test]
    fn fuzz_challenge() {
        let seeds = [
            r#"Basic realm="x, y", Bearer realm="r",service=s"#,
            r#"Bearer realm="a\"b",scope="repository:a/b:pull,push""#,
            "Negotiate abc==, Basic",
        ];
        let words = ["Bearer ", "Basic ", "realm=", "\"", "\\", ",", "=", " ", "\t", "é"];
        crate::fuzz::text("challenge", &seeds, &words, |header| {
            let challenge = parse(header);
            if let Some(Challenge::Bearer { realm, .. }) = &challenge {
                assert!(realm.len() <= header.len());
            }
            challenge.map(|challenge| challenge == Challenge::Basic)
        });
    }
}
