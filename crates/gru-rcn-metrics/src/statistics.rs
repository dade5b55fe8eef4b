//! Uncertainty of an accuracy: intervals over clips, standard deviation over seeds.

/// The normal quantile of a two-sided 95 % interval.
pub const WILSON_95: f64 = 1.959_963_984_540_054;

/// The Wilson score interval of a proportion, for a normal quantile `z` ([`WILSON_95`] for 95 %).
///
/// Unlike the textbook interval `p ± z·√(p(1−p)/n)`, it stays in [0, 1] and keeps a width if every clip
/// is correct, as often on small test sets. It is `(0, 1)` if `n` is zero.
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

/// The exact probability of at least `successes` in `n` independent trials of probability `p` each, that
/// is of a result at least as good by chance alone.
///
/// # Panics
///
/// If `p` is not a probability.
pub fn binomial_tail(successes: usize, n: usize, p: f64) -> f64 {
    assert!((0.0..=1.0).contains(&p), "the probability {p}");
    if successes == 0 || p == 1.0 {
        return 1.0;
    }
    if successes > n || p == 0.0 {
        return 0.0;
    }
    // In logarithms, because a term may underflow.
    let (mut choose, mut sum) = (0.0, 0.0);
    for k in 0..=n {
        if k >= successes {
            sum += (choose + k as f64 * p.ln() + (n - k) as f64 * (1.0 - p).ln()).exp();
        }
        choose += ((n - k) as f64).ln() - ((k + 1) as f64).ln();
    }
    sum.min(1.0)
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

    /// Of 4 tosses at least 3 heads: (4 + 1) / 16. Of 3 throws of a die at least one six:
    /// 1 − (5/6)³. At least half of 4000 tosses: half, and half of the probability of exactly 2000,
    /// which is 1 / √(π · 2000) to within 1 in 16,000.
    #[test]
    fn tails_of_the_binomial_distribution() {
        assert!((binomial_tail(3, 4, 0.5) - 5.0 / 16.0).abs() < 1e-12);
        assert!((binomial_tail(1, 3, 1.0 / 6.0) - (1.0 - (5.0f64 / 6.0).powi(3))).abs() < 1e-12);
        let middle = 1.0 / (std::f64::consts::PI * 2000.0).sqrt();
        assert!((binomial_tail(2000, 4000, 0.5) - (0.5 + middle / 2.0)).abs() < 1e-6);
        assert_eq!([binomial_tail(0, 0, 0.5), binomial_tail(3, 5, 1.0), binomial_tail(1, 5, 0.0)], [1.0, 1.0, 0.0]);
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
