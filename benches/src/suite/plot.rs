//! Small line charts as SVG, without a library: axes, ticks, one polyline for each series and its name at the end.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::table::short;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    Linear,
    /// For what grows with the size of a table; nothing at or below zero can be drawn on it.
    Logarithmic,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Axis {
    pub name: String,
    pub scale: Scale,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plot {
    /// The file's name without its end.
    pub name: String,
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// A name and its points.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Left, right (for the names), top, bottom.
const MARGINS: (f64, f64, f64, f64) = (70.0, 150.0, 40.0, 50.0);
const COLOURS: [&str; 8] = ["#1b6ca8", "#c8553d", "#588157", "#8e6bbf", "#c9a227", "#3d5a80", "#9b2226", "#6c757d"];

impl Axis {
    #[must_use]
    pub fn linear(name: &str) -> Self {
        Self { name: name.to_owned(), scale: Scale::Linear }
    }

    #[must_use]
    pub fn logarithmic(name: &str) -> Self {
        Self { name: name.to_owned(), scale: Scale::Logarithmic }
    }
}

impl Plot {
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.svg", self.name)
    }

    #[must_use]
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let x = Range::of(self.x.scale, points().map(|point| point.0), (MARGINS.0, WIDTH - MARGINS.1));
        let y = Range::of(self.y.scale, points().map(|point| point.1), (HEIGHT - MARGINS.3, MARGINS.2));
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{}\" y=\"22\" font-size=\"14\">{}</text>\n",
            MARGINS.0,
            escaped(&self.title)
        );
        // Writing to a String cannot fail.
        let (left, bottom) = (MARGINS.0, HEIGHT - MARGINS.3);
        let right = WIDTH - MARGINS.1;
        for tick in x.ticks() {
            let at = x.place(tick);
            let _ = writeln!(
                text,
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                short(tick)
            );
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            let _ =
                writeln!(text, "<line x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>");
            let _ = writeln!(
                text,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                at + 4.0,
                short(tick)
            );
        }
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            left.midpoint(right),
            HEIGHT - 12.0,
            escaped(&self.x.name)
        );
        let _ = writeln!(
            text,
            "<text x=\"14\" y=\"{0}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {0})\">{1}</text>",
            bottom.midpoint(MARGINS.2),
            escaped(&self.y.name)
        );
        for (index, (name, points)) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let drawn = points.iter().filter(|(a, b)| x.holds(*a) && y.holds(*b));
            let places: Vec<String> = drawn.map(|(a, b)| format!("{:.1},{:.1}", x.place(*a), y.place(*b))).collect();
            let _ = writeln!(
                text,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>",
                places.join(" ")
            );
            // Names in a column of their own: lines that end in one place would write over each other.
            let at = MARGINS.2 + 16.0 * f64::from(u32::try_from(index).unwrap_or_default());
            let _ =
                writeln!(text, "<text x=\"{}\" y=\"{at}\" fill=\"{colour}\">— {}</text>", right + 10.0, escaped(name));
        }
        text + "</svg>\n"
    }
}

struct Range {
    scale: Scale,
    low: f64,
    high: f64,
    /// In the picture.
    from: f64,
    to: f64,
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64>, (from, to): (f64, f64)) -> Self {
        let usable = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) = usable.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match scale {
            _ if low > high => (1.0, 2.0),
            Scale::Linear => (low.min(0.0), if high > low.min(0.0) { high } else { low + 1.0 }),
            Scale::Logarithmic => {
                let decade = low.log10().floor();
                // A power of ten is the end of its decade, whatever rounding makes of its logarithm.
                (10f64.powf(decade), 10f64.powf((high * 0.999).log10().ceil().max(decade + 1.0)))
            }
        };
        Self { scale, low, high, from, to }
    }

    fn holds(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value / self.low).log10() / (self.high / self.low).log10(),
        };
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => (0..=5u8).map(|part| self.low + (self.high - self.low) * f64::from(part) / 5.0).collect(),
            Scale::Logarithmic => std::iter::successors(Some(self.low), |tick| Some(tick * 10.0))
                .take_while(|tick| *tick <= self.high * 1.01)
                .collect(),
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            name: "b2".to_owned(),
            title: "a < b".to_owned(),
            x: Axis::logarithmic("routes"),
            y: Axis::logarithmic("µs"),
            series: vec![("ours".to_owned(), points)],
        }
    }

    #[test]
    fn points_lie_inside_the_picture_and_grow_upwards() {
        let text = plot(vec![(1.0, 10.0), (1000.0, 1000.0)]).svg();
        assert!(text.contains("points=\"70.0,350.0 570.0,40.0\""), "{text}");
        assert!(text.contains("a &lt; b"));
    }

    #[test]
    fn nothing_and_what_cannot_be_drawn_still_make_a_picture() {
        assert!(plot(Vec::new()).svg().ends_with("</svg>\n"));
        let text = plot(vec![(0.0, 1.0), (10.0, f64::NAN), (10.0, 20.0)]).svg();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
