//! The frames of a stream that the model takes in.

use anyhow::{Result, ensure};
use gru_rcn_data::SAME_MOMENT;

use super::whole_microseconds;

/// Selects frames by their time stamps: the first frame at or after each of equally spaced moments,
/// as [`TemporalSampling::Every`](gru_rcn_data::TemporalSampling::Every) does, or every frame.
#[derive(Debug)]
pub(crate) struct Moments {
    /// Seconds from one moment to the next; `None` for every frame.
    every: Option<f64>,
    /// Time stamp of the first frame, and time since then of the last one.
    clock: Option<(f64, f64)>,
    /// Seconds between the last two frames of different times.
    gap: f64,
    /// Moments that have passed.
    passed: u64,
    /// Frames so far.
    pub(crate) frames: usize,
}

impl Moments {
    pub(crate) fn new(every: Option<f64>) -> Self {
        Self { every, clock: None, gap: 0.0, passed: 0, frames: 0 }
    }

    /// Seconds from the first frame to the last so far.
    pub(crate) fn time(&self) -> f64 {
        self.clock.map_or(0.0, |(_, time)| time)
    }

    /// Seconds from the first frame to the end of the last one; the frame rate is used if it is known.
    pub(crate) fn end(&self, rate: Option<f64>) -> f64 {
        whole_microseconds(self.time() + rate.map_or(self.gap, |rate| 1.0 / rate))
    }

    /// Takes the next frame. Returns its time in seconds since the first frame, never less than that of
    /// the frame before, and the number of steps that the model takes with it: 0 between two moments,
    /// several where the stream has fewer frames than there are moments.
    pub(crate) fn take(&mut self, stamp: Option<f64>) -> Result<(f64, usize)> {
        let number = self.frames;
        ensure!(
            stamp.is_some(),
            "frame {number} has no time stamp; write the video anew, with `ffmpeg -i VIDEO -c copy NEW.mp4`"
        );
        let stamp = stamp.unwrap_or_default();
        let (first, last) = self.clock.unwrap_or((stamp, 0.0));
        let time = whole_microseconds(stamp - first).max(last);
        (self.clock, self.frames) = (Some((first, time)), number + 1);
        if time > last {
            self.gap = time - last;
        }
        let Some(every) = self.every else { return Ok((time, 1)) };
        let due = ((time + SAME_MOMENT) / every) as u64 + 1;
        let steps = due - self.passed;
        self.passed = due;
        Ok((time, usize::try_from(steps)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(every: Option<f64>, stamps: &[f64]) -> Vec<usize> {
        let mut moments = Moments::new(every);
        stamps.iter().map(|&stamp| moments.take(Some(stamp)).unwrap().1).collect()
    }

    /// Moments at 0, 0.2, 0.4 … s after the first frame, whatever its time stamp. At 10 fps every
    /// second frame is taken, at 2 fps a frame is taken two or three times: at 0.5 s the moments 0.2
    /// and 0.4 have passed, at 1 s 0.6, 0.8 and 1. Rounded to milliseconds, 0.1995 s is 0.2 s.
    #[test]
    fn frames_are_taken_by_time() {
        assert_eq!(steps(Some(0.2), &[7.0, 7.1, 7.2, 7.3, 7.4]), [1, 0, 1, 0, 1]);
        assert_eq!(steps(Some(0.2), &[0.0, 0.5, 1.0]), [1, 2, 3]);
        assert_eq!(steps(Some(0.2), &[0.0, 0.1995, 0.3, 0.4]), [1, 1, 0, 1]);
        assert_eq!(steps(None, &[0.0, 0.01, 5.0]), [1, 1, 1]);
    }

    #[test]
    fn times_count_from_the_first_frame_and_never_fall() {
        let mut moments = Moments::new(None);
        let times = [3.0, 3.5, 3.25, 4.0].map(|stamp| moments.take(Some(stamp)).unwrap().0);
        assert_eq!(times, [0.0, 0.5, 0.5, 1.0]);
        assert_eq!([moments.end(None), moments.end(Some(25.0))], [1.5, 1.04]);
        assert!(moments.take(None).unwrap_err().to_string().contains("frame 4 has no time stamp"));
    }
}
