//! The scores of small and degenerate captions are those of pycocoevalcap 1.2.

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

/// A name, hypothesis and references of every clip, BLEU-1 to BLEU-4 and ROUGE-L of the corpus, and
/// CIDEr-D of every clip.
type Case<'a> = (&'a str, &'a [(&'a str, &'a [&'a str])], [f64; 4], f64, &'a [f64]);

#[test]
fn scores_are_those_of_coco_caption() {
    let cases: &[Case<'_>] = &[
        (
            "one clip has no CIDEr",
            &[("a man is singing", &["a man is singing"])],
            [0.9999999995000004, 0.9999999994583337, 0.9999999993888894, 0.9999999992291674],
            1.0,
            &[0.0],
        ),
        (
            "empty hypothesis",
            &[("", &["a man"]), ("a dog runs", &["a dog runs"])],
            [0.5134171186903144, 0.5134171186475296, 0.5134171185476987, 0.016235674845794527],
            0.5,
            &[0.0, 7.500000000000001],
        ),
        (
            "both empty",
            &[("", &[""]), ("a dog runs", &["a dog runs"])],
            [0.9999999993333338, 0.9999999992500005, 0.9999999990555564, 0.03162277657664911],
            1.0,
            &[0.0, 7.5],
        ),
        (
            "empty reference",
            &[("a man", &[""]), ("a dog runs", &["a dog runs"])],
            [0.5999999998800002, 0.6324555318650212, 0.7368062993514879, 0.025148668584018395],
            0.5,
            &[0.0, 7.5],
        ),
        (
            "of two equally close lengths the shorter counts",
            &[("a b c d", &["a b c", "a b c d e"])],
            [0.9999999997500002, 0.9999999997083335, 0.9999999996388892, 0.9999999994791672],
            1.0,
            &[0.0],
        ),
        (
            "n-grams of all clips weigh nothing",
            &[("a man", &["a man"]), ("a man", &["a man"])],
            [0.9999999995000004, 0.9999999993750005, 0.009999999995000007, 0.0009999999995625002],
            1.0,
            &[0.0, 0.0],
        ),
        (
            "counts are clipped",
            &[("a a a a a a", &["a man is singing"]), ("a dog runs", &["a dog runs"])],
            [0.4444444443950618, 0.3563483225046487, 0.29394075882776644, 5.394044742739792e-05],
            0.6037414965986394,
            &[0.0, 7.500000000000001],
        ),
        (
            "one word",
            &[("man", &["man"]), ("dog runs", &["dog runs"])],
            [0.9999999993333338, 0.9999999990000008, 0.00999999999222223, 0.0009999999993333339],
            1.0,
            &[2.5, 5.0],
        ),
        (
            "two spaces",
            &[("a  man", &["a man"]), ("dog runs", &["dog runs"])],
            [0.9999999995000004, 0.9999999993750005, 0.009999999995000007, 0.0009999999995625002],
            0.9149659863945578,
            &[5.0, 5.0],
        ),
        (
            "precision and recall of different references",
            &[
                ("a man rides", &["a man rides a big brown horse today", "rides"]),
                ("a dog", &["the dog runs", "a dog sits"]),
            ],
            [0.9999999998000002, 0.9999999997333335, 0.9999999994888894, 0.03162277658956174],
            0.8860759493670887,
            &[2.1788565908760513, 2.455118030171172],
        ),
        (
            "no-break space",
            &[("1\u{a0}1/2 cups", &["1\u{a0}1/2 cups of milk"]), ("a dog", &["a dog sits"])],
            [0.5488116358745021, 0.5488116358379146, 0.5488116357037609, 0.01735494775448227],
            0.7005089390578103,
            &[4.869453407650046, 3.7564711970301365],
        ),
        // Two spaces hold an empty token for ROUGE-L, which is the reference's here: P = 1, R = 2 / 3.
        (
            "two spaces in a reference",
            &[("a man", &["a  man"]), ("dog runs", &["dog runs"])],
            [0.9999999995000004, 0.9999999993750005, 0.009999999995000007, 0.0009999999995625002],
            0.8860759493670887,
            &[5.0, 5.0],
        ),
    ];
    let near = |got: &f64, want: &f64| (got - want).abs() <= 1e-12 * want.abs().max(1.0);
    let all_near = |got: &[f64], want: &[f64]| got.len() == want.len() && got.iter().zip(want).all(|(a, b)| near(a, b));
    for (name, clips, bleus, rouge, ciders) in cases {
        let corpus = corpus(clips);
        let got = bleu(&corpus).corpus;
        assert!(all_near(&got, bleus), "{name}: BLEU {got:?}, not {bleus:?}");
        let got = rouge_l(&corpus).corpus;
        assert!(near(&got, rouge), "{name}: ROUGE-L {got}, not {rouge}");
        let got = cider_d(&corpus).clips;
        assert!(all_near(&got, ciders), "{name}: CIDEr-D {got:?}, not {ciders:?}");
    }
}

/// Captions of one word have no bigrams, like empty ones, so there is no penalty for length among them.
/// With N = 2 all weights are ln 2. `man man` has the count 2, clipped to 1, and the norm 2, so 1/2 for
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

/// An n-gram in no reference has the weight ln 2, like one in a single reference. `man cat`, of norm
/// √2 ln 2, against `man` gives 1/√2 for unigrams, and has one bigram more.
#[test]
fn ngrams_of_no_reference_weigh_as_those_of_one() {
    let got = cider_d(&corpus(&[("man cat", &["man"]), ("dog", &["dog"])]));
    let wanted = 2.5 / 2f64.sqrt() * (-1.0f64 / 72.0).exp();
    assert!((got.clips[0] - wanted).abs() < 1e-12, "{:?}", got.clips);
}
