//! METEOR's own normalisation, which coco-caption applies to captions that are tokens already.

/// Words that keep a final dot. Text is in lower case, so the titles of METEOR's list do not occur.
const KEEP_DOT: [&str; 3] = ["v", "vs", "rev"];
/// Words that keep a final dot before a number.
const KEEP_DOT_BEFORE_NUMBER: [&str; 1] = ["pp"];

/// The words of a caption that METEOR compares: its tokens in lower case, divided once more.
///
/// Dots within abbreviations are removed (`u.s.` becomes `us`), hyphens between letters and digits
/// become spaces, apostrophes begin a word (`n't` becomes `n 't`, a separate `'s` becomes `' s`), and
/// all other punctuation is a word by itself. METEOR replaces from left to right without overlaps, so
/// the second hyphen in `a-b-c` stays.
pub(super) fn normalize(caption: &str) -> Vec<String> {
    // A shortcut for most captions: plain words do not change.
    if caption.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b' ')) {
        return caption.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    }
    let mut text: Vec<char> = vec![' '];
    for c in caption.chars() {
        // Anything but letters, digits, white space and . ' ` , - ‘ ’ stands alone.
        if is_alphanumeric(c) || is_space(c) || ".'`,-‘’".contains(c) {
            text.push(c);
        } else {
            text.extend([' ', c, ' ']);
        }
    }
    text.push(' ');
    let digit = |c: char| c.is_ascii_digit();
    let text = separate_dots(&text);
    let text = between(&text, ',', |c| !digit(c), |c| !digit(c), " , ");
    let text = between(&text, ',', digit, |c| !digit(c), " , ");
    let text = between(&text, ',', |c| !digit(c), digit, " , ");
    let text = straight_quotes(&text);
    let text = between(&text, '-', |c| is_alphanumeric(c) || c == '.', is_alphanumeric, " ");
    let text = between(&text, '\'', |c| !is_alpha(c), |c| !is_alpha(c), " ' ");
    let text = between(&text, '\'', |c| !is_alpha(c) && !digit(c), is_alpha, " ' ");
    let text = between(&text, '\'', is_alpha, |c| !is_alpha(c), " ' ");
    let text = between(&text, '\'', is_alpha, is_alpha, " '");
    let text = between(&text, '\'', digit, |c| c == 's', " '");
    final_dots(&text)
}

/// Replaces a character between two others, without overlaps, from left to right.
fn between(
    text: &[char],
    middle: char,
    before: impl Fn(char) -> bool,
    after: impl Fn(char) -> bool,
    replacement: &str,
) -> Vec<char> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut at = 0;
    while at < text.len() {
        out.push(text[at]);
        if let [first, second, third, ..] = text[at..]
            && second == middle
            && before(first)
            && after(third)
        {
            out.extend(replacement.chars());
            out.push(third);
            at += 2;
        }
        at += 1;
    }
    out
}

/// Two or more dots become a word of their own.
fn separate_dots(text: &[char]) -> Vec<char> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut at = 0;
    while at < text.len() {
        let dots = text[at..].iter().take_while(|&&c| c == '.').count();
        match dots {
            0 | 1 => out.push(text[at]),
            _ => {
                out.push(' ');
                out.extend(std::iter::repeat_n('.', dots));
                out.push(' ');
            }
        }
        at += dots.max(1);
    }
    out
}

/// Curved quotes and backticks become straight, two single ones a double one, dashes hyphens.
fn straight_quotes(text: &[char]) -> Vec<char> {
    let mut out: Vec<char> = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let single = |at: usize| matches!(text.get(at), Some('\'' | '`' | '‘' | '’'));
        match text[at] {
            '“' | '”' => out.extend([' ', '"', ' ']),
            _ if single(at) && single(at + 1) => {
                out.extend([' ', '"', ' ']);
                at += 1;
            }
            _ if single(at) => out.push('\''),
            '–' => out.push('-'),
            '-' if text.get(at + 1) == Some(&'-') => {
                out.push('-');
                at += 1;
            }
            c => out.push(c),
        }
        at += 1;
    }
    out
}

/// Divides at spaces; a final dot becomes a word unless it belongs to an abbreviation.
fn final_dots(text: &[char]) -> Vec<String> {
    let text: String = text.iter().collect();
    let words: Vec<&str> = text.split(is_separator).filter(|word| !word.is_empty()).collect();
    let mut out = Vec::with_capacity(words.len() + 1);
    for (place, word) in words.iter().enumerate() {
        let next = words.get(place + 1).and_then(|next| next.chars().next());
        let stem = word.strip_suffix('.').filter(|stem| !stem.is_empty() && word.chars().any(|c| c != '.'));
        let keeps_dot = |stem: &str| {
            KEEP_DOT.contains(&stem)
                || next.is_some_and(|c| c.is_ascii_lowercase())
                || KEEP_DOT_BEFORE_NUMBER.contains(&stem) && next.is_some_and(|c| c.is_ascii_digit())
        };
        match stem {
            Some(stem) if stem.contains('.') && stem.contains(is_alpha) => out.push(word.replace('.', "")),
            Some(stem) if !keeps_dot(stem) => out.extend([stem.to_owned(), ".".to_owned()]),
            _ => out.push((*word).to_owned()),
        }
    }
    // Spaces that did not divide words before, such as the no-break space.
    let divided = out.iter().flat_map(|word| word.split(is_wide_space)).filter(|word| !word.is_empty());
    divided.map(str::to_lowercase).collect()
}

/// METEOR's letters: Latin, Cyrillic and phonetic ones.
fn is_alpha(c: char) -> bool {
    matches!(c,
        'A'..='Z' | 'a'..='z' | 'Š' | 'Ž' | 'š' | 'ž' | 'Ÿ' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ž' | 'Ѐ'..='ӿ'
        | 'Ԁ'..='ԧ' | 'Ꙁ'..='\u{a66e}' | '\u{a67e}'..='ꚗ' | 'ᴀ'..='ᵿ')
}

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_digit() || is_alpha(c)
}

/// White space of Java's regular expressions.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// Characters that divide words.
fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{c}' | '\r')
}

fn is_wide_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}
