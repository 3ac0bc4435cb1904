//! What the kernel knows of connections that go without the proxy, besides what is counted of relayed ones.

use std::collections::BTreeMap;
use std::time::Duration;

use super::render::{Text, Type};
use super::shard::tcp_labels;
use super::{Counter, Flag, Histogram, TcpLabels};

/// One connection that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// Octets from the client to the endpoint.
    pub sent: u64,
    /// Octets from there.
    pub received: u64,
    /// From connect to the end.
    pub duration: Duration,
    /// How long a round trip took at the end, smoothed; none if nothing is known of it.
    pub rtt: Option<Duration>,
    /// Segments that were sent once more.
    pub retransmits: u64,
}

/// The numbers of one kind of connection.
#[derive(Debug, Default)]
pub(super) struct CarriedSeries {
    duration: Histogram,
    rtts: Counter,
    rtt_micros: Counter,
    retransmits: Counter,
}

/// All that is known, by whose connections they were; how they ended is left out: sixteen series for each would
/// be many.
#[derive(Debug, Default)]
pub(super) struct CarriedTotals(BTreeMap<TcpLabels, Totals>);

#[derive(Debug, Default)]
struct Totals {
    buckets: [u64; 15],
    sum_micros: u64,
    rtts: u64,
    rtt_micros: u64,
    retransmits: u64,
}

// === impl CarriedSeries ===

impl CarriedSeries {
    pub(super) fn count(&self, one: &Carried) {
        self.duration.observe(one.duration);
        self.retransmits.add(one.retransmits);
        if let Some(rtt) = one.rtt {
            self.rtts.add(1);
            self.rtt_micros.add(u64::try_from(rtt.as_micros()).unwrap_or(0));
        }
    }
}

// === impl CarriedTotals ===

impl CarriedTotals {
    pub(super) fn add(&mut self, labels: &TcpLabels, series: &CarriedSeries) {
        let (buckets, sum) = series.duration.read();
        if buckets.iter().sum::<u64>() == 0 {
            return;
        }
        let labels = TcpLabels { flag: Flag::None, ..labels.clone() };
        let total = self.0.entry(labels).or_default();
        total.buckets.iter_mut().zip(buckets).for_each(|(total, one)| *total += one);
        total.sum_micros += sum;
        total.rtts += series.rtts.get();
        total.rtt_micros += series.rtt_micros.get();
        total.retransmits += series.retransmits.get();
    }

    pub(super) fn render(&self, text: &mut Text) {
        let name = "nodeway_tcp_connection_duration_seconds";
        let help = "From connect to the end, of connections that go without the proxy, in seconds.";
        text.family(name, Type::Histogram, help);
        for (labels, totals) in &self.0 {
            text.histogram(name, &tcp_labels(labels)[..7], &totals.buckets, totals.sum_micros);
        }
        let name = "nodeway_tcp_rtt_seconds";
        let help = "Round trips at the end of connections that go without the proxy, in seconds.";
        text.family(name, Type::Summary, help);
        for (labels, totals) in &self.0 {
            let labels = &tcp_labels(labels)[..7];
            let seconds = Duration::from_micros(totals.rtt_micros).as_secs_f64();
            text.sample(&format!("{name}_sum"), labels, seconds);
            text.sample(&format!("{name}_count"), labels, totals.rtts);
        }
        let name = "nodeway_tcp_retransmitted_segments_total";
        let help = "Sent once more, by clients' connections that go without the proxy.";
        text.family(name, Type::Counter, help);
        for (labels, totals) in &self.0 {
            text.sample(name, &tcp_labels(labels)[..7], totals.retransmits);
        }
    }
}
