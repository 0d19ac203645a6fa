//! Lists of processors and memory nodes, such as `0-2,5` (cpuset(7), "List format").

use anyhow::{Context, Result, ensure};

/// More than any kernel knows (CONFIG_NR_CPUS).
const MOST: usize = 8192;

/// The numbers, in order.
pub fn read(text: &str) -> Result<Vec<usize>> {
    let number = |text: &str| -> Result<usize> {
        let number = text.parse().ok().with_context(|| format!("{text:?} is not a number"))?;
        ensure!(number < MOST && text.bytes().all(|byte| byte.is_ascii_digit()), "{text}: no such number");
        Ok(number)
    };
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        ensure!(first <= last, "{part}: ends before it begins");
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Numbers in order as a list.
pub fn show(numbers: impl Iterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        assert_eq!(read("0-2,5,1").unwrap(), [0, 1, 2, 5]);
        assert_eq!(show([0, 1, 2, 5, 7, 8].into_iter()), "0-2,5,7-8");
        for text in ["", "a", "2-1", "0-", "-1", "0,,1", "0-8192", "1:2", "+1"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
