//! The conclusion of a test in one sentence: whether its clips suffice, and what it shows.

use anyhow::Result;
use gru_rcn_metrics::{Comparison, binomial_tail};
use serde::{Deserialize, Serialize};

use crate::observe::percent;
use crate::run::scores::Scores;

/// Widest 95 % interval of an accuracy that is narrow enough to judge by.
const WIDEST: f64 = 0.25;

/// Largest one-sided probability of a result by chance alone that counts as shown.
const CHANCE: f64 = 0.025;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Whether the interval of the accuracy is narrow enough to judge by.
    pub(crate) enough_clips: bool,
    /// Whether the accuracy is above that of always naming the most frequent class, by an exact
    /// binomial test.
    pub(crate) better_than_guessing: bool,
    /// Whether it is above that of the per-frame baseline, by McNemar's exact test over the clips
    /// that only one of the two names correctly; nothing without that baseline.
    pub(crate) better_than_frames: Option<bool>,
    /// All of this in words.
    pub(crate) sentence: String,
}

impl Verdict {
    /// The verdict on a system's scores, beside those of the per-frame baseline on the same clips.
    pub(crate) fn new(scores: &Scores, frames: Option<&Scores>) -> Result<Self> {
        let predictions = scores.predictions()?;
        let test = predictions.summary();
        let (clips, correct, (low, high)) = (test.clips, test.correct(), test.top1_interval());
        let most = (0..scores.classes).map(|class| scores.targets.iter().filter(|&&target| target == class).count());
        let guess = most.max().unwrap_or(0) as f64 / clips.max(1) as f64;
        let enough_clips = high - low <= WIDEST;
        let better_than_guessing = binomial_tail(correct, clips, guess) < CHANCE;
        let guessing = format!("guessing ({})", percent(guess));
        let mut sentence = format!(
            "{clips} test {} the accuracy between {} and {}, which is ",
            match (enough_clips, clips) {
                (true, _) => "clips are enough to place",
                (false, 1) => "clip is too few to judge by; it places",
                (false, _) => "clips are too few to judge by; they place",
            },
            percent(low),
            percent(high)
        );
        let better_than_frames = match frames {
            None => None,
            Some(frames) => {
                let frames = frames.predictions()?;
                let found = Comparison::new(&predictions, &frames)?;
                let better = found.difference > 0.0 && found.p_value < 2.0 * CHANCE;
                Some((better, format!("single frames ({})", percent(frames.top_k(1)))))
            }
        };
        sentence += &match (better_than_guessing, &better_than_frames) {
            (true, None) => format!("better than {guessing}"),
            (false, None) => format!("not shown to be better than {guessing}"),
            (true, Some((true, frames))) => format!("better than {guessing} and than {frames}"),
            (true, Some((false, frames))) => {
                format!("better than {guessing}, but not shown to be better than {frames}")
            }
            (false, Some((true, frames))) => {
                format!("better than {frames}, but not shown to be better than {guessing}")
            }
            (false, Some((false, frames))) => format!("not shown to be better than {guessing} or than {frames}"),
        };
        sentence.push('.');
        let better_than_frames = better_than_frames.map(|(better, _)| better);
        Ok(Self { enough_clips, better_than_guessing, better_than_frames, sentence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores of two classes, each half of the clips, of which the first are right.
    fn scores(clips: usize, right: usize) -> Scores {
        let targets: Vec<usize> = (0..clips).map(|clip| clip % 2).collect();
        let row = |clip: usize| if (targets[clip] == 0) == (clip < right) { [0.75, 0.25] } else { [0.25, 0.75] };
        Scores { classes: 2, probabilities: (0..clips).flat_map(row).collect(), targets, ..Scores::default() }
    }

    fn verdict(clips: usize, right: usize, frames: Option<usize>) -> Verdict {
        let frames = frames.map(|right| scores(clips, right));
        Verdict::new(&scores(clips, right), frames.as_ref()).unwrap()
    }

    /// Two right of two: chance alone does that in a quarter of all cases.
    #[test]
    fn a_perfect_result_on_two_clips_shows_nothing() {
        let verdict = verdict(2, 2, None);
        assert!(!verdict.enough_clips && !verdict.better_than_guessing && verdict.better_than_frames.is_none());
        assert_eq!(
            verdict.sentence,
            "2 test clips are too few to judge by; they place the accuracy between 34.2 % and 100.0 %, which is not shown \
             to be better than guessing (50.0 %)."
        );
    }

    /// Of 100 clips 90 against 80 by single frames: ten clips that only one names correctly, all
    /// ours, which chance does once in 1024. Against 87 it is three of three, once in eight.
    #[test]
    fn guessing_and_single_frames_are_told_apart() {
        let better = verdict(100, 90, Some(80));
        assert_eq!((better.enough_clips, better.better_than_frames), (true, Some(true)));
        assert!(
            better.sentence.starts_with("100 test clips are enough to place the accuracy between 82.6 % and 94.5 %")
        );
        assert!(better.sentence.ends_with("is better than guessing (50.0 %) and than single frames (80.0 %)."));
        let close = verdict(100, 90, Some(87));
        assert_eq!((close.better_than_guessing, close.better_than_frames), (true, Some(false)));
        assert!(close.sentence.ends_with(", but not shown to be better than single frames (87.0 %)."), "{close:?}");
        let chance = verdict(100, 55, Some(55));
        assert_eq!((chance.better_than_guessing, chance.better_than_frames), (false, Some(false)));
        assert!(
            chance.sentence.ends_with("better than guessing (50.0 %) or than single frames (55.0 %)."),
            "{chance:?}"
        );
        let odd = verdict(100, 55, Some(40));
        assert!(odd.sentence.contains("better than single frames (40.0 %), but not shown"), "{odd:?}");
    }

    /// Always naming the class of nine clips in ten is right nine times in ten.
    #[test]
    fn guessing_is_naming_the_most_frequent_class() {
        let targets: Vec<usize> = (0..50).map(|clip| usize::from(clip % 10 == 0)).collect();
        let scores = Scores { classes: 2, probabilities: [0.9, 0.1].repeat(50), targets, ..Scores::default() };
        let verdict = Verdict::new(&scores, None).unwrap();
        assert!(!verdict.better_than_guessing && verdict.sentence.contains("guessing (90.0 %)"), "{verdict:?}");
    }
}
