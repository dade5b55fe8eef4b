//! Gradients through three steps of time against central differences, in float64.
//!
//! The loss is the sum of all outputs times fixed numbers. With a step of 1e-5 the difference
//! quotient is off by about 1e-10 for the third derivative and 1e-11 for rounding, so each element
//! is asked to agree to 1e-7 of the tensor's largest gradient; a missing path through time or a
//! wrong sign is off by its own size.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{ConvGruConfig, Form, GruRcnConfig};
use crate::percepts::{Level, Percepts};
use crate::testing::{drawn_as, parameters, redrawn};

const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-7;

fn drawn<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    drawn_as(seed, shape, DType::F64, device)
}

/// Adds a number to one element of one weight.
struct Nudge(ParamId, usize, f64);

impl ModuleMapper for Nudge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.id != self.0 {
            return param;
        }
        let (element, by) = (self.1, self.2);
        param.map(|weight| {
            let (shape, device) = (weight.dims(), weight.device());
            let mut data = weight.into_data().try_into_vec::<f64>().unwrap();
            data[element] += by;
            Tensor::from_data(TensorData::new(data, shape), (&device, DType::F64))
        })
    }
}

/// Checks every element of every weight; returns how many tensors there were.
fn check<M: Module>(model: M, loss: impl Fn(&M, &Device) -> Tensor<1>) -> usize {
    let plain = redrawn(model, 3, 0.6, DType::F64);
    let tracked = plain.clone().train();
    let gradients = loss(&tracked, &Device::flex().autodiff()).backward();
    let gradients = parameters(&tracked, Some(&gradients));
    let value = |nudge: &mut Nudge| loss(&plain.clone().map(nudge), &Device::flex()).into_scalar::<f64>();
    for (tensor, (id, gradient)) in gradients.iter().enumerate() {
        let gradient = gradient.try_to_vec::<f64>().unwrap();
        let largest = gradient.iter().fold(0f64, |largest, g| largest.max(g.abs()));
        assert!(largest > 1e-3, "tensor {tensor} has next to no gradient");
        for (element, g) in gradient.iter().enumerate() {
            let up = value(&mut Nudge(*id, element, STEP));
            let down = value(&mut Nudge(*id, element, -STEP));
            let quotient = (up - down) / (2.0 * STEP);
            assert!((g - quotient).abs() <= TOLERANCE * largest, "tensor {tensor}[{element}]: {g} against {quotient}");
        }
    }
    gradients.len()
}

/// `W`, `U` of the gates, `U` of the candidate and the biases, from the zero state.
#[test]
fn cell() {
    let config = ConvGruConfig::new(2, 2).with_bias(true);
    let tensors = check(config.init(&Device::flex()), |layer, device| {
        let output = layer.forward(drawn(1, [2, 3, 2, 3, 4], device), None);
        (output.sequence * drawn(2, [2, 3, 2, 3, 4], device)).sum()
    });
    assert_eq!(tensors, 4);
}

fn forms(form: Form) -> usize {
    let level = |name: &str, channels, side| Level::new(name.into(), channels, side, side);
    let config = GruRcnConfig::new(vec![level("low", 2, 4), level("middle", 2, 2), level("top", 3, 1)], vec![2, 2, 3]);
    check(config.with_form(form).init(&Device::flex()), |model, device| {
        let maps = (0..3).map(|l| drawn(1 + l, [1, 3, [2, 2, 3][l as usize], 4 >> l, 4 >> l], device)).collect();
        let output = model.forward(Percepts::new(maps)).into_iter().enumerate();
        output
            .map(|(l, map)| (map.clone() * drawn(10 + l as u64, map.dims(), device)).sum())
            .reduce(|a, b| a + b)
            .unwrap()
    })
}

/// Three tensors per level, and the bottom-up weights of two levels.
#[test]
fn stacked() {
    assert_eq!(forms(Form::Stacked), 11);
}

/// Three tensors per level and direction.
#[test]
fn bidirectional() {
    assert_eq!(forms(Form::Bidirectional), 18);
}
