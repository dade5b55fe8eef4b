//! What the machine has beside devices.

use std::path::Path;

use gru_rcn_data::{Ffmpeg, free_bytes};
use serde::Serialize;

/// Cores, memory, disk, decoders.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Bytes of memory, where the system says so.
    pub memory_bytes: Option<u64>,
    /// Bytes of it that can still be used.
    pub available_bytes: Option<u64>,
    /// The folder that runs are written to.
    pub runs: String,
    /// Bytes that may still be written there.
    pub free_disk_bytes: Option<u64>,
    /// FFmpeg's version, if it is installed.
    pub ffmpeg: Option<String>,
    /// Otherwise how it is installed.
    pub ffmpeg_advice: Option<String>,
    /// Whether UCF-101's video format can be decoded without it.
    pub pure_decoder: bool,
}

impl Machine {
    /// Looks.
    pub fn look(runs: &Path) -> Self {
        let ffmpeg = Ffmpeg::locate();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            memory_bytes: kibibytes(&memory, "MemTotal:"),
            available_bytes: kibibytes(&memory, "MemAvailable:"),
            runs: runs.display().to_string(),
            free_disk_bytes: free_bytes(&crate::data::absolute(runs)),
            ffmpeg: ffmpeg.as_ref().ok().map(|ffmpeg| ffmpeg.version().to_string()),
            ffmpeg_advice: ffmpeg.err().map(|error| error.to_string()),
            pure_decoder: cfg!(feature = "pure-decode"),
        }
    }

    /// For people, one fact a line.
    pub fn lines(&self) -> Vec<String> {
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

/// A value of `/proc/meminfo`, in bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_by_its_name() {
        let text = "MemTotal:       16 kB\nMemFree:         1 kB\nMemAvailable:    8 kB\n";
        assert_eq!(kibibytes(text, "MemTotal:"), Some(16384));
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(8192));
        assert_eq!(kibibytes("", "MemTotal:"), None);
    }

    #[test]
    fn every_fact_has_a_line() {
        let machine = Machine::look(Path::new("runs"));
        assert!(machine.cores > 0);
        assert_eq!(machine.lines().len(), 5);
    }
}
