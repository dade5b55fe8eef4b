//! The modalities of a clip: RGB frames and optical flow.

use serde::{Deserialize, Serialize};

use crate::image::flip_horizontal;

/// Fields of optical flow in one stack; the flow network of the paper sees ten (section 5.1.2).
pub const FLOW_STACK: usize = 10;

/// The content of a clip at each step.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Red, green and blue of one frame at each step.
    #[default]
    Rgb,
    /// A stack of [`FLOW_STACK`] fields of optical flow at each step: step `t` sees the fields `t`
    /// to `t + 9`, as channels x1, y1, x2, y2, … of 8-bit codes in which 128 is no motion. Vectors
    /// keep the lengths they were stored with, whatever the size of the crop, as in the two-stream
    /// networks. In a mirrored clip the codes of x are subtracted from 255.
    Flow,
}

impl Modality {
    /// Channels of a clip: 3 or 20.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Flow => 2 * FLOW_STACK,
        }
    }

    /// Channels of one stored picture: 3, or 2 for the components of a field.
    pub(crate) fn stored_channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Flow => 2,
        }
    }

    /// Number of positions for a step in `count` frames or fields: those with a whole stack, but at
    /// least one.
    pub fn positions(self, count: usize) -> usize {
        match self {
            Self::Rgb => count,
            Self::Flow => count.saturating_sub(FLOW_STACK - 1).max(count.min(1)),
        }
    }

    /// The pictures of the step at `t`, of `total`; beyond the end the last one is repeated.
    pub(crate) fn stack(self, t: usize, total: usize) -> impl Iterator<Item = usize> + Clone {
        let depth = if self == Self::Rgb { 1 } else { FLOW_STACK };
        (t..t + depth).map(move |t| t.min(total.saturating_sub(1)))
    }

    pub(crate) fn mirror(self, pixels: &mut [u8], width: usize) {
        match self {
            Self::Rgb => flip_horizontal::<3>(pixels, width),
            Self::Flow => {
                flip_horizontal::<2>(pixels, width);
                pixels.iter_mut().step_by(2).for_each(|x| *x = 255 - *x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Frames;
    use crate::image::Crop;
    use crate::plan::{ClipPlan, PhotometricDraw};

    fn plan(frames: Vec<usize>, flip: bool) -> ClipPlan {
        let (modality, crop, photometric) = (Modality::Flow, Crop::whole(1, 2), PhotometricDraw::IDENTITY);
        ClipPlan { modality, frames, crop, flip, photometric, output: [1, 2] }
    }

    /// Twelve fields of 1x2 pixels; field t has x = 10 t, 10 t + 1 and y = 10 t + 2, 10 t + 3. The
    /// stack at 2 has the fields 2 to 11; its left pixel is x2 y2 x3 y3 …, that is 20 22 30 32 ….
    #[test]
    fn stacks_interleave_fields_and_mirror_x() {
        let data: Vec<u8> = (0..12u8).flat_map(|t| [10 * t, 10 * t + 2, 10 * t + 1, 10 * t + 3]).collect();
        let fields = Frames::new(data, 12, 1, 2, 2).unwrap();
        let clip = plan(vec![0, 2], false).apply(&fields).unwrap();
        assert_eq!((clip.time, clip.channels), (2, 20));
        let left: Vec<u8> = (2..12u8).flat_map(|t| [10 * t, 10 * t + 2]).collect();
        let right: Vec<u8> = (2..12u8).flat_map(|t| [10 * t + 1, 10 * t + 3]).collect();
        assert_eq!(clip.frame(1), [left, right].concat());
        // Mirrored, the right pixel comes first, and what went right goes left: x becomes 255 - x.
        let clip = plan(vec![2], true).apply(&fields).unwrap();
        let right: Vec<u8> = (2..12u8).flat_map(|t| [255 - (10 * t + 1), 10 * t + 3]).collect();
        assert_eq!(clip.frame(0)[..20], right);
    }

    #[test]
    fn short_clips_repeat_their_last_field() {
        assert_eq!([0, 1, 9, 10, 12].map(|n| Modality::Flow.positions(n)), [0, 1, 1, 1, 3]);
        assert_eq!(Modality::Flow.stack(0, 3).collect::<Vec<_>>(), [0, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(Modality::Rgb.stack(2, 3).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn pictures_of_the_other_modality_are_refused() {
        let rgb = Frames::new(vec![0; 6], 1, 1, 2, 3).unwrap();
        assert!(plan(vec![0], false).apply(&rgb).unwrap_err().to_string().contains("3 channels"));
    }
}
