//! Which streams the pure decoder supports.
//!
//! Encoders of the format's early days departed from the standard, and FFmpeg undoes the faults of
//! each that it recognises. A decoder that keeps to the standard gives slightly wrong pictures for
//! such files, without any sign of it. So a stream must either name an encoder that keeps to the
//! standard, or carry a codec's letters that never stood for one of the others; and it may use only
//! those tools of the standard that were compared with FFmpeg.

use std::str;

use oxideav_mpeg4video::vol::{SpriteEnable, VolHeader, parse_visual_object_header};

use super::pictures::Unit;

/// The first builds of XviD that decode as the standard says.
const SOUND_XVID: u32 = 33;

/// What the encoders wrote into the stream about themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    xvid: Option<u32>,
    divx: bool,
    lavc: bool,
    /// Two pictures may lie in one chunk, the second of them to be shown before the first. The mark
    /// is DivX's, and XviD writes it too.
    pub(super) packed: bool,
}

impl Origin {
    pub(super) fn note(&mut self, unit: &Unit<'_>) {
        let words = unit.bytes.get(4..).unwrap_or_default();
        let words = &words[..words.iter().position(|&byte| byte == 0).unwrap_or(words.len())];
        if let Some(build) = words.strip_prefix(b"XviD") {
            self.xvid = number(build).map(|(build, _)| build).or(self.xvid);
        } else if let Some((_, rest)) = words.strip_prefix(b"DivX").and_then(number) {
            // `DivX503b1393p` or `DivX501Build413`.
            let build = rest.strip_prefix(b"Build").or(rest.strip_prefix(b"b")).and_then(number);
            if let Some((_, rest)) = build {
                self.divx = true;
                self.packed = rest.first() == Some(&b'p');
            }
        } else if words.starts_with(b"Lavc") {
            self.lavc = true;
        }
    }

    /// Whether the standard's rules are the encoder's; `codec` are the container's four letters.
    pub(super) fn check(&self, codec: [u8; 4]) -> Result<(), String> {
        let standard = matches!(&codec.map(|byte| byte.to_ascii_uppercase()), b"FMP4" | b"MP4V" | b"M4S2");
        match self {
            Self { xvid: Some(build), .. } if *build >= SOUND_XVID => Ok(()),
            Self { xvid: Some(build), .. } => {
                Err(format!("it was made by XviD build {build}, which has faults of its own"))
            }
            Self { lavc: true, .. } => Ok(()),
            Self { divx: true, .. } => {
                Err("it was made by DivX, whose departures from the standard it does not know".to_owned())
            }
            _ if standard => Ok(()),
            _ => {
                Err("the stream does not say which encoder made it, and early ones depart from the standard".to_owned())
            }
        }
    }
}

/// The decimal number at the start, and what follows it.
fn number(words: &[u8]) -> Option<(u32, &[u8])> {
    let digits = words.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((str::from_utf8(&words[..digits]).ok()?.parse().ok()?, &words[digits..]))
}

/// Whether a container's four letters stand for MPEG-4 Part 2.
pub(super) fn is_mpeg4(codec: [u8; 4]) -> bool {
    matches!(&codec.map(|byte| byte.to_ascii_uppercase()), b"XVID" | b"DIVX" | b"DX50" | b"FMP4" | b"MP4V" | b"M4S2")
}

/// Whether all tools that a layer may use are among those compared with FFmpeg.
pub(super) fn check_tools(layer: &VolHeader) -> Result<(), String> {
    let used = [
        (layer.sprite_enable == SpriteEnable::Static, "sprites"),
        (layer.sprite_enable == SpriteEnable::Gmc, "global motion compensation"),
        (!layer.obmc_disable, "overlapped motion compensation"),
        (layer.data_partitioned, "data partitioning"),
        (layer.interlaced, "interlacing"),
        (layer.scalability, "scalability"),
        (layer.bits_per_pixel != 8, "more than 8 bits a sample"),
    ];
    match used.iter().find(|(used, _)| *used) {
        Some((_, tool)) => Err(format!("the stream uses {tool}")),
        None => Ok(()),
    }
}

/// Whether the colours are those that the conversion to RGB assumes: BT.601, limited range. What
/// cannot be parsed is left to the decoder to complain of.
pub(super) fn check_colours(unit: &Unit<'_>) -> Result<(), String> {
    let Some(signal) = parse_visual_object_header(unit.bytes).ok().and_then(|object| object.video_signal_type) else {
        return Ok(());
    };
    if signal.video_range {
        return Err("its colours have the full range".to_owned());
    }
    // 2: not stated. 5 and 6: BT.601.
    match signal.colour.map(|colour| colour.matrix_coefficients) {
        None | Some(2 | 5 | 6) => Ok(()),
        Some(other) => Err(format!("its colours are not those of BT.601 (matrix {other})")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pictures::units;
    use super::*;

    fn origin(marks: &[&str]) -> Origin {
        let mut origin = Origin::default();
        for mark in marks {
            let bytes = [&[0, 0, 1, 0xB2], mark.as_bytes()].concat();
            origin.note(&units(&bytes).next().unwrap());
        }
        origin
    }

    #[test]
    fn encoders_are_known_by_their_marks() {
        // UCF-101: with and without packed B-frames.
        let packed = origin(&["DivX503b1393p", "XviD0055"]);
        assert!(packed.packed && packed.check(*b"XVID").is_ok());
        let plain = origin(&["XviD0050"]);
        assert!(!plain.packed && plain.check(*b"xvid").is_ok());
        assert!(origin(&["Lavc59.37.100"]).check(*b"XVID").is_ok());
        assert!(origin(&[]).check(*b"FMP4").is_ok());
        assert!(origin(&["DivX501Build413"]).check(*b"FMP4").is_err());
        assert!(!origin(&["DivX501Build413"]).packed);
        assert!(origin(&["XviD0012"]).check(*b"XVID").unwrap_err().contains("build 12"));
        assert!(origin(&[]).check(*b"XVID").unwrap_err().contains("which encoder"));
        assert!(origin(&["XviD", "DivX", "DivX5"]) == Origin::default());
    }

    #[test]
    fn codec_letters_of_mpeg4_are_known() {
        assert!(is_mpeg4(*b"xvid") && is_mpeg4(*b"XVID") && !is_mpeg4(*b"H264") && !is_mpeg4(*b"DIV3"));
    }
}
