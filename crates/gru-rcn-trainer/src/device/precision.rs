//! The precision of the heavy part of the work: `--dtype`.

use anyhow::{Result, bail};
use burn::tensor::{Device, FloatDType};
use clap::ValueEnum;

use super::backend::Backend;

/// What convolutions and gates are computed in. Weights, gradients, the optimizer, normalisation, softmax and loss are
/// float32 in both, and so are all files.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16: half the memory and, on tensor cores, a multiple of the speed; three decimal digits.
    Bf16,
}

impl Precision {
    /// Burn's name of it.
    pub(crate) fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// The name on the command line and in the run card.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Refuses a device that cannot compute in it.
    ///
    /// # Errors
    ///
    /// If the device says so.
    pub(crate) fn check(self, backend: Backend, device: &Device) -> Result<()> {
        if self == Self::F32 || device.supports_dtype(self.dtype()) {
            return Ok(());
        }
        bail!(
            "the device of --backend {backend} cannot compute in {}; leave out --dtype, which then is f32. bf16 is for \
             CUDA, and for trying out on cpu",
            self.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_both() {
        for precision in [Precision::F32, Precision::Bf16] {
            precision.check(Backend::Cpu, &Device::flex()).unwrap();
        }
    }

    #[test]
    #[cfg(feature = "ndarray")]
    fn ndarray_has_not() {
        #[allow(deprecated)]
        let device = Device::ndarray();
        let message = Precision::Bf16.check(Backend::Ndarray, &device).unwrap_err().to_string();
        assert!(message.contains("--backend ndarray") && message.contains("bf16"), "{message}");
    }
}
