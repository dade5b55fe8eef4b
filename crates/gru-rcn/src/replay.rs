//! Computations that a GPU records once and launches as a whole afterwards.
//!
//! A clip of ten frames through five levels is some hundred small kernels. Where single clips or
//! frames are computed, a GPU waits for the processor that launches them one by one. CUDA can
//! record them (Burn's [`capture`]) and launch the record at once.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use burn::tensor::{DType, Device, FloatDType, Graph, Shape, Tensor, capture};

type Maps = Vec<Tensor<4>>;

/// Largest difference between a replay and the call that counts as rounding, as a fraction of the map's
/// largest number. It is that of bfloat16 after a deep network. A replay that does not see its input is off
/// by as much as the numbers themselves.
const ROUNDING: f32 = 0.05;

/// Shapes of input whose records are kept. Each keeps the memory of its maps.
const MOST_SHAPES: usize = 2;

/// A function of maps that is recorded where the device can, at the second call with input of the
/// same shape and precision, and replayed from then on. Elsewhere it is simply called.
///
/// A record is used only if its first replay, on other numbers than were recorded, gives those of
/// the call itself up to rounding: where a device chooses among kernels by time, two calls may differ
/// in their last digits. A `Replay` stays in one thread, because records belong to the thread's queue of
/// the device.
///
/// # Examples
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use gru_rcn::replay::Replay;
///
/// let mut double = Replay::new(|maps| maps.into_iter().map(|map| map * 2.0).collect());
/// for value in [1.0, 2.0, 3.0] {
///     let map = Tensor::<4>::full([1, 1, 2, 2], value, &Device::flex());
///     let doubled = double.call(vec![map]).remove(0);
///     assert_eq!(doubled.max().into_scalar::<f32>(), 2.0 * value as f32);
/// }
/// assert!(!double.is_recorded(), "a CPU has nothing to record");
/// ```
pub struct Replay {
    compute: Rc<dyn Fn(Maps) -> Maps>,
    /// Whether the device can record, once that is known.
    records: Option<bool>,
    shapes: Vec<(Vec<(Shape, DType)>, Entry)>,
}

enum Entry {
    CalledOnce,
    Recorded(Record),
    /// Why the device cannot record it, or how its record differs.
    Refused(String),
}

struct Record {
    input: Rc<RefCell<Maps>>,
    graph: Graph<Maps, Box<dyn FnMut() -> Maps>>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("recorded", &self.is_recorded()).finish_non_exhaustive()
    }
}

impl Replay {
    /// The function must depend on its input and on what it owns alone, outside of autodiff, and
    /// must not read numbers back from the device. One that returns a map of its input as it is
    /// stays unrecorded, for that memory cannot take in the next input.
    pub fn new(compute: impl Fn(Maps) -> Maps + 'static) -> Self {
        Self { compute: Rc::new(compute), records: None, shapes: Vec::new() }
    }

    /// Computes the function of `input`, which has at least one map.
    pub fn call(&mut self, input: Maps) -> Maps {
        let shape: Vec<(Shape, DType)> = input.iter().map(|map| (map.shape(), map.dtype())).collect();
        let Some(known) = self.shapes.iter_mut().find(|(known, _)| *known == shape) else {
            if self.shapes.len() == MOST_SHAPES {
                self.shapes.remove(0);
            }
            self.shapes.push((shape, Entry::CalledOnce));
            return (self.compute)(input);
        };
        if matches!(known.1, Entry::CalledOnce) {
            known.1 = match *self.records.get_or_insert_with(|| can_record(&input[0].device())) {
                false => Entry::Refused("the device records nothing".into()),
                true => Record::of(&self.compute, &input).map_or_else(Entry::Refused, Entry::Recorded),
            };
        }
        match &mut known.1 {
            Entry::Recorded(record) => record.replay(&input).unwrap_or_else(|| (self.compute)(input)),
            _ => (self.compute)(input),
        }
    }

    /// Whether any shape of input is replayed.
    pub fn is_recorded(&self) -> bool {
        self.shapes.iter().any(|(_, entry)| matches!(entry, Entry::Recorded(_)))
    }

    /// Why the newest shape of input that is not replayed was refused.
    pub fn refusal(&self) -> Option<&str> {
        self.shapes.iter().rev().find_map(|(_, entry)| match entry {
            Entry::Refused(reason) => Some(reason.as_str()),
            _ => None,
        })
    }
}

fn can_record(device: &Device) -> bool {
    let one = Tensor::<1>::ones([1], device);
    capture(device, || one.clone() + 1.0).is_hardware()
}

impl Record {
    /// Records the function for the shape of `input`. The error says in words that the device does not
    /// record it, or that a replay differs from the call.
    fn of(compute: &Rc<dyn Fn(Maps) -> Maps>, input: &Maps) -> Result<Self, String> {
        let device = input[0].device();
        let maps: Maps = input.iter().map(Tensor::zeros_like).collect();
        let maps = Rc::new(RefCell::new(maps));
        let (compute_again, read) = (compute.clone(), maps.clone());
        let run: Box<dyn FnMut() -> Maps> = Box::new(move || {
            let input = read.borrow().clone();
            compute_again(input)
        });
        let mut record = Self { input: maps, graph: capture(&device, run) };
        if !record.graph.is_hardware() {
            return Err("the device did not record it".into());
        }
        // It was recorded on zeros, so a replay that does not see its new input is detected.
        let found = record.replay(input).ok_or("the recorded input cannot be overwritten")?;
        for (map, (expected, found)) in compute(input.clone()).into_iter().zip(found).enumerate() {
            let largest = expected.clone().abs().max().cast(FloatDType::F32).into_scalar::<f32>();
            let difference = (expected - found).abs().max().cast(FloatDType::F32).into_scalar::<f32>();
            let fits = difference <= ROUNDING * largest; // not where one of them is no number
            if !fits {
                return Err(format!(
                    "its replay differs by {difference:e} in map {map}, whose largest number is {largest:e}"
                ));
            }
        }
        Ok(record)
    }

    /// None if the recorded input cannot be overwritten in place.
    fn replay(&mut self, input: &Maps) -> Option<Maps> {
        let mut recorded = self.input.borrow_mut();
        if !recorded.iter().all(Tensor::can_mut) {
            return None;
        }
        for (map, new) in recorded.iter_mut().zip(input) {
            let [batch, channels, height, width] = new.dims();
            map.inplace(|map| map.slice_assign([0..batch, 0..channels, 0..height, 0..width], new.clone()));
        }
        // SAFETY: what the record reads and writes is owned by it: the input and the output here,
        // all else by the function. Nobody else holds the input, and the output is copied on the
        // same queue before the next replay, as this type does not leave its thread.
        let output = unsafe { self.graph.replay() };
        Some(output.iter().map(|map| map.clone().mul_scalar(1.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_same, device, drawn};

    /// Two shapes in turns, each with new numbers in every call.
    #[test]
    fn calls_after_the_first_give_the_numbers_of_the_function() {
        let weight = drawn::<4>(1, [1, 3, 1, 1], &device());
        let compute = move |maps: Maps| {
            let [a, b] = maps.try_into().expect("two maps");
            let sum = (a.clone() * weight.clone()).tanh() + b.clone();
            vec![sum.clone().sum_dim(1), sum * a]
        };
        let mut replay = Replay::new(compute.clone());
        for call in 0..4 {
            for size in [4, 5] {
                let maps = |seed| drawn::<4>(seed, [2, 3, size, size], &device());
                let input = vec![maps(10 * call + 2), maps(10 * call + 3)];
                for (found, expected) in replay.call(input.clone()).into_iter().zip(compute(input)) {
                    assert_same(found, expected);
                }
            }
        }
        assert_eq!(replay.is_recorded(), can_record(&device()));
        assert_eq!(replay.shapes.len(), 2);
        assert_eq!(replay.refusal().is_none(), can_record(&device()));
    }
}
