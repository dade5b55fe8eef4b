//! From a recipe and its clips to an estimate.

use anyhow::Result;
use gru_rcn::backbone::CnnConfig;
use gru_rcn::percepts::Level;
use gru_rcn_data::{ClipSource, Dataset};

use super::cnn::CnnMemory;
use super::recurrent::{Recurrent, RecurrentMemory};
use super::tape::{F32, Tape};
use super::{Estimate, Stage, resident};
use crate::backbone;
use crate::percepts::{MEASURED_CLIPS, Reading, chunk_of, lanes};
use crate::recipe::{OptimizerName, Recipe, TrainingSection};

/// Numbers that an optimizer keeps of every parameter.
fn moments(training: &TrainingSection) -> usize {
    match training.optimizer {
        OptimizerName::Adam => 2,
        OptimizerName::Sgd => usize::from(training.momentum > 0.0),
    }
}

/// What the parts of an estimate have in common.
struct Plan<'a> {
    recipe: &'a Recipe,
    dataset: &'a Dataset,
    reading: &'a Reading,
    cnn: CnnConfig,
    threads: usize,
    program: usize,
}

/// A model that is trained: bytes of its weights, of the largest of them, and its training step.
struct Trained {
    weights: usize,
    largest: usize,
    tape: Tape,
}

impl Estimate {
    /// Of a run on the CPU backend. `classes` are those of the CNN's own classifier.
    pub fn new(recipe: &Recipe, dataset: &Dataset, reading: &Reading, classes: usize) -> Result<Self> {
        let cnn = backbone::config(recipe, classes)?;
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let plan = Plan { recipe, dataset, reading, cnn, threads, program: resident().unwrap_or(0) };
        let mut stages = Vec::new();
        if let Some(pretrain) = &recipe.backbone.pretrain {
            let drawn = recipe.backbone.pretrain_frames;
            let frames = if drawn == 0 { plan.time() } else { drawn };
            let clips = pretrain.batch.min(dataset.train.len());
            stages.push(plan.frames("CNN", pretrain, clips * frames, plan.pixel_store()));
        }
        if let Some(finetune) = &recipe.backbone.finetune {
            let clips = finetune.training.batch.min(dataset.train.len());
            let store = if finetune.cache { plan.pixel_store() } else { 0 };
            stages.push(plan.frames("CNN fine-tuning", &finetune.training, clips * finetune.frames, store));
        }
        stages.push(plan.percepts());
        stages.push(if recipe.model.finetune_backbone { plan.joint() } else { plan.systems() });
        Ok(Self { stages })
    }
}

impl Plan<'_> {
    fn time(&self) -> usize {
        self.recipe.clip.temporal.frames()
    }

    /// Bytes of a frame, or a stack of flow, as the CNN gets it.
    fn frame(&self) -> usize {
        let [height, width] = self.recipe.clip.input_size;
        height * width * self.recipe.clip.stream.channels()
    }

    fn cached(&self) -> bool {
        self.recipe.features.cache && self.recipe.uses_percepts()
    }

    fn weights(&self) -> usize {
        CnnMemory::new(&self.cnn, 1, self.threads).weights
    }

    /// Clips on their way: those that are read at this moment, whole where they are videos, and those that wait.
    fn queue(&self, reading: &Reading, versions: usize) -> usize {
        let clips = self.dataset.train.len();
        let video = self.dataset.train.iter().any(|sample| matches!(sample.source, ClipSource::Video(_)));
        let ready = versions * reading.planner.temporal.frames() * self.frame();
        let declared = reading.bytes_of(versions);
        let jobs = (reading.loader.max_bytes / declared).max(1).min(clips);
        let workers = reading.loader.workers.max(1).min(jobs);
        let reading = if video { declared } else { ready };
        workers * reading + (jobs - workers) * ready
    }

    /// Clips of the training and validation part as bytes in memory.
    fn pixel_store(&self) -> usize {
        (self.dataset.train.len() + self.dataset.validation.len()) * self.time() * self.frame()
    }

    /// Percepts of one clip.
    fn percepts_of_a_clip(&self, levels: &[Level]) -> usize {
        let row: usize = levels.iter().map(|level| level.channels * level.height * level.width).sum();
        row * self.time() * F32
    }

    /// The frozen CNN over as many clips as go through it at once.
    fn frozen(&self, lanes: usize, clips: usize) -> usize {
        let [height, width] = self.recipe.clip.input_size;
        let chunk = chunk_of(self.time() * height * width);
        let one = CnnMemory::new(&self.cnn, chunk.min(clips) * self.time(), self.threads).frozen;
        lanes.min(clips.div_ceil(chunk)) * one
    }

    /// A training step: weights, those of the best epoch, the moments of the optimizer, and whatever is the most of three:
    /// what the passes hold, with accumulation beside the gradients of the batches before; all gradients and one copy of the
    /// largest parameter in the optimizer's hands; or a checkpoint's largest file, as numbers and as bytes.
    fn step(&self, trained: &Trained, training: &TrainingSection) -> Vec<(&'static str, usize)> {
        let moments = moments(training) * trained.weights;
        let (passes, gradients) = (trained.tape.peak(), trained.tape.gradients());
        let before = if training.accumulate > 1 { gradients } else { 0 };
        let (activations, gradients) = match passes.bytes() + before > gradients + trained.largest {
            true => (passes.activations, passes.gradients + before),
            false => (trained.largest, gradients),
        };
        let checkpoint = 2 * moments.max(trained.weights);
        let mut parts = vec![("weights", trained.weights), ("best weights", trained.weights), ("optimizer", moments)];
        match activations + gradients > checkpoint {
            true => parts.extend([("gradients", gradients), ("activations", activations)]),
            false => parts.push(("checkpoint", checkpoint)),
        }
        parts
    }

    fn stage(&self, name: &str, mut parts: Vec<(&'static str, usize)>) -> Stage {
        parts.push(("program", self.program));
        Stage { name: name.into(), parts }
    }

    /// Training of the CNN on so many frames a step.
    fn frames(&self, name: &str, training: &TrainingSection, frames: usize, store: usize) -> Stage {
        let CnnMemory { tape, weights, largest, .. } = CnnMemory::new(&self.cnn, frames, self.threads);
        let mut parts = self.step(&Trained { weights, largest, tape }, training);
        let single = self.recipe.backbone.finetune.as_ref().map(|finetune| self.reading.single_frames(finetune.frames));
        let queue = if store > 0 { 0 } else { self.queue(&single.unwrap_or(self.reading.clone()), 1) };
        // A batch as bytes and as numbers.
        parts.push(("clips", store + queue + frames * self.frame() * (1 + F32)));
        self.stage(name, parts)
    }

    /// Filling the store of percepts, of all clips or of those that are measured for the normalisation.
    fn percepts(&self) -> Stage {
        let versions = if self.cached() { 1 + self.recipe.features.copies } else { 1 };
        let clips = self.store() / self.percepts_of_a_clip(&self.cnn.levels());
        let parts = vec![
            ("weights", self.weights()),
            ("percepts", self.store()),
            ("activations", self.frozen(lanes(self.reading), clips)),
            ("clips", self.queue(self.reading, versions)),
        ];
        self.stage("Percepts", parts)
    }

    /// Percepts of training and validation clips that are kept in memory.
    fn store(&self) -> usize {
        let (train, validation) = (self.dataset.train.len(), self.dataset.validation.len());
        let again = if self.recipe.refit.is_some() { validation } else { 0 };
        let clips = match self.cached() {
            true => (train + again) * (1 + self.recipe.features.copies) + validation,
            false => train.min(MEASURED_CLIPS),
        };
        clips * self.percepts_of_a_clip(&self.cnn.levels())
    }

    /// The recurrent model of a batch of `clips`.
    fn recurrent(&self, clips: usize, joint: bool) -> RecurrentMemory {
        let (model, all) = (&self.recipe.model, self.cnn.levels());
        let levels: Vec<Level> = model.levels().into_iter().map(|level| all[level].clone()).collect();
        let hidden: Vec<usize> = model.levels().into_iter().map(|level| model.hidden[level]).collect();
        Recurrent {
            levels: &levels,
            hidden: &hidden,
            form: model.form.into(),
            kernel: model.kernel_size,
            bias: model.bias,
            clips,
            time: self.time(),
            classes: self.dataset.classes.len(),
            joint,
            threads: self.threads,
        }
        .memory()
    }

    /// Clips of a training step.
    fn batch(&self) -> usize {
        self.recipe.training.batch.min(self.dataset.train.len())
    }

    /// GRU-RCN on the frozen CNN.
    fn systems(&self) -> Stage {
        let clips = self.batch();
        let RecurrentMemory { tape, weights, largest, percepts } = self.recurrent(clips, false);
        let mut parts = self.step(&Trained { weights, largest, tape }, &self.recipe.training);
        parts.extend([("CNN", self.weights()), ("percepts", self.store())]);
        if !self.cached() {
            let of_the_step = |&&(what, _): &&(&str, usize)| ["gradients", "activations", "checkpoint"].contains(&what);
            let passes: usize = parts.iter().filter(of_the_step).map(|part| part.1).sum();
            // The frozen CNN runs while nothing of the step is there yet.
            let live = self.frozen(1, clips) + percepts;
            parts.push(("frozen CNN", live.saturating_sub(passes)));
            parts.push(("clips", self.queue(self.reading, 1) + clips * self.time() * self.frame()));
        }
        self.stage("GRU-RCN", parts)
    }

    /// GRU-RCN and the CNN together, beside the frozen CNN that they started from.
    fn joint(&self) -> Stage {
        let clips = self.batch();
        let cnn = CnnMemory::new(&self.cnn, clips * self.time(), self.threads);
        let recurrent = self.recurrent(clips, true);
        let mut tape = cnn.tape;
        tape.extend(recurrent.tape);
        let (weights, largest) = (cnn.weights + recurrent.weights, cnn.largest.max(recurrent.largest));
        let mut parts = self.step(&Trained { weights, largest, tape }, &self.recipe.training);
        parts.extend([("frozen CNN", cnn.weights), ("percepts", self.store())]);
        parts.push(("clips", self.queue(self.reading, 1) + clips * self.time() * self.frame() * (1 + F32)));
        self.stage("GRU-RCN and CNN", parts)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gru_rcn_data::{ClipReader, LoaderConfig};

    use super::super::tape::Op;
    use super::*;
    use crate::recipe::{BUILT_IN, parse};

    /// A plan of the built-in experiment.
    fn checked(changes: &[&str], check: impl FnOnce(&Plan)) {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let recipe = parse(BUILT_IN[0].1, &changes).unwrap();
        let dataset = crate::data::dataset(&recipe).unwrap();
        let reading = Reading {
            planner: recipe.clip.clone(),
            reader: Arc::new(ClipReader::default()),
            loader: LoaderConfig { workers: 2, max_bytes: 512 << 20 },
            seed: 0,
            on_cpu: true,
            dtype: burn::tensor::FloatDType::F32,
            bad: None,
        };
        let cnn = backbone::config(&recipe, 6).unwrap();
        check(&Plan { recipe: &recipe, dataset: &dataset, reading: &reading, cnn, threads: 2, program: 7 });
    }

    /// pool2 of 16·8·8, pool3 of 32·4·4 and fc7 of 64 numbers are 1,600 a step and 51,200 bytes a clip of 8 steps, for 4,800
    /// training and 400 validation clips; with a copy of each training clip 4,800 more. Without the cache 64 clips are
    /// measured. A clip of 8·32·32·3 = 24,576 bytes is reckoned at 250 frames more while it is read, so 677 of them are
    /// under way within 512 MiB, and as they are not decoded from videos each holds itself alone.
    #[test]
    fn percepts_and_clips_by_hand() {
        checked(&[], |plan| {
            assert_eq!(plan.store(), 5_200 * 51_200);
            assert_eq!(plan.queue(plan.reading, 1), 677 * 24_576);
            assert_eq!(plan.pixel_store(), 5_200 * 24_576);
        });
        checked(&["features.copies=1"], |plan| assert_eq!(plan.store(), 10_000 * 51_200));
        checked(&["features.cache=false"], |plan| assert_eq!(plan.store(), 64 * 51_200));
    }

    /// Of a model of 100 bytes, the largest parameter of 60, whose passes hold 30 beside gradients of 100: the best weights are
    /// 100 more, Adam's moments 200, and writing those to a checkpoint, 2 · 200, is the highest point. With passes of 350
    /// beside the gradients it is those, 450; with accumulation beside them 100 of the batches before. Of plain gradient descent
    /// there are no moments, and with passes of 30 the 200 for writing the weights are the most.
    #[test]
    fn the_highest_point_of_a_step_by_hand() {
        let accumulating = TrainingSection { accumulate: 2, ..TrainingSection::default() };
        let plain = TrainingSection { optimizer: OptimizerName::Sgd, momentum: 0.0, ..TrainingSection::default() };
        for (own, training, expected) in [
            (30, &TrainingSection::default(), 200 + 200 + 400),
            (350, &TrainingSection::default(), 200 + 200 + 450),
            (350, &accumulating, 200 + 200 + 550),
            (30, &plain, 200 + 200),
        ] {
            let mut tape = Tape::default();
            tape.push(Op { own, gradients: 100, ..Op::default() });
            checked(&[], |plan| {
                let parts = plan.step(&Trained { weights: 100, largest: 60, tape: tape.clone() }, training);
                assert_eq!(parts.iter().map(|part| part.1).sum::<usize>(), expected);
            });
        }
    }

    /// A bigger batch takes more, a stage more is a stage more, and the joint step holds the CNN's activations too.
    #[test]
    fn stages_are_those_of_the_recipe() {
        let estimate = |changes: &[&str]| {
            let mut stages = None;
            checked(changes, |plan| stages = Some(Estimate::new(plan.recipe, plan.dataset, plan.reading, 6).unwrap()));
            stages.unwrap()
        };
        let names = |estimate: &Estimate| estimate.stages.iter().map(|stage| stage.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&estimate(&[])), ["CNN", "Percepts", "GRU-RCN"]);
        let joint = ["model.finetune_backbone=true", "baselines.frame=false", "baselines.top_rnn=0"];
        assert_eq!(names(&estimate(&joint)), ["CNN", "Percepts", "GRU-RCN and CNN"]);
        // What the program holds meanwhile is no part of the comparison.
        let last = |estimate: &Estimate| -> usize {
            let parts = &estimate.stages[estimate.stages.len() - 1].parts;
            parts.iter().filter(|(what, _)| *what != "program").map(|part| part.1).sum()
        };
        assert!(last(&estimate(&["training.batch=128"])) > last(&estimate(&[])));
        assert!(last(&estimate(&joint)) > last(&estimate(&["features.cache=false"])));
    }
}
