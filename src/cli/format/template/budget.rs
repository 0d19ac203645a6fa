//! How much a template may do: text and steps are taken from one sum.

use std::io;

/// What is left.
pub struct Budget(u64);

/// What one execution has: some 50 MB of text, or two million steps.
const ALL: u64 = 50_000_000;
/// What one step takes.
pub const STEP: usize = 25;

impl Budget {
    /// The whole of it.
    pub fn new() -> Budget {
        Budget(ALL)
    }

    /// Takes that much, if there is as much.
    pub fn take(&mut self, amount: usize) -> Result<(), String> {
        match self.0.checked_sub(amount as u64) {
            Some(rest) => {
                self.0 = rest;
                Ok(())
            }
            None => {
                self.0 = 0;
                Err("the template makes too much text, or takes too many steps".to_owned())
            }
        }
    }
}

/// Text that is paid for while it grows. Once nothing is left it grows no more, and [`Text::finish`] tells.
pub struct Text<'a> {
    budget: &'a mut Budget,
    text: String,
    failed: Option<String>,
}

impl<'a> Text<'a> {
    /// No text yet.
    pub fn new(budget: &'a mut Budget) -> Text<'a> {
        Text { budget, text: String::new(), failed: None }
    }

    /// Adds text.
    pub fn add(&mut self, text: &str) {
        if self.failed.is_none() {
            match self.budget.take(text.len()) {
                Ok(()) => self.text += text,
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// Adds a character.
    pub fn add_char(&mut self, c: char) {
        self.add(c.encode_utf8(&mut [0; 4]));
    }

    /// The text, or that it was too much.
    pub fn finish(self) -> Result<String, String> {
        self.failed.map_or(Ok(self.text), Err)
    }
}

impl io::Write for Text<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
        self.add(text);
        match self.failed {
            Some(_) => Err(io::ErrorKind::OutOfMemory.into()),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
