//! How severe the faults of a schedule are over time, as a picture.

use kuva::{
    backend::svg::SvgBackend,
    plot::{LegendEntry, LegendPosition, LegendShape, LinePlot},
    render::{
        layout::{Layout, TickFormat},
        plots::Plot,
        render::render_multiple,
        theme::Theme,
    },
};

/// Colours of Okabe and Ito, which people with any colour vision can tell apart.
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"];
const GRID_COLOR: &str = "#e4e4e4";
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;

/// One line of the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Seconds and severity (1 is the fault as asked for); each holds until the next.
    pub points: Vec<(f64, f64)>,
}

/// The picture as SVG, from 0 to `end_s` seconds.
#[must_use]
pub fn severity_svg(title: &str, series: &[Series], end_s: f64) -> String {
    let end_s = if end_s.is_finite() && end_s > 0.0 { end_s } else { 1.0 };
    let points = series.iter().flat_map(|series| &series.points);
    let top = points.map(|(_, severity)| severity * 100.0).fold(100.0, f64::max);
    let colors = || COLORS.iter().cycle();
    let lines = series.iter().zip(colors()).map(|(series, color)| Plot::Line(steps(series, color, end_s)));
    let entries = series.iter().zip(colors()).map(|(series, color)| LegendEntry {
        label: series.name.clone(),
        color: (*color).to_owned(),
        shape: LegendShape::Line,
        dasharray: None,
    });
    let layout = Layout::new((0.0, end_s), (0.0, top))
        .with_theme(Theme { grid_color: GRID_COLOR.to_owned(), ..Theme::light() })
        .with_width(WIDTH)
        .with_height(HEIGHT)
        .with_title(title)
        .with_title_size(16)
        .with_x_label("time (s)")
        .with_y_label("severity (% of the fault)")
        .with_x_axis_min(0.0)
        .with_x_axis_max(end_s)
        .with_x_tick_format(TickFormat::Auto)
        .with_y_axis_min(0.0)
        .with_y_axis_max(top * 1.05)
        .with_legend_position(LegendPosition::OutsideBottomColumns)
        .with_legend_box(false)
        .with_legend_entries(entries.collect());
    let mut plots: Vec<Plot> = lines.collect();
    if plots.is_empty() {
        plots.push(Plot::Line(LinePlot::new().with_data([(0.0, 0.0), (end_s, 0.0)]).with_color(GRID_COLOR)));
    }
    let svg = SvgBackend::new().render_scene(&render_multiple(plots, layout));
    // Without a view box, the picture is cut instead of scaled where a document gives it less room.
    svg.replacen("<svg ", &format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" "), 1)
}

/// A severity holds until it changes: corners, not slopes.
fn steps(series: &Series, color: &str, end_s: f64) -> LinePlot {
    let mut corners = Vec::with_capacity(series.points.len() * 2 + 2);
    let mut before = 0.0;
    corners.push((0.0, 0.0));
    for (at, severity) in &series.points {
        let at = at.clamp(0.0, end_s);
        corners.push((at, before));
        before = severity * 100.0;
        corners.push((at, before));
    }
    corners.push((end_s, before));
    LinePlot::new().with_data(corners).with_color(color).with_stroke_width(1.8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_a_line_and_a_name_for_each_series() {
        let series =
            |name: &str| Series { name: name.into(), points: vec![(0.0, 0.0), (10.0, 1.0), (20.0, 0.0)] };
        let svg = severity_svg("flap", &[series("leader egress"), series("node2 egress")], 30.0);
        assert!(svg.starts_with("<svg viewBox"), "{svg}");
        for text in ["flap", "leader egress", "node2 egress", "severity"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.contains(COLORS[0]) && svg.contains(COLORS[1]));
    }

    #[test]
    fn nothing_and_no_time_are_drawn_too() {
        assert!(severity_svg("nothing", &[], 0.0).contains("</svg>"));
        assert!(severity_svg("nothing", &[], f64::NAN).contains("</svg>"));
    }
}
