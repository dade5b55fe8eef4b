//! Test clips with the predictions of the system.

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use maud::{Markup, html};

use super::format::{bar, percent};
use super::{ExplainedClip, GalleryClip};

/// Number of predictions shown for a clip.
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

pub(super) fn card(clip: &GalleryClip) -> Markup {
    html! {
        figure.card.wrong[!clip.is_right()] {
            (frames_strip(&clip.id, &clip.frames_jpeg))
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

/// The clips with their maps; empty without clips.
pub(super) fn explained(clips: &[ExplainedClip]) -> Markup {
    html! {
        @if !clips.is_empty() {
            section.explained {
                h2 { "Where and when" }
                p.lead {
                    "The right and the wrong test clip of which the system was most certain. Yellow: the update gate of \
                     a level opens, and the state is written. Red: evidence for the class that the system named; blue: \
                     evidence against it, both relative to the largest value of the clip. A value can depend on more of \
                     the frame than its place."
                }
                @for ExplainedClip { clip, levels } in clips {
                    (card(clip))
                    @for level in levels {
                        @for (what, strip) in [("update gate", &level.gates_jpeg), ("class", &level.class_jpeg)] {
                            @if !strip.is_empty() {
                                p.note { (level.name) ", " (what) }
                                (frames_strip(&clip.id, strip))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The frames in one row, or in two on narrow screens.
pub(super) fn frames_strip(id: &str, jpegs: &[String]) -> Markup {
    let frames = jpegs.len();
    html! {
        div.strip style=(format!("--half:{}", frames.div_ceil(2).max(1))) {
            @for (index, frame) in jpegs.iter().enumerate() {
                img src={ "data:image/jpeg;base64," (frame) } loading="lazy"
                    alt=(format!("{id}, frame {} of {frames}", index + 1));
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
        (bar(f64::from(probability), None))
        span.value { (percent(f64::from(probability))) }
    }
}

/// JPEG quality: sufficient for thumbnails, at a few kilobytes each.
const QUALITY: u8 = 80;

/// Encodes an RGB frame, `[height, width, 3]` in bytes, as a JPEG in Base64.
pub(crate) fn jpeg_base64(rgb: &[u8], height: usize, width: usize) -> Result<String> {
    ensure!(
        rgb.len() == height * width * 3,
        "a frame of {width}×{height} pixels needs {} bytes, got {}",
        height * width * 3,
        rgb.len()
    );
    ensure!(height > 0 && width > 0, "a frame of {width}×{height} pixels shows nothing");
    let side = |pixels: usize| u32::try_from(pixels).context("the frame is too large for a JPEG");
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(rgb, side(width)?, side(height)?, ExtendedColorType::Rgb8)
        .context("cannot encode a frame")?;
    Ok(STANDARD.encode(bytes))
}
