//! Batch normalisation of a frozen network: part of the convolution before it.

use burn::store::bridge;
use burn::tensor::TensorData;

use super::FileTensors;

/// Added to a variance, in all networks of this crate that were trained with batch normalisation.
const EPSILON: f64 = 1e-3;

/// Replaces a convolution without a bias and its batch normalisation by one convolution with a
/// bias: `w γ/√(σ² + ε)` and `β - μ γ/√(σ² + ε)` of the running statistics. Tensors that do not fit
/// are left as they are, for the strict import to name them.
pub(super) fn fold(tensors: &mut FileTensors, conv: &str, norm: &str) {
    let keys = ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{norm}.{part}"));
    let values = |key: &str| -> Option<(Vec<usize>, Vec<f32>)> {
        let data = bridge::to_data(tensors.get(key)?).ok()?;
        let shape = data.shape().iter().copied().collect();
        Some((shape, data.convert::<f32>().try_to_vec::<f32>().ok()?))
    };
    let (weight_key, bias_key) = (format!("{conv}.weight"), format!("{conv}.bias"));
    let Some((shape, mut weight)) = values(&weight_key) else { return };
    let [Some(gamma), Some(beta), Some(mean), Some(variance)] = keys.each_ref().map(|key| values(key)) else { return };
    let channels = shape.first().copied().unwrap_or(0);
    if channels == 0 || [&gamma, &beta, &mean, &variance].iter().any(|(shape, _)| *shape != [channels]) {
        return;
    }
    let per_channel = weight.len() / channels;
    let mut bias = Vec::with_capacity(channels);
    for channel in 0..channels {
        let number = |(_, values): &(Vec<usize>, Vec<f32>)| f64::from(values[channel]);
        let factor = number(&gamma) / (number(&variance) + EPSILON).sqrt();
        for w in &mut weight[channel * per_channel..(channel + 1) * per_channel] {
            *w = (f64::from(*w) * factor) as f32;
        }
        bias.push((number(&beta) - number(&mean) * factor) as f32);
    }
    let folded = [(weight_key, TensorData::new(weight, shape)), (bias_key, TensorData::new(bias, [channels]))];
    for (key, data) in folded {
        tensors.insert(key.clone(), bridge::from_data(data, key, None));
    }
    for key in keys.iter().chain([&format!("{norm}.num_batches_tracked")]) {
        tensors.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(entries: &[(&str, &[usize], &[f32])]) -> FileTensors {
        let tensor = |&(key, shape, values): &(&str, &[usize], &[f32])| {
            let data = TensorData::new(values.to_vec(), shape.to_vec());
            (key.to_string(), bridge::from_data(data, key.to_string(), None))
        };
        entries.iter().map(tensor).collect()
    }

    /// γ = (3, 4), β = (1, 0), μ = (2, -1) and σ² + ε = (9, 4) give the factors 1 and 2 and the
    /// biases 1 - 2·1 = -1 and 0 + 1·2 = 2.
    #[test]
    fn batch_normalisation_is_folded() {
        let norm: [(&str, &[usize], &[f32]); 4] = [
            ("n.weight", &[2], &[3.0, 4.0]),
            ("n.bias", &[2], &[1.0, 0.0]),
            ("n.running_mean", &[2], &[2.0, -1.0]),
            ("n.running_var", &[2], &[8.999, 3.999]),
        ];
        let conv: (&str, &[usize], &[f32]) = ("c.weight", &[2, 1, 1, 2], &[5.0, 6.0, 7.0, 8.0]);
        let mut file = tensors(&[&[conv][..], &norm].concat());
        fold(&mut file, "c", "n");
        assert_eq!(file.keys().collect::<Vec<_>>(), ["c.bias", "c.weight"]);
        for (key, expected) in [("c.weight", &[5.0f32, 6.0, 14.0, 16.0][..]), ("c.bias", &[-1.0, 2.0])] {
            let found = bridge::to_data(&file[key]).unwrap().try_to_vec::<f32>().unwrap();
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-5), "{key}: {found:?}");
        }
        // Without one of its tensors, or with one of another size, nothing is touched.
        for broken in [&norm[..3], &[&norm[..3], &[("n.running_var", &[1], &[1.0])]].concat()] {
            let mut file = tensors(&[&[conv][..], broken].concat());
            let before: Vec<String> = file.keys().cloned().collect();
            fold(&mut file, "c", "n");
            assert_eq!(file.keys().cloned().collect::<Vec<_>>(), before);
        }
    }
}
