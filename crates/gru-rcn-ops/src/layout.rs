//! How a map lies in memory.

use rayon::prelude::*;

/// A channels-last map `[height, width, channels]` with a border of zeros, so that windows which
/// overhang the map need no special case; it may be a slice of the channels of a wider map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// Channels of the wider map, which is the distance of two pixels.
    pub(crate) stride: usize,
    /// First channel in the wider map.
    pub(crate) first: usize,
    /// Pixels of zeros at top, left, bottom, right.
    pub(crate) border: [usize; 4],
}

impl Layout {
    /// Floats of the wider map with its border.
    pub(crate) fn len(&self) -> usize {
        (self.border[0] + self.height + self.border[2]) * self.row()
    }

    /// Floats of a row with its border.
    pub(crate) fn row(&self) -> usize {
        (self.border[1] + self.width + self.border[3]) * self.stride
    }

    /// Index of the first channel of the pixel at row `y`, column `x`, which count from the border
    /// `before` pixels above and left of the map.
    pub(crate) fn index(&self, [y, x]: [usize; 2], before: [usize; 2]) -> usize {
        (self.border[0] + y - before[0]) * self.row() + (self.border[1] + x - before[1]) * self.stride + self.first
    }

    /// Index of the first channel of a pixel of the map.
    pub(crate) fn pixel(&self, y: usize, x: usize) -> usize {
        self.index([y, x], [0, 0])
    }

    /// Writes the zeros of the border of the wider map.
    pub(crate) fn clear_border(&self, map: &mut [f32]) {
        let (row, [top, left, bottom, right]) = (self.row(), self.border);
        let map = &mut map[..self.len()];
        map[..top * row].fill(0.0);
        let end = map.len() - bottom * row;
        map[end..].fill(0.0);
        if left + right > 0 {
            for row in map[top * row..end].chunks_exact_mut(row) {
                row[..left * self.stride].fill(0.0);
                let end = row.len() - right * self.stride;
                row[end..].fill(0.0);
            }
        }
    }

    /// Copies a frame `[channel, height, width]` into the map.
    pub(crate) fn read_planes(&self, planes: &[f32], map: &mut [f32]) {
        let plane = self.height * self.width;
        for y in 0..self.height {
            let start = self.pixel(y, 0);
            for (c, plane) in planes.chunks_exact(plane).enumerate() {
                let pixels = map[start + c..].iter_mut().step_by(self.stride);
                for (to, &from) in pixels.zip(&plane[y * self.width..][..self.width]) {
                    *to = from;
                }
            }
        }
    }

    /// Copies the map to a frame `[channel, height, width]`.
    pub(crate) fn write_planes(&self, map: &[f32], planes: &mut [f32]) {
        let plane = self.height * self.width;
        for y in 0..self.height {
            let start = self.pixel(y, 0);
            // Eight planes at a time use whole cache lines of the map.
            for (group, planes) in planes.chunks_mut(8 * plane).enumerate() {
                for (x, pixel) in map[start..].chunks(self.stride).take(self.width).enumerate() {
                    for (to, &from) in planes[y * self.width + x..].iter_mut().step_by(plane).zip(&pixel[group * 8..]) {
                        *to = from;
                    }
                }
            }
        }
    }

    /// Copies the map to a frame `[height, width, channel]`.
    pub(crate) fn write_pixels(&self, map: &[f32], out: &mut [f32]) {
        for (i, out) in out.chunks_exact_mut(self.channels).enumerate() {
            out.copy_from_slice(&map[self.pixel(i / self.width, i % self.width)..][..self.channels]);
        }
    }
}

/// Side of the blocks of a transposition, in floats: a cache line each way.
const BLOCK: usize = 16;

/// Frames whose planes `[channel, cell]` begin at `starts`, one after another as `[frame, cell,
/// channel]`.
pub fn channels_last(planes: &[f32], starts: &[usize], [channels, cells]: [usize; 2]) -> Vec<f32> {
    let mut frames = vec![0.0; starts.len() * cells * channels];
    frames.par_chunks_mut((cells * channels).max(1)).zip(starts).for_each(|(frame, &start)| {
        let planes = &planes[start..start + channels * cells];
        for first in (0..channels).step_by(BLOCK) {
            let block = first..channels.min(first + BLOCK);
            for cell in (0..cells).step_by(BLOCK) {
                let end = cells.min(cell + BLOCK);
                for channel in block.clone() {
                    for (at, &value) in (cell..end).zip(&planes[channel * cells + cell..channel * cells + end]) {
                        frame[at * channels + channel] = value;
                    }
                }
            }
        }
    });
    frames
}

/// The inverse of [`channels_last`] for frames one after another: `[frame, cell, channel]` to
/// `[frame, channel, cell]`.
pub fn channels_first(pixels: &[f32], [cells, channels]: [usize; 2]) -> Vec<f32> {
    let starts: Vec<usize> = (0..pixels.len()).step_by((cells * channels).max(1)).collect();
    channels_last(pixels, &starts, [cells, channels])
}
