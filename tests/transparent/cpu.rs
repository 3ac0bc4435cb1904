//! CPU time, as the kernel tells it.

use std::fs;
use std::time::Duration;

/// USER_HZ is 100 wherever Linux runs our targets.
const TICK: Duration = Duration::from_millis(10);

/// Of a process, all its threads.
pub(crate) fn of_process(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
    // Fields 14 and 15; field 2 is a name that may hold anything.
    let after_name = stat.rsplit_once(')').expect("a name").1;
    TICK * after_name.split_whitespace().skip(11).take(2).map(ticks).sum::<u32>()
}

/// Of the whole machine: user, nice, system, and what interrupts take.
pub(crate) fn of_machine() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let all: Vec<u32> =
        stat.lines().next().expect("a line").split_whitespace().skip(1).map(ticks).collect();
    // The fourth and fifth are idle.
    TICK * [0, 1, 2, 5, 6].map(|field: usize| all[field]).iter().sum::<u32>()
}

fn ticks(field: &str) -> u32 {
    field.parse().expect("a number of ticks")
}
