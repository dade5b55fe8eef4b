//! coco-caption's values on small and on degenerate captions, as pycocoevalcap 1.2 computes them.

use super::*;

/// A corpus of token strings: hypothesis and references of every clip.
fn corpus(clips: &[(&str, &[&str])]) -> Corpus {
    let clip = |(place, (hypothesis, references)): (usize, &(&str, &[&str]))| CaptionedClip {
        id: place.to_string(),
        hypothesis: (*hypothesis).into(),
        references: references.iter().map(|&text| text.into()).collect(),
    };
    Corpus::from_tokens(clips.iter().enumerate().map(clip).collect()).unwrap()
}

/// Compares BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D per clip.
#[track_caller]
fn check(clips: &[(&str, &[&str])], bleus: [f64; 4], rouge: f64, ciders: &[f64]) {
    let corpus = corpus(clips);
    let near = |got: f64, want: f64| (got - want).abs() <= 1e-12 * want.abs().max(1.0);
    let got = bleu(&corpus).corpus;
    assert!(got.iter().zip(bleus).all(|(&got, want)| near(got, want)), "BLEU {got:?}, not {bleus:?}");
    let got = rouge_l(&corpus).corpus;
    assert!(near(got, rouge), "ROUGE-L {got}, not {rouge}");
    let got = cider_d(&corpus);
    assert!(
        got.clips.iter().zip(ciders).all(|(&got, &want)| near(got, want)),
        "CIDEr-D {:?}, not {ciders:?}",
        got.clips
    );
    assert_eq!(got.clips.len(), ciders.len());
}
#[test]
fn one_clip_has_no_cider() {
    check(
        &[("a man is singing", &["a man is singing"])],
        [0.9999999995000004, 0.9999999994583337, 0.9999999993888894, 0.9999999992291674],
        1.0,
        &[0.0],
    );
}

#[test]
fn empty_hypothesis() {
    check(
        &[("", &["a man"]), ("a dog runs", &["a dog runs"])],
        [0.5134171186903144, 0.5134171186475296, 0.5134171185476987, 0.016235674845794527],
        0.5,
        &[0.0, 7.500000000000001],
    );
}

#[test]
fn both_empty() {
    check(
        &[("", &[""]), ("a dog runs", &["a dog runs"])],
        [0.9999999993333338, 0.9999999992500005, 0.9999999990555564, 0.03162277657664911],
        1.0,
        &[0.0, 7.5],
    );
}

#[test]
fn empty_reference() {
    check(
        &[("a man", &[""]), ("a dog runs", &["a dog runs"])],
        [0.5999999998800002, 0.6324555318650212, 0.7368062993514879, 0.025148668584018395],
        0.5,
        &[0.0, 7.5],
    );
}

#[test]
fn tie_of_lengths_goes_to_the_shorter() {
    check(
        &[("a b c d", &["a b c", "a b c d e"])],
        [0.9999999997500002, 0.9999999997083335, 0.9999999996388892, 0.9999999994791672],
        1.0,
        &[0.0],
    );
}

#[test]
fn ngrams_of_all_clips_weigh_nothing() {
    check(
        &[("a man", &["a man"]), ("a man", &["a man"])],
        [0.9999999995000004, 0.9999999993750005, 0.009999999995000007, 0.0009999999995625002],
        1.0,
        &[0.0, 0.0],
    );
}

#[test]
fn counts_are_clipped() {
    check(
        &[("a a a a a a", &["a man is singing"]), ("a dog runs", &["a dog runs"])],
        [0.4444444443950618, 0.3563483225046487, 0.29394075882776644, 5.394044742739792e-05],
        0.6037414965986394,
        &[0.0, 7.500000000000001],
    );
}

#[test]
fn one_word() {
    check(
        &[("man", &["man"]), ("dog runs", &["dog runs"])],
        [0.9999999993333338, 0.9999999990000008, 0.00999999999222223, 0.0009999999993333339],
        1.0,
        &[2.5, 5.0],
    );
}

#[test]
fn two_spaces() {
    check(
        &[("a  man", &["a man"]), ("dog runs", &["dog runs"])],
        [0.9999999995000004, 0.9999999993750005, 0.009999999995000007, 0.0009999999995625002],
        0.9149659863945578,
        &[5.0, 5.0],
    );
}

#[test]
fn precision_and_recall_of_different_references() {
    check(
        &[
            ("a man rides", &["a man rides a big brown horse today", "rides"]),
            ("a dog", &["the dog runs", "a dog sits"]),
        ],
        [0.9999999998000002, 0.9999999997333335, 0.9999999994888894, 0.03162277658956174],
        0.8860759493670887,
        &[2.1788565908760513, 2.455118030171172],
    );
}

#[test]
fn no_break_space() {
    check(
        &[("1\u{a0}1/2 cups", &["1\u{a0}1/2 cups of milk"]), ("a dog", &["a dog sits"])],
        [0.5488116358745021, 0.5488116358379146, 0.5488116357037609, 0.01735494775448227],
        0.7005089390578103,
        &[4.869453407650046, 3.7564711970301365],
    );
}

/// Two spaces hold an empty token for ROUGE-L, which is the reference's here: P = 1, R = 2 / 3.
#[test]
fn two_spaces_in_a_reference() {
    check(
        &[("a man", &["a  man"]), ("dog runs", &["dog runs"])],
        [0.9999999995000004, 0.9999999993750005, 0.009999999995000007, 0.0009999999995625002],
        0.8860759493670887,
        &[5.0, 5.0],
    );
}

/// One-word captions have no bigrams, as empty ones: no penalty for length between them and others
/// of none. With N = 2 and weights ln 2, `man` in `man man`: tf 2 clipped to 1 of norm 2, so 1/2 for
/// unigrams; one bigram against none: exp(−1/72) · 10 / 4 · 1/2.
#[test]
fn cider_d_measures_length_in_bigrams() {
    let got = cider_d(&corpus(&[("man man", &["man"]), ("dog", &["dog"])]));
    assert!((got.clips[0] - 1.25 * (-1.0f64 / 72.0).exp()).abs() < 1e-12, "{:?}", got.clips);
    assert!((got.clips[1] - 2.5).abs() < 1e-12);
    // Without clipping and penalty the cosine of unigrams is 1.
    let plain = cider(&corpus(&[("man man", &["man"]), ("dog", &["dog"])]));
    assert!((plain.clips[0] - 2.5).abs() < 1e-12);
}

/// Of ln 2 for an n-gram that no reference has: `man cat` of norm √2 ln 2 against `man` gives 1/√2 for
/// unigrams, one bigram more.
#[test]
fn ngrams_of_no_reference_weigh_as_those_of_one() {
    let got = cider_d(&corpus(&[("man cat", &["man"]), ("dog", &["dog"])]));
    let wanted = 2.5 / 2f64.sqrt() * (-1.0f64 / 72.0).exp();
    assert!((got.clips[0] - wanted).abs() < 1e-12, "{:?}", got.clips);
}
