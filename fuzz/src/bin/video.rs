//! Videos through FFmpeg, and any output of FFmpeg. A first byte of 0xff stands for the latter: the
//! log, another such byte, and the pictures.

#![no_main]

use gru_rcn_data::{DecodeLimits, Ffmpeg, SizeRule, VideoDecoder, fuzzing};
use gru_rcn_fuzz::{parts, put};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = DecodeLimits { max_pixels: 1 << 18, ..DecodeLimits::default() };
    match bytes {
        [0xff, output @ ..] => {
            let [log, pictures] = parts(output);
            fuzzing::ffmpeg_output(log, pictures, &limits);
        }
        file => {
            let ffmpeg = Ffmpeg::locate().expect("FFmpeg is installed").with_limits(limits);
            let _ = ffmpeg.decode_with_rate(&put("video", file), SizeRule::ShortSide { pixels: 16 });
        }
    }
});
