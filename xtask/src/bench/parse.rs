//! Reads what wrk and h2load print.
//!
//! Not for running them: see `load`. The bench of the transparent path reads them by this file too.

use std::time::Duration;

/// What a load generator says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) requests: u64,
    /// No answer, or not the one asked for.
    pub(crate) failed: u64,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

pub(crate) fn wrk(text: &str) -> Option<Measure> {
    let line = |prefix: &str| text.lines().find_map(|line| line.trim().strip_prefix(prefix));
    let percentile = |percent: &str| wrk_duration(line(percent)?.trim());
    let answered: u64 = text.lines().find_map(|line| {
        let (number, rest) = line.trim().split_once(' ')?;
        rest.starts_with("requests in ").then(|| number.parse().ok())?
    })?;
    let bad: u64 = match line("Non-2xx or 3xx responses:") {
        Some(number) => number.trim().parse().ok()?,
        None => 0,
    };
    let broken = match line("Socket errors:") {
        Some(errors) => socket_errors(errors)?,
        None => 0,
    };
    Some(Measure {
        requests: answered + broken,
        failed: bad + broken,
        per_second: line("Requests/sec:")?.trim().parse().ok()?,
        p50: percentile("50%")?,
        p99: percentile("99%")?,
    })
}

/// `connect 0, read 3, write 0, timeout 1`
fn socket_errors(text: &str) -> Option<u64> {
    text.split(',').map(|part| part.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// `635.00us`, `1.08ms`, `2.01s`, `1.50m`
fn wrk_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..end].parse().ok()?;
    let unit = match &text[end..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok()
}

/// The summary for the counts, the log (start, status, microseconds) for the percentiles.
pub(crate) fn h2load(text: &str, log: &str) -> Option<Measure> {
    let line = |prefix: &str| text.lines().find_map(|line| line.trim().strip_prefix(prefix));
    let count = |list: &str, word: &str| -> Option<u64> {
        list.split(',').find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    let requests = line("requests:")?;
    let statuses = line("status codes:")?;
    let per_second = line("finished in ")?.split(',').nth(1)?.trim().strip_suffix("req/s")?;
    let bad = count(statuses, "4xx")? + count(statuses, "5xx")?;
    // h2load counts 4xx and 5xx as failed already.
    let failed = count(requests, "failed")?.max(bad);
    let mut times: Vec<u64> = log
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t').skip(1);
            let status: i32 = fields.next()?.parse().ok()?;
            let time = fields.next()?.trim().parse().ok()?;
            (status > 0).then_some(time)
        })
        .collect();
    times.sort_unstable();
    Some(Measure {
        requests: count(requests, "done")?,
        failed,
        per_second: per_second.trim().parse().ok()?,
        p50: percentile(&times, 50)?,
        p99: percentile(&times, 99)?,
    })
}

fn percentile(sorted: &[u64], percent: usize) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    Some(Duration::from_micros(sorted[last * percent / 100]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 2s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.16ms  630.75us  15.36ms   92.61%
    Req/Sec    54.30k     3.10k   58.55k    75.00%
  Latency Distribution
     50%  635.00us
     75%    1.30ms
     90%    1.64ms
     99%    3.20ms
  108608 requests in 2.00s, 31.70MB read
Requests/sec:  54273.92
Transfer/sec:     15.84MB
";

    const H2LOAD: &str = "starting benchmark...
Warm-up phase is over for thread #0.
finished in 2.00s, 46930.50 req/s, 7.39MB/s
requests: 93861 total, 93861 started, 93861 done, 93858 succeeded, 3 failed, 0 errored, 0 timeout
status codes: 93858 2xx, 0 3xx, 0 4xx, 3 5xx
traffic: 14.79MB (15503985) total, 91.85KB (94056) headers (space savings 98.98%), 11.46MB data
                     min         max         mean         sd        +/- sd
time for request:      165us     15.31ms      2.71ms      1.02ms    78.58%
";

    #[test]
    fn wrks_summary_is_read() {
        let measure = wrk(WRK).unwrap();
        assert_eq!((measure.requests, measure.failed), (108_608, 0));
        assert!((measure.per_second - 54_273.92).abs() < 0.01);
        assert_eq!(measure.p50, Duration::from_micros(635));
        assert_eq!(measure.p99, Duration::from_micros(3_200));
    }

    #[test]
    fn wrks_failures_of_both_kinds_count() {
        let text = WRK.replace(
            "Requests/sec:",
            "  Socket errors: connect 0, read 4, write 0, timeout 1\n  \
             Non-2xx or 3xx responses: 7\nRequests/sec:",
        );
        let measure = wrk(&text).unwrap();
        assert_eq!((measure.requests, measure.failed), (108_613, 12));
    }

    #[test]
    fn h2loads_summary_and_log_are_read() {
        let log = (1..=101).map(|i| format!("1700000000{i}\t200\t{i}\n")).collect::<String>();
        let measure = h2load(H2LOAD, &(log + "17000000000\t-1\t99999\n")).unwrap();
        assert_eq!((measure.requests, measure.failed), (93_861, 3));
        assert!((measure.per_second - 46_930.5).abs() < 0.01);
        assert_eq!(measure.p50, Duration::from_micros(51));
        assert_eq!(measure.p99, Duration::from_micros(100));
    }

    #[test]
    fn half_a_summary_is_none() {
        // Every prefix: a killed generator may stop anywhere. Only the last line is not needed.
        for end in 0..WRK.find("Requests/sec:").unwrap() {
            assert_eq!(wrk(&WRK[..end]), None);
        }
        for end in 0..H2LOAD.find("status codes:").unwrap() {
            assert_eq!(h2load(&H2LOAD[..end], "1\t200\t5\n"), None);
        }
        assert_eq!(h2load(H2LOAD, ""), None);
    }
}
