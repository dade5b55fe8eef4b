//! Durations as people say them, and lines every few seconds.

use std::time::{Duration, Instant};

/// A duration in at most two units: `4.2 s`, `37 s`, `3 min 41 s`, `2 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".into();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// Says when it is time for another line.
#[derive(Debug)]
pub(crate) struct Interval {
    began: Instant,
    length: Duration,
}

impl Default for Interval {
    /// For work that has no display of its own.
    fn default() -> Self {
        Self::new(5)
    }
}

impl Interval {
    /// Of some seconds, from now on.
    pub(crate) fn new(seconds: u64) -> Self {
        Self { began: Instant::now(), length: Duration::from_secs(seconds) }
    }

    /// Whether the interval is over; if it is, the next one begins.
    pub(crate) fn is_over(&mut self) -> bool {
        let over = self.began.elapsed() >= self.length;
        if over {
            self.began = Instant::now();
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 221 = 3 · 60 + 41; 7 530 = 2 · 3 600 + 5 · 60 + 30.
    #[test]
    fn durations_have_two_units_at_most() {
        assert_eq!(duration(4.24), "4.2 s");
        assert_eq!(duration(9.97), "10 s");
        assert_eq!(duration(59.7), "1 min 0 s");
        assert_eq!(duration(221.0), "3 min 41 s");
        assert_eq!(duration(7_530.0), "2 h 5 min");
        assert_eq!(duration(f64::NAN), "unknown");
    }
}
