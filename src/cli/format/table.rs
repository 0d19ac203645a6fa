//! Tables as docker aligns them: Go's text/tabwriter with cells at least 10 wide and 3 blanks between them.
//!
//! A tab ends a cell. Cells of lines that follow each other are a column; what stands behind the last tab of a line is in no
//! column. Widths are those of a terminal, where some characters take two places.

use super::template::escaped;
use unicode_width::UnicodeWidthStr;

/// The smallest width of a column, blanks included.
const LEAST: usize = 10;
/// Blanks between columns.
const BETWEEN: usize = 3;

/// Aligns lines of cells. Control characters are written as escapes: what an image says must not reach the terminal.
pub fn align(text: &str) -> String {
    align_at_least(text, LEAST)
}

/// The same with columns of another smallest width.
pub fn align_at_least(text: &str, least: usize) -> String {
    let text = escape(text, &['\t', '\n']);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|line| Vec::with_capacity(line.len())).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    for column in 0..columns {
        let ended = |line: &Vec<&str>| line.len() > column + 1;
        let mut first = 0;
        while first < lines.len() {
            let block = lines[first..].iter().take_while(|line| ended(line)).count();
            let cells = lines[first..first + block].iter().map(|line| line[column].width() + BETWEEN);
            let width = cells.max().unwrap_or_default().max(least);
            widths[first..first + block].iter_mut().for_each(|line| line.push(width));
            first += block.max(1);
        }
    }
    let mut aligned = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (number, cell) in cells.iter().enumerate() {
            aligned += cell;
            let width = widths.get(number).copied().unwrap_or_default();
            aligned.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width())));
        }
        aligned.push('\n');
    }
    aligned
}

/// A value for one cell, on one line.
pub fn cell(value: &str) -> String {
    escape(value, &[])
}

fn escape(text: &str, but: &[char]) -> String {
    let is_plain = |c: char| !c.is_control() || but.contains(&c);
    let mut rest = text;
    let mut plain = String::with_capacity(text.len());
    while let Some((place, c)) = rest.char_indices().find(|(_, c)| !is_plain(*c)) {
        plain += &rest[..place];
        plain += &escaped(c);
        rest = &rest[place + c.len_utf8()..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let table = [
            ("", ""),
            ("one\n", "one\n"),
            ("NAME\tID\nweb\t1\n", "NAME      ID\nweb       1\n"),
            (
                "A\tB\tC\n1234567\t2\t3\n12345678\t2\t3\n",
                "A          B         C\n1234567    2         3\n12345678   2         3\n",
            ),
            ("a\t\tc\n", "a                   c\n"),
            ("a\t\n", "a         \n"),
            // A line without the cell ends the column.
            (
                "long-long-cell\tx\nfree text that is no cell\na\tb\n",
                "long-long-cell   x\nfree text that is no cell\na         b\n",
            ),
            // So does one with fewer cells, for the columns to the right.
            (
                "a\tlong-long-cell\tx\na\tb\na\tb\tc\n",
                "a         long-long-cell   x\na         b\na         b         c\n",
            ),
            ("日本語日本語\tx\na\tb\n", "日本語日本語   x\na              b\n"),
            ("cafe\u{301}-longer\tx\na\tb\n", "cafe\u{301}-longer   x\na             b\n"),
            ("\u{1b}[31m\tx\n", "\\x1b[31m   x\n"),
        ];
        for (text, aligned) in table {
            assert_eq!(align(text), aligned, "{text:?}");
        }
    }

    #[test]
    fn a_cell_is_one_line() {
        assert_eq!(cell("a\tb\nc\u{7f}\u{9b}"), "a\\tb\\nc\\x7f\\u009b");
    }
}
