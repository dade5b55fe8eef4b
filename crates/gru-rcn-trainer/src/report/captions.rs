//! The page of a captioner's run, and the pictures of its attention.

use anyhow::{Context, Result, ensure};
use maud::{Markup, PreEscaped, html};
use serde::{Deserialize, Serialize};

use super::curves::{LOSS, kept, panel};
use super::format::{bar, counted};
use super::gallery::frames_strip;
use super::page::{document, run_card};
use crate::run::card::EpochPoint;
use crate::run::dir::{RunDir, read_json, write_atomically, write_json};

/// Everything the page shows.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(crate) struct CaptionReport {
    pub(crate) title: String,
    /// One or two sentences on the task and the data; may be empty.
    pub(crate) subtitle: String,
    /// Names and values needed to reproduce the result.
    pub(crate) run_card: Vec<(String, String)>,
    /// Number of test clips.
    pub(crate) clips: usize,
    /// The metrics of all test clips by name.
    pub(crate) metrics: Vec<(String, f64)>,
    pub(crate) curve: Vec<EpochPoint>,
    /// Some clips with the worst captions, and some with the best.
    pub(crate) worst: Vec<CaptionedClip>,
    pub(crate) best: Vec<CaptionedClip>,
    /// The resolved recipe, as TOML.
    pub(crate) recipe: String,
    /// What a reader of the results should know about the data.
    pub(crate) notes: Vec<String>,
}

/// A test clip with its caption.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct CaptionedClip {
    pub(crate) id: String,
    pub(crate) caption: String,
    /// Some of its references.
    pub(crate) references: Vec<String>,
    /// Metrics by name.
    pub(crate) scores: Vec<(String, f64)>,
    /// Frames in order, JPEG in Base64.
    pub(crate) frames_jpeg: Vec<String>,
}

impl CaptionReport {
    pub(crate) fn read(dir: &RunDir) -> Result<Self> {
        let path = dir.report_data();
        let report: Self =
            read_json(&path)?.with_context(|| format!("{}: no such file; the run is not finished", path.display()))?;
        let losses = report.curve.iter().flat_map(|point| [point.train_loss, point.validation_loss]);
        for value in losses.chain(report.metrics.iter().map(|(_, value)| *value)) {
            ensure!((-super::MOST..super::MOST).contains(&value), "{} is damaged: it has {value:e}", path.display());
        }
        Ok(report)
    }

    /// Writes the page and the data that it is drawn from.
    pub(crate) fn write(&self, dir: &RunDir) -> Result<()> {
        write_json(&dir.report_data(), self)?;
        write_atomically(&dir.report(), self.render().as_bytes())
    }

    fn render(&self) -> String {
        let body = html! {
            header {
                h1 { (self.title) }
                @if !self.subtitle.is_empty() { p.subtitle { (self.subtitle) } }
                @if let Some((name, value)) = self.metrics.iter().find(|(name, _)| name.starts_with("METEOR")) {
                    p.headline {
                        span.number { (format!("{:.1}", 100.0 * value)) }
                        span.words { (name) " of " (counted(self.clips, "test caption")) ", times 100" }
                    }
                }
                @for note in &self.notes { p.note { (note) } }
            }
            main {
                section {
                    h2 { "Metrics" }
                    p.lead { "As coco-caption computes them, times 100. CIDEr is at most 1000, the others 100." }
                    ul.bars {
                        @for (name, value) in &self.metrics {
                            @let most = if name.starts_with("CIDEr") { 10.0 } else { 1.0 };
                            li {
                                span.name { (name) }
                                (bar(value / most, None))
                                span.value { (format!("{:.1}", 100.0 * value)) }
                            }
                        }
                    }
                }
                (self.learning())
                (clips("The worst captions", "By METEOR, the worst first.", &self.worst))
                (clips("The best captions", "By METEOR, the best first.", &self.best))
                (run_card(&self.run_card, &self.recipe))
            }
        };
        document(&self.title, body)
    }

    fn learning(&self) -> Markup {
        let best = kept(&self.curve);
        html! {
            @if !self.curve.is_empty() {
                section {
                    h2 { "Learning" }
                    p.legend {
                        span { span.key.train {} "training, with penalties" }
                        span { span.key.validation {} "validation, negative log-likelihood of a caption" }
                        span { span.key.kept {} "weights kept" }
                    }
                    div.curves.single {
                        @if let Some((best, score)) = best.and_then(|best| Some((best, best.validation_score?))) {
                            h3 { small { "kept: validation " (best.epoch) ", score " (format!("{score:.4}")) } }
                        }
                        (panel(&LOSS, "the captioner", &self.curve))
                    }
                }
            }
        }
    }
}

fn clips(title: &str, lead: &str, clips: &[CaptionedClip]) -> Markup {
    html! {
        @if !clips.is_empty() {
            section {
                h2 { (title) }
                p.lead { (lead) }
                div.gallery { @for clip in clips {
                    figure.card {
                        (frames_strip(&clip.id, &clip.frames_jpeg))
                        figcaption {
                            p.truth { b.caption { (clip.caption) } small title=(clip.id) { (clip.id) } }
                            @for reference in &clip.references { p.reference { (reference) } }
                            small { @for (name, value) in &clip.scores {
                                (name) " " (format!("{:.1}", 100.0 * value)) "  "
                            } }
                        }
                    }
                } }
            }
        }
    }
}

/// A video with its sentences.
pub(crate) struct DescribedVideo {
    pub(crate) file: String,
    /// The sentence that is shown and others, with their log-probabilities.
    pub(crate) sentences: Vec<(String, f64)>,
    /// The words of the first sentence, each with its attention to every segment.
    pub(crate) words: Vec<(String, Vec<f32>)>,
    /// A picture of each segment, JPEG in Base64.
    pub(crate) pictures: Vec<String>,
}

/// A page of videos: for every word a strip of the segments, each as strong as the attention to it.
pub(crate) fn render_attention(videos: &[DescribedVideo]) -> String {
    let body = html! {
        header {
            h1 { "Captions" }
            p.subtitle {
                "Every word has a strip of the video's segments. A picture is as strong as the attention to its segment, \
                 relative to the largest of the word; the bar below is the attention itself."
            }
        }
        main { @for (number, video) in videos.iter().enumerate() { (described(number, video)) } }
    };
    document("Captions", body)
}

fn described(number: usize, video: &DescribedVideo) -> Markup {
    // Each picture is in the page once. Base64 has no character that ends a style.
    let picture = |(n, jpeg): (usize, &String)| {
        format!(".v{number}s{n}{{background-image:url(data:image/jpeg;base64,{jpeg})}}\n")
    };
    let pictures: String = video.pictures.iter().enumerate().map(picture).collect();
    html! {
        section {
            style { (PreEscaped(pictures)) }
            h2 { (video.sentences.first().map_or("", |(text, _)| text)) }
            p.lead { (video.file) }
            div.attention { @for (word, weights) in &video.words {
                div.word { (word) }
                div.segments { @for (segment, weight) in weights.iter().take(video.pictures.len()).enumerate() {
                    @let largest = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
                    div title=(format!("segment {}: {:.0} %", segment + 1, 100.0 * weight)) {
                        div class=(format!("picture v{number}s{segment}"))
                            style=(format!("opacity:{:.2}", 0.1 + 0.9 * weight / largest)) {}
                        (bar(f64::from(*weight), None))
                    }
                } }
            } }
            @if video.sentences.len() > 1 {
                ul.alternatives { @for (text, log_probability) in &video.sentences[1..] {
                    li { (text) " " small { (format!("{log_probability:.2}")) } }
                } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_each_picture_is_in_the_page_once() {
        let video = DescribedVideo {
            file: "<b>.avi".into(),
            sentences: vec![("a <cat>".into(), -1.5), ("a dog".into(), -2.25)],
            words: vec![("a".into(), vec![0.25, 0.75]), ("<cat>".into(), vec![1.0, 0.0])],
            pictures: vec!["AAAA".into(), "BBBB".into()],
        };
        let page = render_attention(&[video]);
        assert!(!page.contains("<cat>") && !page.contains("<b>") && page.contains("&lt;cat&gt;"));
        assert_eq!((page.matches("AAAA").count(), page.matches("BBBB").count()), (1, 1));
        // Of the first word, 0.25 of 0.75: 0.1 + 0.9 / 3.
        assert!(page.contains("opacity:0.40") && page.contains("opacity:1.00") && page.contains("-2.25"), "{page}");
    }

    #[test]
    fn the_page_of_a_run_shows_captions_and_metrics() {
        let clip = CaptionedClip {
            id: "a/1.avi".into(),
            caption: "a man & a dog".into(),
            references: vec!["a man <walks>".into()],
            scores: vec![("METEOR".into(), 0.5)],
            frames_jpeg: vec!["AAAA".into()],
        };
        let report = CaptionReport {
            title: "Captions of films".into(),
            clips: 2,
            metrics: vec![("BLEU-4".into(), 0.25), ("METEOR".into(), 0.305)],
            worst: vec![clip.clone()],
            best: vec![clip],
            ..CaptionReport::default()
        };
        let page = report.render();
        for text in
            ["30.5", "METEOR of 2 test captions", "a man &amp; a dog", "a man &lt;walks&gt;", "The worst captions"]
        {
            assert!(page.contains(text), "{text}");
        }
    }
}
