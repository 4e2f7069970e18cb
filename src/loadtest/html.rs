//! A report as one HTML file that asks nobody for anything: no script, no font, no style from outside.

#![allow(clippy::float_arithmetic, reason = "places on a page, not amounts")]

use super::plot::{Across, Scale, Series, Up, even_marks, legend, plot};
use super::recorder::{Figures, Tick};
use super::report::{Page, verdict};

const STYLE: &str = include_str!("report.css");

/// The whole page.
pub(crate) fn page(page: &Page<'_>) -> String {
    let rows = page
        .rows
        .iter()
        .map(|(name, value)| format!("<tr><th>{}</th><td>{}</td></tr>\n", text(name), text(value)));
    let rows: String = rows.collect();
    let plots: String = plots(page.figures);
    let class = if page.holds { "holds" } else { "broken" };
    let (title, verdict) = (text(&format!("Load test: {}", page.scenario)), text(&verdict(page)));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p class=\"verdict {class}\">Verdict: {verdict}</p>\n{plots}\
         <h2>Figures</h2>\n<table>\n{rows}</table>\n{kinds}</body>\n</html>\n",
        kinds = kinds(page.figures)
    )
}

fn plots(figures: &Figures) -> String {
    let time = time_axis(figures);
    // What was answered after the end is no throughput.
    let measured = figures.timeline.iter().filter(|tick| tick.second + 1e-6 < figures.seconds);
    let over_time = |name, class, value: fn(&Tick, f64) -> f64| Series {
        name,
        class,
        points: measured.clone().map(|tick| (tick.second, value(tick, figures.tick_seconds))).collect(),
    };
    let answered = |tick: &Tick, us: u64| if tick.counts.all() > 0 { us as f64 } else { f64::NAN };
    let mut latency = [
        (
            "max",
            "c",
            figures.timeline.iter().map(|tick| (tick.second, answered(tick, tick.max))).collect::<Vec<_>>(),
        ),
        ("p99", "b", figures.timeline.iter().map(|tick| (tick.second, answered(tick, tick.p99))).collect()),
        ("p50", "a", figures.timeline.iter().map(|tick| (tick.second, answered(tick, tick.p50))).collect()),
    ]
    .map(|(name, class, points)| Series { name, class, points });
    for series in &mut latency {
        series.points.retain(|(_, us)| us.is_finite());
    }
    let throughput = [
        over_time("done", "a", |tick, length| tick.counts.done as f64 / length),
        over_time("all answers", "b", |tick, length| tick.counts.all() as f64 / length),
    ];
    let errors = [
        over_time("refused, out of stock", "a", |tick, length| tick.counts.sold_out as f64 / length),
        over_time("refused, busy", "b", |tick, length| tick.counts.busy as f64 / length),
        over_time("failed", "c", |tick, length| tick.counts.failed as f64 / length),
    ];
    let by_percentile = [Series {
        name: "latency",
        class: "a",
        points: figures.percentiles.iter().filter_map(|(p, us)| Some((nines(*p)?, *us as f64))).collect(),
    }];
    let milliseconds = Up { label: "milliseconds, logarithmic", scale: Scale::Log, write: write_ms };
    let rate = Up { label: "per second", scale: Scale::Linear, write: write_count };
    [
        section("Latency over time", &time, &milliseconds, &latency),
        section("Latency by percentile", &percentile_axis(), &milliseconds, &by_percentile),
        section("Throughput", &time, &rate, &throughput),
        section("Refusals and failures", &time, &rate, &errors),
    ]
    .concat()
}

fn section(title: &str, across: &Across, up: &Up, series: &[Series]) -> String {
    let names = if series.len() > 1 { legend(series) } else { String::new() };
    format!(
        "<h2>{title}</h2>\n<figure>{}<figcaption>{names}</figcaption></figure>\n",
        plot(title, across, up, series)
    )
}

fn time_axis(figures: &Figures) -> Across {
    let end = figures.timeline.last().map_or(1.0, |tick| tick.second + figures.tick_seconds);
    let marks = even_marks(0.0, end, 8.0).into_iter().map(|second| (second, write_count(second)));
    Across { label: "seconds of measured time", from: 0.0, to: end, marks: marks.collect() }
}

/// Each nine takes as much room as the next.
fn percentile_axis() -> Across {
    let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let marks = marks.into_iter().filter_map(|p| Some((nines(p)?, format!("{p}"))));
    Across { label: "percentile", from: 0.0, to: 5.3, marks: marks.collect() }
}

/// 90 is 1, 99 is 2, and so on; the maximum is nowhere.
fn nines(percentile: f64) -> Option<f64> {
    let nines = -(1.0 - percentile / 100.0).log10();
    (nines.is_finite() && nines < 5.2).then_some(nines.abs())
}

fn kinds(figures: &Figures) -> String {
    if figures.kinds.len() < 2 {
        return String::new();
    }
    let head = ["", "done", "out of stock", "busy", "failed", "p50", "p90", "p99", "p99.9", "max"];
    let head: String = head.iter().map(|name| format!("<th>{name}</th>")).collect();
    let row = |kind: &super::recorder::Kind| {
        let (counts, latency) = (&kind.counts, &kind.latency_us);
        let counts =
            [counts.done, counts.sold_out, counts.busy, counts.failed].map(|count| count.to_string());
        let times =
            [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(|us| write_ms(us as f64));
        let cells: String = counts.iter().chain(&times).map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr><th>{}</th>{cells}</tr>\n", text(&kind.name))
    };
    let rows: String = figures.kinds.iter().map(row).collect();
    format!(
        "<h2>By kind of request</h2>\n<p>Latency in milliseconds.</p>\n<table class=\"numbers\">\n<tr>{head}</tr>\n{rows}</table>\n"
    )
}

/// Microseconds as milliseconds.
fn write_ms(us: f64) -> String {
    let ms = us / 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{}", (ms * 100.0).round() / 100.0),
        ms => format!("{ms:.0}"),
    }
}

fn write_count(count: f64) -> String {
    match count {
        count if count >= 10_000.0 => format!("{}k", (count / 100.0).round() / 10.0),
        count => format!("{}", (count * 100.0).round() / 100.0),
    }
}

/// Text as HTML.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::recorder::Outcome;
    use crate::loadtest::report::tests::figures;

    fn report(figures: &Figures) -> String {
        let broken = ["1 < 2 & \"so\"".to_owned()];
        let rows = vec![("a <b>".to_owned(), "c & d".to_owned())];
        page(&Page { scenario: "mixed", holds: false, broken: &broken, rows, figures })
    }

    #[test]
    fn a_report_has_every_plot_and_asks_nobody() {
        let html = report(&figures(&[Outcome::Done, Outcome::SoldOut, Outcome::Failed("x".to_owned())]));
        assert_eq!(html.matches("<svg").count(), 4);
        for title in ["Latency over time", "Latency by percentile", "Throughput", "Refusals and failures"] {
            assert!(html.contains(title), "{title}");
        }
        for outside in ["://", "src=", "href=", "@import", "url(", "<script"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("prefers-color-scheme: dark"));
        assert!(html.contains("a &lt;b&gt;") && html.contains("1 &lt; 2 &amp; &quot;so&quot;"));
    }

    #[test]
    fn a_run_without_answers_still_gives_a_page() {
        let html = report(&figures(&[]));
        assert!(html.contains("BROKEN") && !html.contains("NaN") && !html.contains("inf "), "{html}");
    }

    #[test]
    fn each_nine_is_as_far_as_the_next() {
        let near = |p: f64, wanted: f64| nines(p).is_some_and(|nines| (nines - wanted).abs() < 1e-6);
        assert!(near(0.0, 0.0) && near(90.0, 1.0) && near(99.9, 3.0) && nines(100.0).is_none());
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(write_ms(1234.0), "1.23");
        assert_eq!(write_ms(25_400.0), "25");
        assert_eq!(write_count(24_812.0), "24.8k");
        assert_eq!(write_count(0.5), "0.5");
    }
}
