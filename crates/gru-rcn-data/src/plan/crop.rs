//! The part of the frame that the network sees.

use serde::{Deserialize, Serialize};

use crate::base::{DataError, Draws};
use crate::image::Crop;

/// The rule for the rectangle that is cut out of the frame and resized to the input size.
///
/// The *base* of a frame is the largest rectangle in it that has the input's aspect ratio: for a
/// square input, the frame's shorter side squared.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CropRule {
    /// Always the whole frame, whatever its aspect ratio.
    Full,
    /// Always the base, in the middle of the frame.
    Centre,
    /// The paper's rule. In training, height and width are each the base times a random one of
    /// `ratios`, in one of the four corners or in the middle of the frame; every allowed pair of
    /// ratios is equally likely. In evaluation, the middle of the frame, with the largest ratio below
    /// 1 for both sides (1 if there is none).
    ///
    /// The paper's 256, 224, 192 and 168 pixels of a 256×340 frame are
    /// `[1.0, 0.875, 0.75, 0.65625]`, and its evaluation crop is 224×224. It excludes no pair of sizes:
    /// `max_distort` 3 allows all 16. The program of Wang et al. (2015), whose protocol the paper
    /// follows, uses the ten of `max_distort` 1.
    FivePoint {
        /// Fractions of the base, above 0 and at most 1, in descending order.
        ratios: Vec<f32>,
        /// Largest distance in the list between the ratios of height and width: 0 keeps the aspect
        /// ratio.
        max_distort: usize,
    },
    /// In training, one random scale for both sides of the whole frame, at a random place. In
    /// evaluation, the whole frame.
    Uniform {
        /// Least scale of a side, above 0 and at most 1.
        min_scale: f32,
    },
}

impl CropRule {
    /// The paper's five-point rule, with all 16 pairs of its four sizes.
    pub fn paper() -> Self {
        Self::FivePoint { ratios: vec![1.0, 0.875, 0.75, 0.656_25], max_distort: 3 }
    }

    pub(super) fn validate(&self) -> Result<(), DataError> {
        let fraction = |x: &f32| *x > 0.0 && *x <= 1.0;
        match self {
            Self::FivePoint { ratios, .. } => {
                let descending = ratios.windows(2).all(|pair| pair[0] > pair[1]);
                if ratios.is_empty() || !ratios.iter().all(fraction) || !descending {
                    let reason = "one or more fractions above 0 and at most 1, in descending order";
                    return Err(DataError::setting("crop.five_point.ratios", format!("{ratios:?}"), reason));
                }
            }
            Self::Uniform { min_scale } if !fraction(min_scale) => {
                return Err(DataError::setting("crop.uniform.min_scale", min_scale, "above 0 and at most 1"));
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn training(&self, frame: [usize; 2], input: [usize; 2], draws: &mut Draws) -> Crop {
        match self {
            Self::Full | Self::Centre => self.evaluation(frame, input),
            Self::FivePoint { ratios, max_distort } => {
                let (tall, wide) = ratio_pair(ratios.len(), *max_distort, draws);
                let size = scaled(base(frame, input), [ratios[tall], ratios[wide]]);
                corner(frame, size, draws.below(5))
            }
            Self::Uniform { min_scale } => {
                let scale = draws.range(f64::from(*min_scale), 1.0) as f32;
                let [height, width] = scaled(frame, [scale; 2]);
                let (x, y) = (draws.below(frame[1] - width + 1), draws.below(frame[0] - height + 1));
                Crop { x, y, width, height }
            }
        }
    }

    pub(super) fn evaluation(&self, frame: [usize; 2], input: [usize; 2]) -> Crop {
        match self {
            Self::Full | Self::Uniform { .. } => Crop::whole(frame[0], frame[1]),
            Self::Centre => corner(frame, base(frame, input), 4),
            Self::FivePoint { ratios, .. } => {
                let ratio = ratios.iter().copied().find(|&ratio| ratio < 1.0).unwrap_or(1.0);
                corner(frame, scaled(base(frame, input), [ratio; 2]), 4)
            }
        }
    }

    /// Crops of the evaluation's size at the five places: the corners as in [`corner`], then the middle.
    pub(super) fn five(&self, frame: [usize; 2], input: [usize; 2]) -> [Crop; 5] {
        let Crop { width, height, .. } = self.evaluation(frame, input);
        std::array::from_fn(|place| corner(frame, [height, width], place))
    }
}

/// Draws the positions of the ratios of height and width in a list of `count`, at most `distance`
/// apart. Every such pair is equally likely.
fn ratio_pair(count: usize, distance: usize, draws: &mut Draws) -> (usize, usize) {
    let partners = |place: usize| {
        let least = place.saturating_sub(distance);
        (least, place.saturating_add(distance).min(count - 1) - least + 1)
    };
    let most = distance.saturating_mul(2).saturating_add(1).min(count);
    loop {
        let tall = draws.below(count);
        let (least, widths) = partners(tall);
        // Ratios near an end of the list have fewer partners, so they are drawn less often.
        if widths == most || draws.below(most) < widths {
            return (tall, least + draws.below(widths));
        }
    }
}

/// The largest height and width within `frame` in the proportion of `input`.
fn base(frame: [usize; 2], input: [usize; 2]) -> [usize; 2] {
    let scale = (frame[0] as f64 / input[0] as f64).min(frame[1] as f64 / input[1] as f64);
    std::array::from_fn(|i| ((input[i] as f64 * scale).round() as usize).clamp(1, frame[i]))
}

fn scaled(size: [usize; 2], ratios: [f32; 2]) -> [usize; 2] {
    std::array::from_fn(|i| ((size[i] as f32 * ratios[i]).round() as usize).clamp(1, size[i]))
}

/// Place 0 to 3: upper left, upper right, lower left, lower right; 4: the middle.
fn corner([frame_height, frame_width]: [usize; 2], [height, width]: [usize; 2], place: usize) -> Crop {
    let (right, lower) = (frame_width - width, frame_height - height);
    let (x, y) = match place {
        0 => (0, 0),
        1 => (right, 0),
        2 => (0, lower),
        3 => (right, lower),
        _ => (right / 2, lower / 2),
    };
    Crop { x, y, width, height }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::base::Fnv64;

    const FRAME: [usize; 2] = [256, 340];
    const INPUT: [usize; 2] = [224, 224];

    // 256×340, 224 in the middle: x = (340 − 224) / 2 = 58, y = (256 − 224) / 2 = 16.
    #[test]
    fn evaluation_crops_are_in_the_middle() {
        let paper = CropRule::paper().evaluation(FRAME, INPUT);
        assert_eq!(paper, Crop { x: 58, y: 16, width: 224, height: 224 });
        let centre = CropRule::Centre.evaluation(FRAME, INPUT);
        assert_eq!(centre, Crop { x: 42, y: 0, width: 256, height: 256 });
        assert_eq!(CropRule::Full.evaluation(FRAME, INPUT), Crop::whole(256, 340));
        let uniform = CropRule::Uniform { min_scale: 0.5 };
        assert_eq!(uniform.evaluation(FRAME, INPUT), Crop::whole(256, 340));
        let whole = CropRule::FivePoint { ratios: vec![1.0], max_distort: 0 };
        assert_eq!(whole.evaluation(FRAME, INPUT), centre);
        // An input of 96×128 has the frame's own 3:4 when the frame is 120×160.
        assert_eq!(CropRule::Centre.evaluation([120, 160], [96, 128]), Crop::whole(120, 160));
    }

    // Four sizes make 4·4 = 16 pairs, or 4 + 2·3 = 10 if only neighbours mix; five places. At 256
    // rows the upper and the lower corners coincide and the middle has y = 0 too, but x still
    // differs, so the pairs with 256 rows (four, or 256×256 and 256×224) have 3 places: 12·5 + 4·3 =
    // 72, or 8·5 + 2·3 = 46. Of 2000 crops a pair, the standard deviation is at most 44.
    #[test]
    fn five_point_draws_every_pair_of_the_papers_sizes_alike() {
        for (max_distort, pairs, places) in [(3, 16, 72), (1, 10, 46)] {
            let CropRule::FivePoint { ratios, max_distort: 3 } = CropRule::paper() else { panic!("not all pairs") };
            let rule = CropRule::FivePoint { ratios, max_distort };
            let mut draws = Draws::new(Fnv64::default().text("five"));
            let (mut seen, mut sizes) = (HashSet::new(), BTreeMap::new());
            for _ in 0..2000 * pairs {
                let crop = rule.training(FRAME, INPUT, &mut draws);
                let index = |n| [256, 224, 192, 168].iter().position(|&side| side == n).unwrap();
                assert!(index(crop.height).abs_diff(index(crop.width)) <= max_distort);
                assert!(crop.x + crop.width <= 340 && crop.y + crop.height <= 256);
                seen.insert((crop.x, crop.y, crop.width, crop.height));
                *sizes.entry((crop.height, crop.width)).or_insert(0) += 1;
            }
            assert_eq!((sizes.len(), seen.len()), (pairs, places));
            assert!(sizes.values().all(|times| (1800..=2200).contains(times)), "{max_distort}: {sizes:?}");
        }
    }

    // Four sizes whose neighbours may mix give ten pairs: a tenth of 20,000 draws is 2000, with a
    // standard deviation of 42.
    #[test]
    fn every_allowed_pair_of_sizes_is_equally_likely() {
        let mut draws = Draws::new(Fnv64::default().text("pairs"));
        for (count, distance, pairs) in [(4, 1, 10), (4, 0, 4), (4, 2, 14), (4, usize::MAX, 16), (3, 1, 7), (1, 1, 1)] {
            let mut seen = BTreeMap::new();
            for _ in 0..2000 * pairs {
                *seen.entry(ratio_pair(count, distance, &mut draws)).or_insert(0) += 1;
            }
            assert_eq!(seen.len(), pairs, "{count} sizes, {distance} apart");
            assert!(seen.keys().all(|(tall, wide)| tall.abs_diff(*wide) <= distance));
            assert!(seen.values().all(|times| (1800..=2200).contains(times)), "{count}, {distance}: {seen:?}");
        }
    }

    // If every size has the same number of partners, the draws are those of earlier versions: a height,
    // then a width.
    #[test]
    fn sizes_with_equally_many_partners_take_two_draws() {
        for distance in [0, 3, 9] {
            let key = Fnv64::default().text("two").number(distance as u64);
            let (mut found, mut expected) = (Draws::new(key), Draws::new(key));
            for _ in 0..50 {
                let tall = expected.below(4);
                let wide = if distance == 0 { tall + expected.below(1) } else { expected.below(4) };
                assert_eq!(ratio_pair(4, distance, &mut found), (tall, wide));
            }
        }
    }

    #[test]
    fn uniform_stays_inside_and_keeps_the_aspect() {
        let mut draws = Draws::new(Fnv64::default().text("uniform"));
        let rule = CropRule::Uniform { min_scale: 0.72 };
        for _ in 0..500 {
            let crop = rule.training([96, 128], [96, 128], &mut draws);
            assert!(crop.x + crop.width <= 128 && crop.y + crop.height <= 96);
            assert!((69..=96).contains(&crop.height), "{crop:?}");
            assert!((crop.width as f64 / crop.height as f64 - 4.0 / 3.0).abs() < 0.02);
        }
    }

    #[test]
    fn bad_rules_name_their_key() {
        let error = |rule: CropRule| rule.validate().unwrap_err().to_string();
        assert!(error(CropRule::FivePoint { ratios: vec![], max_distort: 1 }).contains("ratios"));
        assert!(error(CropRule::FivePoint { ratios: vec![0.5, 1.0], max_distort: 1 }).contains("descending"));
        assert!(error(CropRule::Uniform { min_scale: f32::NAN }).contains("min_scale"));
    }
}
