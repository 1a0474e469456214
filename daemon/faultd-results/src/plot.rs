//! Throughput over time as a picture, with the time of the fault shaded.

use kuva::{
    backend::{raster::RasterBackend, svg::SvgBackend},
    plot::{LegendEntry, LegendPosition, LegendShape, LinePlot, MarkerShape, ScatterPlot},
    render::{
        annotations::{ReferenceLine, ShadedRegion},
        layout::{Layout, TickFormat},
        plots::Plot,
        render::{Primitive, Scene, TextAnchor, render_multiple},
        theme::Theme,
    },
};

use crate::{event::LeaderChange, metadata::Metadata, phase::Phase, summary::Summary, timeseries::Row};

// Colours of Okabe and Ito, which people with any colour vision can tell apart.
const THROUGHPUT_COLOR: &str = "#0072b2";
const FAULT_COLOR: &str = "#e69f00";
/// [`FAULT_COLOR`] at [`FAULT_OPACITY`] on white, for the legend, which knows no opacity.
const FAULT_LEGEND_COLOR: &str = "#f8e7bf";
const ERROR_COLOR: &str = "#d55e00";
const LEADER_COLOR: &str = "#cc79a7";
const BASELINE_COLOR: &str = "#444444";

const FAULT_OPACITY: f64 = 0.25;
const GRID_COLOR: &str = "#e4e4e4";
const BASELINE_DASHES: &str = "6 4";
const LEADER_DASHES: &str = "2 3";
/// Names of new leaders that are nearer to each other than this share of the axis could not be read.
const LEADER_NAMES_APART: f64 = 0.12;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const MARGIN_LEFT: f64 = 64.0;
const MARGIN_RIGHT: f64 = 24.0;
const MARGIN_TOP: f64 = 92.0;
const MARGIN_BOTTOM: f64 = 92.0;

const Y_LABEL_LEFT: f64 = 12.0;
const LABEL_SIZE: u32 = 14;

/// In characters.
const LONGEST_LARGE_TITLE: usize = 40;
const LONGEST_SUBTITLE: usize = 90;

/// About how many ticks an axis has.
const X_TICKS: f64 = 10.0;
const Y_TICKS: f64 = 5.0;

/// Dots per unit of the SVG.
const PNG_SCALE: f32 = 2.0;

/// The picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the plot: {0}")]
pub struct PlotError(String);

/// Throughput over time as SVG.
#[must_use]
pub fn throughput_svg(metadata: &Metadata, summary: &Summary, rows: &[Row]) -> String {
    let svg = SvgBackend::new().render_scene(&throughput(metadata, summary, rows));
    // Without a view box, the picture is cut instead of scaled where a document gives it less room.
    svg.replacen("<svg ", &format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" "), 1)
}

/// Throughput over time as PNG, 1520 dots wide.
///
/// # Errors
/// The picture cannot be encoded.
pub fn throughput_png(metadata: &Metadata, summary: &Summary, rows: &[Row]) -> Result<Vec<u8>, PlotError> {
    let backend = RasterBackend::new().with_scale(PNG_SCALE);
    backend.render_scene(&throughput(metadata, summary, rows)).map_err(PlotError)
}

fn throughput(metadata: &Metadata, summary: &Summary, rows: &[Row]) -> Scene {
    let measured: Vec<&Row> = rows.iter().filter(|row| row.phase != Phase::WarmUp).collect();
    let failing: Vec<&Row> = measured.iter().copied().filter(|row| row.errors > 0).collect();
    let (end_s, top) = (end_s(&measured), top_ops_per_s(&measured));
    let mut legend = vec![entry("throughput", THROUGHPUT_COLOR, LegendShape::Line)];
    let mut layout = axes(end_s, top)
        .with_title(&metadata.label)
        .with_title_size(title_size(&metadata.label))
        .with_subtitle(metadata.faults_in_words())
        .with_subtitle_wrap(LONGEST_SUBTITLE);
    if let Some(normal) = summary.fault_window.and(summary.phase(Phase::Baseline)) {
        layout = layout.with_reference_line(
            ReferenceLine::horizontal(normal.mean_ops_per_s)
                .with_color(BASELINE_COLOR)
                .with_dasharray(BASELINE_DASHES),
        );
        legend.push(LegendEntry {
            dasharray: Some(BASELINE_DASHES.to_owned()),
            ..entry("mean before the fault", BASELINE_COLOR, LegendShape::Line)
        });
    }
    let shaded = shaded_seconds(summary, &measured, end_s);
    if !shaded.is_empty() {
        legend.push(entry("fault in effect", FAULT_LEGEND_COLOR, LegendShape::Rect));
    }
    for (from_s, to_s) in shaded {
        let region = ShadedRegion::vertical(from_s, to_s).with_color(FAULT_COLOR).with_opacity(FAULT_OPACITY);
        layout = layout.with_shaded_region(region);
    }
    let leaders = leader_lines(&summary.leader_changes, end_s);
    if !leaders.is_empty() {
        legend.push(LegendEntry {
            dasharray: Some(LEADER_DASHES.to_owned()),
            ..entry("new leader", LEADER_COLOR, LegendShape::Line)
        });
    }
    for line in leaders {
        layout = layout.with_reference_line(line);
    }
    if !failing.is_empty() {
        legend.push(entry("second with errors", ERROR_COLOR, LegendShape::Marker(MarkerShape::Triangle)));
    }
    let plots = vec![Plot::Line(line(&measured)), Plot::Scatter(errors(&failing, top))];
    let mut scene = render_multiple(plots, layout.with_legend_entries(legend));
    scene.add(y_label());
    scene
}

/// The axes and all that does not depend on the run, from 0 to the end and to the top.
fn axes(end_s: f64, top_ops_per_s: f64) -> Layout {
    Layout::new((0.0, end_s), (0.0, top_ops_per_s))
        .with_theme(Theme { grid_color: GRID_COLOR.to_owned(), ..Theme::light() })
        .with_width(WIDTH)
        .with_height(HEIGHT)
        .with_force_margins(MARGIN_LEFT, MARGIN_RIGHT)
        .with_force_margins_y(MARGIN_TOP, MARGIN_BOTTOM)
        .with_x_label("time (s)")
        .with_x_axis_min(0.0)
        .with_x_axis_max(end_s)
        .with_x_tick_step(tick_step(end_s, X_TICKS))
        .with_x_tick_format(TickFormat::Integer)
        .with_y_axis_min(0.0)
        .with_y_axis_max(top_ops_per_s)
        .with_y_tick_step(tick_step(top_ops_per_s, Y_TICKS))
        .with_y_tick_format(TickFormat::Integer)
        .with_legend_position(LegendPosition::OutsideBottomColumns)
        .with_legend_box(false)
}

/// Smaller for a long label, so that 64 wide letters fit too.
const fn title_size(label: &str) -> u32 {
    if label.len() <= LONGEST_LARGE_TITLE { 18 } else { 12 }
}

/// Upright above the axis: that is read without turning the head, and drawn without blurring it.
fn y_label() -> Primitive {
    Primitive::Text {
        x: Y_LABEL_LEFT,
        y: MARGIN_TOP - 12.0,
        content: "throughput (ops/s)".to_owned(),
        size: LABEL_SIZE,
        anchor: TextAnchor::Start,
        rotate: None,
        bold: false,
        color: None,
    }
}

/// End of the last second, at least 1, so that a run without a second still has an axis.
fn end_s(rows: &[&Row]) -> f64 {
    rows.last().map_or(1.0, |row| row.t_s as f64 + 1.0)
}

/// The tick above the highest throughput, with a little air.
fn top_ops_per_s(rows: &[&Row]) -> f64 {
    let peak = rows.iter().map(|row| row.ops).max().unwrap_or(0) as f64;
    let step = tick_step(peak, Y_TICKS);
    (peak * 1.05 / step).ceil().max(1.0) * step
}

/// From when to when faults held, as far as the picture goes: the exact times of the first and the last, and in
/// between, where a schedule had them come and go, whole seconds.
fn shaded_seconds(summary: &Summary, rows: &[&Row], end_s: f64) -> Vec<(f64, f64)> {
    let Some(window) = &summary.fault_window else { return Vec::new() };
    let Some(effective_s) = window.effective_s else { return Vec::new() };
    let (from_s, to_s) = (effective_s.max(0.0), window.cleared_s.unwrap_or(end_s).min(end_s));
    let mut shaded: Vec<(f64, f64)> = Vec::new();
    for row in rows.iter().filter(|row| row.phase == Phase::Injection) {
        let (begin, end) = (row.t_s as f64, row.t_s as f64 + 1.0);
        match shaded.last_mut() {
            Some(last) if last.1 >= begin => last.1 = end,
            _ => shaded.push((begin, end)),
        }
    }
    let last = shaded.len().saturating_sub(1);
    match (shaded.first().copied(), shaded.get(last).copied()) {
        (Some((_, first_end)), Some((last_begin, _))) if last > 0 => {
            shaded.splice(..1, [(from_s, first_end)]);
            shaded.splice(last.., [(last_begin, to_s)]);
            shaded
        }
        // One time, or one that is shorter than a second.
        _ => vec![(from_s, to_s)],
    }
}

/// When another member came to lead, and its name where there is room for it.
fn leader_lines(changes: &[LeaderChange], end_s: f64) -> Vec<ReferenceLine> {
    let mut last_named_s = f64::NEG_INFINITY;
    let within = changes.iter().filter(|change| (0.0..=end_s).contains(&change.t_s));
    let line = |change: &LeaderChange| {
        let line = ReferenceLine::vertical(change.t_s)
            .with_color(LEADER_COLOR)
            .with_stroke_width(1.4)
            .with_dasharray(LEADER_DASHES);
        if change.t_s - last_named_s < end_s * LEADER_NAMES_APART {
            return line;
        }
        last_named_s = change.t_s;
        line.with_label(&change.member)
    };
    within.map(line).collect()
}

/// A distance between ticks of 1, 2 or 5 times a power of ten, whole, for about `ticks` ticks.
fn tick_step(range: f64, ticks: f64) -> f64 {
    let rough = (range / ticks).max(1.0);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough).unwrap_or(10.0 * power)
}

fn entry(label: &str, color: &str, shape: LegendShape) -> LegendEntry {
    LegendEntry { label: label.to_owned(), color: color.to_owned(), shape, dasharray: None }
}

/// The middle of the second that the row stands for.
fn middle_s(row: &Row) -> f64 {
    row.t_s as f64 + 0.5
}

fn line(rows: &[&Row]) -> LinePlot {
    LinePlot::new()
        .with_data(rows.iter().map(|row| (middle_s(row), row.ops as f64)))
        .with_color(THROUGHPUT_COLOR)
        .with_stroke_width(1.8)
}

/// Just above the axis, where throughput is when it is bad enough to fail.
fn errors(rows: &[&Row], top_ops_per_s: f64) -> ScatterPlot {
    ScatterPlot::new()
        .with_data(rows.iter().map(|row| (middle_s(row), top_ops_per_s * 0.018)))
        .with_color(ERROR_COLOR)
        .with_marker(MarkerShape::Triangle)
        .with_size(4.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::FaultWindow,
        metadata::tests::slow_leader,
        recorder::PhaseLatencies,
        summary::{Measurement, Status, tests::rows},
    };
    use Phase::{Baseline, Injection, Recovery, WarmUp};

    fn drawn(seconds: &[(Phase, u64)], fault_window: Option<FaultWindow>) -> (String, Vec<u8>) {
        let (metadata, rows) = (slow_leader(), rows(-1, seconds));
        let summary = Summary::of(Measurement {
            status: Status::Done,
            tainted: None,
            rows: &rows,
            latencies: &PhaseLatencies::default(),
            fault_window,
            rules: Vec::new(),
            findings: Vec::new(),
        });
        let png = throughput_png(&metadata, &summary, &rows).unwrap();
        (throughput_svg(&metadata, &summary, &rows), png)
    }

    const WINDOW: FaultWindow = FaultWindow {
        commanded_s: 1.0,
        effective_s: Some(1.0),
        clear_commanded_s: Some(2.0),
        cleared_s: Some(2.0),
    };

    #[test]
    fn the_picture_says_what_run_it_is_and_shades_the_fault() {
        let seconds = [(WarmUp, 1), (Baseline, 1300), (Injection, 0), (Recovery, 900), (Recovery, 1310)];
        let (svg, png) = drawn(&seconds, Some(WINDOW));
        for text in [
            "leader_delay100_mid",
            "delay 100 ms on leader (etcd2), egress",
            "time (s)",
            "throughput (ops/s)",
            "mean before the fault",
            "fault in effect",
            "second with errors",
        ] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        // A quarter of the four seconds of the axis.
        let width = (WIDTH - MARGIN_LEFT - MARGIN_RIGHT) / 4.0;
        assert!(svg.contains(&format!("width=\"{width}\"")) && svg.contains(FAULT_COLOR), "{svg}");
        assert_eq!(png.get(..4), Some(&b"\x89PNG"[..]));
        assert_eq!(png.get(16..20), Some(&1520u32.to_be_bytes()[..]), "width in the header");
    }

    #[test]
    fn a_fault_that_comes_and_goes_is_shaded_each_time() {
        let phases = [Baseline, Injection, Injection, Recovery, Injection, Recovery];
        let rows = rows(0, &phases.map(|phase| (phase, 10)));
        let window = FaultWindow { effective_s: Some(1.01), cleared_s: Some(5.02), ..WINDOW };
        let summary = Summary::of(Measurement {
            status: Status::Done,
            tainted: None,
            rows: &rows,
            latencies: &PhaseLatencies::default(),
            fault_window: Some(window),
            rules: Vec::new(),
            findings: Vec::new(),
        });
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!(shaded_seconds(&summary, &rows, 6.0), [(1.01, 3.0), (4.0, 5.02)]);
        assert_eq!(shaded_seconds(&summary, &rows[..3], 3.0), [(1.01, 3.0)]);
    }

    #[test]
    fn new_leaders_are_marked_and_named_where_there_is_room() {
        let change = |t_s: f64, member: &str| LeaderChange { t_s, member: member.to_owned() };
        let changes =
            [change(-1.0, "a"), change(10.0, "b"), change(11.0, "c"), change(50.0, "d"), change(101.0, "e")];
        let lines = leader_lines(&changes, 100.0);
        let named: Vec<_> = lines.iter().map(|line| (line.value, line.label.as_deref())).collect();
        assert_eq!(named, [(10.0, Some("b")), (11.0, None), (50.0, Some("d"))]);

        let (metadata, rows) = (slow_leader(), rows(0, &[(Baseline, 900), (Baseline, 950)]));
        let latencies = PhaseLatencies::default();
        let summary = Summary {
            leader_changes: vec![change(1.2, "etcd1")],
            ..Summary::of(Measurement {
                status: Status::Done,
                tainted: None,
                rows: &rows,
                latencies: &latencies,
                fault_window: None,
                rules: Vec::new(),
                findings: Vec::new(),
            })
        };
        let svg = throughput_svg(&metadata, &summary, &rows);
        assert!(svg.contains("new leader") && svg.contains(">etcd1<"), "{svg}");
    }

    #[test]
    fn a_baseline_has_no_shade_and_an_empty_run_is_still_a_picture() {
        let (svg, _) = drawn(&[(WarmUp, 1), (Baseline, 9)], None);
        assert!(!svg.contains("fault in effect") && !svg.contains(FAULT_COLOR), "{svg}");
        for empty in [drawn(&[], None), drawn(&[(WarmUp, 0), (Injection, 0)], Some(WINDOW))] {
            assert!(empty.0.starts_with("<svg") && !empty.0.contains("NaN"), "{}", empty.0);
        }
    }

    #[test]
    fn ticks_are_round_whole_numbers() {
        let steps = [0.0, 3.0, 10.0, 20.0, 30.0, 150.0, 3600.0].map(|end_s| tick_step(end_s, X_TICKS));
        assert_eq!(steps, [1.0, 1.0, 1.0, 2.0, 5.0, 20.0, 500.0]);
        let tops = [0, 1, 7, 1378, 21_700].map(|ops| {
            let rows = rows(0, &[(Baseline, ops)]);
            top_ops_per_s(&rows.iter().collect::<Vec<_>>())
        });
        assert_eq!(tops, [1.0, 2.0, 8.0, 1500.0, 25_000.0]);
    }
}
