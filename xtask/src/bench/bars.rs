//! Bars for people: groups of horizontal bars, as an SVG.
//!
//! Written by hand, a few lines that follow the reader's light or dark background. Not for one bench alone:
//! that of the transparent path takes this file too.

use std::fmt::Write as _;

/// All of it.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// Names and colours.
    pub(crate) series: Vec<(&'static str, &'static str)>,
    pub(crate) groups: Vec<Group>,
}

/// Bars that stand together.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) bars: Vec<Bar>,
}

pub(crate) struct Bar {
    /// Which of the series.
    pub(crate) series: usize,
    /// On the chart's scale, which begins at 0.
    pub(crate) length: f64,
    pub(crate) label: String,
}

/// In pixels: room for the groups' names, the longest bar, and what stands beside it.
const LEFT: f64 = 250.0;
const WIDTH: f64 = 420.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 72.0;
const BAR: f64 = 15.0;
const GAP: f64 = 14.0;
const BOTTOM: f64 = 16.0;
/// Longer bars are cut: one that is ten times the others would leave nothing of them to see.
const LONGEST: f64 = 6.0;
const STYLE: &str = "<style>\
    text{font:12px system-ui,sans-serif;fill:#77808b}.title{font-size:14px;font-weight:600}\
    .one{stroke:#8b949e;stroke-dasharray:2 4}\
    @media(prefers-color-scheme:light){text{fill:#374151}}\
    @media(prefers-color-scheme:dark){text{fill:#d1d5db}}\
    </style>";

// === impl Chart ===

impl Chart {
    pub(crate) fn svg(&self) -> String {
        let bars = self.groups.iter().flat_map(|group| &group.bars);
        let longest = bars.map(|bar| bar.length).fold(1.0, f64::max).min(LONGEST);
        let (mut body, mut y) = (String::new(), TOP);
        for group in &self.groups {
            let top = y;
            for bar in &group.bars {
                self.bar(&mut body, bar, y, longest);
                y += BAR;
            }
            let middle = f64::midpoint(top, y) + 4.0;
            text(&mut body, (LEFT - 8.0, middle), "", "end", &group.name);
            y += GAP;
        }
        let x = LEFT + WIDTH / longest;
        let (width, height) = (LEFT + WIDTH + RIGHT, y + BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n{STYLE}\n\
             <line class=\"one\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.0}\" y2=\"{y:.0}\"/>\n",
            self.title,
            TOP - 6.0,
        );
        text(&mut svg, (16.0, 24.0), "title", "start", self.title);
        let mut x = 16.0;
        for (name, colour) in &self.series {
            rectangle(&mut svg, (x, 38.0), 12.0, 12.0, colour);
            text(&mut svg, (x + 17.0, 48.0), "", "start", name);
            x += 34.0 + 7.0 * f64::from(u16::try_from(name.len()).unwrap_or_default());
        }
        svg + &body + "</svg>\n"
    }

    fn bar(&self, svg: &mut String, bar: &Bar, y: f64, longest: f64) {
        let colour = self.series.get(bar.series).map_or("#8b949e", |(_, colour)| colour);
        let length = bar.length.clamp(0.0, longest) / longest * WIDTH;
        rectangle(svg, (LEFT, y + 1.0), length, BAR - 2.0, colour);
        let cut = if bar.length > longest { " (cut)" } else { "" };
        let label = format!("{}{cut}", bar.label);
        text(svg, (LEFT + length + 6.0, y + BAR - 3.5), "", "start", &label);
    }
}

fn rectangle(svg: &mut String, (x, y): (f64, f64), width: f64, height: f64, colour: &str) {
    // A String takes all that is written to it, here and below.
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, anchor: &str, what: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.0}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{what}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_far_too_long_is_cut_and_says_so() {
        let bar = |length| Bar { series: 0, length, label: format!("{length}") };
        let group = Group { name: "g".into(), bars: vec![bar(1.0), bar(50.0)] };
        let series = vec![("a", "#000")];
        let svg = Chart { title: "t", series, groups: vec![group] }.svg();
        assert!(svg.contains(">50 (cut)<") && svg.contains(">1<"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(svg.contains(&format!("width=\"{WIDTH:.1}\"")), "{svg}");
    }
}
