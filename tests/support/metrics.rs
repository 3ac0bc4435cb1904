//! Reading a Prometheus exposition: sums over series that match.

/// One scrape.
#[derive(Debug, Clone)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// What `/metrics` said.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// The exposition itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The series of metrics whose name satisfies `name` and which have all these labels.
    pub fn series<'a>(
        &'a self,
        name: impl Fn(&str) -> bool + 'a,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series, value.parse::<f64>().ok()?))
        });
        pairs.filter(move |(series, _)| {
            let metric = series.split('{').next().unwrap_or(series);
            let has = |(key, value): &(&str, &str)| series.contains(&format!("{key}=\"{value}\""));
            name(metric) && labels.iter().all(has)
        })
    }

    /// The sum of the metric `name` over the series that have all these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(|metric| metric == name, labels).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn sums_only_the_series_asked_for() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab{x=\"1\"} 9\n";
        let metrics = Metrics::new(text.to_owned());
        assert!((metrics.sum("a", &[("x", "1")]) - 7.0).abs() < f64::EPSILON);
        assert!((metrics.sum("a", &[("y", "3")]) - 4.0).abs() < f64::EPSILON);
    }
}
