//! Watches a video of any length, or a camera, frame by frame at constant cost: a line whenever
//! another class becomes the most probable one. The program's `watch` makes events of such answers.
//!
//!     cargo run --release -p gru-rcn --example stream -- RUN FILE
//!     cargo run --release -p gru-rcn --example stream -- RUN v4l2 /dev/video0

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::prelude::*;
use gru_rcn_data::{ClipReader, StreamInput};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (run, input) = match &arguments[..] {
        [run, file] => (run, StreamInput::File(file.into())),
        [run, kind, name] => (run, StreamInput::Device { kind: kind.clone(), name: name.clone() }),
        _ => return Err("give RUN FILE, or RUN KIND DEVICE".into()),
    };
    let device = Device::flex();
    let recognizer = Recognizer::open(Path::new(run), &device)?;
    let RecognizerInput { height, width, pixels, .. } = recognizer.input();
    let mut stream = recognizer.stream()?; // an error if the model needs whole clips
    let (mut last, mut frames) = (None, 0);
    for frame in ClipReader::default().stream(&input, [height, width].into())? {
        let frame = frame?;
        frames += 1;
        let bytes = TensorData::new(frame.pixels, [1, 1, height, width, 3]);
        let pixels = pixels.normalise(Tensor::<5, Int>::from_data(bytes, &device)).squeeze_dim::<4>(1);
        let class = stream.step(pixels).probabilities().argmax(1).into_scalar::<i64>() as usize;
        if last.replace(class) != Some(class) {
            println!("{:8.2} s  {}", frame.time.unwrap_or_default(), recognizer.classes()[class]);
        }
    }
    println!("{frames} frames");
    Ok(())
}
