//! The tokenizer of coco-caption: the Penn Treebank rules of Stanford's PTBTokenizer 3.4.1 in lower
//! case, without the punctuation of a fixed list.
//!
//! Each kind of token has a rule, which returns how far a token reaches from a position. The rule that
//! reaches furthest wins; in a tie, the first of them in [`RULES`].

mod characters;

use characters::{DIGITS, LETTERS, MARKS, SYMBOLS, contains};

/// Tokens that coco-caption drops. Its list also has brackets, as `-LRB-`, but they stay, because tokens
/// are in lower case when they are compared with the list.
const PUNCTUATION: [&str; 13] = ["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"];

/// Characters that end a line in coco-caption's file of captions, which would assign all later captions
/// to the wrong images: carriage return, vertical tab, form feed, line and paragraph separator. A
/// newline is not among them: coco-caption replaces it with a space.
pub(crate) const LINE_SEPARATORS: [char; 5] = ['\r', '\u{b}', '\u{c}', '\u{2028}', '\u{2029}'];

/// Tokens of a caption in lower case, without punctuation.
///
/// They are those of coco-caption on the text of captions, compared on the 67,220 captions of MSVD and
/// on generated ones. Forms that are rare in captions, such as markup with attributes, may differ. A
/// token may contain no-break spaces, as in `1 1/2`. Newlines count as spaces. Other line separators
/// end words here; [`Corpus`](super::Corpus) refuses captions that have them.
///
/// ```
/// use gru_rcn_metrics::caption::tokenize;
///
/// assert_eq!(tokenize("A man's dog doesn't bark."), ["a", "man", "'s", "dog", "does", "n't", "bark"]);
/// assert_eq!(tokenize("A (small) box!"), ["a", "-lrb-", "small", "-rrb-", "box"]);
/// ```
pub fn tokenize(caption: &str) -> Vec<String> {
    tokenize_before(caption, "")
}

/// Tokens of consecutive captions in coco-caption's file, whose tokenizer looks beyond the end of a line:
/// a single letter at the end of a caption, as in `a t v.`, keeps its dot unless the next caption begins
/// with `A`, `The` or another word that begins sentences.
pub fn tokenize_lines<'a>(captions: impl IntoIterator<Item = &'a str>) -> Vec<Vec<String>> {
    let mut captions = captions.into_iter().peekable();
    let mut tokens = Vec::new();
    while let Some(caption) = captions.next() {
        tokens.push(tokenize_before(caption, captions.peek().copied().unwrap_or_default()));
    }
    tokens
}

fn tokenize_before(caption: &str, next: &str) -> Vec<String> {
    // Longer than any word that begins sentences.
    let start_of_next = next.chars().take(20);
    let own = caption.chars().map(|c| if c == '\n' { ' ' } else { c });
    let text = Text(own.chain(['\n']).chain(start_of_next).collect());
    let end = caption.chars().count();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < end {
        // A shortcut for most tokens: plain words before a space.
        let letters = text.skip(at, |c| c.is_ascii_alphabetic());
        if letters > at && text.at(letters) == ' ' && text.joined_words(at).is_none() {
            tokens.push(text.0[at..letters].iter().map(char::to_ascii_lowercase).collect());
            at = letters + 1;
            continue;
        }
        match text.longest(at) {
            Some((end, rule)) => {
                let token = rule(&text.0[at..end]).to_lowercase();
                if !PUNCTUATION.contains(&token.as_str()) {
                    tokens.push(token);
                }
                at = end;
            }
            // A space, or a character that no rule knows.
            None => at += 1,
        }
    }
    tokens
}

/// Turns the characters that a rule took into the token.
type Spelling = fn(&[char]) -> String;

/// A rule's result: the end of the token, and how far the rule had to look. The latter decides which
/// rule wins.
#[derive(Clone, Copy)]
struct Reach {
    end: usize,
    seen: usize,
}

type Rule = fn(&Text, usize) -> Option<Reach>;

/// The rules in order of precedence.
const RULES: [(Rule, Spelling); 30] = [
    (Text::joined_words, plain),
    (Text::abbreviation_ending, plain),
    (Text::word_before_suffix, word),
    (Text::word_before_not, word),
    (Text::word, word),
    (Text::apostrophe_word, plain),
    (Text::address, plain),
    (Text::email, plain),
    (Text::tag_or_name, plain),
    (Text::suffix, straight_apostrophe),
    (Text::phone, brackets),
    (Text::fraction, unbroken),
    (Text::date, plain),
    (Text::number, word),
    (Text::two_digit_year, plain),
    (Text::fixed_word, plain),
    (Text::compound, plain),
    (Text::capitals, ampersand),
    (Text::slashed, plain),
    (Text::hyphenated, word),
    (Text::abbreviation, plain),
    (Text::word_with_dot, word),
    (Text::currency, currency),
    (Text::markup, unbroken),
    (Text::entity, entity),
    (Text::smiley, brackets),
    (Text::quotation_mark, quotation),
    (Text::dashes, dashes),
    (Text::run, run),
    (Text::symbol, symbol),
];

struct Text(Vec<char>);

impl Text {
    /// The end and the spelling of the token that starts here, if one does.
    fn longest(&self, at: usize) -> Option<(usize, Spelling)> {
        if self.at(at) == ' ' {
            return None;
        }
        let mut best: Option<(Reach, Spelling)> = None;
        for (rule, spelling) in RULES {
            if let Some(reach) = rule(self, at)
                && best.is_none_or(|(longest, _)| reach.seen > longest.seen)
            {
                best = Some((reach, spelling));
            }
        }
        best.map(|(reach, spelling)| (reach.end, spelling))
    }

    /// The character at a position; a newline beyond the end.
    fn at(&self, at: usize) -> char {
        self.0.get(at).copied().unwrap_or('\n')
    }

    /// The end of a run of characters of one kind.
    fn skip(&self, mut at: usize, kind: impl Fn(char) -> bool) -> usize {
        while at < self.0.len() && kind(self.0[at]) {
            at += 1;
        }
        at
    }

    /// The end of an ASCII text, if it stands here in upper or lower case.
    fn literal(&self, at: usize, text: &str) -> Option<usize> {
        let stands = text.chars().zip(at..).all(|(c, at)| self.at(at).eq_ignore_ascii_case(&c));
        stands.then_some(at + text.len())
    }

    /// The furthest end of several texts that stand here.
    fn any_literal(&self, at: usize, texts: &[&str]) -> Option<usize> {
        texts.iter().filter_map(|text| self.literal(at, text)).max()
    }

    /// The end of a run of 1 to `most` digits.
    fn digits(&self, at: usize, most: usize) -> Option<usize> {
        let end = self.skip(at, is_digit);
        (end > at && end <= at + most).then_some(end)
    }

    /// The end of an apostrophe.
    fn apostrophe(&self, at: usize) -> Option<usize> {
        match self.at(at) {
            '\'' | '\u{92}' | '\u{2019}' => Some(at + 1),
            '&' => self.literal(at, "&apos;"),
            _ => None,
        }
    }

    /// The end of an apostrophe or of a character that is typed in its place.
    fn any_apostrophe(&self, at: usize) -> Option<usize> {
        match self.at(at) {
            '`' | '\u{91}' | '\u{2018}' | '\u{201b}' => Some(at + 1),
            _ => self.apostrophe(at),
        }
    }

    /// `cannot`, `gonna` and the like, which are two tokens, and `'tis`, `'twas`: the first part.
    fn joined_words(&self, at: usize) -> Option<Reach> {
        if let Some(seen) = self.any_literal(at, &["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"]) {
            return Some(Reach { end: at + 3, seen });
        }
        let seen = self.any_literal(at, &["'tis", "'twas"])?;
        Some(Reach { end: at + 2, seen })
    }

    /// The end of a letter, which may be written as an entity such as `&eacute;`.
    fn letter(&self, at: usize) -> Option<usize> {
        match self.at(at) {
            '\u{ad}' => Some(at + 1),
            '&' if "aeiouAEIOU".contains(self.at(at + 1)) => self.any_literal(at + 2, &["acute;", "grave;", "uml;"]),
            c if is_letter(c) || contains(MARKS, c) => Some(at + 1),
            _ => None,
        }
    }

    /// Letters and digits, the first a letter; parts may be joined by a dot, `!` or `?`.
    fn word_end(&self, at: usize) -> Option<usize> {
        let mut end = self.letter(at)?;
        loop {
            if let Some(next) = self.letter(end) {
                end = next;
            } else if is_digit(self.at(end)) {
                end += 1;
            } else if matches!(self.at(end), '.' | '!' | '?')
                && let Some(next) = self.letter(end + 1)
            {
                end = next;
            } else {
                return Some(end);
            }
        }
    }

    fn word(&self, at: usize) -> Option<Reach> {
        reach(self.word_end(at)?)
    }

    /// A word before `'s`, `'m`, `'d`, `'re`, `'ve` or `'ll`.
    fn word_before_suffix(&self, at: usize) -> Option<Reach> {
        let end = self.word_end(at)?;
        Some(Reach { end, seen: self.suffix_end(end)? })
    }

    fn suffix_end(&self, at: usize) -> Option<usize> {
        self.any_literal(self.apostrophe(at)?, &["s", "m", "d", "re", "ve", "ll"])
    }

    /// A word before `n't`. It does not end in `n` itself.
    fn word_before_not(&self, at: usize) -> Option<Reach> {
        let letters = self.skip(at, |c| c.is_ascii_alphabetic());
        let end = letters.checked_sub(1).filter(|&end| end > at)?;
        if matches!(self.at(end - 1), 'n' | 'N') {
            return None;
        }
        Some(Reach { end, seen: self.not_end(end)? })
    }

    fn not_end(&self, at: usize) -> Option<usize> {
        self.literal(self.any_apostrophe(self.literal(at, "n")?)?, "t")
    }

    /// `'s`, `'re`, `n't` and the like by themselves. After a straight apostrophe or `n't` no letter
    /// may follow.
    fn suffix(&self, at: usize) -> Option<Reach> {
        let end = match self.not_end(at) {
            Some(end) => end,
            None => self.suffix_end(at)?,
        };
        if !self.at(end).is_ascii_alphabetic() {
            return Some(Reach { end, seen: end + 1 });
        }
        if matches!(self.at(at), '\u{92}' | '\u{2019}') { reach(end) } else { None }
    }

    /// Words with an apostrophe that are one token.
    fn apostrophe_word(&self, at: usize) -> Option<Reach> {
        const WITH_APOSTROPHE: [&str; 8] =
            ["c'mon", "cont'd", "e'er", "ev'ry", "li'l", "nat'l", "nor'easter", "s'mores"];
        let mut ends = vec![self.any_literal(at, &WITH_APOSTROPHE)];
        if let Some(after) = self.apostrophe(at) {
            ends.push(self.any_literal(after, &["em", "til", "till", "cause"]));
            // 'n', as in rock 'n' roll. After a straight apostrophe a second one or a space follows.
            if let Some(end) = self.literal(after, "n") {
                let curved = self.at(at) != '\'' && self.at(at) != '&';
                ends.push(self.apostrophe(end).or((curved || self.at(end).is_whitespace()).then_some(end)));
            }
            // '90s
            if matches!(self.at(after), '2'..='9') {
                ends.push(self.literal(after + 1, "0s"));
            }
        }
        let before = |words: &[&str]| self.apostrophe(self.any_literal(at, words)?);
        ends.push(before(&["l", "d", "j", "ol", "dunkin", "somethin"]));
        ends.push(before(&["y"]).filter(|&end| is_letter(self.at(end))));
        let c = self.at(at);
        // O'Neil
        if matches!(c, 'A'..='H' | 'J'..='X' | 'Z' | 'n')
            && let Some(after) = self.any_apostrophe(at + 1)
        {
            let end = self.skip(after, is_letter);
            ends.push((end >= after + 2).then_some(end));
        }
        // ma'am, Hawai'i
        let letters = self.skip(at, is_letter);
        if letters >= at + 2
            && "aeiouyAEIOUY".contains(self.at(letters - 1))
            && let Some(after) = self.any_apostrophe(letters)
            && matches!(self.at(after), 'a' | 'e' | 'i' | 'o' | 'u' | 'A'..='Z')
        {
            ends.push(Some(self.skip(after, is_letter)));
        }
        reach(ends.into_iter().flatten().max()?)
    }

    /// Addresses of the web: with `http://`, with `www.`, or of a few top-level domains.
    fn address(&self, at: usize) -> Option<Reach> {
        // A path reaches to white space, quotes or brackets, less the punctuation at its end.
        let path = |start: usize| {
            let mut end = self.skip(start, |c| !is_blank(c) && !"\"<>|()".contains(c));
            while end > start && ".!?(){},-".contains(self.at(end - 1)) {
                end -= 1;
            }
            (end >= start + 2).then_some(end)
        };
        if let Some(start) = self.any_literal(at, &["http://", "https://"]) {
            return reach(path(start)?);
        }
        let with_path = |end: usize| match self.at(end) {
            '/' => path(end + 1).unwrap_or(end),
            _ => end,
        };
        let mut best = None;
        let mut dot = |text: &Text, start: usize, part: fn(char) -> bool, last: &dyn Fn(usize) -> Option<usize>| {
            let mut from = start;
            loop {
                let end = text.skip(from, part);
                if end == from || text.at(end) != '.' {
                    return;
                }
                from = end + 1;
                best = best.max(last(from).map(with_path));
            }
        };
        if let Some(start) = self.literal(at, "www.") {
            let part = |c: char| !is_blank(c) && !"\"<>|.!?(){},".contains(c);
            dot(self, start, part, &|from| {
                let end = self.skip(from, |c| c.is_ascii_alphabetic()).min(from + 4);
                (end >= from + 2).then_some(end)
            });
        }
        // Upper-case letters, digits and hyphens are none of these characters.
        let part = |c: char| !is_blank(c) && !"\"`'<>|!?(){}$".contains(c) && !matches!(c, ','..='_');
        dot(self, at, part, &|from| self.any_literal(from, &["com", "net", "org", "edu"]));
        reach(best?)
    }

    /// Anything with an `@` between its parts.
    fn email(&self, at: usize) -> Option<Reach> {
        let start = self.any_literal(at, &["<", "&lt;"]).unwrap_or(at);
        if !self.at(start).is_ascii_alphanumeric() {
            return None;
        }
        let excluded = |c: char| is_blank(c) || "\"<>|(){}\u{a0}".contains(c);
        let limit = self.skip(start, |c| !excluded(c));
        let domain = |from: usize| {
            let (mut end, mut part) = (None, from);
            loop {
                let after = self.skip(part, |c| !excluded(c) && c != '.');
                if after == part {
                    return end;
                }
                end = Some(after);
                if self.at(after) != '.' {
                    return end;
                }
                part = after + 1;
            }
        };
        let ends = (start + 1..limit).filter(|&at| self.at(at) == '@').filter_map(|at| domain(at + 1));
        let end = ends.max()?;
        reach(self.any_literal(end, &[">", "&gt;"]).unwrap_or(end))
    }

    /// `#tag` of letters, `@name`.
    fn tag_or_name(&self, at: usize) -> Option<Reach> {
        let end = match self.at(at) {
            '#' => self.skip(at + 1, |c| is_letter(c) || contains(MARKS, c)),
            '@' if !self.at(at + 1).is_ascii_digit() => self.skip(at + 1, |c| c.is_ascii_alphanumeric() || c == '_'),
            _ => at,
        };
        if end > at + 1 { reach(end) } else { None }
    }

    /// Groups of digits with spaces or hyphens between them, as in telephone numbers.
    fn phone(&self, at: usize) -> Option<Reach> {
        let between = |at: usize| matches!(self.at(at), ' ' | '-' | '\u{a0}');
        // `least` to `most` digits from here, as many ends as there are.
        let digits = |from: usize, least: usize, most: usize| {
            let end = self.skip(from, |c| c.is_ascii_digit());
            (from + least..=(from + most).min(end)).rev()
        };
        // 3 or 4 digits, perhaps a separator, 3 to 5 digits.
        let tail = |from: usize| {
            let ends = digits(from, 3, 4).flat_map(|end| [end, end + usize::from(between(end))]);
            ends.flat_map(|start| digits(start, 3, 5)).max()
        };
        let group = |from: usize| digits(from, 2, 4).find(|&end| between(end)).map(|end| end + 1);
        if self.at(at) == '(' {
            let close = digits(at + 1, 2, 3).find(|&end| self.at(end) == ')')? + 1;
            let start = close + usize::from(matches!(self.at(close), ' ' | '\u{a0}'));
            return reach(tail(start)?);
        }
        let start = self.any_literal(at, &["+", "++"]).unwrap_or(at);
        let first = group(start)?;
        let second = group(first).and_then(tail);
        reach(second.max(tail(first))?)
    }

    /// `1/2`, `1 1/2`, `1-1/2`, and fractions of one character.
    fn fraction(&self, at: usize) -> Option<Reach> {
        if matches!(self.at(at), '¼' | '½' | '¾' | '⅓' | '⅔') {
            return reach(at + 1);
        }
        let simple = |from: usize| {
            let slash = self.digits(from, 4)?;
            let after = match self.at(slash) {
                '/' | '\u{2044}' => slash + 1,
                '\\' if self.at(slash + 1) == '/' => slash + 2,
                _ => return None,
            };
            let end = self.skip(after, is_digit).min(after + 4);
            (end > after).then_some(end)
        };
        let mixed = self
            .digits(at, 4)
            .filter(|&end| matches!(self.at(end), ' ' | '-' | '\u{a0}'))
            .and_then(|end| simple(end + 1));
        reach(simple(at).max(mixed)?)
    }

    /// `12/25/2010`, `12-25-10`, or both signs mixed.
    fn date(&self, at: usize) -> Option<Reach> {
        let sign = |at: usize| matches!(self.at(at), '-' | '/').then_some(at + 1);
        let year = sign(self.digits(sign(self.digits(at, 2)?)?, 2)?)?;
        let end = self.skip(year, is_digit).min(year + 4);
        if end >= year + 2 { reach(end) } else { None }
    }

    /// Digits with dots, colons or commas between or before them, perhaps a sign.
    fn number(&self, at: usize) -> Option<Reach> {
        let start = at + usize::from(matches!(self.at(at), '+' | '-'));
        let mut end = self.skip(start, is_digit);
        while matches!(self.at(end), '.' | ':' | ',' | '\u{ad}' | '\u{66b}' | '\u{66c}') && is_digit(self.at(end + 1)) {
            end = self.skip(end + 1, is_digit);
        }
        if end > start { reach(end) } else { None }
    }

    /// `'95` before a space.
    fn two_digit_year(&self, at: usize) -> Option<Reach> {
        let end = self.apostrophe(at)? + 2;
        let ends = self.at(end - 2).is_ascii_digit() && self.at(end - 1).is_ascii_digit();
        if ends && self.at(end).is_whitespace() { Some(Reach { end, seen: end + 1 }) } else { None }
    }

    fn fixed_word(&self, at: usize) -> Option<Reach> {
        const WORDS: [&str; 16] = [
            "-lrb-",
            "-rrb-",
            "-lcb-",
            "-rcb-",
            "-lsb-",
            "-rsb-",
            "c.d.s",
            "pro-",
            "anti-",
            "s&p-500",
            "s&ls",
            "c++",
            "s&amp;p-500",
            "s&amp;ls",
            "c#",
            "f#",
        ];
        let split = |first, last| self.literal(self.apostrophe(self.literal(at, first)?)?, last);
        reach(self.any_literal(at, &WORDS).max(split("c", "est")).max(split("cap", "n"))?)
    }

    /// Letters and digits with hyphens or underscores between them; a part may begin with `d'`, `o'`
    /// or `l'`.
    fn compound(&self, at: usize) -> Option<Reach> {
        let part = |at: usize| {
            let end = self.skip(at, |c| is_letter(c) || is_digit(c));
            let prefixed = matches!(self.at(at), 'd' | 'D' | 'o' | 'O' | 'l' | 'L')
                .then(|| self.any_apostrophe(at + 1))
                .flatten()
                .map(|after| self.skip(after, |c| is_letter(c) || is_digit(c)))
                .filter(|&end| end >= at + 4);
            prefixed.or((end > at).then_some(end))
        };
        let mut end = part(at)?;
        while matches!(self.at(end), '-' | '_' | '\u{58a}' | '\u{2010}' | '\u{2011}')
            && let Some(next) = part(end + 1)
        {
            end = next;
        }
        self.with_dot(end).or(reach(end))
    }

    /// `AT&T`, `R&B`, `A+B`.
    fn capitals(&self, at: usize) -> Option<Reach> {
        let part = |from: usize| {
            let end = self.skip(from, |c| c.is_ascii_uppercase());
            (end > from).then_some(end)
        };
        let (mut end, mut found) = (part(at)?, None);
        while let Some(next) = self.any_literal(end, &["&", "&amp;", "+"]).and_then(part) {
            (end, found) = (next, Some(next));
        }
        let end = found?;
        self.with_dot(end).or(reach(end))
    }

    /// Two or three words with slashes between them, which may have up to two hyphens each.
    fn slashed(&self, at: usize) -> Option<Reach> {
        let part = |from: usize| {
            let mut end = self.skip(from, |c| c.is_ascii_alphanumeric());
            if end == from {
                return None;
            }
            for _ in 0..2 {
                let next = self.skip(end + 1, |c| c.is_ascii_alphabetic());
                if self.at(end) == '-' && next > end + 1 {
                    end = next;
                }
            }
            Some(end)
        };
        let (mut end, mut found) = (part(at)?, None);
        for _ in 0..2 {
            let Some(next) = self.any_literal(end, &["/", "\\/"]).and_then(part) else { break };
            (end, found) = (next, Some(next));
        }
        reach(found?)
    }

    /// `5,000-foot`, `U.S.-based`: dots and commas before the first hyphen.
    fn hyphenated(&self, at: usize) -> Option<Reach> {
        if !self.at(at).is_ascii_alphanumeric() {
            return None;
        }
        let mut end = self.skip(at, |c| c.is_ascii_alphanumeric() || ".,\u{ad}".contains(c));
        let mut found = None;
        while self.at(end) == '-' {
            let plain = self.skip(end + 1, |c| c.is_ascii_alphanumeric() || c == '\u{ad}');
            let Some(next) = self.acronym(end + 1).max((plain > end + 1).then_some(plain)) else { break };
            (end, found) = (next, Some(next));
        }
        let end = found?;
        self.with_dot(end).or(reach(end))
    }

    /// The end of single letters with a dot after each, at least two.
    fn acronym(&self, at: usize) -> Option<usize> {
        let mut end = at;
        while self.at(end).is_ascii_alphabetic() && self.at(end + 1) == '.' {
            end += 2;
        }
        (end >= at + 4).then_some(end)
    }

    /// An abbreviation that keeps its dot.
    fn abbreviation(&self, at: usize) -> Option<Reach> {
        let letters = self.skip(at, |c| c.is_ascii_alphabetic());
        let dot = match letters - at {
            0 => return None,
            1 => self.acronym(at).map_or(letters, |end| end - 1),
            _ => self.any_literal(at, &["ph.d", "ed.d"]).unwrap_or(letters),
        };
        if self.at(dot) != '.' {
            return None;
        }
        let lower: String = self.0[at..letters].iter().map(char::to_ascii_lowercase).collect();
        let before_digits = self.at(dot + 1 + usize::from(matches!(self.at(dot + 1), ' ' | '\u{a0}')));
        let single = letters - at == 1 && (dot > letters || !self.begins_sentence(dot + 1));
        let known = single
            || letters - at > 1 && dot > letters
            || TITLES.contains(&lower.as_str())
            || before_digits.is_ascii_digit() && BEFORE_NUMBERS.contains(&lower.as_str());
        if known { reach(dot + 1) } else { None }
    }

    /// White space and a word that begins sentences.
    fn begins_sentence(&self, at: usize) -> bool {
        let start = self.skip(at, |c| matches!(c, ' ' | '\t' | '\n' | '\u{a0}'));
        if start == at {
            return false;
        }
        let starts = |word: &&str| {
            let end = self.literal(start, word).filter(|_| word.starts_with(self.at(start)));
            end.is_some_and(|end| self.at(end).is_whitespace())
        };
        self.markup(start).is_some() || SENTENCE_STARTS.iter().any(starts)
    }

    /// An abbreviation that may end a sentence. It wins over a word of one character more.
    fn abbreviation_ending(&self, at: usize) -> Option<Reach> {
        let letters = self.skip(at, |c| c.is_ascii_alphabetic());
        if self.at(letters) != '.' {
            return None;
        }
        let word: String = self.0[at..letters].iter().map(char::to_ascii_lowercase).collect();
        let capital = self.at(at).is_ascii_uppercase();
        let known = AT_THE_END.contains(&word.as_str()) || capital && CAPITALISED.contains(&word.as_str());
        known.then_some(Reach { end: letters + 1, seen: letters + 2 })
    }

    fn word_with_dot(&self, at: usize) -> Option<Reach> {
        self.with_dot(self.word_end(at)?)
    }

    /// A dot before a comma, semicolon or colon, as in `well-known.,`, belongs to the word before it,
    /// which is taken for an abbreviation.
    fn with_dot(&self, end: usize) -> Option<Reach> {
        let follows = self.at(end) == '.' && matches!(self.at(end + 1), ',' | ';' | ':');
        follows.then_some(Reach { end: end + 1, seen: end + 2 })
    }

    /// Signs of currencies, with capital letters before a dollar.
    fn currency(&self, at: usize) -> Option<Reach> {
        let capitals = self.skip(at, |c| c.is_ascii_uppercase());
        match self.at(at) {
            _ if self.at(capitals) == '$' => reach(capitals + 1),
            '\u{80}' | '¢' | '£' | '¤' | '\u{20a0}' | '€' => reach(at + 1),
            _ => None,
        }
    }

    /// Something in angle brackets, such as `<unk>` or `</s>`.
    fn markup(&self, at: usize) -> Option<Reach> {
        let mut end = self.literal(at, "<")?;
        if matches!(self.at(end), '!' | '?') {
            if !self.at(end + 1).is_ascii_alphabetic() && self.at(end + 1) != '-' {
                return None;
            }
            end = self.skip(end + 2, |c| c != '>' && c != '\n');
            return reach(self.literal(end, ">")?);
        }
        let closing = self.at(end) == '/';
        let name = |at: usize| {
            let end = self.skip(at, |c| c.is_ascii_alphanumeric() || "_:.-".contains(c));
            self.at(at).is_ascii_alphabetic().then_some(end)
        };
        end = name(end + usize::from(closing))?;
        loop {
            let next = self.skip(end, |c| c == ' ');
            let Some(attribute) = name(next).filter(|_| next > end) else {
                end = next;
                break;
            };
            end = attribute;
            let quote = self.at(end + 1);
            if self.at(end) == '=' && matches!(quote, '"' | '\'') {
                end = self.skip(end + 2, |c| c != quote && c != '\n') + 1;
            }
        }
        end += usize::from(!closing && self.at(end) == '/');
        reach(self.literal(end, ">")?)
    }

    /// `&amp;` and other entities.
    fn entity(&self, at: usize) -> Option<Reach> {
        const ENTITIES: [&str; 19] = [
            "&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&nbsp;", "&md;", "&mdash;", "&ndash;", "&ht;", "&tl;",
            "&ur;", "&lr;", "&qc;", "&ql;", "&qr;", "&odq;", "&cdq;", "&",
        ];
        if let Some(start) = self.literal(at, "&#") {
            let end = self.skip(start, |c| c.is_ascii_digit());
            if let Some(end) = self.literal(end, ";").filter(|_| end > start) {
                return reach(end);
            }
        }
        reach(self.any_literal(at, &ENTITIES)?)
    }

    /// Eyes, perhaps a nose, and a mouth, before anything but a letter or digit; and faces from the
    /// front.
    fn smiley(&self, at: usize) -> Option<Reach> {
        // -_-, (^.^)
        let cheek = |at: usize| "-^x=~<>'".contains(self.at(at));
        if self.at(at) == '(' && cheek(at + 1) {
            let second = at + 2 + usize::from(matches!(self.at(at + 2), '_' | '.'));
            if cheek(second) && self.at(second + 1) == ')' {
                return reach(second + 2);
            }
        }
        if cheek(at) && self.at(at + 1) == '_' && cheek(at + 2) {
            return reach(at + 3);
        }
        let eyes = at + usize::from(matches!(self.at(at), '<' | '>'));
        if !matches!(self.at(eyes), ':' | ';' | '=') {
            return None;
        }
        let mouth = |at: usize| "()DPdpO\\{@|[]".contains(self.at(at));
        let nose = usize::from("-o*'".contains(self.at(eyes + 1)) && mouth(eyes + 2));
        let end = eyes + 2 + nose;
        let ends = mouth(end - 1) && !self.at(end).is_ascii_alphanumeric();
        if ends { Some(Reach { end, seen: end + 1 }) } else { None }
    }

    fn quotation_mark(&self, at: usize) -> Option<Reach> {
        let curved = |c: char| matches!(c, '`' | '\u{91}'..='\u{94}' | '‘'..='‟' | '‹' | '›' | '«' | '»');
        match (self.at(at), self.at(at + 1)) {
            ('\'', '\'') => reach(at + 2),
            ('\'' | '"', _) => reach(at + 1),
            (first, second) if curved(first) => reach(at + 1 + usize::from(curved(second))),
            _ => None,
        }
    }

    fn dashes(&self, at: usize) -> Option<Reach> {
        let end = self.skip(at, |c| c == '-');
        if end > at {
            return reach(end);
        }
        let dash = matches!(self.at(at), '\u{96}' | '\u{97}' | '–' | '—' | '―');
        if dash { reach(at + 1) } else { None }
    }

    /// Several of the same sign: asterisks, at signs, underscores, hashes, two angle brackets, three
    /// to five dots; question and exclamation marks in any mixture.
    fn run(&self, at: usize) -> Option<Reach> {
        let c = self.at(at);
        let end = match c {
            '*' | '@' | '_' | '#' => self.skip(at, |other| other == c),
            '!' | '?' => self.skip(at, |other| matches!(other, '!' | '?')),
            '<' | '>' if self.at(at + 1) == c => at + 2,
            '.' if self.skip(at, |other| other == '.') >= at + 3 => self.skip(at, |other| other == '.').min(at + 5),
            '\\' if self.at(at + 1) == '*' => at + 2,
            _ => return None,
        };
        reach(end)
    }

    /// A sign by itself.
    fn symbol(&self, at: usize) -> Option<Reach> {
        let c = self.at(at);
        let known = if c.is_ascii() { c.is_ascii_punctuation() } else { contains(SYMBOLS, c) };
        if known { reach(at + 1) } else { None }
    }
}

/// Abbreviations of titles and places: they keep their dot everywhere.
const TITLES: [&str; 64] = [
    "adj", "adm", "adv", "alex", "asst", "atty", "attys", "ave", "brig", "capt", "cf", "cie", "cmdr", "col", "comdr",
    "cpl", "dept", "det", "dr", "drs", "elec", "ens", "ft", "gen", "gov", "govs", "hon", "insp", "invt", "jos",
    "lieut", "lt", "maj", "messrs", "mfg", "mlle", "mme", "mr", "mrs", "ms", "msgr", "mt", "mtg", "natl", "pfc", "ph",
    "pres", "prof", "profs", "pvt", "rep", "reps", "rev", "sen", "sens", "sfc", "sgt", "spc", "st", "ste", "supt",
    "supts", "vs", "wm",
];

/// Abbreviations that may end a sentence.
const AT_THE_END: [&str; 80] = [
    "al", "ala", "apr", "ariz", "assn", "aug", "bancorp", "bhd", "bldg", "blvd", "bros", "calif", "co", "colo", "conn",
    "corp", "cos", "ct", "dak", "dec", "esq", "est", "etc", "ext", "feb", "fla", "fri", "ga", "inc", "ind", "intl",
    "jan", "jr", "jul", "jun", "kan", "kans", "ky", "ltd", "mar", "md", "mich", "minn", "mo", "mon", "mont", "neb",
    "nev", "nov", "oct", "okla", "penn", "plc", "ppte", "ppty", "pte", "ptes", "pty", "ptys", "rd", "rt", "sep",
    "sept", "seq", "sq", "sr", "sys", "tel", "tenn", "thu", "thurs", "tue", "tues", "univ", "va", "vt", "wed", "wis",
    "wisc", "wyo",
];

/// Abbreviations that are words unless they begin with a capital letter.
const CAPITALISED: [&str; 11] = ["ark", "az", "del", "ill", "la", "mass", "miss", "ore", "pa", "tex", "wash"];

/// Abbreviations before a number only.
const BEFORE_NUMBERS: [&str; 9] = ["art", "ca", "fig", "figs", "no", "nos", "op", "pp", "prop"];

/// Words before which a single letter with a dot ends a sentence.
const SENTENCE_STARTS: [&str; 46] = [
    "A",
    "About",
    "According",
    "Additionally",
    "After",
    "An",
    "As",
    "At",
    "But",
    "Earlier",
    "He",
    "Her",
    "Here",
    "However",
    "If",
    "In",
    "It",
    "Last",
    "Many",
    "More",
    "Mr.",
    "Ms.",
    "Now",
    "Once",
    "One",
    "Other",
    "Our",
    "She",
    "Since",
    "So",
    "Some",
    "Such",
    "That",
    "The",
    "Their",
    "Then",
    "There",
    "These",
    "They",
    "This",
    "We",
    "When",
    "While",
    "What",
    "Yet",
    "You",
];

fn reach(end: usize) -> Option<Reach> {
    Some(Reach { end, seen: end })
}

fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { contains(LETTERS, c) }
}

fn is_digit(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { contains(DIGITS, c) }
}

/// White space in addresses.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{c}' | '\r')
}

fn plain(token: &[char]) -> String {
    token.iter().collect()
}

/// The token without soft hyphens; `-` if it consists of them.
fn word(token: &[char]) -> String {
    let word: String = token.iter().filter(|&&c| c != '\u{ad}').collect();
    if word.is_empty() { "-".into() } else { word }
}

fn straight_apostrophe(token: &[char]) -> String {
    let token: String = token.iter().collect();
    token.replace(['\u{92}', '\u{2019}'], "'").replace(['\u{91}', '\u{2018}', '\u{201b}'], "`").replace("&apos;", "'")
}

/// Spaces within a token become no-break spaces.
fn unbroken(token: &[char]) -> String {
    match token {
        ['¼'] => "1/4".into(),
        ['½'] => "1/2".into(),
        ['¾'] => "3/4".into(),
        ['⅓'] => "1/3".into(),
        ['⅔'] => "2/3".into(),
        _ => token.iter().map(|&c| if c == ' ' { '\u{a0}' } else { c }).collect(),
    }
}

fn brackets(token: &[char]) -> String {
    let mut spelled = String::new();
    for &c in token {
        match c {
            '(' => spelled += "-lrb-",
            ')' => spelled += "-rrb-",
            ' ' => spelled.push('\u{a0}'),
            c => spelled.push(c),
        }
    }
    spelled
}

fn ampersand(token: &[char]) -> String {
    plain(token).replace("&amp;", "&")
}

fn currency(token: &[char]) -> String {
    match token {
        ['¢'] => "cents".into(),
        ['£'] => "#".into(),
        ['\u{80}' | '¤' | '\u{20a0}' | '€'] => "$".into(),
        _ => plain(token),
    }
}

fn entity(token: &[char]) -> String {
    let entity = plain(token);
    match entity.to_lowercase().as_str() {
        "&amp;" => "&".into(),
        "&lt;" => "<".into(),
        "&gt;" => ">".into(),
        // A no-break space is dropped, and so is the apostrophe that replaces it here.
        "&apos;" | "&nbsp;" => "'".into(),
        "&mdash;" | "&ndash;" | "&md;" => "--".into(),
        _ if entity == "&quot;" => "''".into(),
        _ => entity,
    }
}

/// Opening and closing marks in the style of TeX. A straight double quote may be either; both are dropped
/// later.
fn quotation(token: &[char]) -> String {
    let mark = |&c: &char| match c {
        '"' | '\u{94}' | '”' | '»' => "''",
        '\u{93}' | '“' | '«' => "``",
        '\u{92}' | '’' | '›' => "'",
        '\u{91}' | '‘' | '\u{201b}' | '‹' => "`",
        '‚' => "‚",
        '„' => "„",
        '‟' => "‟",
        '`' => "`",
        _ => "'",
    };
    token.iter().map(mark).collect()
}

/// Two hyphens for a dash and for two to four hyphens.
fn dashes(token: &[char]) -> String {
    match token {
        ['-'] => "-".into(),
        ['-', ..] if token.len() > 4 => plain(token),
        _ => "--".into(),
    }
}

fn run(token: &[char]) -> String {
    if token.starts_with(&['.']) { "...".into() } else { plain(token) }
}

fn symbol(token: &[char]) -> String {
    match token {
        ['('] => "-lrb-".into(),
        [')'] => "-rrb-".into(),
        ['['] => "-lsb-".into(),
        [']'] => "-rsb-".into(),
        ['{'] => "-lcb-".into(),
        ['}'] => "-rcb-".into(),
        // The ellipsis, also as the control character of Windows' code page.
        ['…' | '\u{85}'] => "...".into(),
        _ => plain(token),
    }
}

#[cfg(test)]
mod tests;
