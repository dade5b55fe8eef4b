use super::*;

/// Captions and their tokens by PTBTokenizer 3.4.1, without the punctuation that coco-caption drops.
#[test]
#[rustfmt::skip]
fn tokens_are_those_of_coco_caption() {
    const CASES: &[(&str, &str)] = &[
        ("A (small) [red] {box}", "a -lrb- small -rrb- -lsb- red -rsb- -lcb- box -rcb-"),
        ("A man's dog doesn't bark.", "a man 's dog does n't bark"),
        ("can't cannot gonna wanna gotta lemme gimme", "ca n't can not gon na wan na got ta lem me gim me"),
        ("I'm you're we've he'll they'd it's", "i 'm you 're we 've he 'll they 'd it 's"),
        ("he said \"hello\" to 'her'", "he said hello to her"),
        ("3-year-old boy 1/2 of 10,000 $5 50% #1 @home", "3-year-old boy 1/2 of 10,000 $ 5 50 % # 1 @home"),
        ("U.S. Mr. Smith Inc. etc.", "u.s. mr. smith inc. etc."),
        ("a -- b - c ... d … e — f – g", "a b c d e f g"),
        ("it costs £5 and €6", "it costs # 5 and $ 6"),
        ("AT&T &amp; R&B a&b", "at&t & r&b a & b"),
        ("5 o'clock 'n' rock'n'roll '90s", "5 o'clock 'n' rock 'n' roll '90s"),
        ("ain't y'all 'tis 'twas d'ye c'mon more'n", "ai n't y' all 't is 't was d'ye c'mon more 'n"),
        ("dogs' toys", "dogs toys"),
        ("``it`s `quoted` ``x''", "it s quoted x"),
        ("don’t “quote”", "do n't quote"),
        ("yes/no and/or 24/7 t-shirt / tshirt", "yes/no and/or 24/7 t-shirt / tshirt"),
        ("**bold** a*b a_b ~ ^ + = \\ |", "** bold ** a * b a_b ~ ^ + = \\ |"),
        ("<person> unk </s> <unk>", "<person> unk </s> <unk>"),
        ("1st 2nd 1990s 1.5 1,5 .5 5.", "1st 2nd 1990s 1.5 1,5 .5 5"),
        ("a....b", "a. b"),
        ("wait...what", "wait what"),
        ("e.g. i.e. a.m. p.m. I.B.M. a.b.c", "e.g. i.e. a.m. p.m. i.b.m. a.b.c"),
        ("Ph.D. vs. No. 5", "ph.d. vs. no. 5"),
        ("a so\u{ad}ft hyphen", "a soft hyphen"),
        ("a \u{1f600} smile", "a smile"),
        ("İ ŞI ΑΣ", "i\u{307} şi ας"),
        (".", ""),
        ("..", ""),
        ("", ""),
        ("?! hello", "?! hello"),
        ("1 1/2 cups (555) 123-4567 3:30pm 12/25/2010", "1\u{a0}1/2 cups -lrb-555-rrb-\u{a0}123-4567 3:30 pm 12/25/2010"),
        (":) ;-) :D :P's >_< (^_^)", ":-rrb- ;--rrb- :d :p 's >_< -lrb-^_^-rrb-"),
        ("O'Neil S'mores s'more ma'am Hawai'i Xi'an l'eau c'est", "o'neil s'mores s more ma'am hawai'i xi'an l'eau c'est"),
        ("www.google.com youtube.com/watch?v=a http://a.bc/d. me@foo.com #tag @name", "www.google.com youtube.com/watch?v=a http://a.bc/d me@foo.com #tag @name"),
        ("well-known., hello., mr.smith jan.x fig. 3 fig. a", "well-known. hello. mr.smith jan. x fig. 3 fig a"),
        ("5,000-foot U.S.-based 4.5-5.5 black/white-red a/b/c/d", "5,000-foot u.s.-based 4.5-5 .5 black/white-red a/b/c / d"),
        ("A+B a+b c++ C# US$5 us$5", "a+b a + b c++ c# us$ 5 us $ 5"),
        ("c’mon rock’n’roll O’Neil “” y’know", "c 'm on rock ’n’ roll o’neil ``'' y’ know"),
        ("a\u{ad} naïve-x é-é é/é हेलो लड़का 日本語 x² ½ 1½ ⅛ °C", "a naïve-x é-é é / é हेलो लड़का 日本語 x ² 1/2 1 1/2 ⅛ ° c"),
        ("<a href=\"x\"> <a b> <br/> </p > <1> &#39; &eacute;a &mdash; &nbsp;a", "<a\u{a0}href=\"x\"> <a\u{a0}b> <br/> </p\u{a0}> < 1 > &#39; &eacute;a a"),
        ("----- -- - << >> ** __ ## ??!", "----- << >> ** __ ## ??!"),
        ("-lrb- a-lrb-b pro- anti-war C.D.s", "-lrb- a-lrb-b pro- anti-war c.d.s"),
    ];
    for (caption, tokens) in CASES {
        assert_eq!(tokenize(caption).join(" "), *tokens, "{caption}");
    }
}

#[test]
fn a_word_that_begins_a_sentence_takes_the_dot_of_a_letter_before_it() {
    assert_eq!(tokenize("vitamin c. The man"), ["vitamin", "c", "the", "man"]);
    assert_eq!(tokenize("vitamin c. the man"), ["vitamin", "c.", "the", "man"]);
    // The word may also begin the next line of coco-caption's file.
    let tokens = tokenize_lines(["on t v.", "A man", "on t v.", "someone", "on t v."]);
    let last = |place: usize| tokens[place].last().map(String::as_str);
    assert_eq!((last(0), last(2), last(4)), (Some("v"), Some("v."), Some("v.")));
}

#[test]
fn abbreviations_keep_their_dot() {
    let keeps = |text: &str| tokenize(text).iter().any(|token| token.ends_with('.'));
    for word in TITLES.iter().chain(&AT_THE_END) {
        assert!(keeps(&format!("x {word}. y")) && keeps(&format!("x {}. y", word.to_uppercase())), "{word}");
    }
    for word in CAPITALISED {
        assert!(keeps(&format!("x {}. y", word.to_uppercase())) && !keeps(&format!("x {word}. y")), "{word}");
    }
    for word in BEFORE_NUMBERS {
        assert!(
            keeps(&format!("x {word}. 5")) && keeps(&format!("x {word}.5")) && !keeps(&format!("x {word}. y")),
            "{word}"
        );
    }
}

/// Rules look beyond their tokens, but must not read beyond the text.
#[test]
fn any_last_character_is_tokenized_without_a_panic() {
    let starts = ["", "a", "'", "<", "&", "(", "1", "1/", "a.", "www.", "a@", ":", "<a b=\""];
    for start in starts {
        for c in (0..0x180).chain(0x2010..0x2030).filter_map(char::from_u32) {
            tokenize(&format!("{start}{c}"));
        }
    }
}
