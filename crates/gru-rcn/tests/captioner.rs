//! A captioner learns by heart what is said about seven videos of noise.

use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use gru_rcn::captioner::{CaptionerConfig, Captions, Decoding, DecodingMethod, Penalties, Vocabulary};
use gru_rcn::optim::AdadeltaConfig;
use noise::noise;

mod noise;

const SENTENCES: [&str; 7] = [
    "a man is playing a guitar",
    "a woman is slicing an onion",
    "a cat jumps into a box",
    "two dogs are running on the beach",
    "someone pours water into a pot",
    "a man rides a horse",
    "rain",
];
/// Steps after which everything must have been learnt.
const STEPS: usize = 500;

#[test]
fn the_captioner_learns_seven_sentences() {
    let started = std::time::Instant::now();
    let device = Device::flex();
    device.seed(1);
    let tokens = SENTENCES.map(|sentence| sentence.split(' ').collect::<Vec<_>>());
    let vocabulary = Vocabulary::build(&tokens, 1).unwrap();
    let config = CaptionerConfig::new(24, vocabulary.len()).with_embedding(32).with_hidden(48).with_dropout(0.0);
    let mut model = config.init(&device).train();
    let mut optimizer = AdadeltaConfig::new().init().with_grad_clipping(GradientClippingConfig::Norm(10.0).init());

    let sentences = tokens.map(|tokens| vocabulary.ids(tokens));
    let captions = Captions::new(&sentences, &device.clone().autodiff());
    let features = noise::<3>(1, [7, 4, 24], &device);
    let penalties = Penalties { weights: 0.0, ..Penalties::default() };
    let written = |model: &gru_rcn::captioner::Captioner, method| {
        let model = model.valid();
        let videos = model.encode(features.clone(), None);
        model.generate(&videos, &Decoding::new().with_method(method))
    };
    let learnt = (1..=STEPS).find(|step| {
        let videos = model.encode(features.clone().autodiff(), None);
        let loss = model.loss(&model.forward(&videos, &captions), &penalties);
        if step % 50 == 0 {
            println!("{step}: {}", loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1.0, model.clone(), gradients);
        let right = |method| {
            written(&model, method).iter().zip(&sentences).all(|(found, expected)| found[0].words == *expected)
        };
        step % 25 == 0 && right(DecodingMethod::Greedy) && right(DecodingMethod::Beam { width: 5 })
    });
    println!("{learnt:?} steps, {:.1} s", started.elapsed().as_secs_f64());
    for (found, expected) in written(&model, DecodingMethod::Beam { width: 5 }).iter().zip(SENTENCES) {
        let text = vocabulary.text(&found[0].words);
        println!("{text} ({:.2})", found[0].log_probability);
        assert_eq!(text, expected);
        assert!(found[0].finished && found[0].attention.len() == found[0].words.len());
    }
}
