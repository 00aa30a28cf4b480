//! Latency against load, drawn.

use anyhow::{Context, Result, anyhow};
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor,
    SVGBackend, WHITE,
};

use super::{Latency, Report};

const SIZE: (u32, u32) = (960, 560);

/// A line: its name, how it is read, and its colour.
type Line = (&'static str, fn(&Latency) -> f64, RGBColor);

const LINES: [Line; 3] = [
    ("p50", |latency| latency.p50, RGBColor(0x2f, 0x6d, 0xb3)),
    ("p99", |latency| latency.p99, RGBColor(0xd9, 0x7a, 0x1b)),
    ("p99.9", |latency| latency.p999, RGBColor(0xb0, 0x2a, 0x3a)),
];

/// Latency of each rate, in ms, as an SVG picture. Refuses a report without rates.
pub fn plot(report: &Report) -> Result<String> {
    let points: Vec<_> =
        report.steps.iter().filter_map(|step| Some((step.offered_per_second?, step.latency_ms))).collect();
    let most = points.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
    let times = || points.iter().flat_map(|(_, latency)| LINES.map(|(_, read, _)| read(latency)));
    let (least, longest) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
    (most > 0.0 && least > 0.0).then_some(()).context("there is no rate whose latency could be drawn")?;

    let mut svg = String::new();
    draw(&mut svg, report, &points, (most * 1.05, least / 1.5..longest * 1.5))
        .map_err(|error| anyhow!("{error}"))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    report: &Report,
    points: &[(f64, Latency)],
    (most, times): (f64, std::ops::Range<f64>),
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("Verdicts over mTLS on {} cores, {} connections", report.cores, report.connections);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..most, times.log_scale())?;
    chart.configure_mesh().x_desc("taps a second").y_desc("ms from due to answered").draw()?;
    for (name, read, colour) in LINES {
        let line = || points.iter().map(|(rate, latency)| (*rate, read(latency)));
        chart
            .draw_series(LineSeries::new(line(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(line().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::report;

    #[test]
    fn every_rate_is_drawn_and_a_report_without_one_refused() {
        let svg = plot(&report(&[Some(100.0), Some(900.0)])).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 6);
        for (name, ..) in LINES {
            assert!(svg.contains(name));
        }
        assert!(plot(&report(&[None])).unwrap_err().to_string().contains("no rate"));
    }
}
