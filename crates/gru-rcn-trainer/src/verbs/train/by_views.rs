//! The final test by several views of each clip.

use anyhow::{Result, bail};
use gru_rcn::backbone::Cnn;
use gru_rcn::classifier::ClipClassifier;
use gru_rcn_data::{Sample, ViewRule};

use super::Run;
use super::stages::{Tested, TrainedSystems};
use crate::evaluate::Scores;
use crate::fit::Interrupted;
use crate::progress::Interval;
use crate::report::EpochPoint;
use crate::systems::System;
use crate::views::{Model, ViewScorer};

/// A trained system, waiting for its scores.
struct Candidate<'a> {
    model: Model<'a>,
    finish: Finish<'a>,
}

/// What a system's scores are worth, once they are known.
type Finish<'a> = Box<dyn Fn(&Run, Scores) -> Result<Tested> + 'a>;

fn candidate<'a, M: ClipClassifier>(run: &Run, system: System, trained: &'a (M, Vec<EpochPoint>)) -> Candidate<'a> {
    let levels = system.has_levels().then(|| run.recipe.model.levels());
    Candidate {
        model: Box::new(move |percepts| match &levels {
            Some(levels) => trained.0.logits(percepts.select(levels)),
            None => trained.0.logits(percepts),
        }),
        finish: Box::new(move |run, scores| run.result(&system, trained, scores)),
    }
}

impl Run {
    /// Scores every system on the test clips; all look at the same percepts, but for a GRU-RCN that was trained together
    /// with its CNN, which looks through that.
    pub(super) fn test_by_views(
        &mut self,
        cnn: &Cnn,
        samples: &[Sample],
        rule: ViewRule,
        trained: &TrainedSystems,
    ) -> Result<Vec<Tested>> {
        let mut first = vec![candidate(self, System::GruRcn, &trained.gru_rcn)];
        let mut candidates = Vec::new();
        candidates.extend(trained.frame.as_ref().map(|frame| candidate(self, System::Frame, frame)));
        candidates.extend(trained.top_rnn.as_ref().map(|top_rnn| candidate(self, System::TopRnn, top_rnn)));
        candidates.extend(trained.norms.iter().map(|(system, norm)| candidate(self, system.clone(), norm)));
        let Some(joint) = &trained.joint else {
            first.extend(candidates);
            return self.scored_by_views(cnn, samples, rule, first);
        };
        let mut tested = self.scored_by_views(joint, samples, rule, first)?;
        if !candidates.is_empty() {
            tested.extend(self.scored_by_views(cnn, samples, rule, candidates)?);
        }
        Ok(tested)
    }

    fn scored_by_views(
        &mut self,
        cnn: &Cnn,
        samples: &[Sample],
        rule: ViewRule,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<Tested>> {
        let (models, finish): (Vec<_>, Vec<_>) = candidates.into_iter().map(|one| (one.model, one.finish)).unzip();

        let scorer = ViewScorer { cnn, reading: &self.reading, rule, device: &self.device };
        let (progress, stop, total) = (&mut self.progress, &self.stop, samples.len());
        let mut told = Interval::default();
        let done = |clips: usize| {
            if told.is_over() {
                progress.message(&format!("{clips} of {total} test clips are scored"));
            }
        };
        match scorer.score(samples, &models, done, || stop.is_set())? {
            Some(scores) => finish.iter().zip(scores).map(|(finish, scores)| finish(self, scores)).collect(),
            None => bail!(Interrupted::training(self.stop.exit_code())),
        }
    }
}
