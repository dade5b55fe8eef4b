//! JPEG and PNG files.

#![no_main]

use gru_rcn_data::DecodeLimits;
use gru_rcn_data::image::read_image;
use gru_rcn_fuzz::put;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // More pixels take longer and nothing else.
    let limits = DecodeLimits { max_pixels: 1 << 18, ..DecodeLimits::default() };
    if let Ok(frames) = read_image(&put("image", bytes), &limits) {
        assert_eq!(frames.data.len(), frames.height * frames.width * 3);
    }
});
