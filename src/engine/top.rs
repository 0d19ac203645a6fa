//! `top`: the processes of a container, as the host's ps(1) shows them, or as they are in /proc.

mod column;
mod process;

use super::container;
use super::state;
use crate::error::Advise;
use crate::paths;
use anyhow::{Context, Result, anyhow, bail, ensure};
use column::{Column, Viewer};
use process::Process;
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

/// What is printed: a line of titles, and one for each process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Above the columns.
    pub titles: Vec<String>,
    /// As many fields each.
    pub rows: Vec<Vec<String>>,
}

/// The processes of a container that runs. `words`: options of ps, as in docker, or podman's names of columns; none are `-ef`.
///
/// # Errors
/// It does not run; ps does not know an option, or shows no PID, without which nobody knows whose line is whose.
pub fn top(name: &str, words: &[String]) -> Result<Table> {
    let found = container::find(name)?;
    let Some(first) = state::of(&found)?.pid() else { bail!("container {name} is not running") };
    let all = process::all()?;
    let processes = of_container(&all, first).with_context(|| format!("container {name} is not running"))?;
    if let Some(columns) = Column::of_words(words).filter(|_| !words.is_empty()) {
        return Ok(own(&columns, first, &processes));
    }
    let Some(ps) = paths::program("ps") else {
        ensure!(words.is_empty(), no_ps(words));
        return Ok(own(&column::USUAL, first, &processes));
    };
    refuse_false_titles(words)?;
    let usual = ["-ef".to_owned()];
    let words = if words.is_empty() { &usual } else { words };
    // docker takes one word with blanks for several.
    let words: Vec<&str> = words.iter().flat_map(|word| word.split(' ')).collect();
    let numbers: Vec<i32> = processes.iter().map(|process| process.pid).collect();
    let list: Vec<String> = numbers.iter().map(i32::to_string).collect();
    let chosen = format!("-q{}", list.join(","));
    // Some of its options, and other programs of this name, do not go with -q.
    let text = run(&ps, &[&words[..], &[&chosen]].concat()).or_else(|_| run(&ps, &words))?;
    parse(&text, &numbers)
}

fn no_ps(words: &[String]) -> anyhow::Error {
    let error = anyhow!("ps is not installed, whose options these would be: {}", words.join(" "));
    let hinted: Result<()> = Err(error).hint(|| {
        format!("without options, or with names of columns, it is not needed: {}", Column::names().join(", "))
    });
    hinted.err().unwrap_or_else(|| anyhow!("ps is not installed"))
}

/// Those that have its first process's mount namespace, those of a pid namespace that is its own, and the children of all.
/// `None` if there is none left.
fn of_container(all: &[Process], first: i32) -> Option<Vec<&Process>> {
    let begin = all.iter().find(|process| process.pid == first)?;
    let own_numbers = begin.numbers.len() > 1 && begin.numbers.last() == Some(&1);
    // A reaper's namespaces are nobody's concern, and those of its child.
    let mut shown = all.iter().filter(|process| process.parent == first || process.pid == first);
    let begin = shown.find(|process| process.mounts.is_some()).unwrap_or(begin);
    let is_in = |process: &Process| {
        let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        same(&process.mounts, &begin.mounts) || (own_numbers && same(&process.pids, &begin.pids))
    };
    let mut members: HashSet<i32> = all.iter().filter(|process| is_in(process)).map(|process| process.pid).collect();
    members.insert(first);
    loop {
        let children =
            all.iter().filter(|process| members.contains(&process.parent) && !members.contains(&process.pid));
        let children: Vec<i32> = children.map(|process| process.pid).collect();
        if children.is_empty() {
            return Some(all.iter().filter(|process| members.contains(&process.pid)).collect());
        }
        members.extend(children);
    }
}

fn own(columns: &[Column], first: i32, processes: &[&Process]) -> Table {
    let viewer = Viewer::of(first, processes);
    let row = |process: &&Process| columns.iter().map(|column| column.value(process, &viewer)).collect();
    Table {
        titles: columns.iter().map(|column| column.title().to_owned()).collect(),
        rows: processes.iter().map(row).collect(),
    }
}

fn run(ps: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(ps).args(words).output().with_context(|| ps.display().to_string())?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let first = told.lines().find(|line| !line.is_empty()).unwrap_or("it failed").to_owned();
        bail!("ps {}: {}", words.join(" "), first.trim_start_matches("error: "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A column of something else that is called PID would have the lines of others shown (moby, `daemon/top_unix.go`).
fn refuse_false_titles(words: &[String]) -> Result<()> {
    let text = words.join(" ");
    for (at, _) in text.match_indices('=') {
        let key = text[..at].rsplit([' ', ',']).next().unwrap_or_default();
        let title = text[at + 1..].trim_start();
        ensure!(key == "pid" || !title.starts_with("PID"), "specifying \"{key}={title}\" is not allowed");
    }
    Ok(())
}

/// The lines of the processes that are wanted. A line with `-` for a number is a thread of the process before it.
fn parse(text: &str, wanted: &[i32]) -> Result<Table> {
    let mut lines = text.lines();
    let words = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let titles = words(lines.next().unwrap_or_default());
    let place = titles.iter().position(|title| title == "PID").context("ps: couldn't find PID field in its output")?;
    let mut rows = Vec::new();
    let mut is_ours = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let mut fields = words(line);
        let number = fields.get(place).with_context(|| format!("ps: unexpected line {line:?}"))?;
        if number != "-" {
            let number: i32 = number.parse().ok().with_context(|| format!("ps: unexpected pid {number:?}"))?;
            is_ours = wanted.contains(&number);
        }
        if is_ours {
            // What is more than titles belongs to the last one.
            let rest = fields.split_off(fields.len().min(titles.len() - 1)).join(" ");
            fields.push(rest);
            rows.push(fields);
        }
    }
    Ok(Table { titles, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ps_prints() {
        let text = "UID   PID CMD\nroot    1 init\nada    22 sh -c a  b\nada     - -\nbob   333 other\nbob     - -\nada    44\n";
        let table = parse(text, &[22, 44]).unwrap();
        assert_eq!(table.titles, ["UID", "PID", "CMD"]);
        assert_eq!(table.rows, [vec!["ada", "22", "sh -c a b"], vec!["ada", "-", "-"], vec!["ada", "44", ""]]);
        assert!(parse("UID CMD\nroot init\n", &[1]).is_err());
        assert!(parse("", &[1]).is_err());
        assert!(parse("PID\nx\n", &[1]).is_err());
    }

    #[test]
    fn false_titles() {
        let refused = |words: &[&str]| {
            refuse_false_titles(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).is_err()
        };
        for words in [&["-o", "ppid=PID"][..], &["-eo", "pid,ppid= PID,cmd"], &["-o ppid=PIDX"]] {
            assert!(refused(words), "{words:?}");
        }
        for words in [&[][..], &["aux"], &["-o", "pid=PID,ppid=PARENT"], &["-o", "ppid="]] {
            assert!(!refused(words), "{words:?}");
        }
    }

    #[test]
    fn whose_they_are() {
        let process = |pid, parent, numbers: &[i32], pids: &str, mounts: &str| Process {
            pid,
            parent,
            numbers: numbers.to_vec(),
            pids: Some(pids.to_owned()),
            mounts: Some(mounts.to_owned()),
            ..Process::default()
        };
        let members = |all: &[Process], first| {
            of_container(all, first).map(|all| all.iter().map(|process| process.pid).collect::<Vec<_>>())
        };
        let own = [
            process(1, 0, &[1], "host", "host"),
            process(10, 1, &[10], "host", "host"),
            process(11, 10, &[11, 1], "own", "own"),
            process(12, 11, &[12, 2], "own", "own"),
            // With namespaces of its own inside.
            process(13, 12, &[13, 3, 1], "inner", "inner"),
            process(14, 10, &[14, 4], "own", "other"),
            process(15, 10, &[15], "host", "host"),
        ];
        assert_eq!(members(&own, 11), Some(vec![11, 12, 13, 14]));
        // In the host's pid namespace.
        let hosts = [
            process(1, 0, &[1], "host", "host"),
            process(10, 1, &[10], "host", "host"),
            process(11, 10, &[11], "host", "own"),
            process(12, 10, &[12], "host", "own"),
            process(13, 12, &[13], "host", "other"),
        ];
        assert_eq!(members(&hosts, 11), Some(vec![11, 12, 13]));
        // One whose namespaces cannot be seen.
        let mut reaper = own.to_vec();
        (reaper[2].pids, reaper[2].mounts) = (None, None);
        assert_eq!(members(&reaper, 11), Some(vec![11, 12, 13, 14]));
        // In the pid namespace of another container.
        let joined = [process(11, 10, &[11, 1], "theirs", "theirs"), process(12, 10, &[12, 2], "theirs", "own")];
        assert_eq!(members(&joined, 12), Some(vec![12]));
        assert_eq!(members(&joined, 99), None);
    }
}
