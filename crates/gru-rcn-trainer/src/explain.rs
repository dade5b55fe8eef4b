//! Where and when a system finds a class in a clip: maps as numbers, and drawn over the frames.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::Tensor;
use gif::{Encoder, Frame, Repeat};
use gru_rcn::class_activation::ClassActivation;
use gru_rcn::percepts::{Level, Percepts};
use gru_rcn_data::base::remove;
use image::imageops::{FilterType, replace, resize};
use image::{Luma, Pixel, Rgb, RgbImage, Rgba, Rgba32FImage};
use serde::Serialize;

use crate::run::dir::write_atomically;
use crate::scoring::Scorable;

/// Duration of a step in an animation, hundredths of a second.
const DELAY: u16 = 30;

/// Frames are enlarged by a whole factor, to at most this many pixels on the longer side.
const PANEL: u32 = 256;

/// Opacity of the largest value of a map.
const OPACITY: f32 = 0.75;

/// Values for every cell of a level at every time step, `[step][row][column]`.
type Map = Vec<Vec<Vec<f32>>>;

/// The maps of a class at one level, for one clip.
#[derive(Serialize)]
pub(crate) struct LevelMaps {
    pub(crate) level: String,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// The activations and this bias add up to the logit of the class; `None` if they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bias: Option<f32>,
    pub(crate) activation: Map,
    /// For recurrent layers, the share that is due to the percepts of each cell and step.
    #[serde(skip_serializing_if = "Option::is_none")]
    attribution: Option<Map>,
    /// For recurrent layers, the mean over channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) update_gate: Option<Map>,
}

/// The maps of a class in one clip, at every level where the system has some; `levels` are those of the
/// CNN that made the percepts.
pub(crate) fn explain(
    model: &dyn Scorable<Percepts>,
    levels: &[Level],
    percepts: Percepts,
    class: usize,
) -> Result<Vec<LevelMaps>> {
    let of_level = |found: ClassActivation| -> Result<LevelMaps> {
        let [_, _, rows, columns] = found.activation.dims();
        let level = levels[found.level].name.clone();
        let values = |map: Tensor<4>| -> Result<Map> {
            let values = map.try_into_data()?.try_into_vec::<f32>()?;
            ensure!(values.iter().all(|value| value.is_finite()), "the maps of level {level} are not finite");
            let step = |cells: &[f32]| cells.chunks(columns).map(<[f32]>::to_vec).collect();
            Ok(values.chunks(rows * columns).map(step).collect())
        };
        Ok(LevelMaps {
            activation: values(found.activation)?,
            attribution: found.attribution.map(values).transpose()?,
            update_gate: found.update.map(values).transpose()?,
            bias: found.bias.map(|bias| bias.try_into_scalar::<f32>()).transpose()?,
            level,
            rows,
            columns,
        })
    };
    model.class_activation(percepts, class).into_iter().map(of_level).collect()
}

fn values(map: &Map) -> impl Iterator<Item = f32> {
    map.iter().flatten().flatten().copied()
}

impl LevelMaps {
    /// Whether the level has several cells, so that it says where and not only when.
    pub(crate) fn has_places(&self) -> bool {
        self.rows * self.columns > 1
    }

    /// The sum of all activations.
    pub(crate) fn sum(&self) -> f32 {
        values(&self.activation).sum()
    }

    /// The least and the greatest mean of the update gates.
    pub(crate) fn gate_range(&self) -> Option<(f32, f32)> {
        let gates = self.update_gate.as_ref()?;
        Some(values(gates).fold((f32::MAX, f32::MIN), |(least, most), gate| (least.min(gate), most.max(gate))))
    }

    /// The picture of a step with the update gates over it, in yellow, from the least of the clip to the
    /// greatest.
    pub(crate) fn over_gates(&self, picture: &RgbImage, step: usize) -> Option<RgbImage> {
        let ((least, most), gates) = (self.gate_range()?, self.update_gate.as_ref()?);
        let range = (most - least).max(f32::MIN_POSITIVE);
        Some(overlaid(picture, &gates[step], |gate| ([1.0, 0.85, 0.0], (gate - least) / range)))
    }

    /// The picture of a step with evidence for the class in red over it and evidence against it in blue,
    /// relative to the largest of the clip: the attributions, or the activations of a level without any.
    pub(crate) fn over_class(&self, picture: &RgbImage, step: usize) -> RgbImage {
        let map = self.attribution.as_ref().unwrap_or(&self.activation);
        with_sign(picture, &map[step], values(map))
    }

    /// The same for sums over the steps: one picture of the attributions, if there are any, and one of the
    /// activations.
    fn over_sums(&self, picture: &RgbImage) -> Vec<RgbImage> {
        let over = |map: &Map| {
            let sum = |row: usize, column: usize| map.iter().map(|step| step[row][column]).sum::<f32>();
            let row = |row: usize| (0..self.columns).map(|column| sum(row, column)).collect();
            let sums: Vec<Vec<f32>> = (0..self.rows).map(row).collect();
            with_sign(picture, &sums, sums.iter().flatten().copied())
        };
        self.attribution.iter().chain([&self.activation]).map(over).collect()
    }
}

/// A picture with positive values in red and negative ones in blue, relative to the largest of `all`.
fn with_sign(picture: &RgbImage, map: &[Vec<f32>], all: impl Iterator<Item = f32>) -> RgbImage {
    let largest = all.fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let colour = |value: f32| if value > 0.0 { [1.0, 0.1, 0.0] } else { [0.0, 0.3, 1.0] };
    overlaid(picture, map, |value| (colour(value), value.abs() / largest))
}

/// A picture in grey, whose own colours would mix with those of the map, under a map that is stretched over
/// it: `colour` gives the colour and the opacity, from 0 to 1, of a value; both are interpolated linearly
/// between the centres of cells.
fn overlaid(picture: &RgbImage, map: &[Vec<f32>], colour: impl Fn(f32) -> ([f32; 3], f32)) -> RgbImage {
    let cells = Rgba32FImage::from_fn(map[0].len() as u32, map.len() as u32, |x, y| {
        let ([r, g, b], opacity) = colour(map[y as usize][x as usize]);
        let a = OPACITY * opacity;
        Rgba([a * r, a * g, a * b, a])
    });
    let (width, height) = picture.dimensions();
    let tints = resize(&cells, width, height, FilterType::Triangle);
    RgbImage::from_fn(width, height, |x, y| {
        let (Luma([grey]), Rgba([r, g, b, a])) = (picture.get_pixel(x, y).to_luma(), *tints.get_pixel(x, y));
        Rgb([r, g, b].map(|tint| (f32::from(grey) * (1.0 - a) + 255.0 * tint).round() as u8))
    })
}

/// Rows of pictures of one size as one picture; a shorter row ends in black.
fn sheet(rows: &[Vec<RgbImage>]) -> RgbImage {
    let (width, height) = rows[0][0].dimensions();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let mut sheet = RgbImage::new(columns * width, rows.len() as u32 * height);
    for (y, row) in rows.iter().enumerate() {
        for (x, picture) in row.iter().enumerate() {
            replace(&mut sheet, picture, i64::from(x as u32 * width), i64::from(y as u32 * height));
        }
    }
    sheet
}

/// Removes the pictures of an earlier call, which may have written more of them.
pub(crate) fn remove_pictures(folder: &Path) -> Result<()> {
    let step = |n: usize| folder.join(format!("step-{n:02}.png"));
    let steps = (0..).map(step).take_while(|path| path.exists());
    for path in steps.chain(["sum.png", "explain.gif"].map(|name| folder.join(name))) {
        remove(&path)?;
    }
    Ok(())
}

/// Writes the maps over the frames of a clip, RGB pictures of one size: `step-NN.png`, with a row per
/// level that shows the frame, the update gates over it, if there are any, and the class over it;
/// `explain.gif`, all steps in turn; and `sum.png`, the sums over the steps over the mean of the frames.
pub(crate) fn draw(folder: &Path, frames: &[RgbImage], levels: &[&LevelMaps]) -> Result<()> {
    let write = |name: &str, sheet: &RgbImage| -> Result<()> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        sheet.write_to(&mut bytes, image::ImageFormat::Png).with_context(|| format!("cannot encode {name}"))?;
        write_atomically(&folder.join(name), &bytes.into_inner())
    };
    let enlarged: Vec<RgbImage> = frames.iter().map(enlarged).collect();
    let mut animation = Vec::new();
    for (step, frame) in enlarged.iter().enumerate() {
        let row = |level: &&LevelMaps| -> Vec<RgbImage> {
            let panels = [Some(frame.clone()), level.over_gates(frame, step), Some(level.over_class(frame, step))];
            panels.into_iter().flatten().collect()
        };
        let sheet = sheet(&levels.iter().map(row).collect::<Vec<_>>());
        write(&format!("step-{step:02}.png"), &sheet)?;
        animation.push(sheet);
    }
    let mean = mean(&enlarged);
    write("sum.png", &sheet(&levels.iter().map(|level| level.over_sums(&mean)).collect::<Vec<_>>()))?;
    write_atomically(&folder.join("explain.gif"), &animated(&animation)?)
}

fn enlarged(frame: &RgbImage) -> RgbImage {
    let times = (PANEL / frame.width().max(frame.height())).max(1);
    resize(frame, times * frame.width(), times * frame.height(), FilterType::Triangle)
}

fn mean(frames: &[RgbImage]) -> RgbImage {
    let (width, height) = frames[0].dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let sum = |channel: usize| frames.iter().map(|frame| u32::from(frame.get_pixel(x, y).0[channel])).sum::<u32>();
        Rgb([0, 1, 2].map(|channel| (sum(channel) / frames.len() as u32) as u8))
    })
}

/// A GIF that shows the pictures over and over.
fn animated(pictures: &[RgbImage]) -> Result<Vec<u8>> {
    let (width, height) = pictures[0].dimensions();
    let side = |pixels: u32| u16::try_from(pixels).context("the pictures are too large for a GIF");
    let (width, height) = (side(width)?, side(height)?);
    let mut encoder = Encoder::new(Vec::new(), width, height, &[])?;
    encoder.set_repeat(Repeat::Infinite)?;
    for picture in pictures {
        let frame = Frame::from_rgb_speed(width, height, picture, 10);
        encoder.write_frame(&Frame { delay: DELAY, ..frame })?;
    }
    Ok(encoder.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(activation: Map, update_gate: Option<Map>) -> LevelMaps {
        let (rows, columns) = (activation[0].len(), activation[0][0].len());
        LevelMaps { level: "top".into(), rows, columns, bias: Some(0.5), activation, attribution: None, update_gate }
    }

    /// A row of two cells over two pixels of grey: half of the largest value has half of its opacity,
    /// 0.375 of (255, 25.5, 0) with 0.625 of 100; evidence against the class is blue.
    #[test]
    fn overlays_by_hand() {
        let grey = RgbImage::from_pixel(2, 1, Rgb([100; 3]));
        let level = maps(vec![vec![vec![0.5, -1.0]], vec![vec![0.0, 0.0]]], Some(vec![vec![vec![0.25, 0.75]]; 2]));
        let pixels = |picture: RgbImage| picture.pixels().map(|pixel| pixel.0).collect::<Vec<_>>();
        assert_eq!(pixels(level.over_class(&grey, 0)), [[158, 72, 63], [25, 82, 216]]);
        assert_eq!(pixels(level.over_class(&grey, 1)), [[100; 3]; 2]);
        assert_eq!(pixels(level.over_gates(&grey, 1).unwrap()), [[100; 3], [216, 188, 25]]);
        assert_eq!((level.sum(), level.gate_range()), (-0.5, Some((0.25, 0.75))));
    }

    /// A clip of two steps: a still of each, the sum, and an animation of as many pictures.
    #[test]
    fn pictures_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let frames = [10, 30].map(|grey| RgbImage::from_pixel(64, 32, Rgb([grey; 3])));
        let recurrent = maps(vec![vec![vec![0.5, 1.0]]; 2], Some(vec![vec![vec![0.5, 0.5]]; 2]));
        draw(folder.path(), &frames, &[&recurrent, &maps(vec![vec![vec![0.0, 1.0]]; 2], None)]).unwrap();
        let open = |name: &str| image::open(folder.path().join(name)).unwrap().into_rgb8();
        assert_eq!((open("step-00.png").dimensions(), open("step-01.png").dimensions()), ((768, 256), (768, 256)));
        assert_eq!(open("step-01.png").get_pixel(0, 0).0, [30; 3]);
        assert_eq!(open("sum.png").dimensions(), (256, 256));
        let animation = std::fs::File::open(folder.path().join("explain.gif")).unwrap();
        let mut animation = gif::DecodeOptions::new().read_info(animation).unwrap();
        assert_eq!((animation.width(), animation.height(), animation.repeat()), (768, 256, Repeat::Infinite));
        let mut shown = 0;
        while animation.read_next_frame().unwrap().is_some() {
            shown += 1;
        }
        assert_eq!(shown, 2);
    }
}
