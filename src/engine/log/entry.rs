//! One entry of a log: as docker's json-file writes it, or as Kubernetes does.

use super::Stream;
use crate::spec::log::Driver;
use crate::time::Time;
use serde::Deserialize;
use std::borrow::Cow;

/// A line, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was read, RFC 3339.
    pub time: Cow<'a, str>,
    /// Where it was written to.
    pub stream: Stream,
    /// The text, with the newline at its end if the line is whole.
    pub text: Cow<'a, [u8]>,
}

/// Adds an entry to `out`. `text`: with the newline, if it has one.
pub fn write(out: &mut Vec<u8>, driver: Driver, stream: Stream, time: &str, text: &[u8]) {
    match driver {
        Driver::K8sFile => {
            let (text, whole) = text.strip_suffix(b"\n").map_or((text, "P"), |text| (text, "F"));
            for word in [time, " ", stream.name(), " ", whole, " "] {
                out.extend(word.as_bytes());
            }
            out.extend(text);
            out.push(b'\n');
        }
        _ => {
            out.extend(b"{\"log\":\"");
            escape(out, text);
            out.extend(b"\",\"stream\":\"");
            out.extend(stream.name().as_bytes());
            out.extend(b"\",\"time\":\"");
            out.extend(time.as_bytes());
            out.extend(b"\"}\n");
        }
    }
}

/// As the text of a JSON string. What is no UTF-8 becomes U+FFFD, as in docker.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')) {
            let (plain, special) = rest.split_at(at);
            out.extend(plain);
            match special[0] {
                b'\n' => out.extend(b"\\n"),
                b'\r' => out.extend(b"\\r"),
                b'\t' => out.extend(b"\\t"),
                b'"' => out.extend(b"\\\""),
                b'\\' => out.extend(b"\\\\"),
                byte => out.extend(format!("\\u{byte:04x}").as_bytes()),
            }
            rest = &special[1..];
        }
        out.extend(rest);
        if !chunk.invalid().is_empty() {
            out.extend("\u{fffd}".as_bytes());
        }
    }
}

/// Reads a line of a file; `None` for what is none: half a line that somebody died while writing.
pub fn read(line: &[u8]) -> Option<Entry<'_>> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        log: Cow<'a, str>,
        stream: &'a str,
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    let stream = |name: &str| match name {
        "stdout" => Some(Stream::Out),
        "stderr" => Some(Stream::Err),
        _ => None,
    };
    if line.first() == Some(&b'{') {
        let Line { log, stream: name, time } = serde_json::from_slice(line).ok()?;
        let text = match log {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        return Some(Entry { time, stream: stream(name)?, text });
    }
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let mut word = || words.next();
    let time = std::str::from_utf8(word()?).ok()?;
    let stream = stream(std::str::from_utf8(word()?).ok()?)?;
    let whole = word()?;
    let text = word()?;
    Time::parse(time).ok()?;
    let text = match whole {
        b"F" => Cow::Owned([text, b"\n"].concat()),
        b"P" => Cow::Borrowed(text),
        _ => return None,
    };
    Some(Entry { time: time.into(), stream, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-24T14:35:16.5Z";

    #[test]
    fn what_is_written_is_read() {
        let texts: [&[u8]; 7] =
            [b"hello\n", b"", b"\n", b"no newline", b"\"\\\t\r\x01\x1f\n", "é\u{1f600}\n".as_bytes(), b"a b  c\n"];
        for driver in [Driver::JsonFile, Driver::K8sFile] {
            for text in texts {
                let mut line = Vec::new();
                write(&mut line, driver, Stream::Err, TIME, text);
                assert_eq!(line.pop(), Some(b'\n'));
                let entry = read(&line).unwrap_or_else(|| panic!("{driver} {text:?}"));
                assert_eq!((&*entry.time, entry.stream, &*entry.text), (TIME, Stream::Err, text), "{driver}");
            }
        }
    }

    #[test]
    fn as_dockers() {
        let mut line = Vec::new();
        write(&mut line, Driver::JsonFile, Stream::Out, TIME, b"a\x1b\xffb\n");
        let expected = "{\"log\":\"a\\u001b\u{fffd}b\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-24T14:35:16.5Z\"}\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn half_a_line_is_none() {
        for driver in [Driver::JsonFile, Driver::K8sFile] {
            let mut line = Vec::new();
            write(&mut line, driver, Stream::Out, TIME, b"x\n");
            let whole = line.len() - 1;
            for length in 0..whole {
                let read = read(&line[..length]);
                // Of Kubernetes' the end is any text.
                assert!(read.is_none() || (driver == Driver::K8sFile && length + 1 >= whole), "{driver} {length}");
            }
        }
    }
}
