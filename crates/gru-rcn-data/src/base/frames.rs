//! The pixels of a clip in host memory: 8-bit, uncompressed, in one buffer.

use super::error::DataError;

/// The frames of one clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Frames {
    /// Row-major `[time, height, width, channels]`, 0–255.
    pub data: Vec<u8>,
    /// Number of frames.
    pub time: usize,
    /// Rows of a frame.
    pub height: usize,
    /// Columns of a frame.
    pub width: usize,
    /// Values of a pixel: 3 for red, green, blue.
    pub channels: usize,
}

impl Frames {
    /// Wraps a buffer of shape `[time, height, width, channels]`.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the buffer's length is not the product of the four numbers.
    pub fn new(data: Vec<u8>, time: usize, height: usize, width: usize, channels: usize) -> Result<Self, DataError> {
        let expected = [time, height, width, channels].iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if expected != Some(data.len()) {
            return Err(DataError::Shape(format!(
                "a clip of shape [{time}, {height}, {width}, {channels}] cannot be made of {} bytes",
                data.len()
            )));
        }
        Ok(Self { data, time, height, width, channels })
    }

    /// The pixels `[height, width, channels]` of frame `t`, counted from 0.
    ///
    /// # Panics
    /// If `t` is not below `time`.
    pub fn frame(&self, t: usize) -> &[u8] {
        assert!(t < self.time, "frame {t} of a clip of {} frames", self.time);
        let length = self.frame_bytes();
        &self.data[t * length..(t + 1) * length]
    }

    /// Bytes of the whole clip.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The frames at `indices`, in that order, repeats allowed.
    pub(crate) fn pick(&self, indices: impl IntoIterator<Item = usize>) -> Result<Self, DataError> {
        let (mut data, mut time) = (Vec::new(), 0);
        for t in indices {
            data.extend_from_slice(self.frame(t));
            time += 1;
        }
        Self::new(data, time, self.height, self.width, self.channels)
    }

    pub(crate) fn frame_bytes(&self) -> usize {
        self.height * self.width * self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::refused;

    // Two frames of 1×2 pixels of 3 values: 12 bytes; frame 1 is bytes 6..12.
    #[test]
    fn frames_are_slices_in_order() {
        let clip = Frames::new((0..12).collect(), 2, 1, 2, 3).unwrap();
        assert_eq!(clip.frame(1), [6, 7, 8, 9, 10, 11]);
        assert_eq!(clip.bytes(), 12);
    }

    #[test]
    fn a_wrong_length_is_refused() {
        refused(Frames::new(vec![0; 11], 2, 1, 2, 3), &["[2, 1, 2, 3]", "11 bytes"]);
        assert!(Frames::new(vec![], usize::MAX, 2, 1, 1).is_err());
    }
}
