//! What the kernel says about a server's processes: CPU time and memory, children included.

use std::{fs, path::Path};

/// CPU seconds, user and system, of a process and its descendants (nginx works in children). The kernel counts
/// in hundredths: measure for a second or more.
pub fn cpu_seconds(pid: u32) -> f64 {
    let all = processes();
    let ticks: u64 = tree(pid, &all).iter().map(|process| process.ticks).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// CPU seconds of one process alone: ours, without the servers that are its children.
pub fn cpu_seconds_alone(pid: u32) -> f64 {
    let ticks = fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| parse_stat(&stat));
    ticks.map_or(0.0, |process| process.own_ticks as f64)
        / rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory in bytes: what is mapped from files counts too.
pub fn resident(pid: u32) -> u64 {
    sum_of_status(pid, "VmRSS:")
}

/// The most that was resident since `forget_peak`.
pub fn peak_resident(pid: u32) -> u64 {
    sum_of_status(pid, "VmHWM:")
}

pub fn forget_peak(pid: u32) {
    for process in tree(pid, &processes()) {
        // Without it the peak is that of the whole life: larger, never flattering.
        let _ = fs::write(format!("/proc/{}/clear_refs", process.pid), "5");
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Process {
    pid: u32,
    parent: u32,
    /// Of its threads.
    own_ticks: u64,
    /// Of its children that ended, besides.
    ticks: u64,
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(|c: char| c.is_ascii_digit())
        })
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| parse_stat(&stat))
        .collect()
}

/// `pid (name) state ppid … utime stime cutime cstime …`; the name may hold anything, so we start behind it.
fn parse_stat(stat: &str) -> Option<Process> {
    let (pid, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let sum = |fields: &[&str]| {
        fields
            .iter()
            .filter_map(|field| field.parse::<u64>().ok())
            .sum()
    };
    Some(Process {
        pid: pid.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: sum(fields.get(11..13)?),
        ticks: sum(fields.get(11..15)?),
    })
}

fn tree(root: u32, all: &[Process]) -> Vec<Process> {
    let mut found: Vec<Process> = all
        .iter()
        .filter(|process| process.pid == root)
        .cloned()
        .collect();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next].pid;
        found.extend(
            all.iter()
                .filter(|process| process.parent == parent)
                .cloned(),
        );
        next += 1;
    }
    found
}

fn sum_of_status(pid: u32, key: &str) -> u64 {
    tree(pid, &processes())
        .iter()
        .filter_map(|process| {
            fs::read_to_string(
                Path::new("/proc")
                    .join(process.pid.to_string())
                    .join("status"),
            )
            .ok()
        })
        .filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with(key))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map(|kib| kib * 1024)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_a_hostile_name() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7";
        assert_eq!(
            parse_stat(line),
            Some(Process {
                pid: 42,
                parent: 7,
                own_ticks: 120,
                ticks: 127
            })
        );
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn a_tree_holds_grandchildren_and_no_strangers() {
        let process = |pid, parent| Process {
            pid,
            parent,
            own_ticks: 0,
            ticks: 0,
        };
        let all = [
            process(1, 0),
            process(2, 1),
            process(3, 2),
            process(4, 1),
            process(9, 8),
        ];
        let pids: Vec<u32> = tree(2, &all).iter().map(|p| p.pid).collect();
        assert_eq!(pids, [2, 3]);
    }

    #[test]
    fn this_process_uses_memory() {
        let own = std::process::id();
        assert!(resident(own) > 100_000);
        assert!(peak_resident(own) >= resident(own) / 2);
    }
}
