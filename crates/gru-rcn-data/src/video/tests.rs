//! Tests of the decoder, with clips that FFmpeg makes.

use std::process::Command;

use super::*;
use crate::testing::{make_video, make_with, put, refused, temporary, ucf101_clips};

fn ffmpeg() -> Ffmpeg {
    Ffmpeg::locate().expect("these tests need FFmpeg: apt install ffmpeg")
}

/// The number of frames according to ffprobe.
fn reference_count(path: &Path) -> usize {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("these tests need ffprobe, which comes with FFmpeg");
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().expect("a number from ffprobe")
}

#[test]
fn every_frame_comes_once() {
    let folder = temporary();
    for (name, extra) in [
        ("b-frames.avi", &["-c:v", "mpeg4", "-bf", "2"][..]),
        ("plain.mp4", &["-c:v", "mpeg4"]),
        // Frames at uneven times: a constant-rate output would double some of them.
        ("uneven.mkv", &["-vf", "select='not(mod(n,3))'", "-fps_mode", "vfr", "-c:v", "mpeg4"]),
    ] {
        let path = make_with(folder.path(), name, "testsrc=size=96x64:rate=10", 24, extra);
        let clip = ffmpeg().decode(&path, SizeRule::Source).unwrap();
        assert_eq!(clip.time, reference_count(&path), "{name}");
        assert_eq!((clip.height, clip.width, clip.channels), (64, 96, 3));
    }
}

// XviD packs two frames into one packet, so different decoders count UCF-101's files differently.
#[test]
fn ucf101_counts_are_those_of_decoding() {
    for path in ucf101_clips() {
        let (clip, name) = (ffmpeg().decode(&path, SizeRule::ShortSide { pixels: 64 }).unwrap(), path.display());
        assert_eq!(clip.time, reference_count(&path), "{name}");
        assert_eq!((clip.height, clip.width), (64, 85), "{name}");
    }
}

// A red film stays red: (254, 0, 0) up to the rounding of YUV.
#[test]
fn colours_are_rgb() {
    let folder = temporary();
    let path = make_video(folder.path(), "red.mp4", "color=c=red:size=32x32:rate=5", 3);
    let clip = ffmpeg().decode(&path, SizeRule::Exact { height: 8, width: 8 }).unwrap();
    let pixel = &clip.frame(2)[..3];
    assert!(pixel[0] > 245 && pixel[1] < 10 && pixel[2] < 10, "{pixel:?}");
}

// 96×64 with a short side of 32: 48×32. Its transpose: 32×48. 50×20 with 7: 17.5 -> 18.
#[test]
fn frames_are_scaled_by_the_size_rule() {
    let folder = temporary();
    for (source, rule, expected) in [
        ("96x64", SizeRule::ShortSide { pixels: 32 }, [32, 48]),
        ("64x96", SizeRule::ShortSide { pixels: 32 }, [48, 32]),
        ("50x20", SizeRule::ShortSide { pixels: 7 }, [7, 18]),
        ("96x64", SizeRule::Exact { height: 11, width: 13 }, [11, 13]),
    ] {
        let film = make_video(folder.path(), "clip.mp4", &format!("testsrc=size={source}:rate=10"), 2);
        let clip = ffmpeg().decode(&film, rule).unwrap();
        assert_eq!([clip.height, clip.width], expected);
    }
    assert_eq!(SizeRule::ShortSide { pixels: 7 }.of(20, 50), [7, 18]);
}

// Pixels twice as wide as high are read one by one, as they are stored.
#[test]
fn pixels_that_are_not_square_are_not_stretched() {
    let folder = temporary();
    let wide = ["-vf", "setsar=2", "-c:v", "mpeg4"];
    let film = make_with(folder.path(), "wide.mp4", "testsrc=size=96x64:rate=10", 2, &wide);
    for (rule, expected) in [(SizeRule::Source, [64, 96]), (SizeRule::ShortSide { pixels: 32 }, [32, 48])] {
        let clip = ffmpeg().decode(&film, rule).unwrap();
        assert_eq!([clip.height, clip.width], expected);
    }
}

// In one pass where the whole film fits, and in two where it does not.
#[test]
fn selected_frames_equal_those_of_the_whole() {
    let folder = temporary();
    let extra = ["-c:v", "mpeg4", "-bf", "2"];
    let path = make_with(folder.path(), "clip.avi", "testsrc=size=96x64:rate=10", 12, &extra);
    let size = SizeRule::ShortSide { pixels: 96 };
    // Eleven of the twelve frames would fit.
    let tight = DecodeLimits { max_bytes: 96 * 144 * 3 * 11, ..DecodeLimits::default() };
    let whole = ffmpeg().decode(&path, size).unwrap();
    for decoder in [ffmpeg(), ffmpeg().with_limits(tight)] {
        let mut asked = (0, None);
        let mut select = |n, rate| {
            asked = (n, rate);
            vec![7, 2, 2]
        };
        let (some, total) = decoder.decode_selected(&path, size, &mut select).unwrap();
        assert_eq!((asked, total, some.time, whole.height, whole.width), ((12, Some(10.0)), 12, 3, 96, 144));
        assert_eq!([0, 1, 2].map(|t| some.frame(t)), [7, 2, 2].map(|t| whole.frame(t)));
        assert!(decoder.decode_selected(&path, size, &mut |n, _| vec![n]).is_err());
        assert!(decoder.decode_selected(&path, size, &mut |_, _| vec![]).is_err());
    }
}

#[test]
fn limits_hold() {
    let folder = temporary();
    let path = make_video(folder.path(), "clip.avi", "testsrc=size=64x32:rate=10", 10);
    let default = DecodeLimits::default();
    for (limits, words) in [
        (DecodeLimits { max_frames: 9, ..default }, "`max_frames` of 9"),
        (DecodeLimits { max_bytes: 64 * 32 * 3 * 10 - 1, ..default }, "`max_bytes`"),
        (DecodeLimits { max_side: 63, ..default }, "`max_side` of 63"),
        (DecodeLimits { max_pixels: 64 * 32 - 1, ..default }, "`max_pixels` of 2047"),
        (DecodeLimits { timeout: Duration::ZERO, ..default }, "`timeout`"),
    ] {
        refused(ffmpeg().with_limits(limits).decode(&path, SizeRule::Source), &[words]);
    }
    let zero = ffmpeg().decode(&path, SizeRule::ShortSide { pixels: 0 });
    assert!(matches!(zero, Err(DataError::Setting { .. })));
}

// 8 000 × 8 000 pixels of one colour, a file of some kilobytes: FFmpeg itself refuses them.
#[test]
fn large_pictures_are_refused_before_they_are_decoded() {
    let folder = temporary();
    let path = make_with(folder.path(), "large.mp4", "color=gray:size=8000x8000", 1, &["-c:v", "mjpeg", "-q:v", "31"]);
    refused(ffmpeg().decode(&path, SizeRule::Source), &["large.mp4", "`max_pixels` of 33554432"]);
}

#[test]
fn names_are_never_options_or_commands() {
    let folder = temporary();
    for name in ["-i clip.avi", "a'b \"c\" $(touch x);%03d.avi", "http:__x.avi"] {
        let path = make_video(folder.path(), name, "testsrc=size=32x32:rate=5", 2);
        assert_eq!(ffmpeg().decode(&path, SizeRule::Source).unwrap().time, 2, "{name}");
    }
    assert!(!folder.path().join("x").exists() && !Path::new("x").exists());
}

#[test]
fn each_bad_file_has_its_own_error() {
    let folder = temporary();
    let at = |name: &str| folder.path().join(name);
    put(folder.path(), "empty.avi", "");
    put(folder.path(), "text.avi", "this is no film\n".repeat(50));
    put(folder.path(), "list.mp4", "#EXTM3U\n#EXTINF:1,\nclip.avi\n");
    let decode = |path: &Path| ffmpeg().decode(path, SizeRule::Source).unwrap_err();
    assert!(matches!(decode(&at("none.avi")), DataError::NotFound(_)));
    assert!(matches!(decode(folder.path()), DataError::IsDirectory(_)));
    assert!(matches!(decode(&at("empty.avi")), DataError::EmptyFile(_)));
    assert!(matches!(decode(&at("list.mp4")), DataError::NotVideo { .. }));
    let error = decode(&at("text.avi"));
    assert!(matches!(&error, DataError::NotVideo { words, .. } if words.contains("Invalid data")), "{error}");
    assert!(!error.to_string().contains(" @ 0x"), "{error}");
    assert!(error.to_string().contains("text.avi"));
    let sound = make_with(folder.path(), "sound.mp4", "sine", 1, &["-t", "1"]);
    assert!(matches!(decode(&sound), DataError::NoVideoStream(_)), "{}", decode(&sound));
    assert_eq!(decode(&sound).to_string(), format!("{}: it holds no video stream; remove the clip", sound.display()));
    let cover = ["-map", "0", "-c:v", "png", "-disposition:v", "attached_pic", "-t", "1"];
    let cover = make_with(folder.path(), "cover.m4v", "sine=d=1[out0];color=red:size=32x32:d=1[out1]", 1, &cover);
    assert!(matches!(decode(&cover), DataError::NoVideoStream(_)), "{}", decode(&cover));
}

/// Frames, rate and warnings of a file that is read to its end.
fn inspect(path: &Path) -> (Vec<VideoFrame>, Option<f64>, String) {
    let mut frames = ffmpeg().open(path, [2, 2].into()).unwrap();
    let all = frames.by_ref().map(Result::unwrap).collect();
    assert!(frames.next().is_none());
    (all, frames.rate(), frames.warnings().to_owned())
}

#[test]
fn damage_is_a_warning() {
    let folder = temporary();
    let path = make_video(folder.path(), "clip.avi", "testsrc=size=96x64:rate=10", 20);
    let (frames, _, warnings) = inspect(&path);
    assert_eq!((frames.len(), warnings.as_str()), (20, ""));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 400].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let (frames, _, warnings) = inspect(&path);
    assert!(frames.len() > 5 && !warnings.is_empty() && !warnings.contains(" @ 0x"), "{} {warnings}", frames.len());
}

// Every third frame of ten a second: times are 0.3 s apart, whatever the rate says.
#[test]
fn frames_have_the_times_of_the_stream() {
    let folder = temporary();
    let even = make_video(folder.path(), "even.avi", "testsrc=size=32x32:rate=30000/1001", 5);
    let extra = ["-vf", "select='not(mod(n,3))'", "-fps_mode", "vfr", "-c:v", "mpeg4"];
    let uneven = make_with(folder.path(), "uneven.mkv", "testsrc=size=32x32:rate=10", 24, &extra);
    for (path, stated, apart) in [(even, 29.97, 1001.0 / 30_000.0), (uneven, 10.0, 0.3)] {
        let (frames, rate, warnings) = inspect(&path);
        assert!((rate.unwrap() - stated).abs() < 0.01 && warnings.is_empty(), "{rate:?} {warnings}");
        for (t, frame) in frames.iter().enumerate() {
            let time = frame.time.unwrap();
            assert!((time - t as f64 * apart).abs() < 1e-9, "{}: frame {t} at {time}", path.display());
        }
    }
}

// Frames come one by one, so a film may be larger than `max_bytes`. The caller's own time does not count
// as decoding time.
#[test]
fn frames_are_not_held() {
    let folder = temporary();
    let path = make_video(folder.path(), "clip.avi", "testsrc=size=64x32:rate=10", 10);
    let limits = DecodeLimits { max_bytes: 1, timeout: Duration::from_secs(2), ..DecodeLimits::default() };
    let decoder = ffmpeg().with_limits(limits);
    let mut frames = decoder.open(&path, SizeRule::Source).unwrap();
    frames.next().unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(frames.map(Result::unwrap).count(), 9);
}

#[test]
fn a_missing_program_says_how_to_install_it() {
    refused(Ffmpeg::at(Path::new("/nonexistent/ffmpeg")), &["apt install ffmpeg", "/nonexistent/ffmpeg"]);
    assert!(Ffmpeg::at(Path::new("true")).unwrap_err().to_string().contains("-version"));
    assert!(!ffmpeg().id().version.is_empty());
}

/// A script in place of FFmpeg, with its commands for `-version` and for a clip.
#[cfg(unix)]
fn stand_in(folder: &Path, version: &str, clip: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = folder.join("stand-in");
    put(folder, "stand-in", format!("#!/bin/sh\ncase \"$*\" in *-version*) {version};; *) {clip};; esac\n"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[cfg(unix)]
#[test]
fn a_hanging_program_is_stopped() {
    let folder = temporary();
    let program = stand_in(folder.path(), "echo ffmpeg version N-1", "exec sleep 60");
    let clip = folder.path().join("clip.avi");
    put(folder.path(), "clip.avi", "x");
    let limits = DecodeLimits { timeout: Duration::from_millis(200), ..DecodeLimits::default() };
    let start = std::time::Instant::now();
    let error = Ffmpeg::at(&program).unwrap().with_limits(limits).decode(&clip, SizeRule::Source).unwrap_err();
    assert!(matches!(error, DataError::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

// One that never answers, one that answers and does not end, one that never ends its answer.
#[cfg(unix)]
#[test]
fn a_program_that_does_not_state_its_version_is_stopped() {
    let folder = temporary();
    for version in ["exec sleep 600", "echo ffmpeg version 6.0; exec >&-; exec sleep 600"] {
        let program = stand_in(folder.path(), version, "exit 0");
        let start = std::time::Instant::now();
        refused(Ffmpeg::ask(&program, Duration::from_millis(300)), &["stand-in", "did not answer `-version`"]);
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    let endless = stand_in(folder.path(), "exec yes", "exit 0");
    refused(Ffmpeg::at(&endless), &["`-version` answered `y`"]);
}

#[cfg(unix)]
#[test]
fn an_old_program_is_named_once() {
    let folder = temporary();
    let program = stand_in(folder.path(), "echo ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright", "exit 1");
    refused(Ffmpeg::at(&program), &["stand-in", "FFmpeg 4.4.2-0ubuntu0.22.04.1", "5.1 or newer", "GRU_RCN_FFMPEG"]);
    // An old version without a number is recognised by its message on the command line.
    let words = "echo \"[error] Unrecognized option 'fps_mode'.\" >&2
        echo '[fatal] Error splitting the argument list: Option not found' >&2; exit 1";
    let program = Ffmpeg::at(&stand_in(folder.path(), "echo ffmpeg version N-9-g12", words)).unwrap();
    put(folder.path(), "clip.avi", "x");
    let error = program.decode(&folder.path().join("clip.avi"), SizeRule::Source);
    assert!(matches!(error, Err(DataError::FfmpegMissing { .. })));
    refused(error, &["stand-in", "'fps_mode'", "5.1 or newer"]);
}

// Earlier versions wrote the decoder into recipes, and had a second one.
#[test]
fn a_key_of_another_decoder_says_that_ffmpeg_is_needed() {
    let read = |name: &str| serde_json::from_str::<crate::FolderOptions>(&format!("{{\"decoder\":\"{name}\"}}"));
    assert!(!serde_json::to_string(&read("ffmpeg").unwrap()).unwrap().contains("decoder"));
    let error = read("pure").unwrap_err().to_string();
    assert!(error.contains("`pure`") && error.contains("FFmpeg alone, which has to be installed"), "{error}");
}

// A film that FFmpeg draws while it is read stands in for a camera.
#[test]
fn streams_are_files_of_any_length_and_devices() {
    let folder = temporary();
    let path = make_video(folder.path(), "clip.avi", "testsrc=size=48x32:rate=10", 12);
    let few = ffmpeg().with_limits(DecodeLimits { max_frames: 5, ..DecodeLimits::default() });
    let read =
        |input: StreamInput| few.stream(&input, [32, 48].into()).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let file = read(StreamInput::File(path));
    let device = |name: &str| StreamInput::Device { kind: "lavfi".into(), name: name.into() };
    let drawn = read(device("testsrc=size=48x32:rate=10:duration=1.2"));
    assert_eq!((file.len(), drawn.len(), file[3].time), (12, 12, drawn[3].time));
    assert!(file[3].time.is_some_and(|time| (time - 0.3).abs() < 1e-9));
    let unknown = StreamInput::Device { kind: "concat".into(), name: "list.txt".into() };
    refused(few.stream(&unknown, SizeRule::Source).map(drop), &["`device` = concat", "v4l2"]);
    let pipe = |width, fps| StreamInput::Pipe { width, height: 32, fps };
    refused(few.stream(&pipe(0, 10.0), SizeRule::Source).map(drop), &["`size` = 0x32"]);
    refused(few.stream(&pipe(48, 0.0), SizeRule::Source).map(drop), &["`fps` = 0"]);
    refused(few.stream(&pipe(9000, 10.0), SizeRule::Source).map(drop), &["max_side"]);
}
