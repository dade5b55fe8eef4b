//! The decoder against FFmpeg: the same number of frames, and each of them as near as the rounding
//! of two inverse cosine transforms lets it be. Films are made by FFmpeg when the tests run; the
//! clips of UCF-101 are looked for under `GRU_RCN_TEST_DATA`.
//!
//! The bounds are on differences of values 0–255 within one frame, each about twice what was
//! measured with FFmpeg 5.1; `cargo test -- --nocapture` prints what it is. A frame in the wrong
//! place or a wrong vector is far outside of them.

use std::path::Path;
use std::process::Command;

use super::colour::to_rgb;
use super::*;
use crate::base::Frames;
use crate::testing::{make_with, say, temporary, ucf101_clips};
use crate::video::Ffmpeg;

/// Largest and mean absolute differences of a film's worst frame: of luma, of chroma, of RGB, and
/// of the conversion to RGB alone (FFmpeg's planes, converted here and there).
type Apart = [(u8, f64); 4];

/// Generated films are harder than photographs: saturated colours side by side, and areas that
/// never change, where a difference of one stays for a hundred frames.
const GENERATED: Apart = [(8, 0.9), (8, 255.0), (16, 0.8), (12, 255.0)];
const UCF101: Apart = [(10, 0.3), (6, 255.0), (14, 0.4), (3, 255.0)];

fn differences(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let all = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (all().max().unwrap(), all().map(f64::from).sum::<f64>() / a.len() as f64)
}

/// The planes of every frame by FFmpeg, one after the other.
fn planes_of_ffmpeg(path: &Path) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-threads", "1", "-i"])
        .arg(path)
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"])
        .output()
        .expect("these tests need FFmpeg: apt install ffmpeg");
    assert!(output.status.success());
    output.stdout
}

/// Height and width, and the planes of every frame, cut to size and one after the other.
fn planes(path: &Path) -> (usize, usize, Vec<u8>) {
    let mut session = Session::open(path, SizeRule::Source, DecodeLimits::default()).unwrap();
    let (mut out, mut size) = (Vec::new(), [0, 0]);
    while let Some(frame) = session.next_picture().unwrap() {
        size = session.size.unwrap();
        let [height, width] = size;
        let luma = (frame.luma_samples(), frame.width(), height, width);
        let chroma = |plane| (plane, frame.width() / 2, height.div_ceil(2), width.div_ceil(2));
        for (plane, stride, rows, columns) in [luma, chroma(frame.cb_samples()), chroma(frame.cr_samples())] {
            out.extend(plane.chunks(stride).take(rows).flat_map(|row| &row[..columns]));
        }
    }
    (size[0], size[1], out)
}

fn decode(path: &Path) -> Result<Frames, DataError> {
    PureDecoder::default().decode(path, SizeRule::Source)
}

/// Compares a film's every frame; none is further apart than `most`.
fn compare(path: &Path, most: Apart) {
    let ffmpeg = Ffmpeg::locate().expect("these tests need FFmpeg: apt install ffmpeg");
    let name = path.display();
    let reference = ffmpeg.decode(path, SizeRule::Source).unwrap();
    let clip = decode(path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(clip.time, reference.time, "{name}: frames");
    assert_eq!((clip.height, clip.width), (reference.height, reference.width), "{name}: size");
    let (height, width, planes) = planes(path);
    let of_ffmpeg = planes_of_ffmpeg(path);
    let luma = height * width;
    let frame = luma + 2 * height.div_ceil(2) * width.div_ceil(2);
    assert_eq!((planes.len(), of_ffmpeg.len()), (clip.time * frame, clip.time * frame), "{name}: planes");
    let mut worst = Apart::default();
    for t in 0..clip.time {
        let (a, b) = (&planes[t * frame..][..frame], &of_ffmpeg[t * frame..][..frame]);
        let (cb, cr) = b[luma..].split_at((frame - luma) / 2);
        let converted = to_rgb([&b[..luma], cb, cr], [width, width.div_ceil(2)], [height, width]);
        let found = [
            differences(&a[..luma], &b[..luma]),
            differences(&a[luma..], &b[luma..]),
            differences(clip.frame(t), reference.frame(t)),
            differences(&converted, reference.frame(t)),
        ];
        worst = std::array::from_fn(|i| (worst[i].0.max(found[i].0), worst[i].1.max(found[i].1)));
    }
    println!("{name}: {} frames of {width}x{height}, {worst:?}", clip.time);
    assert!(worst.iter().zip(&most).all(|(found, most)| found.0 <= most.0 && found.1 <= most.1), "{name}: {worst:?}");
}

fn has_xvid() -> bool {
    let output = Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).output();
    let output = output.expect("these tests need FFmpeg: apt install ffmpeg");
    let found = String::from_utf8_lossy(&output.stdout).contains("libxvid");
    if !found {
        say("SKIPPED: this FFmpeg has no libxvid, so the films of XviD are not made");
    }
    found
}

const SMOOTH: &str = "testsrc=size=160x112:rate=10";
const BUSY: &str = "testsrc2=size=176x144:rate=25";
/// A zooming fractal: motion and fine texture everywhere.
const DEEP: &str = "mandelbrot=size=160x112:rate=25";

#[test]
fn films_of_ffmpeg_are_decoded_alike() {
    let folder = temporary();
    for (name, source, extra) in [
        ("plain.avi", SMOOTH, &["-c:v", "mpeg4", "-q:v", "4"][..]),
        ("b-frames.avi", SMOOTH, &["-c:v", "mpeg4", "-bf", "2", "-q:v", "4"]),
        ("deep.avi", DEEP, &["-c:v", "mpeg4", "-bf", "2", "-q:v", "3", "-mbd", "rd", "-flags", "+mv4+aic"]),
        ("busy.avi", BUSY, &["-c:v", "mpeg4", "-bf", "3", "-q:v", "6", "-vtag", "XVID", "-g", "100"]),
        ("quarter.avi", DEEP, &["-c:v", "mpeg4", "-bf", "2", "-q:v", "3", "-flags", "+qpel+mv4"]),
        ("matrix.avi", DEEP, &["-c:v", "mpeg4", "-bf", "2", "-q:v", "3", "-mpeg_quant", "1"]),
        ("slices.avi", DEEP, &["-c:v", "mpeg4", "-bf", "2", "-q:v", "3", "-ps", "300"]),
        // Frames repeated by time: the container gets empty chunks, which are no frames.
        ("uneven.avi", SMOOTH, &["-vf", "select='not(mod(n,3))'", "-fps_mode", "vfr", "-c:v", "mpeg4", "-bf", "2"]),
        // Sides that are not whole macroblocks.
        ("small.avi", "testsrc2=size=50x38:rate=25", &["-c:v", "mpeg4", "-bf", "2", "-q:v", "3"]),
        ("odd.avi", "testsrc=size=51x37:rate=10", &["-c:v", "mpeg4", "-bf", "2", "-q:v", "3"]),
    ] {
        compare(&make_with(folder.path(), name, source, 60, extra), GENERATED);
    }
}

#[test]
fn films_of_xvid_are_decoded_alike() {
    if !has_xvid() {
        return;
    }
    let folder = temporary();
    for (name, source, extra) in [
        ("plain.avi", DEEP, &["-c:v", "libxvid", "-q:v", "3"][..]),
        // Two pictures in one chunk, as in UCF-101; 59, 60 and 61 frames, for the last chunks are
        // the difficult ones.
        ("packed.avi", DEEP, &["-c:v", "libxvid", "-bf", "2", "-q:v", "3"]),
        ("packed1.avi", SMOOTH, &["-c:v", "libxvid", "-bf", "1", "-q:v", "3", "-frames:v", "59"]),
        ("packed2.avi", SMOOTH, &["-c:v", "libxvid", "-bf", "2", "-q:v", "3", "-frames:v", "61"]),
        ("packed3.avi", BUSY, &["-c:v", "libxvid", "-bf", "3", "-q:v", "3", "-frames:v", "58"]),
        ("quarter.avi", DEEP, &["-c:v", "libxvid", "-bf", "2", "-q:v", "3", "-flags", "+qpel+mv4"]),
        ("matrix.avi", DEEP, &["-c:v", "libxvid", "-bf", "2", "-q:v", "3", "-mpeg_quant", "1"]),
        ("small.avi", "testsrc2=size=50x38:rate=25", &["-c:v", "libxvid", "-bf", "2", "-q:v", "3"]),
    ] {
        compare(&make_with(folder.path(), name, source, 60, extra), GENERATED);
    }
    // Written again by FFmpeg, without decoding.
    let packed = folder.path().join("packed.avi");
    for (name, extra) in [("unpacked.avi", ["-bsf:v", "mpeg4_unpack_bframes"]), ("copied.avi", ["-vtag", "DX50"])] {
        let target = folder.path().join(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-y", "-v", "error", "-i"]).arg(&packed).args(["-c:v", "copy"]).args(extra);
        assert!(command.arg(&target).status().unwrap().success());
        compare(&target, GENERATED);
    }
}

/// Makes the picture of the `nth` chunk one without content. Its header at 10 ticks a second: 2
/// bits of kind, the seconds in unary, a marker, 4 bits of time, a marker, and the bit that says
/// whether there is content.
fn empty(path: &Path, nth: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let chunk = super::tests::chunk(&bytes, nth);
    let header = chunk + bytes[chunk..].windows(4).position(|four| four == [0, 0, 1, 0xB6]).unwrap() + 4;
    let bit = |bytes: &[u8], at: usize| bytes[header + at / 8] >> (7 - at % 8) & 1;
    let seconds = (2..).find(|&at| bit(&bytes, at) == 0).unwrap();
    let coded = seconds + 1 + 1 + 4 + 1;
    assert_eq!(bit(&bytes, coded), 1);
    bytes[header + coded / 8] ^= 0x80 >> (coded % 8);
    std::fs::write(path, bytes).unwrap();
}

// After a picture without content, others still refer to the picture before it.
#[test]
fn pictures_without_content_are_no_frames() {
    let folder = temporary();
    let b_frames = ["-c:v", "mpeg4", "-bf", "2", "-b_strategy", "0"];
    for (name, extra, chunk) in [("plain.avi", &["-c:v", "mpeg4"][..], 5), ("between.avi", &b_frames, 5)] {
        let path = make_with(folder.path(), name, SMOOTH, 24, extra);
        empty(&path, chunk);
        compare(&path, GENERATED);
        assert_eq!(decode(&path).unwrap().time, 23, "{name}");
    }
    // Stored as I P B B P B B …: the B-frames around an emptied anchor were coded with its vectors,
    // and do not fit any more.
    let path = make_with(folder.path(), "anchor.avi", SMOOTH, 24, &b_frames);
    empty(&path, 4);
    assert!(matches!(decode(&path), Err(DataError::BrokenVideo { .. })));
}

// A stream that packs its pictures and does not say so: FFmpeg shows the first of each chunk. One
// that lacks a placeholder leaves no place for a frame that others need.
#[test]
fn packed_films_with_faults_follow_ffmpeg_or_are_refused() {
    if !has_xvid() {
        return;
    }
    let folder = temporary();
    let path = make_with(folder.path(), "packed.avi", DEEP, 40, &["-c:v", "libxvid", "-bf", "2", "-q:v", "3"]);
    let whole = std::fs::read(&path).unwrap();
    let mark = whole.windows(6).position(|six| six == b"DivX50").unwrap();
    let mut silent = whole.clone();
    let end = mark + silent[mark..].iter().position(|&byte| byte == b'p').unwrap();
    silent[end] = b'n';
    std::fs::write(&path, silent).unwrap();
    compare(&path, GENERATED);
    let mut lacking = whole.clone();
    let small =
        |at: &usize| &whole[*at..*at + 4] == b"00dc" && (5..20).contains(&whole[*at + 4]) && whole[*at + 5] == 0;
    // Placeholders have 6 bytes; the empty chunks at the start are the frames that XviD waits for.
    let placeholder = (0..whole.len() - 8).filter(small).nth(4).unwrap();
    lacking[placeholder..placeholder + 4].copy_from_slice(b"JUNK");
    std::fs::write(&path, lacking).unwrap();
    let error = decode(&path).unwrap_err();
    assert!(matches!(error, DataError::BrokenVideo { .. }) && error.to_string().contains("no place"), "{error}");
}

#[test]
fn clips_of_ucf101_are_decoded_alike() {
    ucf101_clips().iter().for_each(|path| compare(path, UCF101));
}

#[test]
fn clips_of_ucf101_are_alike_at_another_size() {
    let size = SizeRule::ShortSide { pixels: 128 };
    // One of each class.
    for path in ucf101_clips().iter().step_by(5) {
        let clip = PureDecoder::default().decode(path, size).unwrap();
        let reference = Ffmpeg::locate().unwrap().decode(path, size).unwrap();
        let (max, mean) = differences(&clip.data, &reference.data);
        println!("{}: {}x{}, max {max}, mean {mean}", path.display(), clip.width, clip.height);
        assert!(max <= 48 && mean <= 0.7, "{}: {max} {mean}", path.display());
    }
}
