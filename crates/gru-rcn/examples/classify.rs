//! Names the class of videos, or of folders of frames, by a trained run.
//!
//!     cargo run --release -p gru-rcn --example classify -- RUN CLIP…

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::prelude::*;
use gru_rcn_data::{ClipReader, Sample, source_of};

/// Frames that are taken from the middle of a clip, as the example `fine_tune` does. A run of the
/// program says in its recipe which frames it takes (`clip.temporal`).
const FRAMES: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run, clips @ ..] = &arguments[..] else { return Err("give RUN CLIP…".into()) };
    let device = Device::flex();
    let recognizer = Recognizer::open(Path::new(run), &device)?;
    let RecognizerInput { height, width, pixels, .. } = recognizer.input();
    for path in clips {
        let sample = Sample { id: path.clone(), class: 0, appearance: None, source: source_of(Path::new(path))? };
        let video = ClipReader::default().read(&sample, [height, width])?;
        let start = video.time.saturating_sub(FRAMES) / 2;
        let middle = (start..start + FRAMES).flat_map(|t| video.frame(t.min(video.time - 1)));
        let bytes: Vec<u8> = middle.copied().collect();
        let bytes = Tensor::<5, Int>::from_data(TensorData::new(bytes, [1, FRAMES, height, width, 3]), &device);
        let probabilities =
            recognizer.forward(pixels.normalise(bytes)).probabilities().into_data().try_to_vec::<f32>()?;
        let mut classes: Vec<_> = probabilities.iter().zip(recognizer.classes()).collect();
        classes.sort_by(|a, b| b.0.total_cmp(a.0));
        println!("{path}");
        for (probability, class) in classes.iter().take(5) {
            println!("  {:5.1} %  {class}", 100.0 * *probability);
        }
    }
    Ok(())
}
