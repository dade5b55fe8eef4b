//! Lines now and then, for work that has no dashboard.

use std::time::{Duration, Instant};

/// Time between two lines.
const LENGTH: Duration = Duration::from_secs(5);

/// Tells when it is time for another line.
#[derive(Debug)]
pub struct Interval(Instant);

impl Default for Interval {
    /// One that begins now.
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Interval {
    /// Whether the interval is over; if so the next one begins.
    pub fn is_over(&mut self) -> bool {
        let over = self.0.elapsed() >= LENGTH;
        if over {
            self.0 = Instant::now();
        }
        over
    }
}
