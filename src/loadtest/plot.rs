//! Line plots as SVG, to stand within a page that gives the colours.

#![allow(clippy::float_arithmetic, reason = "places on a page, not amounts")]

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 38.0;

/// One line; `class` is what the page colours it by.
pub(crate) struct Series {
    pub name: &'static str,
    pub class: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// How values lie along an axis.
#[derive(Clone, Copy)]
pub(crate) enum Scale {
    /// Evenly, from 0.
    Linear,
    /// Each power of ten as long as the next; what is not above 0 lies at the bottom.
    Log,
}

/// The horizontal axis: its label, its range, and where it is marked.
pub(crate) struct Across {
    pub label: &'static str,
    pub from: f64,
    pub to: f64,
    pub marks: Vec<(f64, String)>,
}

/// The vertical axis: its label, its scale, and how a value on it is written.
pub(crate) struct Up {
    pub label: &'static str,
    pub scale: Scale,
    pub write: fn(f64) -> String,
}

/// Draws one plot.
pub(crate) fn plot(title: &str, across: &Across, up: &Up, series: &[Series]) -> String {
    let values = series.iter().flat_map(|series| &series.points).map(|(_, y)| *y);
    let (low, high) = range(up.scale, values);
    let x = |value: f64| {
        let span = (across.to - across.from).max(f64::MIN_POSITIVE);
        LEFT + (value - across.from) / span * (WIDTH - LEFT - RIGHT)
    };
    let y = |value: f64| {
        let share = match up.scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Log => (value.max(low) / low).log10() / (high / low).log10(),
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    };
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{title}</title>");
    let mut put = |text: String| svg.push_str(&text);
    for mark in marks(up.scale, low, high) {
        let at = y(mark);
        put(format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{}\"/>", WIDTH - RIGHT));
        put(format!(
            "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            (up.write)(mark)
        ));
    }
    let bottom = HEIGHT - BOTTOM;
    for (mark, text) in &across.marks {
        let at = x(*mark);
        put(format!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>"));
        put(format!("<text class=\"middle\" x=\"{at:.1}\" y=\"{}\">{text}</text>", bottom + 15.0));
    }
    put(format!(
        "<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>",
        WIDTH - RIGHT,
        HEIGHT - 5.0,
        across.label
    ));
    put(format!("<text x=\"{LEFT}\" y=\"{}\">{}</text>", HEIGHT - 5.0, up.label));
    for series in series {
        put(line(series, &x, &y));
    }
    svg.push_str("</svg>");
    svg
}

/// The names and colours of lines.
pub(crate) fn legend(series: &[Series]) -> String {
    let names =
        series.iter().map(|series| format!("<span class=\"key {}\">{}</span>", series.class, series.name));
    names.collect()
}

fn line(series: &Series, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let class = series.class;
    if let [(px, py)] = series.points[..] {
        return format!("<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(px), y(py));
    }
    let mut path = String::new();
    for (index, (px, py)) in series.points.iter().enumerate() {
        let step = if index == 0 { 'M' } else { 'L' };
        // Writing to a string cannot fail.
        let _ = write!(path, "{step}{:.1} {:.1}", x(*px), y(*py));
    }
    format!("<path class=\"line {class}\" d=\"{path}\"/>")
}

/// The lowest and the highest value of an axis; never the same.
fn range(scale: Scale, values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let highest = values.iter().copied().fold(0.0, f64::max);
    match scale {
        Scale::Linear if highest > 0.0 => (0.0, highest * 1.05),
        Scale::Linear => (0.0, 1.0),
        Scale::Log => {
            let lowest = values.into_iter().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
            let lowest = if lowest.is_finite() { lowest } else { 1.0 };
            let low = 10f64.powf(lowest.log10().floor());
            (low, 10f64.powf(highest.max(low * 1.01).log10().ceil()))
        }
    }
}

fn marks(scale: Scale, low: f64, high: f64) -> Vec<f64> {
    match scale {
        Scale::Linear => even_marks(low, high, 5.0),
        Scale::Log => {
            let decades = (high / low).log10().round();
            (0..=20).map(f64::from).take_while(|n| *n <= decades).map(|n| low * 10f64.powf(n)).collect()
        }
    }
}

/// About `wanted` round values from `from` to `to`.
pub(crate) fn even_marks(from: f64, to: f64, wanted: f64) -> Vec<f64> {
    let rough = (to - from).max(f64::MIN_POSITIVE) / wanted;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(power * 10.0);
    let first = (from / step).ceil();
    (0..50).map(|n| (first + f64::from(n)) * step).take_while(|mark| *mark <= to * 1.000_001).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_lie_within() {
        assert_eq!(even_marks(0.0, 10.0, 5.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(even_marks(0.0, 26_250.0, 5.0).len(), 3);
        assert_eq!(marks(Scale::Log, 100.0, 100_000.0).len(), 4);
    }

    #[test]
    fn whatever_there_is_to_draw_lies_on_the_page() {
        let across = Across { label: "s", from: 0.0, to: 0.0, marks: vec![(0.0, "0".to_owned())] };
        for scale in [Scale::Linear, Scale::Log] {
            for points in [
                vec![],
                vec![(0.0, 0.0)],
                vec![(0.0, 5.0)],
                vec![(0.0, 0.0), (0.0, 1e9)],
                vec![(0.0, f64::NAN)],
            ] {
                let up = Up { label: "ms", scale, write: |value| value.to_string() };
                let svg =
                    plot("t", &across, &up, &[Series { name: "n", class: "a", points: points.clone() }]);
                let is_bad = |text: &str| {
                    text.contains("inf") || (text.contains("NaN") && !points.iter().any(|p| p.1.is_nan()))
                };
                assert!(svg.ends_with("</svg>") && !is_bad(&svg), "{points:?} {svg}");
            }
        }
    }
}
