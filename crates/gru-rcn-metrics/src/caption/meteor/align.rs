//! Alignment of the words of a hypothesis with those of a reference by METEOR's search, whose
//! peculiarities are kept.

use std::cmp::Reverse;

use super::paraphrase::{Paraphrases, Phrase};

/// Partial alignments that the search keeps.
const BEAM: usize = 40;

/// The kind of a match; also the index in lists of weights and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    Exact = 0,
    Stem = 1,
    Synonym = 2,
    Paraphrase = 3,
}

/// Number of modules.
pub(super) const MODULES: usize = 4;

/// The properties of a word by which it is matched.
#[derive(Debug)]
pub(super) struct Word {
    /// Its hash in Java; METEOR takes words with the same hash for equal.
    pub(super) hash: i32,
    /// The hash of its stem.
    pub(super) stem: i32,
    /// Its synsets in ascending order.
    pub(super) synsets: Vec<u32>,
    /// Whether it is in the list of function words.
    pub(super) function: bool,
}

/// The words of a caption and its phrases with paraphrases.
#[derive(Debug)]
pub(super) struct Sentence {
    pub(super) words: Vec<usize>,
    pub(super) phrases: Vec<Phrase>,
}

/// A match of some words of the reference with some of the hypothesis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Match {
    pub(super) module: Module,
    pub(super) reference: usize,
    pub(super) reference_words: usize,
    pub(super) hypothesis: usize,
    pub(super) hypothesis_words: usize,
}

impl Match {
    /// The words that it takes: those of the reference, which has `reference_words` words, then those of
    /// the hypothesis.
    fn places(&self, reference_words: usize) -> impl Iterator<Item = usize> + use<> {
        let hypothesis = reference_words + self.hypothesis;
        (self.reference..self.reference + self.reference_words).chain(hypothesis..hypothesis + self.hypothesis_words)
    }
}

/// Aligns captions whose words and phrases were looked up.
pub(super) struct Aligner<'a> {
    pub(super) words: &'a [Word],
    pub(super) paraphrases: &'a Paraphrases,
    /// Scratch: the occurrences of each phrase in the current sentence.
    occurrences: Vec<Vec<Phrase>>,
}

impl<'a> Aligner<'a> {
    pub(super) fn new(words: &'a [Word], paraphrases: &'a Paraphrases) -> Self {
        Self { words, paraphrases, occurrences: vec![Vec::new(); paraphrases.len()] }
    }

    /// The matches of the best alignment that the search finds, in the order of the reference.
    pub(super) fn align(&mut self, hypothesis: &Sentence, reference: &Sentence) -> Vec<Match> {
        let candidates = self.candidates(hypothesis, reference);
        Search::new(&candidates, hypothesis.words.len(), reference.words.len()).run()
    }

    /// All matches by their first word in the reference, in METEOR's order.
    fn candidates(&mut self, hypothesis: &Sentence, reference: &Sentence) -> Vec<Vec<Match>> {
        let mut candidates = vec![Vec::new(); reference.words.len()];
        let hash = |word: &usize| self.words[*word].hash;
        let mut words = |module, matches: &dyn Fn(&Word, &Word) -> bool| {
            for (r, &in_reference) in reference.words.iter().enumerate() {
                for (h, &in_hypothesis) in hypothesis.words.iter().enumerate() {
                    if matches(&self.words[in_hypothesis], &self.words[in_reference]) {
                        candidates[r].push(Match {
                            module,
                            reference: r,
                            reference_words: 1,
                            hypothesis: h,
                            hypothesis_words: 1,
                        });
                    }
                }
            }
        };
        words(Module::Exact, &|a, b| a.hash == b.hash);
        if hypothesis.words.iter().map(hash).eq(reference.words.iter().map(hash)) {
            return candidates;
        }
        words(Module::Stem, &|a, b| a.stem == b.stem && a.hash != b.hash);
        words(Module::Synonym, &|a, b| a.hash != b.hash && have_common(&a.synsets, &b.synsets));
        // The phrases of the reference are looked up first, then those of the hypothesis.
        self.paraphrases(reference, hypothesis, |of, other| candidates[of.start].push(paraphrase(other, of)));
        self.paraphrases(hypothesis, reference, |of, other| candidates[other.start].push(paraphrase(of, other)));
        candidates
    }

    /// Passes every phrase of one sentence to `found` with every occurrence of a paraphrase in the other.
    fn paraphrases(&mut self, of: &Sentence, other: &Sentence, mut found: impl FnMut(&Phrase, &Phrase)) {
        for phrase in &other.phrases {
            self.occurrences[phrase.number as usize].push(*phrase);
        }
        for phrase in &of.phrases {
            for &paraphrase in self.paraphrases.of(phrase.number) {
                for occurrence in &self.occurrences[paraphrase as usize] {
                    found(phrase, occurrence);
                }
            }
        }
        for phrase in &other.phrases {
            self.occurrences[phrase.number as usize].clear();
        }
    }
}

fn paraphrase(hypothesis: &Phrase, reference: &Phrase) -> Match {
    Match {
        module: Module::Paraphrase,
        reference: reference.start,
        reference_words: reference.words,
        hypothesis: hypothesis.start,
        hypothesis_words: hypothesis.words,
    }
}

/// Whether two ascending lists share a number.
fn have_common(a: &[u32], b: &[u32]) -> bool {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => a.next(),
            std::cmp::Ordering::Greater => b.next(),
            std::cmp::Ordering::Equal => return true,
        };
    }
    false
}

/// The search for the alignment with the most matched words, then the fewest chunks, then the
/// smallest distance. It goes through the reference from left to right.
struct Search<'a> {
    candidates: &'a [Vec<Match>],
    /// Matches that compete with no other, which are fixed before the search, by their first word.
    fixed: Vec<Option<Match>>,
    /// A bit for each of the [places](Match::places) of the fixed matches.
    taken: Vec<u64>,
    reference_words: usize,
    /// The matches in partial alignments, each with the index of the previous one.
    chosen: Vec<(Match, Option<usize>)>,
}

/// A partial alignment.
struct Path {
    /// The words in use, as in [`Search::taken`].
    used: Vec<u64>,
    state: State,
    /// The last match, if it is not in [`Search::chosen`] yet.
    new: Option<Match>,
}

/// The numbers by which a partial alignment is ranked and continued.
#[derive(Clone, Copy)]
struct State {
    /// Index of its last match in [`Search::chosen`].
    last: Option<usize>,
    /// The next word of the reference.
    next: usize,
    /// The word of the hypothesis with which the open chunk would continue.
    chunk_end: Option<usize>,
    matched: usize,
    chunks: usize,
    distance: usize,
}

impl<'a> Search<'a> {
    fn new(candidates: &'a [Vec<Match>], hypothesis_words: usize, reference_words: usize) -> Self {
        let mut covered = vec![0u32; reference_words + hypothesis_words];
        for m in candidates.iter().flatten() {
            m.places(reference_words).for_each(|place| covered[place] += 1);
        }
        let alone = |matches: &Vec<Match>| match matches[..] {
            [m] if m.places(reference_words).all(|place| covered[place] == 1) => Some(m),
            _ => None,
        };
        let fixed: Vec<Option<Match>> = candidates.iter().map(alone).collect();
        let mut taken = vec![0; (reference_words + hypothesis_words).div_ceil(64)];
        for m in fixed.iter().flatten() {
            m.places(reference_words).for_each(|place| taken[place / 64] |= 1 << (place % 64));
        }
        Self { candidates, fixed, taken, reference_words, chosen: Vec::new() }
    }

    fn run(mut self) -> Vec<Match> {
        let state = State { last: None, next: 0, chunk_end: None, matched: 0, chunks: 0, distance: 0 };
        let mut paths = vec![Path { used: self.taken.clone(), state, new: None }];
        for at in 0..self.reference_words {
            let mut longer = Vec::with_capacity(BEAM);
            for path in paths {
                self.extend(path, at, &mut longer);
            }
            paths = longer;
            for path in &mut paths {
                if let Some(m) = path.new.take() {
                    self.chosen.push((m, path.state.last));
                    path.state.last = Some(self.chosen.len() - 1);
                }
            }
        }
        for Path { state, .. } in &mut paths {
            state.chunks += usize::from(state.chunk_end.is_some());
        }
        let mut matches: Vec<Match> = self.fixed.iter().flatten().copied().collect();
        let mut last = paths.iter().min_by_key(|path| path.state.rank()).and_then(|path| path.state.last);
        while let Some(place) = last {
            let (m, before) = self.chosen[place];
            matches.push(m);
            last = before;
        }
        matches.sort_by_key(|m| m.reference);
        matches
    }

    /// Adds the continuations of a partial alignment at a word of the reference to `longer`.
    fn extend(&self, mut path: Path, at: usize, longer: &mut Vec<Path>) {
        let mut state = path.state;
        if path.uses(at) {
            if at >= state.next {
                let Some(m) = self.fixed[at] else { return };
                state.take(&m);
                state.distance += m.reference.abs_diff(m.hypothesis);
            }
            path.state = state;
            keep(longer, state, || path);
            return;
        }
        for m in &self.candidates[at] {
            if m.places(self.reference_words).any(|place| path.uses(place)) {
                continue;
            }
            let mut with = state;
            with.take(m);
            keep(longer, with, || {
                let mut used = path.used.clone();
                m.places(self.reference_words).for_each(|place| used[place / 64] |= 1 << (place % 64));
                Path { used, state: with, new: Some(*m) }
            });
            // METEOR adds the distance to the alignment that continues without the match.
            state.distance += m.reference.abs_diff(m.hypothesis);
        }
        state.chunks += usize::from(state.chunk_end.take().is_some());
        state.next += 1;
        path.state = state;
        keep(longer, state, || path);
    }
}

impl Path {
    fn uses(&self, place: usize) -> bool {
        self.used[place / 64] >> (place % 64) & 1 == 1
    }
}

impl State {
    /// Adds a match at the next word. In a match that is not exact, each word counts one half, and the
    /// sum of each side is rounded down, because METEOR adds it to an integer.
    fn take(&mut self, m: &Match) {
        let share = if m.module == Module::Exact { 1 } else { 2 };
        self.matched += m.hypothesis_words / share + m.reference_words / share;
        if self.chunk_end.is_some_and(|end| end != m.hypothesis) {
            self.chunks += 1;
        }
        self.next = m.reference + m.reference_words;
        self.chunk_end = Some(m.hypothesis + m.hypothesis_words);
    }

    /// The order of alignments; the lowest is the best.
    fn rank(&self) -> (Reverse<usize>, usize, usize) {
        (Reverse(self.matched), self.chunks, self.distance)
    }
}

/// Inserts an alignment into the sorted list of the best, after those of the same rank. It is built only
/// if it is kept, because long captions of a repeated word have millions of them.
fn keep(best: &mut Vec<Path>, state: State, path: impl FnOnce() -> Path) {
    let place = best.partition_point(|other| other.state.rank() <= state.rank());
    if place < BEAM {
        best.truncate(BEAM - 1);
        best.insert(place, path());
    }
}
