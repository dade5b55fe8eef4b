//! Test clips with the predictions of the system.

use super::format::{percent, width};
use super::model::GalleryClip;
use maud::{Markup, html};

/// Number of predictions that are shown for a clip.
const GUESSES: usize = 3;

/// The clips as cards, in their order; empty without clips.
pub(super) fn gallery(clips: &[GalleryClip]) -> Markup {
    let right = clips.iter().filter(|clip| clip.is_right()).count();
    html! {
        @if !clips.is_empty() {
            section {
                h2 { "Test clips" }
                p.lead {
                    "A choice of " (clips.len()) ", of which " (right)
                    " were named correctly. They were picked to be looked at; the tables give the rates."
                }
                div.gallery { @for clip in clips { (card(clip)) } }
            }
        }
    }
}

fn card(clip: &GalleryClip) -> Markup {
    html! {
        figure.card.wrong[!clip.is_right()] {
            (strip(clip))
            figcaption {
                p.truth {
                    (verdict(clip.is_right()))
                    b { (clip.truth) }
                    small title=(clip.id) { (clip.id) }
                }
                ol {
                    @for (class, probability) in clip.top.iter().take(GUESSES) {
                        li.hit[*class == clip.truth] { (guess(class, *probability, &clip.truth)) }
                    }
                }
            }
        }
    }
}

/// The frames in one row, or in two on narrow screens.
fn strip(clip: &GalleryClip) -> Markup {
    let frames = clip.frames_jpeg.len();
    html! {
        div.strip style=(format!("--half:{}", frames.div_ceil(2).max(1))) {
            @for (index, frame) in clip.frames_jpeg.iter().enumerate() {
                img src={ "data:image/jpeg;base64," (frame) } loading="lazy"
                    alt=(format!("{}, frame {} of {frames}", clip.id, index + 1));
            }
        }
    }
}

/// A sign and a word; the colour only repeats them.
fn verdict(right: bool) -> Markup {
    html! {
        @if right { span.verdict.right { "✓ correct" } }
        @else { span.verdict.wrong { "✗ wrong" } }
    }
}

fn guess(class: &str, probability: f32, truth: &str) -> Markup {
    html! {
        span.name { (class) @if class == truth { span.tick title="the true class" { " ✓" } } }
        span.bar aria-hidden="true" {
            span.fill style=(format!("width:{}", width(f64::from(probability)))) {}
        }
        span.value { (percent(f64::from(probability))) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn right_and_wrong_are_written_as_words() {
        let clips = sample::report().gallery;
        let html = gallery(&clips).into_string();
        let right = clips.iter().filter(|c| c.is_right()).count();
        assert_eq!(html.matches("✓ correct").count(), right);
        assert_eq!(html.matches("✗ wrong").count(), clips.len() - right);
    }

    #[test]
    fn a_clip_without_guesses_is_wrong() {
        let mut clip = sample::report().gallery[0].clone();
        clip.top.clear();
        assert!(!clip.is_right());
        assert!(card(&clip).into_string().contains("✗ wrong"));
    }
}
