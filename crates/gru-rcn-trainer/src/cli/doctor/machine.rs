//! The machine without its devices: cores, memory, disk, decoders.

use std::path::Path;

use gru_rcn_data::{Ffmpeg, free_bytes};
use serde::Serialize;

use crate::preflight::machine;

/// Cores, memory, disk, decoders.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    /// Bytes of memory, if the system reports them.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) available_bytes: Option<u64>,
    pub(crate) runs: String,
    pub(crate) free_disk_bytes: Option<u64>,
    pub(crate) ffmpeg: Option<String>,
    /// How to install it, if it is not.
    pub(crate) ffmpeg_advice: Option<String>,
    /// Whether UCF-101's video format can be decoded without FFmpeg.
    pub(crate) pure_decoder: bool,
}

impl Machine {
    pub(crate) fn look(runs: &Path) -> Self {
        let ffmpeg = Ffmpeg::locate();
        Self {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            memory_bytes: machine::installed().map(|bytes| bytes as u64),
            available_bytes: machine::available().map(|bytes| bytes as u64),
            runs: runs.display().to_string(),
            free_disk_bytes: free_bytes(&crate::experiment::data::absolute(runs)),
            ffmpeg: ffmpeg.as_ref().ok().map(|ffmpeg| ffmpeg.version().to_string()),
            ffmpeg_advice: ffmpeg.err().map(|error| error.to_string()),
            pure_decoder: cfg!(feature = "pure-decode"),
        }
    }

    /// Text for people, one fact per line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let size = |bytes: Option<u64>| {
            bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / (1u64 << 30) as f64))
        };
        vec![
            format!("cores     {}", self.cores),
            format!("memory    {}, {} available", size(self.memory_bytes), size(self.available_bytes)),
            format!("disk      {} free for {}", size(self.free_disk_bytes), self.runs),
            match (&self.ffmpeg, &self.ffmpeg_advice) {
                (Some(version), _) => format!("ffmpeg    {version}"),
                (None, advice) => format!("ffmpeg    {}", advice.as_deref().unwrap_or("not found")),
            },
            format!(
                "decoder   {}",
                match self.pure_decoder {
                    true => "UCF-101's format without FFmpeg too (--decoder pure)",
                    false => "FFmpeg's only; --features pure-decode adds one for UCF-101's format",
                }
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_has_a_line() {
        let machine = Machine::look(Path::new("runs"));
        assert!(machine.cores > 0);
        assert_eq!(machine.lines().len(), 5);
    }
}
