//! Merges answers into events.

use serde::Serialize;

use super::Answer;

/// Name of the class of clips in which nothing of interest happens; it is never an event.
pub(crate) const BACKGROUND: &str = "background";

/// When an event begins and ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// Least probability with which an event begins.
    pub(crate) begin: f32,
    /// Least probability with which it continues.
    pub(crate) go_on: f32,
    /// Shortest event, seconds.
    pub(crate) least: f64,
    /// Index of the class `background`, if there is one.
    pub(crate) background: Option<usize>,
}

/// An interval in which one class was recognised.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// Seconds since the first frame.
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) class: String,
    /// Its highest probability.
    pub(crate) probability: f32,
}

/// Merges answers into events.
///
/// An event begins with an answer whose most probable class, `background` apart, has at least the
/// probability `begin`. It continues as long as its class has at least `go_on`, and no other class is
/// more probable and has at least `begin`: such an answer ends it and begins the next event. It is
/// reported when it has ended, if it is at least as long as `least`.
#[derive(Debug)]
pub(crate) struct Events<'a> {
    rule: Rule,
    classes: &'a [String],
    /// The event that has not ended, its class, and whether the last answer is its highest.
    current: Option<(Event, usize, bool)>,
}

impl<'a> Events<'a> {
    pub(crate) fn new(rule: Rule, classes: &'a [String]) -> Self {
        Self { rule, classes, current: None }
    }

    /// Takes in the next answer and returns the event that it ended, if it did.
    pub(crate) fn add(&mut self, answer: &Answer) -> Option<Event> {
        let p = &answer.probabilities;
        let classes = (0..p.len()).filter(|class| Some(*class) != self.rule.background);
        let best = classes.max_by(|&a, &b| p[a].total_cmp(&p[b])).filter(|&best| p[best] >= self.rule.begin);
        if let Some((event, class, highest)) = &mut self.current
            && p[*class] >= self.rule.go_on
            && best.is_none_or(|best| p[best] <= p[*class])
        {
            event.end = answer.end;
            *highest = p[*class] > event.probability;
            event.probability = event.probability.max(p[*class]);
            return None;
        }
        let ended = self.finish();
        self.current = best.map(|class| {
            let (start, end, probability) = (answer.start, answer.end, p[class]);
            (Event { start, end, class: self.classes[class].clone(), probability }, class, true)
        });
        ended
    }

    /// Whether the last answer has the highest probability of the current event so far.
    pub(crate) fn is_highest(&self) -> bool {
        self.current.as_ref().is_some_and(|(.., highest)| *highest)
    }

    /// Ends the current event, at the end of the stream.
    pub(crate) fn finish(&mut self) -> Option<Event> {
        let (event, ..) = self.current.take()?;
        (event.end - event.start >= self.rule.least).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of answers of a second each about the classes background, wave and clap.
    fn events(rule: Rule, answers: &[[f32; 3]]) -> Vec<Event> {
        let classes = ["background", "wave", "clap"].map(String::from);
        let mut events = Events::new(rule, &classes);
        let answer =
            |(n, p): (usize, &[f32; 3])| Answer { start: n as f64, end: n as f64 + 1.0, probabilities: p.to_vec() };
        let mut found: Vec<Event> = answers.iter().enumerate().filter_map(|a| events.add(&answer(a))).collect();
        found.extend(events.finish());
        found
    }

    const RULE: Rule = Rule { begin: 0.6, go_on: 0.4, least: 0.0, background: Some(0) };

    fn event(start: f64, end: f64, class: &str, probability: f32) -> Event {
        Event { start, end, class: class.to_owned(), probability }
    }

    /// It begins at 0.6, continues through 0.45, and ends below 0.4; the later 0.5 begins none.
    #[test]
    fn an_event_begins_high_and_ends_low() {
        let wave = |p: f32| [1.0 - p, p, 0.0];
        let answers = [0.5, 0.6, 0.45, 0.9, 0.4, 0.3, 0.5].map(wave);
        assert_eq!(events(RULE, &answers), [event(1.0, 5.0, "wave", 0.9)]);
        // One that lasts until the end.
        assert_eq!(events(RULE, &[0.1, 0.7].map(wave)), [event(1.0, 2.0, "wave", 0.7)]);
        assert_eq!(events(RULE, &[0.1, 0.5].map(wave)), []);
    }

    /// A clap of at least 0.6 ends a wave that would continue; one below does not, even where it is more
    /// probable than the wave.
    #[test]
    fn a_more_probable_event_ends_the_current_one() {
        let answers = [[0.0, 0.9, 0.1], [0.0, 0.4, 0.6], [0.0, 0.1, 0.9]];
        assert_eq!(events(RULE, &answers), [event(0.0, 1.0, "wave", 0.9), event(1.0, 3.0, "clap", 0.9)]);
        let answers = [[0.0, 0.9, 0.1], [0.05, 0.45, 0.5], [0.0, 0.8, 0.2]];
        assert_eq!(events(RULE, &answers), [event(0.0, 3.0, "wave", 0.9)]);
    }

    #[test]
    fn background_is_never_an_event() {
        let nothing = [0.95, 0.05, 0.0];
        assert_eq!(events(RULE, &[nothing, nothing]), []);
        // Under another name it would be one.
        let named = Rule { background: None, ..RULE };
        assert_eq!(events(named, &[nothing, nothing]), [event(0.0, 2.0, "background", 0.95)]);
    }

    /// Two seconds are long enough, one is not; the waves before and after the clap stay two events.
    #[test]
    fn short_events_are_dropped() {
        let rule = Rule { least: 1.5, ..RULE };
        let (wave, clap) = ([0.0, 0.9, 0.1], [0.0, 0.1, 0.9]);
        let found = events(rule, &[wave, wave, clap, wave, wave]);
        assert_eq!(found, [event(0.0, 2.0, "wave", 0.9), event(3.0, 5.0, "wave", 0.9)]);
    }
}
