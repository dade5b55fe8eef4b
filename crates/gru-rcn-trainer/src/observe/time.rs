//! Durations for people, and lines every few seconds.

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

/// Tells when it is time for another line.
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

/// Lines with the time left of work that goes through a number of items.
#[derive(Debug)]
pub(crate) struct Pace {
    began: Instant,
    interval: Interval,
    total: usize,
}

impl Pace {
    pub(crate) fn new(total: usize) -> Self {
        Self { began: Instant::now(), interval: Interval::default(), total }
    }

    /// `312 of 800 …, 2 min 3 s left`, when it is time for another line.
    pub(crate) fn line(&mut self, done: usize, what: &str) -> Option<String> {
        self.interval.is_over().then(|| {
            let left = left(", ", self.began.elapsed(), done, self.total.saturating_sub(done));
            format!("{done} of {} {what}{left}", self.total)
        })
    }
}

/// The time that the rest takes at the pace so far, after a separator; empty before there is a pace and at
/// the end.
pub(super) fn left(separator: &str, elapsed: Duration, done: usize, rest: usize) -> String {
    if done == 0 || rest == 0 {
        return String::new();
    }
    format!("{separator}{} left", duration(elapsed.as_secs_f64() / done as f64 * rest as f64))
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

    /// A quarter took 30 s, so the rest takes 90.
    #[test]
    fn the_time_left_is_at_the_pace_so_far() {
        let left = |done, rest| left(", ", Duration::from_secs(30), done, rest);
        assert_eq!([left(200, 600), left(0, 800), left(800, 0)], [", 1 min 30 s left", "", ""]);
        assert_eq!(Pace::new(3).line(1, "clips"), None);
    }
}
