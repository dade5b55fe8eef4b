//! Events and answers as files: CSV, SRT, HTML.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use maud::{Markup, html};

use super::{Answer, Event};
use crate::report::{counted, document};
use crate::run::dir::write_atomically;

/// A file that grows line by line, without a buffer.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    fn create(path: &Path, head: &str) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("could not write {}", path.display()))?;
        let mut lines = Self { path: path.to_owned(), file };
        lines.add(head)?;
        Ok(lines)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).with_context(|| format!("could not write {}", self.path.display()))
    }
}

/// The files that a stream is written to.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    csv: Option<Lines>,
    srt: Option<Lines>,
    answers: Option<Lines>,
    html: Option<(PathBuf, Vec<(Event, String)>)>,
    /// Number of events so far.
    pub(crate) events: usize,
}

impl Outputs {
    /// Creates the files of events, of subtitles, of all answers and of the page.
    pub(crate) fn create([csv, srt, answers, html]: [Option<&Path>; 4], classes: &[String]) -> Result<Self> {
        let lines = |path: Option<&Path>, head: &str| path.map(|path| Lines::create(path, head)).transpose();
        let columns: String = classes.iter().map(|class| format!(",{}", field(class))).collect();
        Ok(Self {
            csv: lines(csv, "start,end,class,probability\n")?,
            srt: lines(srt, "")?,
            answers: lines(answers, &format!("start,end{columns}\n"))?,
            html: html.map(|path| (path.to_owned(), Vec::new())),
            events: 0,
        })
    }

    /// Whether events are shown with a picture.
    pub(crate) fn shows_pictures(&self) -> bool {
        self.html.is_some()
    }

    pub(crate) fn answer(&mut self, answer: &Answer) -> Result<()> {
        let Some(lines) = &mut self.answers else { return Ok(()) };
        let probabilities: String = answer.probabilities.iter().map(|p| format!(",{p:.6}")).collect();
        lines.add(&format!("{:.3},{:.3}{probabilities}\n", answer.start, answer.end))
    }

    /// Writes an event; `picture` is a JPEG in Base64, for the page.
    pub(crate) fn event(&mut self, event: Event, picture: String) -> Result<()> {
        self.events += 1;
        let Event { start, end, class, probability } = &event;
        if let Some(lines) = &mut self.csv {
            lines.add(&format!("{start:.3},{end:.3},{},{probability:.4}\n", field(class)))?;
        }
        if let Some(lines) = &mut self.srt {
            let time = |seconds| clock(seconds).replace('.', ",");
            let percent = 100.0 * probability;
            // An empty line would end the entry.
            let class = class.replace(['\n', '\r'], " ");
            let times = format!("{} --> {}", time(*start), time(*end));
            lines.add(&format!("{}\n{times}\n{class} ({percent:.0} %)\n\n", self.events))?;
        }
        if let Some((_, shown)) = &mut self.html {
            shown.push((event, picture));
        }
        Ok(())
    }

    /// Writes the page of a stream of this length, if one was asked for.
    pub(crate) fn finish(&self, title: &str, seconds: f64) -> Result<()> {
        let Some((path, events)) = &self.html else { return Ok(()) };
        write_atomically(path, document(title, page(title, events, seconds)).as_bytes())
    }
}

/// A field of a CSV file (RFC 4180).
pub(crate) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Hours, minutes and seconds to the millisecond.
pub(crate) fn clock(seconds: f64) -> String {
    let ms = (seconds.max(0.0) * 1000.0).round() as u64;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// A time line with a row per class, and a card per event.
fn page(title: &str, events: &[(Event, String)], seconds: f64) -> Markup {
    const WIDTH: f64 = 1000.0;
    const ROW: f64 = 22.0;
    const LEFT: f64 = 150.0;
    let mut classes: Vec<&str> = events.iter().map(|(event, _)| event.class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    let row = |class: &str| classes.iter().position(|known| *known == class).unwrap_or_default() as f64 * ROW;
    let x = |time: f64| LEFT + (time / seconds.max(1e-3)).clamp(0.0, 1.0) * (WIDTH - LEFT);
    let height = classes.len() as f64 * ROW;
    html! {
        header {
            h1 { (title) }
            p.subtitle { (counted(events.len(), "event")) " in " (clock(seconds)) }
        }
        main {
            @if !events.is_empty() {
                section {
                    h2 { "Time line" }
                    svg.timeline viewBox=(format!("0 0 {WIDTH} {}", height + ROW)) role="img" aria-label="events over time" {
                        @for class in &classes {
                            text x=(LEFT - 8.0) y=(format!("{:.1}", row(class) + 0.7 * ROW)) text-anchor="end" { (class) }
                            line x1=(LEFT) x2=(WIDTH) y1=(row(class) + ROW) y2=(row(class) + ROW) {}
                        }
                        @for (n, (event, _)) in events.iter().enumerate() {
                            a href=(format!("#event-{n}")) {
                                rect x=(format!("{:.2}", x(event.start))) y=(row(&event.class) + 4.0) height=(ROW - 8.0)
                                    width=(format!("{:.2}", (x(event.end) - x(event.start)).max(1.5))) {
                                    title { (event.class) " " (clock(event.start)) " to " (clock(event.end)) }
                                }
                            }
                        }
                        text x=(LEFT) y=(height + 0.8 * ROW) { (clock(0.0)) }
                        text x=(WIDTH) y=(height + 0.8 * ROW) text-anchor="end" { (clock(seconds)) }
                    }
                }
                section {
                    h2 { "Events" }
                    div.events {
                        @for (n, (event, picture)) in events.iter().enumerate() {
                            figure id=(format!("event-{n}")) {
                                @if !picture.is_empty() {
                                    img src={ "data:image/jpeg;base64," (picture) } loading="lazy" alt=(event.class);
                                }
                                figcaption {
                                    b { (event.class) } " " (format!("{:.0} %", 100.0 * event.probability))
                                    small { (clock(event.start)) " to " (clock(event.end)) }
                                }
                            }
                        }
                    }
                }
            } @else {
                p { "Nothing reached the threshold." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(start: f64, end: f64, class: &str) -> Event {
        Event { start, end, class: class.to_owned(), probability: 0.875 }
    }

    #[test]
    fn events_are_written_as_they_come() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (csv, srt, answers, page) = (path("a.csv"), path("a.srt"), path("b.csv"), path("a.html"));
        let files = [&csv, &srt, &answers, &page].map(|path| Some(path.as_path()));
        let mut outputs = Outputs::create(files, &["wave".into(), "a, \"b\"".into()]).unwrap();
        outputs.event(event(1.5, 3661.25, "a, \"b\""), "AAAA".to_owned()).unwrap();
        outputs.answer(&Answer { start: 0.0, end: 0.5, probabilities: vec![0.25, 0.75] }).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&csv), "start,end,class,probability\n1.500,3661.250,\"a, \"\"b\"\"\",0.8750\n");
        assert_eq!(read(&srt), "1\n00:00:01,500 --> 01:01:01,250\na, \"b\" (88 %)\n\n");
        assert_eq!(read(&answers), "start,end,wave,\"a, \"\"b\"\"\"\n0.000,0.500,0.250000,0.750000\n");
        outputs.finish("film <1>", 7200.0).unwrap();
        let page = read(&page);
        assert!(
            page.contains("film &lt;1&gt;")
                && page.contains("base64,AAAA")
                && page.contains("one event in 02:00:00.000"),
            "{page}"
        );
        assert!(!page.contains("<script") && !page.contains("src=\"http"));
    }
}
