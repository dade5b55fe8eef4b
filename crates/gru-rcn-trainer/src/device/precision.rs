//! The precision of convolutions and gates: `--dtype`.

use anyhow::{Result, bail};
use burn::tensor::{Device, FloatDType};
use clap::ValueEnum;

use super::backend::Backend;

/// The type that convolutions and gates are computed in. Weights, gradients, the optimizer,
/// normalisation, softmax, loss and all files are float32 in either case.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16: three decimal digits, half the memory and, on tensor cores, several times the
    /// speed.
    Bf16,
}

impl Precision {
    pub(crate) fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// The name on the command line and in the run card.
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    pub(crate) fn check(self, backend: Backend, device: &Device) -> Result<()> {
        if self == Self::F32 || device.supports_dtype(self.dtype()) {
            return Ok(());
        }
        bail!(
            "the device of --backend {backend} cannot compute in {}; without --dtype it is f32. bf16 is for \
             CUDA, and for trying out on cpu",
            self.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_supports_both_precisions() {
        for precision in [Precision::F32, Precision::Bf16] {
            precision.check(Backend::Cpu, &Device::flex()).unwrap();
        }
    }
}
