//! Columns of `top` where no ps(1) makes them: those of `ps -ef`, and podman's descriptors (podman-top(1)), as far as they
//! are here.

use super::process::Process;
use crate::time::Time;
use std::collections::HashMap;

/// One column: what it shows of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    name: &'static str,
    title: &'static str,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// The command line.
    Words,
    /// The program's name.
    Name,
    /// The number on the host.
    Pid,
    /// The parent's.
    Parent,
    /// The number in the container.
    InnerPid,
    /// The parent's; 0 for one from outside.
    InnerParent,
    Group,
    /// The user on the host.
    User,
    /// The user in the container.
    InnerUser,
    State,
    Nice,
    /// Whole percents of a processor.
    Percent,
    /// The same in thousandths, as podman.
    Permille,
    /// When it started.
    Start,
    /// Since when.
    Elapsed,
    /// How much of processors it took.
    Time,
    Terminal,
    /// KiB.
    Size,
}

/// Clock ticks in a second: the same on all architectures that rbox is built for (Linux, `include/asm-generic/param.h`,
/// USER_HZ).
const HERTZ: u64 = 100;

const fn column(name: &'static str, title: &'static str, value: Value) -> Column {
    Column { name, title, value }
}

/// Those of `ps -ef`.
pub const USUAL: [Column; 8] = [
    column("", "UID", Value::User),
    column("", "PID", Value::Pid),
    column("", "PPID", Value::Parent),
    column("", "C", Value::Percent),
    column("", "STIME", Value::Start),
    column("", "TTY", Value::Terminal),
    column("", "TIME", Value::Time),
    column("", "CMD", Value::Words),
];

/// podman's.
const NAMED: [Column; 16] = [
    column("args", "COMMAND", Value::Words),
    column("comm", "COMMAND", Value::Name),
    column("etime", "ELAPSED", Value::Elapsed),
    column("hpid", "HPID", Value::Pid),
    column("huser", "HUSER", Value::User),
    column("nice", "NI", Value::Nice),
    column("pcpu", "%CPU", Value::Permille),
    column("pgid", "PGID", Value::Group),
    column("pid", "PID", Value::InnerPid),
    column("ppid", "PPID", Value::InnerParent),
    column("state", "STATE", Value::State),
    column("stime", "STIME", Value::Start),
    column("time", "TIME", Value::Time),
    column("tty", "TTY", Value::Terminal),
    column("user", "USER", Value::InnerUser),
    column("vsz", "VSZ", Value::Size),
];

/// What the processes are seen against.
#[derive(Debug, Default)]
pub struct Viewer {
    /// Clock ticks since boot.
    ticks: u64,
    now: Option<Time>,
    /// Names of users on the host and in the container.
    users: HashMap<u32, String>,
    inner_users: HashMap<u32, String>,
    /// Ids in the container and on the host: first, first, how many (user_namespaces(7), uid_map).
    map: Vec<(u32, u32, u32)>,
    /// Which of a process's numbers is the one in the container.
    level: usize,
    /// The numbers in the container.
    numbers: HashMap<i32, i32>,
}

impl Viewer {
    /// Of a container whose first process this is.
    pub fn of(first: i32, processes: &[&Process]) -> Viewer {
        let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
        let uptime: f64 =
            read("/proc/uptime").split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let level = processes.iter().find(|process| process.pid == first).map_or(1, |process| process.numbers.len());
        let level = level.saturating_sub(1);
        let numbers = processes.iter().map(|process| (process.pid, process.number_at(level)));
        Viewer {
            ticks: (uptime * HERTZ as f64) as u64,
            now: Some(Time::now()),
            users: users(&read("/etc/passwd")),
            inner_users: users(&read(&format!("/proc/{first}/root/etc/passwd"))),
            map: read(&format!("/proc/{first}/uid_map")).lines().filter_map(range).collect(),
            level,
            numbers: numbers.collect(),
        }
    }

    fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    fn inner_user(&self, uid: u32) -> String {
        let inner = |(inside, outside, count): &(u32, u32, u32)| {
            uid.checked_sub(*outside).filter(|offset| offset < count).map(|offset| inside + offset)
        };
        match self.map.iter().find_map(inner) {
            Some(inner) => self.inner_users.get(&inner).cloned().unwrap_or_else(|| inner.to_string()),
            // Nobody of the container.
            None => "?".to_owned(),
        }
    }
}

/// `NAME:x:UID:…` (passwd(5)). The first name of a number counts.
fn users(passwd: &str) -> HashMap<u32, String> {
    let mut users = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok())) {
            users.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    users
}

fn range(line: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

impl Process {
    fn number_at(&self, level: usize) -> i32 {
        self.numbers.get(level).copied().unwrap_or(0)
    }
}

impl Column {
    /// The columns that these words name; `None` if one of them names none: then they are options of ps. podman also takes
    /// them with commas between them.
    pub fn of_words(words: &[String]) -> Option<Vec<Column>> {
        let names = words.iter().flat_map(|word| word.split(',')).map(str::trim);
        names.map(|name| NAMED.iter().find(|column| column.name == name).copied()).collect()
    }

    /// The names that there are.
    pub fn names() -> Vec<&'static str> {
        NAMED.iter().map(|column| column.name).collect()
    }

    /// What stands above it.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// Its text for a process.
    pub fn value(&self, process: &Process, viewer: &Viewer) -> String {
        let seconds = |ticks: u64| ticks / HERTZ;
        let age = viewer.ticks.saturating_sub(process.start);
        let part = |whole: u64| process.ticks * whole / age.max(1);
        match self.value {
            Value::Words if process.words.is_empty() => format!("[{}]", process.name),
            Value::Words => process.words.join(" "),
            Value::Name => process.name.clone(),
            Value::Pid => process.pid.to_string(),
            Value::Parent => process.parent.to_string(),
            Value::InnerPid => process.number_at(viewer.level).to_string(),
            Value::InnerParent => viewer.numbers.get(&process.parent).unwrap_or(&0).to_string(),
            Value::Group => process.group.to_string(),
            Value::User => viewer.user(process.uid),
            Value::InnerUser => viewer.inner_user(process.uid),
            Value::State => process.state.to_string(),
            Value::Nice => process.nice.to_string(),
            Value::Percent => part(100).to_string(),
            Value::Permille => format!("{}.{:03}", part(100_000) / 1000, part(100_000) % 1000),
            Value::Start => viewer.now.map(|now| start(now, seconds(age))).unwrap_or_default(),
            Value::Elapsed => clock(seconds(age)),
            Value::Time => clock(seconds(process.ticks)),
            Value::Terminal => terminal(process.terminal),
            Value::Size => (process.size / 1024).to_string(),
        }
    }
}

/// `HH:MM` of today, else the day, else the year; in UTC, which is the time that rbox knows.
fn start(now: Time, age: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let nanos = i64::try_from(age).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    let (today, then) = (now.civil(), now.plus(nanos.saturating_neg()).civil());
    if (then.year, then.month, then.day) == (today.year, today.month, today.day) {
        return format!("{:02}:{:02}", then.hour, then.minute);
    }
    if then.year == today.year {
        let month = usize::try_from(then.month - 1).ok().and_then(|month| MONTHS.get(month));
        return format!("{}{:02}", month.unwrap_or(&""), then.day);
    }
    then.year.to_string()
}

/// `[DD-]HH:MM:SS`.
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let day = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{day}{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// A terminal by its device number (proc_pid_stat(5), tty_nr; Linux, Documentation/admin-guide/devices.txt).
fn terminal(number: u64) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let viewer = Viewer {
            ticks: 10_000,
            now: Some(Time::parse("2026-11-24T00:01:00Z").unwrap()),
            users: users("root:x:0:0::/:/bin/sh\nada:x:1000:1000::/:\nlater:x:1000:1::/:\nodd\n"),
            inner_users: users("root:x:0:0::/:/bin/sh\n"),
            map: "0 1000 1\n1 100000 65536\n".lines().filter_map(range).collect(),
            level: 1,
            numbers: HashMap::from([(40, 1), (42, 7)]),
        };
        let process = Process {
            pid: 42,
            parent: 40,
            group: 42,
            state: 'S',
            terminal: 136 << 8 | 3,
            ticks: 650,
            nice: -5,
            start: 8000,
            size: 4096,
            name: "sh".to_owned(),
            words: vec!["sh".to_owned(), "-c".to_owned(), "a b".to_owned()],
            uid: 1000,
            numbers: vec![42, 7],
            ..Process::default()
        };
        let shown =
            |columns: &[Column]| columns.iter().map(|column| column.value(&process, &viewer)).collect::<Vec<_>>();
        assert_eq!(shown(&USUAL), ["ada", "42", "40", "32", "00:00", "pts/3", "00:00:06", "sh -c a b"]);
        let words: Vec<String> = Column::names().iter().map(|name| (*name).to_owned()).collect();
        let all = Column::of_words(&words).unwrap();
        assert_eq!(
            shown(&all),
            [
                "sh -c a b",
                "sh",
                "00:00:20",
                "42",
                "ada",
                "-5",
                "32.500",
                "42",
                "7",
                "1",
                "S",
                "00:00",
                "00:00:06",
                "pts/3",
                "root",
                "4"
            ]
        );
        assert_eq!(Column::of_words(&["pid,user".to_owned()]).map(|all| all.len()), Some(2));
        assert_eq!(Column::of_words(&["pid".to_owned(), "aux".to_owned()]), None);
        assert_eq!((viewer.inner_user(100_004), viewer.inner_user(5)), ("5".to_owned(), "?".to_owned()));
    }

    #[test]
    fn times() {
        let now = Time::parse("2026-11-24T12:00:00Z").unwrap();
        for (age, text) in [(60, "11:59"), (86_400, "Nov23"), (400 * 86_400, "2025")] {
            assert_eq!(start(now, age), text);
        }
        for (seconds, text) in [(0, "00:00:00"), (3661, "01:01:01"), (90_061, "1-01:01:01")] {
            assert_eq!(clock(seconds), text);
        }
        for (number, text) in [(0, "?"), (4 << 8 | 1, "tty1"), (4 << 8 | 64, "ttyS0"), (136 << 8 | 255, "pts/255")] {
            assert_eq!(terminal(number), text);
        }
    }
}
