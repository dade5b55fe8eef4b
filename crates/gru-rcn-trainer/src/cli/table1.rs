//! `table1`: every row and stream of the paper's first table, by one command.
//!
//! For each stream and seed one run trains the paper's own rows together: they share a CNN, which is
//! fine-tuned once, and its percepts. Each compared system has a run of its own. Runs that exist are
//! resumed, so the command can be stopped and given again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use gru_rcn::baselines::Baseline;
use gru_rcn::recurrent::Form;
use gru_rcn_metrics::{WILSON_95, mean_std, wilson_interval};
use maud::html;
use serde::Serialize;

use super::shared::{RecipeArgs, SeriesArgs, attempt, chosen_rows, print_json};
use crate::experiment::data::resolve;
use crate::experiment::{RunOptions, System, train};
use crate::output::{describe, note, say};
use crate::recipe::{Recipe, RecipeKind};
use crate::report::{document, percent, percent_range};
use crate::run::card::RunCard;
use crate::run::dir::{RunDir, write_atomically, write_json};
use crate::run::scores::{SavedScores, average};
use crate::signals::{Faults, StopFlag};

#[derive(Args, Debug)]
#[command(mut_arg("out", |out| out.required(false).default_value("runs/table1")))]
pub(super) struct Table1Args {
    /// The folder of the flow stream, if it is another one; its clips have the same names.
    #[arg(long, value_name = "DIR", requires = "data")]
    flow_data: Option<PathBuf>,
    /// paper: the recipes of UCF-101. small: the same on generated clips of eight motions, with
    /// small networks, on two cores; takes neither --data nor --weights.
    #[arg(long, value_enum, default_value_t = Scale::Paper)]
    scale: Scale,
    /// The paper's own rows on other data: the recipe of RGB, and after a comma that of flow.
    #[arg(long, value_name = "RGB[,FLOW]", value_delimiter = ',', num_args = 1..=2)]
    recipes: Vec<String>,
    /// Rows of the table, comma-separated; by default all. The paper's own rows are trained together.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    rows: Vec<String>,
    /// Seeds of the paper's own rows; 1 at the paper's scale, 3 otherwise.
    #[arg(long)]
    seeds: Option<u64>,
    #[command(flatten)]
    pub(super) series: SeriesArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Small,
    Paper,
}

/// RGB, flow, and both fused.
const COLUMNS: [&str; 3] = ["RGB", "flow", "RGB + flow"];

/// Weights of RGB and flow in a fusion (section 5.1.2: flow counts twice).
const FUSION: [f64; 2] = [1.0, 2.0];

/// A row of the table.
struct Row {
    key: &'static str,
    name: &'static str,
    /// What the paper prints, in percent.
    printed: [Option<f64>; 3],
    source: Source,
}

/// Where a row's systems come from.
enum Source {
    /// From the run of all own rows.
    Cnn,
    TopRnn,
    Form(Form),
    /// From a run of its own on each stream.
    Compared(Compared),
    /// At the paper's scale the fine-tuned CNN of the own rows, whose protocol is that of Wang et al.; at the
    /// small scale runs of its own.
    SameCnn(Compared),
    /// The average of such runs with this number of seeds.
    Ensemble(Compared, u64),
}

/// A compared system.
struct Compared {
    baseline: Baseline,
    /// Its recipe on RGB, and on flow if the paper has it there.
    recipes: &'static [&'static str],
    /// At the small scale, changes of the stream's recipe.
    small: &'static [&'static str],
}

impl Source {
    /// The compared system; `None` for the paper's own.
    fn compared(&self) -> Option<&Compared> {
        match self {
            Self::Cnn | Self::TopRnn | Self::Form(_) => None,
            Self::Compared(compared) | Self::SameCnn(compared) | Self::Ensemble(compared, _) => Some(compared),
        }
    }

    /// The beginning of the names of its runs.
    fn key(&self) -> &'static str {
        self.compared().map_or("own", |compared| compared.baseline.key())
    }
}

const fn row(key: &'static str, name: &'static str, printed: [Option<f64>; 3], source: Source) -> Row {
    Row { key, name, printed, source }
}

const fn compared(baseline: Baseline, recipes: &'static [&'static str], small: &'static [&'static str]) -> Compared {
    Compared { baseline, recipes, small }
}

const C3D: Compared = compared(
    Baseline::C3d,
    &["ucf101/c3d"],
    &["clip.temporal={consecutive={frames=16}}", "baselines.c3d_svm={starts=1}"],
);
const UNSUPERVISED: &[&str] = &[
    "clip.temporal={consecutive={frames=8}}",
    "baselines.hidden=64",
    "baselines.composite_lstm={future=2, training={epochs=4, batch=64, learning_rate=2e-3, patience=4}}",
];
/// Of 64×64 pixels nothing would be left at its top.
const LRCN: &[&str] = &["clip.input_size=[72, 72]"];
const FRAME: &[&str] = &["clip.temporal={consecutive={frames=1}}"];

/// The paper's table 1, and the fusions of its section 5.1.2. The paper prints 77.7 and 83.7 for
/// Srivastava et al., whose own paper has them for fewer and more frames.
const ROWS: [Row; 12] = [
    row("vgg16", "VGG-16", [Some(78.0), Some(85.4), Some(89.1)], Source::Cnn),
    row("vgg16-rnn", "VGG-16 RNN", [Some(78.1), Some(84.9), None], Source::TopRnn),
    row("gru-rcn", "GRU-RCN", [Some(79.9), Some(85.7), None], Source::Form(Form::Independent)),
    row("stacked", "Stacked GRU-RCN", [Some(78.3), None, None], Source::Form(Form::Stacked)),
    row("bidirectional", "Bi-directional GRU-RCN", [Some(80.7), None, Some(90.8)], Source::Form(Form::Bidirectional)),
    row(
        "two-stream",
        "Two-Stream (Simonyan & Zisserman 2014)",
        [Some(72.8), Some(81.2), None],
        Source::Compared(compared(Baseline::TwoStream, &["ucf101/two-stream", "ucf101/two-stream-flow"], FRAME)),
    ),
    row(
        "lrcn",
        "Two-Stream + LSTM (Donahue et al. 2014)",
        [Some(71.1), Some(76.9), None],
        Source::Compared(compared(Baseline::Lrcn, &["ucf101/lrcn", "ucf101/lrcn-flow"], LRCN)),
    ),
    row(
        "unsupervised",
        "Two-Stream + LSTM + Unsupervised (Srivastava et al. 2015)",
        [Some(77.7), Some(83.7), None],
        Source::Compared(compared(
            Baseline::LstmClassifier,
            &["ucf101/composite-lstm", "ucf101/composite-lstm-flow"],
            UNSUPERVISED,
        )),
    ),
    row(
        "improved-two-stream",
        "Improved Two-Stream (Wang et al. 2015)",
        [Some(79.8), Some(85.7), Some(90.9)],
        Source::SameCnn(compared(Baseline::VeryDeep, &["ucf101/very-deep", "ucf101/very-deep-flow"], FRAME)),
    ),
    row("c3d", "C3D, one network (Tran et al. 2014)", [Some(82.3), None, None], Source::Compared(C3D)),
    row("c3d-ensemble", "C3D, three networks", [Some(85.2), None, None], Source::Ensemble(C3D, 3)),
    row(
        "deep-networks",
        "Deep networks (Karpathy et al. 2014)",
        [Some(65.2), None, None],
        Source::Compared(compared(
            Baseline::SlowFusion,
            &["ucf101/slow-fusion"],
            &["clip.temporal={consecutive={frames=10}}"],
        )),
    ),
];

/// A cell of the table.
#[derive(Serialize, Default)]
struct Cell {
    /// What the paper prints, a fraction.
    printed: Option<f64>,
    /// The mean over the runs.
    top1: Option<f64>,
    /// Its 95 % interval over the test clips (Wilson).
    interval: Option<(f64, f64)>,
    /// The standard deviation over the seeds, of several.
    deviation: Option<f64>,
    clips: usize,
    runs: Vec<CellRun>,
    /// Why there is no figure, or what it lacks.
    note: Option<String>,
}

#[derive(Serialize)]
struct CellRun {
    seed: u64,
    top1: f64,
    /// The files of scores that were averaged.
    scores: Vec<PathBuf>,
}

/// The table, as it is printed, written as JSON and drawn.
#[derive(Serialize)]
struct Table {
    title: String,
    rows: Vec<TableRow>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct TableRow {
    key: &'static str,
    name: &'static str,
    /// RGB, flow, RGB and flow fused.
    cells: [Cell; 3],
}

/// A run that is finished.
struct Finished {
    dir: RunDir,
    recipe: Recipe,
    card: RunCard,
}

/// A finished run, or why there is none; its cells state the reason.
type Outcome = Result<Finished, String>;

/// One stream: its recipe and its clips.
struct Stream {
    recipe: String,
    data: Option<PathBuf>,
}

impl Table1Args {
    pub(super) fn run(&self) -> Result<()> {
        let rows = chosen_rows(&ROWS, |row| row.key, &self.rows)?;
        let mut work = Work::new(self)?;
        let mut sources: Vec<&Source> = rows.iter().map(|row| self.source(row)).collect();
        // The own rows come first: some compared systems take their CNN.
        sources.sort_by_key(|source| source.compared().is_some());
        for source in sources {
            for stream in 0..work.streams.len() {
                self.seeds_of(source, stream).try_for_each(|seed| work.make(source, stream, seed))?;
            }
        }
        let table = Table { title: work.title(), rows: work.fill(&rows)?, notes: work.notes() };
        self.write(&table)?;
        let failed = work.done.values().filter(|outcome| outcome.is_err()).count();
        ensure!(failed == 0, Faults(format!("{failed} runs failed; the table says why")));
        Ok(())
    }

    fn source<'r>(&self, row: &'r Row) -> &'r Source {
        match &row.source {
            Source::SameCnn(_) if self.is_papers() => &Source::Cnn,
            source => source,
        }
    }

    /// Whether the rows are trained by the recipes of the paper.
    fn is_papers(&self) -> bool {
        self.scale == Scale::Paper && self.recipes.is_empty()
    }

    /// The seeds of a source's runs on a stream; empty where it has no recipe.
    fn seeds_of(&self, source: &Source, stream: usize) -> Range<u64> {
        // There are recipes of compared systems for UCF-101 and the small scale only.
        let has_recipe = |compared: &Compared| self.recipes.is_empty() && stream < compared.recipes.len();
        if !source.compared().is_none_or(has_recipe) {
            return 0..0;
        }
        0..match source {
            Source::Cnn | Source::TopRnn | Source::Form(_) => {
                self.seeds.unwrap_or(if self.is_papers() { 1 } else { 3 })
            }
            Source::Compared(_) | Source::SameCnn(_) => 1,
            Source::Ensemble(_, seeds) => *seeds,
        }
    }

    fn write(&self, table: &Table) -> Result<()> {
        let markdown = table.markdown();
        let SeriesArgs { out, json, .. } = &self.series;
        write_atomically(&out.join("table1.md"), markdown.as_bytes())?;
        write_json(&out.join("table1.json"), table)?;
        write_atomically(&out.join("table1.html"), table.page().as_bytes())?;
        if *json {
            return print_json(table);
        }
        say!("{markdown}")?;
        say!("report  {}", out.join("table1.html").display())
    }
}

/// Makes the runs.
struct Work<'a> {
    arguments: &'a Table1Args,
    options: RunOptions,
    streams: Vec<Stream>,
    weights: Option<PathBuf>,
    /// The runs so far, by [`Source::key`], stream and seed.
    done: BTreeMap<(&'static str, usize, u64), Outcome>,
}

impl<'a> Work<'a> {
    fn new(arguments: &'a Table1Args) -> Result<Self> {
        let SeriesArgs { change: RecipeArgs { data, weights, set }, out, .. } = &arguments.series;
        std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        let options = arguments.series.options()?;
        let (streams, done) = (Vec::new(), BTreeMap::new());
        let mut work = Self { arguments, options, streams, weights: weights.clone(), done };
        let (mut names, mut data) = (arguments.recipes.clone(), data.clone());
        if names.is_empty() && arguments.scale == Scale::Small {
            ensure!(
                data.is_none(),
                "--scale small generates its clips; give the recipes of other data by --recipes RGB,FLOW"
            );
            data = Some(small::prepare(&out.join("motion"), &work.options.stop)?);
            let cnn = work.finish(&out.join("motion/cnn"), small::cnn(set)?)?;
            let cnn = cnn.map_err(|reason| anyhow!("the CNN could not be trained: {reason}"))?;
            work.weights = Some(cnn.dir.backbone());
            names = ["table1/rgb", "table1/flow"].map(str::to_owned).into();
        } else if names.is_empty() {
            ensure!(data.is_some(), "give the folder that `gru-rcn prepare ucf101 … --flow tvl1` made by --data");
            names = ["ucf101/rgb", "ucf101/flow"].map(str::to_owned).into();
        }
        let data_of = |stream: usize| arguments.flow_data.clone().filter(|_| stream == 1).or_else(|| data.clone());
        let streams = names.into_iter().enumerate();
        work.streams = streams.map(|(stream, recipe)| Stream { recipe, data: data_of(stream) }).collect();
        Ok(work)
    }

    /// Makes a run of a source, unless another row has made it.
    fn make(&mut self, source: &Source, stream: usize, seed: u64) -> Result<()> {
        let key = (source.key(), stream, seed);
        if self.done.contains_key(&key) {
            return Ok(());
        }
        let recipe = match source.compared() {
            None => Ok(self.own(stream, seed)?),
            Some(compared) => self.compared(compared, stream, seed)?,
        };
        let folder = format!("{}-{}-{seed}", key.0, COLUMNS[stream].to_lowercase());
        let outcome = match recipe {
            Ok(recipe) => self.finish(&self.arguments.series.out.join(folder), recipe)?,
            Err(reason) => Err(reason),
        };
        self.done.insert(key, outcome);
        Ok(())
    }

    /// A stream's recipe with further changes.
    fn recipe(&self, stream: usize, name: &str, weights: Option<&Path>, changes: &[String]) -> Result<Recipe> {
        let changes: Vec<String> = changes.iter().chain(&self.arguments.series.change.set).cloned().collect();
        resolve(name, &changes, self.streams[stream].data.as_deref(), weights)
    }

    /// The recipe of the paper's own rows on a stream.
    fn own(&self, stream: usize, seed: u64) -> Result<Recipe> {
        let name = &self.streams[stream].recipe;
        let mut recipe = self.recipe(stream, name, self.weights.as_deref(), &[format!("seed={seed}")])?;
        let (model, baselines) = (&recipe.model, &mut recipe.baselines);
        // One level has nothing to stack on.
        let others = [Form::Independent, Form::Stacked, Form::Bidirectional].into_iter();
        let levels = model.hidden.len();
        baselines.forms = others.filter(|form| *form != model.form && (*form != Form::Stacked || levels > 1)).collect();
        baselines.norms.clear();
        baselines.top_rnn.get_or_insert(512);
        baselines.frame |= recipe.backbone.finetune.is_none();
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe of a compared system on a stream, or why it cannot be trained.
    fn compared(&self, compared: &Compared, stream: usize, seed: u64) -> Result<Result<Recipe, String>> {
        let mut changes = vec![format!("seed={seed}")];
        let mut weights = None;
        if !compared.baseline.takes_pixels() {
            weights = match self.done.get(&(Source::Cnn.key(), stream, 0)) {
                Some(Ok(own)) => Some(own.dir.backbone()),
                Some(Err(_)) => return Ok(Err("the CNN that it stands on could not be fine-tuned".into())),
                None => bail!(
                    "the row of {} needs the fine-tuned CNN; name one of the paper's own rows too",
                    compared.baseline.key()
                ),
            };
            changes.push("backbone.finetune=none".into());
        }
        let name = match self.arguments.scale {
            Scale::Paper => compared.recipes[stream],
            Scale::Small => {
                changes.extend(small::compared(compared));
                &self.streams[stream].recipe
            }
        };
        let recipe = self.recipe(stream, name, weights.as_deref(), &changes);
        Ok(recipe.map_err(|error| describe(&error)))
    }

    /// Makes or resumes a run. The error is a requested stop; any other failure is the outcome.
    fn finish(&self, folder: &Path, recipe: Recipe) -> Result<Outcome> {
        attempt(folder, &self.options, || {
            let (dir, card) = train(self.options.plan(recipe.clone(), folder)?)?;
            Ok(Finished { dir, recipe, card })
        })
    }

    fn title(&self) -> String {
        let recipes: Vec<&str> = self.streams.iter().map(|stream| &*stream.recipe).collect();
        format!("Table 1, by the recipes {}", recipes.join(" and "))
    }

    fn notes(&self) -> Vec<String> {
        let runs = || self.done.values().flatten();
        let data: BTreeSet<String> =
            runs().map(|run| format!("{} test clips of {}.", run.card.data.test, run.card.data.name)).collect();
        let mut notes = Vec::from_iter(data);
        notes.push(
            "Each figure is the mean over the seeds, with its 95 % interval over the test clips (Wilson).".into(),
        );
        notes.push("Both streams are fused as in the paper: RGB counts once and flow twice.".into());
        if !self.arguments.is_papers() {
            let networks: BTreeSet<&str> = runs().map(|run| run.recipe.backbone.network.title()).collect();
            let networks = Vec::from_iter(networks).join(" and ");
            notes.push(format!(
                "The printed figures are of UCF-101 and VGG-16; these are of other clips, and the CNN is {networks}."
            ));
        }
        if !self.arguments.recipes.is_empty() {
            notes.push("The compared systems have no recipes for these data.".into());
        }
        notes
    }

    fn fill(&self, rows: &[&'static Row]) -> Result<Vec<TableRow>> {
        rows.iter()
            .map(|row| {
                let mut cells = row
                    .printed
                    .map(|printed| Cell { printed: printed.map(|percent| percent / 100.0), ..Cell::default() });
                for (stream, cell) in cells.iter_mut().enumerate().take(self.streams.len()) {
                    self.fill_stream(row, stream, cell)?;
                }
                self.fuse(row, &mut cells)?;
                Ok(TableRow { key: row.key, name: row.name, cells })
            })
            .collect()
    }

    /// The figure of a row on one stream.
    fn fill_stream(&self, row: &Row, stream: usize, cell: &mut Cell) -> Result<()> {
        let source = self.arguments.source(row);
        let mut members = Vec::new();
        for seed in self.arguments.seeds_of(source, stream) {
            match self.done.get(&(source.key(), stream, seed)) {
                None => {}
                Some(Err(reason)) => cell.note = Some(reason.clone()),
                Some(Ok(finished)) => match finished.system(source) {
                    Some(system) => members.push((seed, finished.dir.scores_of(&system.key(), "test"))),
                    None => cell.note = Some("it has nothing to stack: the recipe has one level".into()),
                },
            }
        }
        if let Source::Ensemble(..) = source {
            if !members.is_empty() {
                let files: Vec<(PathBuf, f64)> = members.into_iter().map(|(_, file)| (file, 1.0)).collect();
                cell.push(0, &files)?;
                cell.note = Some(format!("the average of {} seeds of the network above", files.len()));
            }
            return Ok(());
        }
        if let (Source::SameCnn(_), Source::Cnn) = (&row.source, source) {
            cell.note = Some("the fine-tuned VGG-16 of the first row, which follows this one's protocol".into());
        }
        members.into_iter().try_for_each(|(seed, file)| cell.push(seed, &[(file, 1.0)]))
    }

    /// Both streams fused, seed by seed. As in the paper the flow stream of the bi-directional model is the
    /// plain GRU-RCN.
    fn fuse(&self, row: &Row, [rgb, flow, fused]: &mut [Cell; 3]) -> Result<()> {
        let mut plain = Cell::default();
        let mut flow = &*flow;
        if let Source::Form(Form::Bidirectional) = row.source {
            let independent = ROWS.iter().find(|row| row.key == "gru-rcn").expect("a row of the table");
            self.fill_stream(independent, 1, &mut plain)?;
            flow = &plain;
        }
        for (rgb, flow) in rgb.runs.iter().zip(&flow.runs) {
            let files = [rgb, flow].into_iter().zip(FUSION);
            let files: Vec<(PathBuf, f64)> = files.map(|(run, weight)| (run.scores[0].clone(), weight)).collect();
            fused.push(rgb.seed, &files)?;
        }
        Ok(())
    }
}

impl Finished {
    /// The system of a row among those of the run.
    fn system(&self, source: &Source) -> Option<System> {
        let systems = System::of_run(&self.recipe, &self.card);
        let wanted = |system: &System| match source {
            // Where the CNN is not one of the clips' classes, a linear classifier of its maps.
            Source::Cnn if self.card.cnn_is_system => *system == System::Cnn,
            Source::Cnn => *system == System::Baseline(Baseline::Frame),
            Source::TopRnn => *system == System::Baseline(Baseline::TopRnn),
            Source::Form(form) => match system {
                System::GruRcn => self.recipe.model.form == *form,
                System::Form(other) => other == form,
                _ => false,
            },
            Source::Compared(compared) | Source::SameCnn(compared) | Source::Ensemble(compared, _) => {
                match compared.baseline {
                    // The row's figures are those of the SVM on its descriptors.
                    Baseline::C3d => matches!(system, System::C3dSvm(_)),
                    baseline => *system == System::Baseline(baseline),
                }
            }
        };
        systems.into_iter().find(wanted)
    }
}

impl Cell {
    /// Adds a run, or the weighted average of several files of scores.
    fn push(&mut self, seed: u64, files: &[(PathBuf, f64)]) -> Result<()> {
        let saved: Vec<SavedScores> = files.iter().map(|(file, _)| SavedScores::load(file)).collect::<Result<_>>()?;
        let predictions: Vec<_> =
            saved.iter().map(|scores| scores.predictions_like(&saved[0])).collect::<Result<_>>()?;
        let weights: Vec<f64> = files.iter().map(|(_, weight)| *weight).collect();
        let test = average(&predictions, &weights)?.summary();
        let scores = files.iter().map(|(file, _)| file.clone()).collect();
        self.runs.push(CellRun { seed, top1: test.top1, scores });
        self.clips = test.clips;
        let all: Vec<f64> = self.runs.iter().map(|run| run.top1).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        self.top1 = Some(mean);
        self.deviation = mean_std(&all).map(|(_, deviation)| deviation);
        let correct = (mean * test.clips as f64).round() as usize;
        self.interval = Some(wilson_interval(correct, test.clips, WILSON_95));
        Ok(())
    }

    /// The figure with its interval, the spread over seeds, and the printed one.
    fn parts(&self) -> Option<[String; 3]> {
        let (top1, interval) = (self.top1?, self.interval?);
        let spread = self.deviation.map(|deviation| format!("± {:.1}, {} seeds", 100.0 * deviation, self.runs.len()));
        Some([percent(top1), percent_range(interval), spread.unwrap_or_default()])
    }

    fn printed(&self) -> String {
        self.printed.map_or("–".into(), percent)
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n| system |", self.title);
        COLUMNS.iter().for_each(|column| text += &format!(" {column} | printed |"));
        text += &format!("\n|---|{}\n", "---|---|".repeat(COLUMNS.len()));
        for row in &self.rows {
            text += &format!("| {} |", row.name);
            for cell in &row.cells {
                let figure = match cell.parts() {
                    Some([top1, interval, spread]) if spread.is_empty() => format!("{top1} ({interval})"),
                    Some([top1, interval, spread]) => format!("{top1} ({interval}; {spread})"),
                    None => "–".into(),
                };
                text += &format!(" {figure} | {} |", cell.printed());
            }
            text.push('\n');
        }
        text.push('\n');
        self.all_notes().iter().for_each(|note| text += &format!("- {note}\n"));
        text
    }

    /// The notes of the table and of its cells.
    fn all_notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        for row in &self.rows {
            let cells = row.cells.iter().zip(COLUMNS);
            notes.extend(
                cells.filter_map(|(cell, column)| Some(format!("{}, {column}: {}.", row.name, cell.note.as_ref()?))),
            );
        }
        notes
    }

    fn page(&self) -> String {
        let body = html! {
            header { h1 { (self.title) } }
            main {
                section {
                    div.scroll {
                        table.systems {
                            thead { tr {
                                th scope="col" { "System" }
                                @for column in COLUMNS { th scope="col" { (column) } th scope="col" { "printed" } }
                            } }
                            tbody {
                                @for row in &self.rows {
                                    tr {
                                        th scope="row" { (row.name) }
                                        @for cell in &row.cells {
                                            td.difference {
                                                @match cell.parts() {
                                                    Some([top1, interval, spread]) => {
                                                        (top1) small { (interval) } small { (spread) }
                                                    }
                                                    None => "–",
                                                }
                                            }
                                            td { (cell.printed()) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    @for note in self.all_notes() { p.note { (note) } }
                }
                section {
                    h2 { "Runs" }
                    dl.card {
                        @for row in &self.rows {
                            @for (cell, column) in row.cells.iter().zip(COLUMNS) {
                                @for run in &cell.runs {
                                    div {
                                        dt { (row.name) ", " (column) ", seed " (run.seed) }
                                        dd {
                                            (percent(run.top1))
                                            @for file in &run.scores { " " (file.display()) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        };
        document(&self.title, body)
    }
}

/// The table at the small scale: generated clips of eight motions, whose frames and flow are prepared
/// as those of videos are, and a small CNN that has learnt the shapes of single generated frames, as
/// the paper's has learnt ImageNet.
mod small {
    use super::*;
    use gru_rcn_data::{
        ClipSource, Ffmpeg, FlowMethod, FlowOptions, ImageCoding, MotionConfig, Prepare, SizeRule, Split, write_frames,
    };

    const CLIPS: MotionConfig =
        MotionConfig { size: 32, frames: 20, train: 1200, validation: 240, test: 480, seed: 2016, background: false };

    /// The prepared clips, made on first use.
    pub(super) fn prepare(folder: &Path, stop: &StopFlag) -> Result<PathBuf> {
        let (frames, prepared) = (folder.join("frames"), folder.join("prepared"));
        if prepared.join("manifest.jsonl").is_file() {
            return Ok(prepared);
        }
        let dataset = CLIPS.dataset()?;
        for split in Split::ALL {
            for (index, sample) in dataset.split(split).iter().enumerate() {
                let class = &dataset.classes[sample.class];
                let ClipSource::Motion(clip) = sample.source else { bail!("{} is not generated", sample.id) };
                write_frames(&frames.join(format!("{split}/{class}/{split}-{index:04}")), &clip.render())?;
                ensure!(!stop.is_set(), stop.interrupted());
            }
        }
        let image = ImageCoding::Png;
        let options = Prepare {
            source: frames,
            output: prepared.clone(),
            size: SizeRule::Source,
            // Nothing moves by more than a few pixels from frame to frame.
            flow: Some(FlowOptions { bound: 4.0, image, ..FlowOptions::new(FlowMethod::TvL1) }),
            ..Prepare::default()
        };
        note!("{}: frames and flow of {} clips", prepared.display(), CLIPS.train + CLIPS.validation + CLIPS.test);
        let outcome = options.run(&Ffmpeg::locate()?, stop.flag(), &mut |_| {})?;
        ensure!(!outcome.interrupted, stop.interrupted());
        match outcome.failures.first() {
            Some(failure) => bail!("{}: {}", failure.clip, failure.error),
            None => Ok(prepared),
        }
    }

    /// A run that trains the small CNN on the shapes; its classifier of single frames is of no use.
    pub(super) fn cnn(set: &[String]) -> Result<Recipe> {
        let changes = ["model.train=false", "baselines.frame=true", "baselines.top_rnn=none", "training.epochs=1"];
        resolve("motion", &[&changes.map(str::to_owned)[..], set].concat(), None, None)
    }

    /// Changes of a stream's recipe to a compared system.
    pub(super) fn compared(compared: &Compared) -> impl Iterator<Item = String> {
        let mut changes =
            vec!["model.train=false", "baselines.frame=false", "baselines.top_rnn=none", "baselines.forms=[]"];
        if compared.baseline.takes_pixels() {
            // These networks are made for larger frames.
            changes.extend([
                "backbone.finetune=none",
                "clip.input_size=[64, 64]",
                "baselines.width=0.0625",
                "baselines.dropout=0.3",
                "training.learning_rate=1e-3",
                "training.epochs=3",
                "features.cache=false",
            ]);
        }
        changes.extend(compared.small);
        let others = format!("baselines.others=[\"{}\"]", compared.baseline.key());
        changes.into_iter().map(str::to_owned).chain([others])
    }
}
