//! The plot: latency by the share of requests that took no longer, simulated and on sockets.
//!
//! Written by hand: a few lines of SVG that follow the reader's light or dark background.

use std::fmt::Write as _;

use nodeway_core::model::BalancingAlgorithm;

use crate::curve::{Curve, Of};

/// Of one panel's plot area, in pixels.
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 300.0;
/// Room for the numbers and for the names of curves.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 52.0;
/// Between two names, at least.
const LINE: f64 = 15.0;
/// The axis of shares ends at 99.9 %: three nines.
const NINES: f64 = 3.0;
/// Points of a curve.
const STEPS: u32 = 120;
/// Milliseconds, and how each is written.
const MARKS: [(f64, &str); 7] = [
    (1.0, "1 ms"),
    (10.0, "10 ms"),
    (100.0, "100 ms"),
    (1e3, "1 s"),
    (1e4, "10 s"),
    (1e5, "100 s"),
    (1e6, "1000 s"),
];
const SHARES: [(f64, &str); 4] = [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")];
/// Colours that stand out from white and from black alike, and that the colour-blind can tell apart by
/// lightness and dashes; text and grid turn with the background where the reader's program can tell it.
const STYLE: &str = "<style>\
    text{font:12px system-ui,sans-serif;fill:#77808b}.title{font-size:14px;font-weight:600}\
    .grid{stroke:#8b949e;stroke-opacity:.35}.goal{stroke:#8b949e;stroke-dasharray:2 4}\
    path{fill:none;stroke-width:2}\
    @media(prefers-color-scheme:light){text{fill:#374151}}\
    @media(prefers-color-scheme:dark){text{fill:#d1d5db}}\
    </style>";

/// Where things of one panel are.
struct Panel {
    left: f64,
    /// Powers of ten of milliseconds.
    lowest: f64,
    highest: f64,
}

/// Both panels.
pub(crate) fn plot(simulated: &[Curve], sockets: &[Curve]) -> String {
    let panel = LEFT + WIDTH + RIGHT;
    let (width, height) = (2.0 * panel, TOP + HEIGHT + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>Latency with one of ten servers 20 x slower</title>\n{STYLE}\n"
    );
    text(
        &mut svg,
        (LEFT, 22.0),
        "title",
        "start",
        "Latency when one of ten servers takes 20 x as long",
    );
    for (left, title, curves) in
        [(LEFT, "simulated", simulated), (panel + LEFT, "on sockets, through Nodeway", sockets)]
    {
        text(&mut svg, (left, 46.0), "title", "start", title);
        Panel::new(left, curves).draw(&mut svg, curves);
    }
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, anchor: &str, what: &str) {
    writeln!(
        svg,
        "<text x=\"{x:.0}\" y=\"{y:.0}\" class=\"{class}\" text-anchor=\"{anchor}\">{what}</text>"
    )
    .unwrap();
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    )
    .unwrap();
}

fn millis(curve: &Curve, share: f64) -> f64 {
    (curve.quantile(share).as_secs_f64() * 1e3).max(1.0)
}

/// Colour and dashes.
fn look(of: Of) -> (&'static str, &'static str) {
    match of {
        Of::Without => ("#8b8f98", "6 4"),
        Of::With(BalancingAlgorithm::PeakEwma) => ("#0f9d75", ""),
        Of::With(BalancingAlgorithm::LeastRequest) => ("#3b82f6", ""),
        Of::With(BalancingAlgorithm::RoundRobin) => ("#e4572e", ""),
        Of::With(_) => ("#c77dff", "10 3"),
    }
}

// === impl Panel ===

impl Panel {
    /// With room for all of the curves.
    fn new(left: f64, curves: &[Curve]) -> Self {
        let low = curves.iter().map(|curve| millis(curve, 0.05)).fold(f64::MAX, f64::min);
        let high = curves.iter().map(|curve| millis(curve, 0.999)).fold(10.0, f64::max);
        Self { left, lowest: low.log10().floor(), highest: high.log10().ceil() }
    }

    fn x(&self, share: f64) -> f64 {
        self.left + -(1.0 - share).log10() / NINES * WIDTH
    }

    fn y(&self, millis: f64) -> f64 {
        let part = (millis.log10() - self.lowest) / (self.highest - self.lowest);
        TOP + HEIGHT * (1.0 - part.clamp(0.0, 1.0))
    }

    fn draw(&self, svg: &mut String, curves: &[Curve]) {
        let (right, bottom) = (self.left + WIDTH, TOP + HEIGHT);
        let marks = MARKS
            .iter()
            .filter(|(millis, _)| (self.lowest..=self.highest).contains(&millis.log10().round()));
        for (millis, name) in marks {
            let y = self.y(*millis);
            line(svg, "grid", (self.left, y), (right, y));
            text(svg, (self.left - 6.0, y + 4.0), "", "end", name);
        }
        for (share, name) in SHARES {
            let x = self.x(share);
            line(svg, "grid", (x, TOP), (x, bottom));
            text(svg, (x, bottom + 18.0), "", "middle", name);
        }
        let middle = self.left + WIDTH / 2.0;
        text(svg, (middle, bottom + 40.0), "", "middle", "of the requests took no longer than ...");
        if let Some(without) = curves.iter().find(|curve| curve.of == Of::Without) {
            let y = self.y(millis(without, 0.99) * 1.3);
            line(svg, "goal", (self.left, y), (right, y));
            text(svg, (self.left + 4.0, y - 5.0), "", "start", "1.3 x p99 without it");
        }
        for curve in curves {
            self.curve(svg, curve);
        }
        self.names(svg, curves);
    }

    fn curve(&self, svg: &mut String, curve: &Curve) {
        let (colour, dashes) = look(curve.of);
        let points = (0..=STEPS).map(|step| {
            let share = 1.0 - 10_f64.powf(-NINES * f64::from(step) / f64::from(STEPS));
            format!("{:.1},{:.1}", self.x(share), self.y(millis(curve, share)))
        });
        let path: Vec<String> = points.collect();
        writeln!(
            svg,
            "<path d=\"M{}\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\"/>",
            path.join("L")
        )
        .unwrap();
    }

    /// Each beside its curve's end, none on another.
    fn names(&self, svg: &mut String, curves: &[Curve]) {
        let end = |curve: &Curve| self.y(millis(curve, 0.999));
        let mut order: Vec<&Curve> = curves.iter().collect();
        order.sort_by(|a, b| end(a).total_cmp(&end(b)));
        let mut next = TOP;
        for curve in order {
            let y = end(curve).max(next);
            next = y + LINE;
            let (colour, _) = look(curve.of);
            let at = (self.left + WIDTH + 8.0, y + 4.0);
            writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.0}\" style=\"fill:{colour}\">{}</text>",
                at.0,
                at.1,
                curve.of.title()
            )
            .unwrap();
        }
    }
}
