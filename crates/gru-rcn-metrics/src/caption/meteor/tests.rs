use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::normalize::normalize;
use super::*;
use crate::caption::CaptionedClip;

/// METEOR's paraphrases whose two phrases are both in the captions below.
const PARAPHRASES: [(&str, &str); 12] = [
    ("a couple", "two"),
    ("a couple of", "two"),
    ("auto", "automobile"),
    ("auto", "car"),
    ("automobile", "car"),
    ("car", "automobile"),
    ("couple", "two"),
    ("couple of", "two"),
    ("dog", "dogs"),
    ("dogs", "dog"),
    ("kid", "child"),
    ("lady", "woman"),
];

fn packed(text: &str) -> Vec<u8> {
    let mut file = GzEncoder::new(Vec::new(), Compression::fast());
    file.write_all(text.as_bytes()).unwrap();
    file.finish().unwrap()
}

fn table() -> ParaphraseTable {
    let text: String = PARAPHRASES.iter().map(|(phrase, other)| format!("0.5\n{phrase}\n{other}\n")).collect();
    ParaphraseTable::convert(&packed(&text)[..]).unwrap()
}

fn corpus(clips: &[(&str, &[&str])]) -> Corpus {
    let clip = |(hypothesis, references): &(&str, &[&str])| CaptionedClip {
        id: String::new(),
        hypothesis: (*hypothesis).into(),
        references: references.iter().map(|&text| text.into()).collect(),
    };
    Corpus::from_tokens(clips.iter().map(clip).collect()).unwrap()
}

/// Hypothesis, reference, and their scores by the jar with and without its paraphrases.
const PAIRS: &[(&str, &str, f64, f64)] = &[
    // Stem, synonym and paraphrases compete, so no match is fixed before the search, in which a chunk
    // costs more than a match that is not exact gains.
    ("dogs", "dog", 0.0, 0.0),
    ("the dogs run", "a dog runs", 0.0, 0.0),
    ("dogs run", "dog runs", 0.0, 0.0),
    ("a dogs run", "a dog runs", 0.6571428571428571, 0.6571428571428571),
    ("a man cuts", "a man cutting", 0.8285714285714284, 0.8285714285714284),
    ("a kid", "a child", 0.85, 0.85),
    ("pic", "picture", 0.8, 0.8),
    ("he is cutting", "he is slicing", 0.88, 0.88),
    ("car automobile", "auto car", 0.2, 0.2),
    // Three words for one.
    ("a couple of dogs", "two dogs", 0.8737864077669903, 0.2608695652173913),
    ("in the park", "at the park", 0.38213572961786046, 0.38213572961786046),
    ("a man is riding a horse", "a man rides a horse", 0.4398732861414338, 0.4398732861414338),
    ("a lady slices an onion", "a woman is cutting an onion", 0.38854905444233423, 0.2982916032882033),
    ("a b x d", "a b c d", 0.3127146771776743, 0.3127146771776743),
    ("man a", "a man", 0.4, 0.4),
    ("a a a a", "a", 0.27586206896551724, 0.27586206896551724),
    ("a man is singing", "a man is singing", 1.0, 1.0),
    ("", "a man", 0.0, 0.0),
    ("a man", "", 0.0, 0.0),
    ("", "", 0.0, 0.0),
    ("do n't stop", "do not stop", 0.3221476510067114, 0.3221476510067114),
    ("a man 's dog", "a man has a dog", 0.34746075241963825, 0.34746075241963825),
    ("u.s. i.b.m. e.g.", "us ibm eg", 1.0, 1.0),
    ("3-year-old t-shirt yes/no", "3 year old t shirt yes / no", 1.0, 1.0),
    ("a-b-c rock-n-roll", "a b-c rock n-roll", 0.10596026490066227, 0.10596026490066227),
    ("5 o'clock a_b dr. who no. 5", "5 o 'clock a _ b dr. who no . 5", 0.5278749403331837, 0.5278749403331837),
];

#[test]
fn scores_are_those_of_the_jar() {
    let clips: Vec<(&str, &[&str])> = PAIRS.iter().map(|(a, b, ..)| (*a, std::slice::from_ref(b))).collect();
    let corpus = corpus(&clips);
    let (with, without) = (meteor(&corpus, Some(&table())), meteor(&corpus, None));
    for (place, (hypothesis, reference, wanted, wanted_without)) in PAIRS.iter().enumerate() {
        let got = (with.clips[place], without.clips[place]);
        assert!((got.0 - wanted).abs() < 1e-12, "{hypothesis} / {reference}: {}, not {wanted}", got.0);
        assert!((got.1 - wanted_without).abs() < 1e-12, "{hypothesis} / {reference}: {}, not {wanted_without}", got.1);
    }
}

/// 65 · 31 + 97 = 66 · 31 + 66 = 2112; the hash is kept in 32 bits with a sign.
#[test]
fn hashes_are_those_of_java() {
    assert_eq!((java_hash("Aa"), java_hash("BB"), java_hash("")), (2112, 2112, 0));
    assert_eq!(java_hash("polygenelubricants"), i32::MIN);
}

/// Two perfect clips add no chunk: the corpus' score is 1. With one clip of two chunks beside a perfect
/// one, F = 1, f = 2 / 4 and the score is 1 − 0.6 · 0.5^0.2 = 0.477670; the mean of the clips' scores
/// would be (1 + 0.4) / 2.
#[test]
fn corpus_score_is_of_the_summed_counts() {
    let perfect = meteor(&corpus(&[("a man", &["a man"]), ("a dog runs", &["a dog runs"])]), None);
    assert_eq!((perfect.corpus, &perfect.clips[..]), (1.0, &[1.0, 1.0][..]));
    let mixed = meteor(&corpus(&[("man a", &["a man"]), ("dogs run", &["dogs run"])]), None);
    assert!((mixed.clips[0] - 0.4).abs() < 1e-12 && mixed.clips[1] == 1.0);
    assert!((mixed.corpus - (1.0 - 0.6 * 0.5f64.powf(0.2))).abs() < 1e-12, "{}", mixed.corpus);
}

/// An empty hypothesis scores 0, and the words of its reference lower the corpus' recall. In the sums one
/// content word of two matches: P = 1, R = 0.5, F = 1 / (0.15 + 0.85 / 0.5) = 1 / 1.85. The perfect clip
/// adds no chunk, so f = 0.
#[test]
fn empty_captions_enter_the_sums() {
    let scores = meteor(&corpus(&[("", &["dog"]), ("man", &["man"])]), None);
    assert_eq!(scores.clips, [0.0, 1.0]);
    assert!((scores.corpus - 1.0 / 1.85).abs() < 1e-12, "{}", scores.corpus);
}

#[test]
fn the_best_reference_counts() {
    let scores = meteor(&corpus(&[("a man sings", &["the dog", "a man sings", "a woman sings"])]), None);
    assert_eq!((scores.corpus, scores.clips[0]), (1.0, 1.0));
}

/// The words are those of METEOR's normaliser.
#[test]
fn tokens_are_normalised_again() {
    for (caption, words) in [
        ("do n't", "do n 't"),
        ("man 's", "man ' s"),
        ("it's", "it 's"),
        ("u.s. i.b.m. e.g.", "us ibm eg"),
        ("3-year-old t-shirt", "3 year old t shirt"),
        ("a-b-c", "a b-c"),
        ("yes/no @home at&t **", "yes / no @ home at & t * *"),
        ("-lrb- 10,000 1.5 <person>", "-lrb- 10,000 1.5 < person >"),
        ("5 o'clock a_b", "5 o 'clock a _ b"),
        ("dr. who no. 5 vs. X", "dr. who no . 5 vs. x"),
        ("pp. 5 pp.", "pp. 5 pp ."),
        ("1980's 5'", "1980 's 5 '"),
        ("a...b wait..", "a ... b wait .."),
        ("1\u{a0}1/2", "1 1 / 2"),
        ("“a” ‘b’ ``c''", "\" a \" ' b ' \" c \""),
        ("a--b a–b", "a b a - b"),
        ("हेलो", "ह े ल ो"),
    ] {
        assert_eq!(normalize(caption).join(" "), words, "{caption}");
    }
}

#[test]
fn synonyms_share_a_synset_of_a_base_form() {
    let shared = |a: &str, b: &str| {
        let sets = wordnet::synsets(&[a, b]);
        sets[0].iter().any(|set| sets[1].contains(set))
    };
    assert!(shared("kid", "child") && shared("kids", "children") && shared("cutting", "slice"));
    assert!(!shared("man", "dog") && !shared("zzzz", "zzzzs"));
    // By an irregular form, by a rule; `glass` is no plural.
    assert!(shared("ran", "run") && shared("boxes", "box") && !shared("glass", "glas"));
}

/// A thousand words that all match each other: every free word of the hypothesis extends each of the 40
/// alignments, 20 million times in all. There is one chunk, P = 1 and R = 1000/1001, so
/// F = 1 / (0.15 + 0.85 · 1.001) and the score is F (1 − 0.6 · 0.001^0.2).
#[test]
fn long_captions_of_one_word_are_aligned() {
    let (hypothesis, reference) = (vec!["a"; 1000].join(" "), vec!["a"; 1001].join(" "));
    let score = meteor(&corpus(&[(&hypothesis, &[&reference])]), None).corpus;
    let expected = (1.0 - 0.6 * 0.001_f64.powf(0.2)) / (0.15 + 0.85 * 1.001);
    assert!((score - expected).abs() < 1e-12, "{score} {expected}");
}

#[test]
fn a_converted_table_is_read_again() {
    let table = table();
    let again = ParaphraseTable::from_bytes(table.as_bytes().to_vec()).unwrap();
    let corpus = corpus(&[("a couple of dogs", &["two dogs"])]);
    assert_eq!(meteor(&corpus, Some(&again)), meteor(&corpus, Some(&table)));
}

#[test]
fn broken_tables_are_refused() {
    let fault = |text: &str| ParaphraseTable::convert(&packed(text)[..]).unwrap_err().to_string();
    assert_eq!(fault(""), "not a table of paraphrases: it has no pairs");
    assert_eq!(fault("0.5\na\n"), "not a table of paraphrases: it ends within a pair");
    assert_eq!(fault("0.5\na\nb\nc\n"), "not a table of paraphrases: pair 2 does not begin with a number");
    let unpacked = ParaphraseTable::convert(&b"0.5\na\nb\n"[..]).unwrap_err().to_string();
    assert!(unpacked.starts_with("not a table of paraphrases: it cannot be unpacked ("), "{unpacked}");
    let bytes = table().as_bytes().to_vec();
    let fault = |bytes: &[u8]| ParaphraseTable::from_bytes(bytes.to_vec()).unwrap_err().to_string();
    assert!(fault(b"GRUPARA\x02").contains("another version"));
    let length = bytes.len();
    assert!(fault(&bytes[..length - 4]).ends_with(&format!("it has {} bytes, not {length}", length - 4)));
    // The last place of the buckets, and the first of the buckets and of the pairs, far beyond the last.
    let pairs = 20 + 4 * ((1 << 18) + 1) + 8 * usize::from(bytes[8]);
    for place in [20 + 4 * (1 << 18), 20 + 3, pairs + 3] {
        let mut broken = bytes.clone();
        broken[place] ^= 1;
        assert!(fault(&broken).ends_with("its index is broken"), "{place}");
    }
}

/// Snowball 3 changed the stems of some of these words. The jar's stemmer and this one agree on the
/// 173,059 words of METEOR's tables.
#[test]
fn stems_are_those_of_snowball_before_version_3() {
    let stemmer = Stemmer::create(Algorithm::English);
    for (word, stem) in
        [("added", "ad"), ("evening", "even"), ("emergency", "emerg"), ("dogs", "dog"), ("cutting", "cut")]
    {
        assert_eq!(stemmer.stem(word), stem, "{word}");
    }
}

#[test]
fn corpus_of_one_clip_has_its_score() {
    let scores = meteor(&corpus(&[("a dog", &["a dog runs", "a dog sits", "the cat"])]), None);
    assert!((scores.corpus - scores.clips[0]).abs() < 1e-15);
}
