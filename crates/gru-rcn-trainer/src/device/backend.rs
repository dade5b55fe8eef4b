//! The device that Burn computes on: from `--backend` to a [`Device`].

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Result, bail};
use burn::tensor::Device;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Pure Rust on the CPU, in every build.
    Cpu,
    /// The GPU interface that the machine has.
    Wgpu,
    Vulkan,
    Metal,
    /// CUDA, with the index of the device.
    Cuda(usize),
    /// The device of a `gru-rcn serve`.
    Remote(SocketAddr),
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("remote", address)) => address
                .parse()
                .map(Self::Remote)
                .map_err(|_| format!("{text}: after remote: comes a numeric address with a port, 127.0.0.1:3000")),
            Some(("cuda", index)) => {
                index.parse().map(Self::Cuda).map_err(|_| format!("{text}: the number after cuda: is not one"))
            }
            _ => Self::ALL.into_iter().find(|backend| backend.feature() == text).ok_or_else(|| {
                format!("{text}: no such backend; there are cpu, wgpu, vulkan, metal, cuda[:N], remote:ADDRESS:PORT")
            }),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Remote(address) => write!(f, "remote:{address}"),
            other => f.write_str(other.feature()),
        }
    }
}

impl Backend {
    /// Every backend of this machine, the first device of each.
    pub(crate) const ALL: [Self; 5] = [Self::Cpu, Self::Wgpu, Self::Vulkan, Self::Metal, Self::Cuda(0)];

    pub(crate) fn feature(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda(_) => "cuda",
            Self::Remote(_) => "remote",
        }
    }

    pub(crate) fn is_compiled_in(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Wgpu => cfg!(feature = "wgpu-untuned"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Cuda(_) => cfg!(feature = "cuda"),
            Self::Remote(_) => cfg!(feature = "remote"),
        }
    }

    /// Checks that it is in this build.
    pub(crate) fn require(self) -> Result<()> {
        if !self.is_compiled_in() {
            let name = self.feature();
            bail!(
                "this build of gru-rcn has no {name} backend; run `cargo xtask VERB --backend {name}`, which builds it \
                 in, or install with `--features {name}`"
            );
        }
        Ok(())
    }

    pub(crate) fn device(self) -> Result<Device> {
        self.require()?;
        #[cfg(feature = "_tuned")]
        if self != Self::Cpu {
            keep_kernels();
        }
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "wgpu-untuned")]
            Self::Wgpu => Device::wgpu_options()
                .init()
                .map_err(|error| anyhow::anyhow!("no wgpu device: {error:?}; is a graphics driver installed?")),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => {
                let found = self.devices().len();
                if index >= found {
                    bail!("no CUDA device {index}: this machine shows {found}; is the NVIDIA driver installed?");
                }
                Ok(Device::cuda(index))
            }
            #[cfg(feature = "remote")]
            Self::Remote(address) => super::remote::connect(address),
            #[allow(unreachable_patterns)]
            other => unreachable!("{other} was checked to be compiled in"),
        }
    }

    /// The devices that this build finds on this machine, without using any of them. A broken
    /// driver may end the process, so `doctor` calls this in a child process.
    pub(crate) fn devices(self) -> Vec<Device> {
        match self {
            Self::Cpu => vec![Device::flex()],
            #[cfg(feature = "wgpu-untuned")]
            Self::Wgpu => Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Device::enumerate(burn::tensor::DeviceType::Vulkan).into_vec(),
            #[cfg(feature = "metal")]
            Self::Metal => Device::enumerate(burn::tensor::DeviceType::Metal).into_vec(),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(),
            #[allow(unreachable_patterns)]
            _ => Vec::new(),
        }
    }

    /// Makes this backend Burn's default device.
    ///
    /// # Safety
    ///
    /// It changes the environment of the process: no other thread may exist that reads or changes
    /// it.
    pub(crate) unsafe fn make_default(self) {
        let name = match self {
            // A remote device has an address, so it cannot be the default; the CPU is.
            Self::Cpu | Self::Remote(_) => "flex",
            other => other.feature(),
        };
        // SAFETY: the caller guarantees that no other thread uses the environment.
        unsafe { std::env::set_var("BURN_DEVICE", name) };
    }
}

/// Has CubeCL keep the kernels that it compiles, beside the choices that it keeps anyway. On an H200
/// the kernels of VGG-16 take a minute to compile and 0.2 s to load. A `cubecl.toml` and CubeCL's
/// environment variables decide about all else, such as the folder.
#[cfg(feature = "_tuned")]
fn keep_kernels() {
    use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    // Without effect after the first device.
    CubeClRuntimeConfig::try_set(config);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_printed() {
        for name in ["cpu", "wgpu", "vulkan", "metal", "cuda:2", "remote:127.0.0.1:3000"] {
            assert_eq!(name.parse::<Backend>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<Backend>().unwrap(), Backend::Cuda(0));
        assert!("cuda:x".parse::<Backend>().is_err());
        assert!("remote:3000".parse::<Backend>().unwrap_err().contains("127.0.0.1"));
        assert!("tpu".parse::<Backend>().unwrap_err().contains("no such backend"));
    }
}
