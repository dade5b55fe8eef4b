use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, RgbImage};
use proptest::prelude::*;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::*;
use crate::picture::whole as all;

/// Restart markers after each two units, and Huffman codes made for the picture: 40×24 pixels.
const RESTART: &[u8] = include_bytes!("files/restart.jpg");

/// A picture of `[height, width, channels]` as a file.
fn file(pixels: &[u8], [height, width]: [usize; 2], quality: u8) -> Vec<u8> {
    let kind = if pixels.len() == height * width { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode(pixels, width as u32, height as u32, kind).unwrap();
    bytes
}

/// Waves, and noise for small codes and large ones.
fn picture([height, width]: [usize; 2], channels: usize, seed: u32) -> Vec<u8> {
    let value = |i: usize| {
        let (x, y) = ((i / channels % width) as f32, (i / channels / width) as f32);
        let noise = (i as u32 ^ seed).wrapping_mul(2_654_435_761) >> 25;
        let smooth = 90.0 + 60.0 * (0.11 * x + 0.07 * y + (i % channels) as f32).sin();
        if (x as u32 / 24 + y as u32 / 24 + seed % 9).is_multiple_of(3) {
            smooth as u8 + noise as u8 % 64
        } else {
            smooth as u8
        }
    };
    (0..height * width * channels).map(value).collect()
}

/// What the general decoder makes of a file.
fn general(file: &[u8], colours: Colours) -> Result<Vec<u8>, String> {
    let out = if colours == Colours::Grey { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = DecoderOptions::default().set_strict_mode(false).jpeg_set_out_colorspace(out);
    JpegDecoder::new_with_options(ZCursor::new(file), options).decode().map_err(|error| error.to_string())
}

fn whole(file: &[u8], colours: Colours) -> Option<([usize; 2], Vec<u8>)> {
    let mut pixels = vec![7; 99];
    let (size, window) = JpegReader::default().decode(file, 8192, colours, all, &mut pixels)?;
    assert_eq!(window, all(size));
    Some((size, pixels))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn pixels_are_the_general_decoders(
        height in 1usize..70, width in 1usize..70, grey: bool, quality in 1u8..=100, seed: u32,
    ) {
        let file = file(&picture([height, width], if grey { 1 } else { 3 }, seed), [height, width], quality);
        let expected = general(&file, Colours::Rgb).unwrap();
        prop_assert_eq!(whole(&file, Colours::Rgb), Some(([height, width], expected)));
        if grey {
            let expected = general(&file, Colours::Grey).unwrap();
            prop_assert_eq!(whole(&file, Colours::Grey), Some(([height, width], expected)));
        }
    }

    #[test]
    fn a_window_is_cut_out_of_the_whole(
        top in 0usize..50, left in 0usize..50, rows in 1usize..30, columns in 1usize..30, grey: bool,
    ) {
        let (size, channels) = ([80, 80], if grey { 1 } else { 3 });
        let colours = if grey { Colours::Grey } else { Colours::Rgb };
        let file = file(&picture(size, channels, 5), size, 90);
        let (_, all) = whole(&file, colours).unwrap();
        let window = Crop { x: left, y: top, width: columns, height: rows };
        let mut pixels = Vec::new();
        let decoded = JpegReader::default().decode(&file, 8192, colours, |_| window, &mut pixels);
        prop_assert_eq!(decoded, Some((size, window)));
        let expected = all.chunks(80 * channels).skip(top).take(rows);
        let expected: Vec<u8> = expected.flat_map(|row| &row[left * channels..][..columns * channels]).copied().collect();
        prop_assert_eq!(pixels, expected);
    }

    // What is taken is decoded as ever; and nothing panics.
    #[test]
    fn damage_is_left_to_the_general_decoder(
        changes in prop::collection::vec((0usize..4000, any::<u8>()), 1..4), cut in 0usize..8000, kind in 0..3,
    ) {
        let halved = include_bytes!("files/halved-restart.jpg");
        let mut file = match kind {
            0 => RESTART.to_vec(),
            1 => halved.to_vec(),
            _ => file(&picture([40, 48], 3, 1), [40, 48], 85),
        };
        for (place, value) in changes {
            let length = file.len();
            file[place % length] = value;
        }
        file.truncate(cut.max(1));
        if let Some((_, pixels)) = whole(&file, Colours::Rgb) {
            let expected = general(&file, Colours::Rgb);
            prop_assert!(expected == Ok(pixels), "{:?}", expected.err());
        }
    }

    // Coefficients of any size, with factors as large as there are.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn vectors_are_the_same_for_every_processor(
        block in prop::array::uniform32(any::<i16>()), factors in prop::array::uniform32(0i32..256), coded in 0u8..=64,
    ) {
        if !std::arch::is_x86_feature_detected!("avx2") {
            return Ok(());
        }
        let mut blocks = [0; 64];
        for (k, value) in block.iter().chain(&block).enumerate().take(usize::from(coded)) {
            blocks[usize::from(header::ZIGZAG[k])] = *value;
        }
        let factors: [i32; 64] = std::array::from_fn(|k| factors[k % 32]);
        let portable = transform::pixels::<lanes::Portable>(&blocks, &factors, coded);
        prop_assert_eq!(portable, transform::pixels::<lanes::avx2::Avx2>(&blocks, &factors, coded));
    }
}

/// Readers keep tables and buffers: files of other codes, sizes and kinds one after the other.
#[test]
fn a_reader_is_used_again() {
    let mut reader = JpegReader::default();
    let colour = file(&picture([50, 60], 3, 2), [50, 60], 95);
    let grey = file(&picture([9, 8], 1, 3), [9, 8], 40);
    for file in [&colour[..], &grey, RESTART, &colour] {
        let mut pixels = Vec::new();
        reader.decode(file, 8192, Colours::Rgb, all, &mut pixels).unwrap();
        assert_eq!(pixels, general(file, Colours::Rgb).unwrap());
    }
    assert!(reader.kept_bytes() > 0);
}

#[test]
fn restart_markers_begin_anew() {
    let (size, pixels) = whole(RESTART, Colours::Rgb).unwrap();
    assert_eq!((size, &pixels), ([24, 40], &general(RESTART, Colours::Rgb).unwrap()));
    // And with the markers at another distance than they say.
    let place = RESTART.windows(4).position(|bytes| bytes == [0xff, 0xdd, 0, 4]).unwrap();
    let mut wrong = RESTART.to_vec();
    wrong[place + 5] = 3;
    assert_eq!(whole(&wrong, Colours::Rgb), None);
}

#[test]
fn other_kinds_are_not_taken() {
    let colour = file(&picture([16, 16], 3, 2), [16, 16], 80);
    assert!(whole(&colour, Colours::Rgb).is_some());
    // Colours of three components as grey, chroma of other sizes, progressive files, and sides above the limit.
    assert_eq!(whole(&colour, Colours::Grey), None);
    assert_eq!(whole(include_bytes!("files/tall.jpg"), Colours::Rgb), None);
    assert_eq!(whole(include_bytes!("files/quarter.jpg"), Colours::Rgb), None);
    assert_eq!(whole(include_bytes!("files/progressive.jpg"), Colours::Rgb), None);
    assert_eq!(JpegReader::default().decode(&colour, 15, Colours::Rgb, all, &mut Vec::new()), None);
    // Cut off anywhere.
    for end in 0..colour.len() {
        assert_eq!(whole(&colour[..end], Colours::Rgb), None, "{end}");
    }
    let png = RgbImage::new(4, 4).into_raw();
    assert_eq!(whole(&png, Colours::Rgb), None);
}

/// Chroma in half of luma's width, and of both sides: all of it, and every window of a size that has neighbours.
#[test]
fn chroma_may_be_halved() {
    let files: [(&[u8], [usize; 2]); 4] = [
        (include_bytes!("files/halved.jpg"), [51, 35]),
        (include_bytes!("files/halved-small.jpg"), [9, 5]),
        (include_bytes!("files/halved-restart.jpg"), [40, 70]),
        (include_bytes!("files/wide.jpg"), [29, 43]),
    ];
    let mut reader = JpegReader::default();
    for (file, size) in files {
        let expected = general(file, Colours::Rgb).unwrap();
        assert_eq!(whole(file, Colours::Rgb), Some((size, expected.clone())));
        for top in 0..size[0] {
            for left in 0..size[1] {
                let window = Crop { x: left, y: top, width: 6.min(size[1] - left), height: 5.min(size[0] - top) };
                let mut pixels = Vec::new();
                let decoded = reader.decode(file, 8192, Colours::Rgb, |_| window, &mut pixels);
                assert_eq!(decoded, Some((size, window)));
                let rows = expected.chunks(3 * size[1]).skip(top).take(window.height);
                let cut = rows.flat_map(|row| &row[3 * left..][..3 * window.width]);
                assert!(cut.eq(&pixels), "{size:?} {window:?}");
            }
        }
    }
}

// Three parts of one and one of the next: (3 · 10 + 20 + 2) / 4 = 13, (3 · 20 + 10 + 2) / 4 = 18.
#[test]
fn chroma_is_widened_by_hand() {
    let (mut wide, mut row) = (Vec::new(), Vec::new());
    colour::widened(&[10, 20, 40], &mut wide);
    assert_eq!(wide, [10, 13, 18, 25, 35, 40]);
    colour::between(&[10, 20], &[20, 10], &mut row);
    assert_eq!(row, [13, 18]);
}

// T.81, figure A.6: the first ten places and the last four.
#[test]
fn coefficients_go_in_a_zigzag() {
    assert_eq!(header::ZIGZAG[..10], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]);
    assert_eq!(header::ZIGZAG[60..64], [47, 55, 62, 63]);
}
