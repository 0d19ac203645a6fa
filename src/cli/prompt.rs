//! Questions on a terminal.

use super::output;
use crate::error::Advise;
use crate::sys::Named;
use crate::sys::pty::Raw;
use anyhow::{Context, Result, anyhow, bail};
use std::io::IsTerminal;

/// As long as an answer may be.
const MAX: usize = 64 * 1024;
/// The status of a program that the user has interrupted (128 + SIGINT).
const INTERRUPTED: u8 = 130;

/// True if somebody can be asked.
pub fn is_possible() -> bool {
    std::io::stdin().is_terminal()
}

/// A line, without its end.
pub fn line(question: &str) -> Result<String> {
    output::error(question);
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).context("standard input")? == 0 {
        bail!("standard input: ended before there was an answer");
    }
    Ok(line.trim().to_owned())
}

/// A line that is not shown while it is typed.
pub fn secret(question: &str) -> Result<String> {
    output::error(question);
    let stdin = rustix::stdio::stdin();
    let typed = {
        // Raw, so that ^C comes as a byte: were it a signal, nobody would give the terminal its echo back.
        let _raw = Raw::set(stdin).context("standard input")?;
        read(|byte| Ok(rustix::io::retry_on_intr(|| rustix::io::read(stdin, &mut *byte)).named(|| "read".to_owned())?))
    };
    output::error("\n");
    typed
}

/// Reads up to the end of the line, as a terminal would in its usual mode.
fn read(mut next: impl FnMut(&mut [u8; 1]) -> Result<usize>) -> Result<String> {
    let mut typed: Vec<u8> = Vec::new();
    let mut byte = [0];
    loop {
        if next(&mut byte)? == 0 {
            bail!("standard input: ended before there was an answer");
        }
        match byte[0] {
            b'\r' | b'\n' => break,
            // ^C, ^\
            0x03 | 0x1c => return Err(anyhow!("interrupted")).exit(INTERRUPTED),
            // ^D
            0x04 if typed.is_empty() => bail!("standard input: ended before there was an answer"),
            // Backspace takes a character, which may be several bytes.
            0x08 | 0x7f => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // ^U
            0x15 => typed.clear(),
            byte => typed.push(byte),
        }
        if typed.len() > MAX {
            bail!("longer than {MAX} bytes");
        }
    }
    // The bytes are not shown.
    String::from_utf8(typed).map_err(|_| anyhow!("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> Result<String> {
        let mut bytes = keys.bytes();
        read(|byte| Ok(bytes.next().map_or(0, |next| (byte[0] = next, 1).1)))
    }

    #[test]
    fn keys() {
        for (keys, line) in [
            ("secret\r", "secret"),
            ("secret\n", "secret"),
            ("secreß\x7ft\r", "secret"),
            ("\x7f\x08x\r", "x"),
            ("wrong\x15right\r", "right"),
            (" two words \r", " two words "),
            ("\r", ""),
        ] {
            assert_eq!(typed(keys).expect(keys), line);
        }
        for keys in ["", "x", "x\x03\r", "\x04", "\x1c"] {
            assert!(typed(keys).is_err(), "{keys:?}");
        }
    }
}
