//! The Prometheus text exposition format 0.0.4.

use std::fmt::{Display, Write};

use super::counter::BOUNDS;

/// The type of a metric family.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, sum and count.
    Histogram,
    /// Sum and count.
    Summary,
}

/// A page being written.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
}

// === impl Text ===

impl Text {
    /// Starts a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Type, help: &str) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
            Type::Summary => "summary",
        };
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample.
    pub fn sample<V: AsRef<str>>(&mut self, name: &str, labels: &[(&str, V)], value: impl Display) {
        self.out.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.out, " {value}");
    }

    /// One histogram; `buckets` are not cumulative.
    pub fn histogram<V: AsRef<str>>(
        &mut self,
        name: &str,
        labels: &[(&str, V)],
        buckets: &[u64; 15],
        sum_micros: u64,
    ) {
        let mut count = 0;
        for (i, n) in buckets.iter().enumerate() {
            count += n;
            let bound = BOUNDS.get(i).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let _ = write!(self.out, "{name}_bucket");
            self.labels(labels, Some(&bound));
            let _ = writeln!(self.out, " {count}");
        }
        let _ = write!(self.out, "{name}_sum");
        self.labels(labels, None);
        let _ = writeln!(self.out, " {}.{:06}", sum_micros / 1_000_000, sum_micros % 1_000_000);
        let _ = write!(self.out, "{name}_count");
        self.labels(labels, None);
        let _ = writeln!(self.out, " {count}");
    }

    /// The page.
    pub fn finish(self) -> String {
        self.out
    }

    fn labels<V: AsRef<str>>(&mut self, labels: &[(&str, V)], bound: Option<&str>) {
        if labels.is_empty() && bound.is_none() {
            return;
        }
        self.out.push('{');
        let all = labels.iter().map(|(k, v)| (*k, v.as_ref())).chain(bound.map(|b| ("le", b)));
        for (i, (key, value)) in all.enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            let _ = write!(self.out, "{key}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_buckets_add_up() {
        let mut text = Text::default();
        text.sample("a", &[("k", "x\"y\\z\n")], 1);
        let mut buckets = [0; 15];
        (buckets[0], buckets[14]) = (2, 1);
        text.histogram::<&str>("h", &[], &buckets, 1_500_000);
        let page = text.finish();
        assert!(page.starts_with("a{k=\"x\\\"y\\\\z\\n\"} 1\n"), "{page}");
        assert!(page.contains("h_bucket{le=\"0.005\"} 2\n"), "{page}");
        assert!(page.contains("h_bucket{le=\"+Inf\"} 3\nh_sum 1.500000\nh_count 3\n"), "{page}");
    }
}
