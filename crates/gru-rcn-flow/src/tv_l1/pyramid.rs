//! The pyramid of an image.

use super::grid::Grid;
use super::resize::Resize;
use crate::image::Image;

/// Least side of a level: on a smaller one, motion is hardly visible.
const LEAST_SIDE: usize = 16;

/// An image and its smaller versions, finest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Pyramid {
    levels: Vec<Grid>,
    used: usize,
}

impl Pyramid {
    /// Builds the pyramid of an image with at most `scales` levels, reusing the memory of the last one.
    pub(super) fn build(&mut self, image: &Image, scales: usize, scale_step: f64, resize: &mut Resize) {
        let sizes = sizes(image.width(), image.height(), scales, scale_step);
        self.used = 0;
        for (width, height) in sizes {
            if self.levels.len() == self.used {
                self.levels.push(Grid::default());
            }
            let (finer, rest) = self.levels.split_at_mut(self.used);
            match finer.last() {
                None => rest[0].load_rows(width, height, image.data()),
                Some(finer) => {
                    rest[0].reshape(width, height);
                    resize.run(finer, &mut rest[0], (1.0 / scale_step, 1.0 / scale_step));
                }
            }
            self.used += 1;
        }
    }

    /// The levels, finest first.
    pub(super) fn levels(&self) -> &[Grid] {
        &self.levels[..self.used]
    }
}

/// The sizes of the levels: each is the previous one times `scale_step`, rounded, as long as no side is
/// below 16.
fn sizes(width: usize, height: usize, scales: usize, scale_step: f64) -> impl Iterator<Item = (usize, usize)> {
    let smaller = move |side: usize| (side as f64 * scale_step).round_ties_even() as usize;
    let next = move |&(width, height): &(usize, usize)| {
        let (width, height) = (smaller(width), smaller(height));
        (width.min(height) >= LEAST_SIDE).then_some((width, height))
    };
    std::iter::successors(Some((width, height)), next).take(scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 320·0.8 = 256, 204.8 → 205, 164, 131.2 → 131; 24·0.8 = 19.2 → 19, 15.2 → 15 is too small.
    #[test]
    fn sizes_are_rounded_and_at_least_sixteen() {
        let list = |width, height| sizes(width, height, 5, 0.8).collect::<Vec<_>>();
        assert_eq!(list(320, 240), [(320, 240), (256, 192), (205, 154), (164, 123), (131, 98)]);
        assert_eq!(list(24, 300), [(24, 300), (19, 240)]);
        assert_eq!(list(3, 2), [(3, 2)]);
    }

    #[test]
    fn smaller_images_reuse_the_levels() {
        let image = |side: usize| Image::new(side, side, vec![7.0; side * side]).unwrap();
        let (mut pyramid, mut resize) = (Pyramid::default(), Resize::default());
        pyramid.build(&image(64), 5, 0.8, &mut resize);
        assert_eq!(pyramid.levels().len(), 5);
        pyramid.build(&image(20), 5, 0.8, &mut resize);
        assert_eq!(pyramid.levels().len(), 2);
        assert_eq!(pyramid.levels()[1].row(15)[..16], [7.0; 16]);
    }
}
