//! How much of the maps that `explain` writes lies on the moving shape of a generated clip.

use gru_rcn_data::MotionClip;
use serde_json::Value;

/// Sums over the cells and steps of a level's map: those on the shape, and all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mass {
    /// Positive values.
    pub positive: [f64; 2],
    /// Numbers of cells, which are the sums of a map that is the same everywhere.
    pub cells: [f64; 2],
}

impl Mass {
    /// Adds the sums of another map.
    pub fn add(&mut self, other: &Self) {
        let sums = self.positive.iter_mut().chain(&mut self.cells);
        sums.zip(other.positive.iter().chain(&other.cells)).for_each(|(sum, value)| *sum += value);
    }

    /// The shares of the positive values and of the cells that are on the shape.
    pub fn shares(&self) -> [f64; 2] {
        [self.positive, self.cells].map(|[on, all]| on / all)
    }
}

/// The sums of each level's `map`, `activation` or `attribution`, from a document of `explain` on a
/// generated clip whose frames were not cropped. A cell is on the shape if it touches the box around
/// the shape in the frame of its step, or is at most `margin` cells from one that does.
///
/// # Panics
///
/// If the document is something else.
pub fn masses(document: &Value, map: &str, clip: &MotionClip, margin: usize) -> Vec<(String, Mass)> {
    let boxes = clip.boxes();
    let number = |value: &Value| value.as_u64().expect("a number") as usize;
    let frames: Vec<usize> = document["frames"].as_array().expect("frames").iter().map(number).collect();
    let of_level = |level: &Value| {
        let size = [number(&level["rows"]), number(&level["columns"])];
        let mut mass = Mass::default();
        for (t, &frame) in frames.iter().enumerate() {
            let [top, left, bottom, right] = boxes[frame];
            let on = |cell: usize, cells: usize, first: usize, end: usize| {
                (cell + 1 + margin) * clip.size > first * cells && cell * clip.size < end * cells + margin * clip.size
            };
            for (row, column) in (0..size[0]).flat_map(|row| (0..size[1]).map(move |column| (row, column))) {
                let value = level[map][t][row][column].as_f64().expect("a value").max(0.0);
                let on = on(row, size[0], top, bottom) && on(column, size[1], left, right);
                let values = if on { [1.0, 1.0] } else { [0.0, 1.0] };
                mass.add(&Mass { positive: values.map(|share| share * value), cells: values });
            }
        }
        (level["level"].as_str().expect("a name").to_owned(), mass)
    };
    document["levels"].as_array().expect("levels").iter().map(of_level).collect()
}
