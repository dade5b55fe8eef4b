//! The units of an MPEG-4 video stream (ISO/IEC 14496-2, 6.2) and the decoding of single pictures,
//! with a check that each was read to its end.
//!
//! The crate's own driver for whole streams is not used, because it does not report how much of a
//! picture it has read: a damaged picture often decodes without an error, from codes that happen to
//! be valid, and nearly always leaves something over. That is how it is known here, as it is to
//! FFmpeg.

use oxideav_mpeg4video::bitreader::BitReader;
use oxideav_mpeg4video::bvop_prediction::BVopSampleMode;
use oxideav_mpeg4video::frame_decode::PVopMbContent;
use oxideav_mpeg4video::pvop_mv::PvopMbMotion;
use oxideav_mpeg4video::vol::{VolHeader, parse_video_object_layer, parse_visual_object_sequence_header};
use oxideav_mpeg4video::vop::{VopCodingType, VopContext, VopHeader, parse_group_of_vop_header, parse_vop_header_body};
use oxideav_mpeg4video::vop_decode::{
    decode_b_vop_macroblocks, decode_i_vop_macroblocks, decode_p_vop_macroblocks, vop_mb_dimensions,
};
use oxideav_mpeg4video::{DecodeOptions, DecodedFrame, SequenceDecoder};

/// Last byte of the start code of a picture.
pub(super) const PICTURE: u8 = 0xB6;
/// Of text that the encoder left.
pub(super) const USER_DATA: u8 = 0xB2;
/// Of the header that may name the colours.
pub(super) const VISUAL_OBJECT: u8 = 0xB5;
/// Of the header that names the profile.
const SEQUENCE: u8 = 0xB0;
/// Of a time code.
const GROUP: u8 = 0xB3;

/// What lies between one start code (`00 00 01` and a byte) and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit<'a> {
    /// The byte behind `00 00 01`.
    pub(super) code: u8,
    /// From the start code on.
    pub(super) bytes: &'a [u8],
    /// Where the unit ends, counted in the data it was found in.
    pub(super) end: usize,
}

impl Unit<'_> {
    /// Whether it is the header of a layer, which has the size of the pictures.
    pub(super) fn is_layer(&self) -> bool {
        matches!(self.code, 0x20..=0x2F)
    }
}

/// The units of `data`; bytes before the first start code are skipped.
pub(super) fn units(data: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    let mut next = start_code(data, 0);
    std::iter::from_fn(move || {
        let start = next?;
        next = start_code(data, start + 4);
        let end = next.unwrap_or(data.len());
        Some(Unit { code: data[start + 3], bytes: &data[start..end], end })
    })
}

/// The first `00 00 01 xx` at or behind `from`.
fn start_code(data: &[u8], from: usize) -> Option<usize> {
    let tail = data.get(from..)?;
    tail.windows(4).position(|four| four[..3] == [0, 0, 1]).map(|place| from + place)
}

/// FFmpeg's reading of the standard where the two differ.
const OPTIONS: DecodeOptions = DecodeOptions { ecosystem_compat: true };
/// Most bits behind the last macroblock: a 0 and ones up to the end of the byte.
const STUFFING: usize = 8;

#[derive(Default)]
pub(super) struct Pictures {
    profile: u8,
    layer: Option<VolHeader>,
    sequence: SequenceDecoder,
    /// The vectors of the newest anchor, from which B-frames derive theirs; none after an I-frame.
    motion: Option<Vec<PvopMbMotion>>,
    clock: Clock,
}

impl Pictures {
    /// The header that the next picture obeys.
    pub(super) fn layer(&self) -> Option<&VolHeader> {
        self.layer.as_ref()
    }

    /// Reads a header; units that are none are passed over.
    pub(super) fn header(&mut self, unit: &Unit<'_>) -> Result<(), String> {
        if unit.code == SEQUENCE {
            self.profile = parse_visual_object_sequence_header(unit.bytes).map_err(|error| error.to_string())?;
        } else if unit.is_layer() {
            let layer = parse_video_object_layer(unit.bytes, self.profile).map_err(|error| error.to_string())?;
            self.layer = Some(layer);
        } else if unit.code == GROUP {
            let group = parse_group_of_vop_header(unit.bytes).map_err(|error| error.to_string())?.time_code;
            let seconds = i64::from(group.hours) * 3600 + i64::from(group.minutes) * 60 + i64::from(group.seconds);
            (self.clock.seconds, self.clock.seconds_before) = (seconds, seconds);
        }
        Ok(())
    }

    /// Skips a picture without content that replaces an anchor. Its time counts.
    pub(super) fn skip(&mut self, unit: &Unit<'_>) -> Result<(), String> {
        let (layer, header, _) = self.open(unit)?;
        self.clock.anchor(&layer, &header);
        Ok(())
    }

    /// Decodes a picture. Returns the frames that are now to be shown, in their order; `None` for a
    /// B-frame that is not between its two anchors in time, which FFmpeg does not show.
    pub(super) fn decode(&mut self, unit: &Unit<'_>) -> Result<Option<Vec<DecodedFrame>>, String> {
        let (layer, header, mut bits) = self.open(unit)?;
        let (columns, rows) = vop_mb_dimensions(&layer);
        let depth = u32::from(layer.bits_per_pixel);
        let grid = match layer.quarter_sample {
            true => BVopSampleMode::QuarterPel { bits_per_pixel: depth },
            false => BVopSampleMode::HalfPel,
        };
        let rounding = header.rounding_type;
        let text = |error: oxideav_mpeg4video::VopDecodeError| error.to_string();
        let frames = match header.coding_type {
            VopCodingType::I => {
                let blocks = decode_i_vop_macroblocks(&mut bits, &layer, &header, OPTIONS).map_err(text)?;
                self.motion = None;
                self.sequence.push_i_vop(columns, rows, &blocks)
            }
            VopCodingType::P => {
                let blocks = decode_p_vop_macroblocks(&mut bits, &layer, &header, OPTIONS).map_err(text)?;
                self.motion = Some(blocks.iter().map(motion_of).collect::<Result<_, _>>()?);
                self.sequence.push_p_vop(columns, rows, &blocks, rounding, grid, depth)
            }
            VopCodingType::B => {
                let Some((after_past, between)) = self.clock.between(&layer, &header) else { return Ok(None) };
                let motion = self.motion.as_deref();
                let blocks = decode_b_vop_macroblocks(&mut bits, &layer, &header, after_past, between, motion, OPTIONS)
                    .map_err(text)?;
                self.sequence.push_b_vop(columns, rows, &blocks, rounding, grid, depth)
            }
            VopCodingType::S => return Err("a picture of a kind that the header excludes".to_owned()),
        };
        check_end(unit.bytes, bits.bit_position())?;
        if header.coding_type != VopCodingType::B {
            self.clock.anchor(&layer, &header);
        }
        frames.map(Some).map_err(|error| format!("{error:?}"))
    }

    /// The last frame, which waited for B-frames to be shown before it.
    pub(super) fn finish(&mut self) -> Vec<DecodedFrame> {
        self.sequence.flush()
    }

    /// A picture's layer and header, and the bits behind them.
    pub(super) fn open<'a>(&self, unit: &Unit<'a>) -> Result<(VolHeader, VopHeader, BitReader<'a>), String> {
        let layer = self.layer.ok_or("a picture comes before the header that states its size")?;
        let mut bits = BitReader::new(unit.bytes);
        bits.skip_bits(32).map_err(|_| "a picture without a header")?;
        let header = parse_vop_header_body(&mut bits, layer.time_increment_resolution, VopContext::from_vol(&layer))
            .map_err(|error| format!("a picture's header is damaged: {error}"))?;
        Ok((layer, header, bits))
    }
}

fn motion_of(block: &PVopMbContent) -> Result<PvopMbMotion, String> {
    match block {
        PVopMbContent::Inter { motion, .. } => Ok(*motion),
        PVopMbContent::Intra(_) => Ok(PvopMbMotion::Intra),
        PVopMbContent::FieldInter { .. } => Err("a field where the header excludes them".to_owned()),
    }
}

/// Nothing but stuffing and zero bytes may lie behind the last macroblock, which ends at bit `at`.
fn check_end(picture: &[u8], at: usize) -> Result<(), String> {
    let end = picture.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1) * 8;
    match end.saturating_sub(at) {
        0..=STUFFING => Ok(()),
        left => Err(format!("a picture is damaged: {left} of its bits are left over")),
    }
}

/// The time of pictures (6.3.5), in ticks and whole seconds since some start.
#[derive(Debug, Default)]
struct Clock {
    /// Where the next anchor's seconds are counted from: the newest anchor.
    seconds: i64,
    /// Where a B-frame's are: the anchor shown before it.
    seconds_before: i64,
    /// Times of the newest anchor and of the one before it.
    newest: Option<i64>,
    past: Option<i64>,
}

impl Clock {
    fn anchor(&mut self, layer: &VolHeader, header: &VopHeader) {
        self.seconds_before = self.seconds;
        self.seconds += i64::from(header.modulo_time_base);
        self.past = self.newest;
        self.newest = Some(ticks(layer, self.seconds, header));
    }

    /// Ticks from the past anchor to a B-frame, and to the newest anchor; `None` where it is not
    /// between the two.
    fn between(&self, layer: &VolHeader, header: &VopHeader) -> Option<(i32, i32)> {
        let past = self.past?;
        let seconds = self.seconds_before + i64::from(header.modulo_time_base);
        let after_past = i32::try_from(ticks(layer, seconds, header) - past).ok()?;
        let between = i32::try_from(self.newest? - past).ok()?;
        (0 < after_past && after_past < between).then_some((after_past, between))
    }
}

fn ticks(layer: &VolHeader, seconds: i64, header: &VopHeader) -> i64 {
    seconds * i64::from(layer.time_increment_resolution.max(1)) + i64::from(header.time_increment)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 3 bytes of content, of which 17 bits were read: 7 are stuffing. With 15 read, 9 are left.
    #[test]
    fn leftover_bits_are_damage() {
        let picture = [0xFF, 0xFF, 0x7F, 0, 0];
        assert!(check_end(&picture, 17).is_ok() && check_end(&picture, 16).is_ok() && check_end(&picture, 40).is_ok());
        assert!(check_end(&picture, 15).unwrap_err().contains("9 of its bits"));
    }

    #[test]
    fn units_lie_between_start_codes() {
        let data = [9, 0, 0, 1, 0xB2, b'x', 0, 0, 0, 1, 0xB6, 7, 0, 0, 1];
        let found: Vec<_> = units(&data).map(|unit| (unit.code, unit.bytes.len(), unit.end)).collect();
        // 00 00 00 01 is a zero and a start code; the last three bytes name none.
        assert_eq!(found, [(0xB2, 6, 7), (0xB6, 8, 15)]);
        assert_eq!(units(&[0, 0, 1]).count(), 0);
    }
}
