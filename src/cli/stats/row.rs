//! The fields of a container's figures, as docker has them (docker/cli, `formatter_stats.go`), and `Pressure`.

use crate::cli::human;
use crate::engine::stats::{Figures, Sample};
use serde_json::{Value, json};

/// What is not known, in the words of both.
const UNKNOWN: &str = "--";

/// The row. `typed`: the container's name as it was typed. `whole`: nothing is cut.
pub fn row(figures: &Figures, typed: Option<&str>, whole: bool) -> Value {
    let id = figures.id.as_str();
    let short = id.get(..12).unwrap_or(id);
    let shown = shown(figures);
    let [cpu, memory, disk] = figures.now.as_ref().map(|now| now.usage.pressure).unwrap_or_default();
    json!({
        "BlockIO": shown.disk,
        "CPUPerc": shown.cpu,
        "Container": typed.unwrap_or(short),
        "ID": if whole { id } else { short },
        "MemPerc": shown.memory_share,
        "MemUsage": shown.memory,
        "Name": figures.name.as_deref().unwrap_or(UNKNOWN),
        "NetIO": shown.network,
        "PIDs": shown.pids,
        "Pressure": { "cpu": cpu, "memory": memory, "io": disk },
    })
}

struct Shown {
    cpu: String,
    memory: String,
    memory_share: String,
    network: String,
    disk: String,
    pids: String,
}

fn shown(figures: &Figures) -> Shown {
    let Some(now) = &figures.now else { return nothing(figures.runs) };
    let usage = &now.usage;
    let cpu = figures.before.as_ref().and_then(|before| now.cpu_percent(before));
    Shown {
        cpu: known(cpu, percent),
        memory: format!(
            "{} / {}",
            known(usage.memory, human::binary_size),
            known(usage.memory_limit, human::binary_size)
        ),
        memory_share: known(memory_share(now), percent),
        network: known(now.network, pair),
        disk: known(usage.io, pair),
        pids: known(usage.pids, |pids| pids.to_string()),
    }
}

/// Of one that does not run as docker, which has no limit then; of one whose figures cannot be read nothing is known.
fn nothing(runs: bool) -> Shown {
    let [one, two, percents, number] =
        if runs { [UNKNOWN, "-- / --", UNKNOWN, UNKNOWN] } else { ["0B / 0B", "0B / 0B", "0.00%", "0"] };
    Shown {
        cpu: percents.to_owned(),
        memory: two.to_owned(),
        memory_share: percents.to_owned(),
        network: one.to_owned(),
        disk: one.to_owned(),
        pids: number.to_owned(),
    }
}

fn known<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

fn memory_share(now: &Sample) -> Option<f64> {
    let (used, limit) = (now.usage.memory?, now.usage.memory_limit?);
    (limit > 0).then(|| used as f64 / limit as f64 * 100.0)
}

fn percent(percent: f64) -> String {
    format!("{percent:.2}%")
}

fn pair([one, other]: [u64; 2]) -> String {
    format!("{} / {}", human::size(one), human::size(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::usage::Usage;
    use crate::time::Time;
    use std::time::{Duration, Instant};

    fn figures(usages: Option<[Usage; 2]>, network: Option<[u64; 2]>) -> Figures {
        let at = Instant::now();
        let [before, now] = usages.map_or([None, None], |[before, now]| {
            let sample = |usage, seconds| Some(Sample { at: at + Duration::from_secs(seconds), usage, network });
            [sample(before, 0), sample(now, 2)]
        });
        Figures {
            id: "0123456789abcdef".repeat(4),
            name: Some("web".into()),
            created: Time::NEVER,
            runs: true,
            now,
            before,
        }
    }

    #[test]
    fn all_that_is_known() {
        let before = Usage { cpu: Some(1_000_000), ..Usage::default() };
        let now = Usage {
            cpu: Some(4_000_000),
            memory: Some(3 << 19),
            memory_limit: Some(6 << 20),
            pids: Some(3),
            io: Some([1200, 0]),
            pressure: [Some(1.25), Some(0.0), None],
            ..Usage::default()
        };
        let figures = figures(Some([before, now]), Some([648, 1_500_000]));
        assert_eq!(
            row(&figures, None, false),
            json!({
                "BlockIO": "1.2kB / 0B", "CPUPerc": "150.00%", "Container": "0123456789ab", "ID": "0123456789ab",
                "MemPerc": "25.00%", "MemUsage": "1.5MiB / 6MiB", "Name": "web", "NetIO": "648B / 1.5MB", "PIDs": "3",
                "Pressure": { "cpu": 1.25, "memory": 0.0, "io": null },
            })
        );
        assert_eq!(row(&figures, Some("we"), true)["Container"], "we");
        assert_eq!(row(&figures, Some("we"), true)["ID"], *figures.id);
    }

    #[test]
    fn what_is_not_known() {
        let fields = ["CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
        let shown =
            |figures: &Figures| fields.map(|field| row(figures, None, false)[field].as_str().unwrap().to_owned());
        let unknown = ["--", "-- / --", "--", "--", "--", "--"];
        assert_eq!(shown(&figures(Some([Usage::default(), Usage::default()]), None)), unknown);
        assert_eq!(shown(&figures(None, None)), unknown);
        let ended = Figures { runs: false, ..figures(None, None) };
        assert_eq!(shown(&ended), ["0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]);
        let known = Usage { cpu: Some(1), memory: Some(1), memory_limit: None, ..Usage::default() };
        let first = Figures { before: None, ..figures(Some([Usage::default(), known]), Some([0, 0])) };
        assert_eq!(shown(&first), ["--", "1B / --", "--", "0B / 0B", "--", "--"]);
        assert_eq!(row(&first, None, false)["Pressure"], json!({ "cpu": null, "memory": null, "io": null }));
    }
}
