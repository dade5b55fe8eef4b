//! Lines for pipes, log files and people who prefer them.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::time::left;
use super::{Epoch, Event, Observer, StageStarted, Step, duration, percent};

/// Longest silence within an epoch.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// One line per epoch, and one every few seconds within a long one.
///
/// A line holds values, never a bar alone, because a log is read afterwards.
pub(crate) struct Plain {
    /// Writes a line.
    write: Box<dyn FnMut(&str)>,
    interval: Duration,
    stage: Option<Stage>,
}

struct Stage {
    plan: StageStarted,
    began: Instant,
    last_line: Instant,
    /// Steps taken since `began`; a resumed stage has taken others before.
    steps: usize,
    /// The last step, counted from the beginning of the stage.
    position: usize,
}

impl Plain {
    /// Passes lines to `write`; within an epoch it does so after `interval` of silence.
    pub(super) fn new(write: impl FnMut(&str) + 'static, interval: Duration) -> Self {
        Self { write: Box::new(write), interval, stage: None }
    }

    /// The position of a step in its stage, and its values.
    pub(super) fn step_texts(&self, step: &Step) -> Option<(String, String)> {
        let stage = self.stage.as_ref()?;
        let position = format!("{}  step {}/{}", stage.epoch_of(step.epoch), step.step, stage.plan.steps_per_epoch);
        let accuracy =
            if stage.plan.classifies { format!("accuracy {}  ", percent(step.accuracy)) } else { String::new() };
        let values = format!(
            "loss {:.4}  {accuracy}{:.0} clips/s  waiting for data {:.0} %{}",
            step.loss,
            step.clips_per_second,
            step.data_wait * 100.0,
            stage.left()
        );
        Some((position, values))
    }

    fn line(&mut self, text: &str) {
        (self.write)(text);
        if let Some(stage) = &mut self.stage {
            stage.last_line = Instant::now();
        }
    }

    fn step(&mut self, step: &Step) {
        let Some(stage) = &mut self.stage else { return };
        stage.steps += 1;
        stage.position = (step.epoch - 1) * stage.plan.steps_per_epoch + step.step;
        if stage.last_line.elapsed() < self.interval {
            return;
        }
        if let Some((position, values)) = self.step_texts(step) {
            self.line(&format!("{position}  {values}"));
        }
    }

    fn epoch(&mut self, epoch: &Epoch) {
        let Some(stage) = &self.stage else { return };
        let accuracy = |value| match stage.plan.classifies {
            true => format!(" accuracy {}", percent(value)),
            false => String::new(),
        };
        let mut line = format!(
            "{}  train loss {:.4}{}  validation loss {:.4}{}",
            stage.epoch_of(epoch.epoch),
            epoch.train.loss,
            accuracy(epoch.train.accuracy),
            epoch.validation.loss,
            accuracy(epoch.validation.accuracy),
        );
        if let Some(score) = epoch.validation.score {
            line += &format!(" score {score:.4}");
        }
        if epoch.validation.levels.len() > 1 {
            let levels = epoch.validation.levels.iter().map(|l| format!("{} {}", l.level, percent(l.accuracy)));
            line += &format!(" ({})", levels.collect::<Vec<_>>().join(", "));
        }
        if epoch.best {
            line += "  best so far";
        }
        line += &format!("  {}{}", duration(epoch.seconds), stage.left());
        self.line(&line);
    }
}

impl Stage {
    fn epoch_of(&self, epoch: usize) -> String {
        let width = self.plan.epochs.to_string().len();
        format!("{} epoch {epoch:>width$}/{}", self.plan.name, self.plan.epochs)
    }

    /// The time that the rest of the stage takes at the pace so far, validation included; empty
    /// before there is a pace and after the last step.
    fn left(&self) -> String {
        let total = self.plan.epochs * self.plan.steps_per_epoch;
        left("  ", self.began.elapsed(), self.steps, total.saturating_sub(self.position))
    }
}

impl Observer for Plain {
    fn observe(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Message(text) => self.line(text),
            Event::StageStarted(plan) => {
                let now = Instant::now();
                self.stage = Some(Stage { plan: plan.clone(), began: now, last_line: now, steps: 0, position: 0 });
                self.line(&format!(
                    "{}: up to {} epochs of {} steps over {} clips",
                    plan.name, plan.epochs, plan.steps_per_epoch, plan.clips_per_epoch
                ));
            }
            Event::Step(step) => self.step(step),
            Event::Epoch(epoch) => self.epoch(epoch),
            Event::StageFinished => {
                if let Some(stage) = self.stage.take() {
                    let seconds = stage.began.elapsed().as_secs_f64();
                    match stage.steps {
                        0 => self.line(&format!("{}: nothing left to train", stage.plan.name)),
                        _ => self.line(&format!("{}: finished after {}", stage.plan.name, duration(seconds))),
                    }
                }
            }
            // The error that follows says why.
            Event::RunEnded => self.stage = None,
            Event::NonfiniteStep(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::super::{LevelAccuracy, TrainMetrics, ValidationMetrics};
    use super::*;

    fn plan(epochs: usize, steps_per_epoch: usize) -> StageStarted {
        let (stage, name) = ("gru_rcn".into(), "GRU-RCN".into());
        StageStarted { stage, name, epochs, steps_per_epoch, clips_per_epoch: 64, classifies: true, steps_done: 4 }
    }

    fn lines_of(interval: Duration) -> String {
        let lines = Rc::new(RefCell::new(String::new()));
        let out = lines.clone();
        let mut plain = Plain::new(move |line| out.borrow_mut().push_str(&format!("{line}\n")), interval);
        let level = |level: &str, accuracy| LevelAccuracy { level: level.into(), accuracy };
        let events = [
            Event::StageStarted(plan(10, 2)),
            Event::Step(Step {
                epoch: 3,
                step: 1,
                loss: 1.25,
                accuracy: 0.5,
                clips_per_second: 212.4,
                data_wait: 0.031,
                ..Step::default()
            }),
            Event::Epoch(Epoch {
                epoch: 3,
                seconds: 4.0,
                train: TrainMetrics { loss: 1.0, accuracy: 0.625, clips: 64 },
                validation: ValidationMetrics {
                    loss: 1.5,
                    accuracy: 0.25,
                    levels: vec![level("pool3", 0.125), level("pool4", 0.5)],
                    score: None,
                },
                best: true,
                ..Epoch::default()
            }),
            Event::Message("the learning rate is now 0.0001".into()),
            Event::StageFinished,
            Event::StageFinished,
        ];
        events.iter().for_each(|event| plain.observe(event).unwrap());
        lines.take()
    }

    /// A resumed stage: the first step is of epoch 3.
    #[test]
    fn an_epoch_is_one_line_with_all_values() {
        let text = lines_of(Duration::from_secs(3_600));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "GRU-RCN: up to 10 epochs of 2 steps over 64 clips");
        assert!(lines[1].starts_with(
            "GRU-RCN epoch  3/10  train loss 1.0000 accuracy 62.5 %  validation loss 1.5000 \
             accuracy 25.0 % (pool3 12.5 %, pool4 50.0 %)  best so far  4.0 s  "
        ));
        assert!(lines[1].ends_with(" left"));
        assert_eq!(lines[2], "the learning rate is now 0.0001");
        assert!(lines[3].starts_with("GRU-RCN: finished after "));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_long_epoch_shows_its_steps() {
        let text = lines_of(Duration::ZERO);
        assert!(text.contains(
            "epoch  3/10  step 1/2  loss 1.2500  accuracy 50.0 %  212 clips/s  \
             waiting for data 3 %  "
        ));
    }

    /// Two steps in ten seconds of a stage of 4 · 5 = 20, resumed at step 8: ten are left, which
    /// take fifty seconds. The clock runs a little further, so only whole seconds are compared.
    #[test]
    fn the_time_left_is_that_of_this_process() {
        let now = Instant::now();
        let began = now.checked_sub(Duration::from_secs(10)).unwrap_or(now);
        let stage = Stage { plan: plan(4, 5), began, last_line: now, steps: 2, position: 10 };
        if began != now {
            assert_eq!(stage.left(), "  50 s left");
        }
    }
}
