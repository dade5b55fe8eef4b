//! Durations as people say them.

/// A duration in at most two units: `4.2 s`, `37 s`, `3 min 41 s`, `2 h 5 min`.
pub fn spoken(seconds: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 221 = 3 · 60 + 41; 7 530 = 2 · 3 600 + 5 · 60 + 30.
    #[test]
    fn two_units_at_most() {
        assert_eq!(spoken(4.24), "4.2 s");
        assert_eq!(spoken(9.97), "10 s");
        assert_eq!(spoken(59.7), "1 min 0 s");
        assert_eq!(spoken(221.0), "3 min 41 s");
        assert_eq!(spoken(7_530.0), "2 h 5 min");
        assert_eq!(spoken(f64::NAN), "unknown");
    }
}
