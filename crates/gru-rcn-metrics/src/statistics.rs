//! Uncertainty of an accuracy: intervals over clips, standard deviation over seeds.

/// The normal quantile of a two-sided 95 % interval.
pub const WILSON_95: f64 = 1.959_963_984_540_054;

/// The Wilson score interval of a proportion, for a normal quantile `z` ([`WILSON_95`] for 95 %).
///
/// Unlike the textbook `p ± z·√(p(1−p)/n)` it stays in [0, 1] and keeps a width if every clip is
/// correct, which is common on small test sets. `(0, 1)` if `n` is zero.
///
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
///
/// # Panics
///
/// If there are more successes than trials.
pub fn wilson_interval(successes: usize, n: usize, z: f64) -> (f64, f64) {
    assert!(successes <= n, "{successes} successes in {n} trials");
    if n == 0 {
        return (0.0, 1.0);
    }
    let n = n as f64;
    let p = successes as f64 / n;
    let shrink = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / shrink;
    let half = z / shrink * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// Mean and sample standard deviation (over `n − 1`) of a metric over several seeds; `None` for
/// fewer than two values.
pub fn mean_std(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((mean, (squares / (n - 1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With z = 2, n = 4, 2 correct: shrink = 2, centre = (1/2 + 1/2) / 2 = 1/2,
    /// half = 1 · √(1/16 + 1/16) = √2/4.
    #[test]
    fn interval_of_half_correct() {
        let (low, high) = wilson_interval(2, 4, 2.0);
        let half = 2f64.sqrt() / 4.0;
        assert!((low - (0.5 - half)).abs() < 1e-15);
        assert!((high - (0.5 + half)).abs() < 1e-15);
    }

    /// With z = 2, n = 4, all correct: centre = (1 + 1/2) / 2 = 3/4, half = √(1/16) = 1/4.
    /// In general the lower end is n / (n + z²), here 4 / 8. Without trials it is everything.
    #[test]
    fn interval_of_all_correct_or_of_no_trials_keeps_a_width() {
        let (low, high) = wilson_interval(4, 4, 2.0);
        assert!((low - 0.5).abs() < 1e-15);
        assert!((high - 1.0).abs() < 1e-15);
        let (low, high) = wilson_interval(0, 4, 2.0);
        assert!(low.abs() < 1e-15);
        assert!((high - 0.5).abs() < 1e-15);
        assert_eq!(wilson_interval(0, 0, WILSON_95), (0.0, 1.0));
    }

    /// 2, 4, 4, 4, 5, 5, 7, 9: mean 40 / 8 = 5, squares 9+1+1+1+0+0+4+16 = 32, over 7.
    #[test]
    fn mean_and_deviation_over_seeds() {
        let (mean, std) = mean_std(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!(mean, 5.0);
        assert!((std - (32.0f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(mean_std(&[1.0]), None);
    }
}
