"""The soft-attention LSTM of Yao et al. 2015 as a transcription of its equations, one gate and one word at a time, on
weights that both sides draw. The scalar c that the authors add to every energy is kept here, and the Rust side has none:
it must not matter.

Without dropout: logits, attention, the loss with its parts, and all gradients. With dropout, outside of training: logits.
"""

import torch

from _common import save, uniform
from baselines import SEED, Weights

WORDS, EMBEDDING, HIDDEN, FEATURES = 9, 6, 7, 5
# Three videos of this many segments, with their sentences as ids of words, the end not counted.
SEGMENTS = [4, 2, 3]
SENTENCES = [[2, 8, 3], [5, 1, 2, 2], [7]]
DECAY, ATTENTION = 1e-2, 0.7


def decode(w: Weights, features: torch.Tensor, sentence: list[int], keep: float):
    """One video [segment, feature]: logits and attention of each word."""
    sigmoid, tanh = torch.sigmoid, torch.tanh

    def gates(name, rows):
        return w(f"lstm_{name}", rows, 4 * HIDDEN).split(HIDDEN, 1)

    word_i, word_f, word_o, word_g = gates("word", EMBEDDING)
    hidden_i, hidden_f, hidden_o, hidden_g = gates("hidden", HIDDEN)
    context_i, context_f, context_o, context_g = gates("context", FEATURES)
    bias_i, bias_f, bias_o, bias_g = w("lstm_bias", 4 * HIDDEN).split(HIDDEN)
    table = w("embedding", WORDS, EMBEDDING)
    mean = features.sum(0) / len(features)
    h = tanh(w.linear("initial_hidden", mean, HIDDEN))
    c = tanh(w.linear("initial_memory", mean, HIDDEN))
    previous = torch.zeros(EMBEDDING, dtype=torch.float64)
    logits, attention = [], []
    for word in sentence + [0]:
        energies = []
        for v in features:
            hidden = tanh(h @ w("attention_hidden", HIDDEN, FEATURES) + w.linear("attention_features", v, FEATURES))
            energies.append(hidden @ w("attention_score", FEATURES, 1).squeeze(1) + 0.3)
        alpha = torch.stack(energies).softmax(0)
        phi = sum(a * v for a, v in zip(alpha, features))
        phi = sigmoid(w.linear("selector", h, 1)) * phi
        i = previous @ word_i + h @ hidden_i + phi @ context_i + bias_i
        f = previous @ word_f + h @ hidden_f + phi @ context_f + bias_f
        o = previous @ word_o + h @ hidden_o + phi @ context_o + bias_o
        g = previous @ word_g + h @ hidden_g + phi @ context_g + bias_g
        c = sigmoid(keep * f) * c + sigmoid(keep * i) * tanh(g)
        h = sigmoid(keep * o) * tanh(c)
        out = w.linear("output_hidden", keep * h, EMBEDDING) + previous + w.linear("output_context", phi, EMBEDDING)
        logits.append(w.linear("output_word", keep * tanh(out), WORDS))
        attention.append(alpha)
        previous = table[word]
    return torch.stack(logits), torch.stack(attention)


def videos(golden: dict, keep: float):
    """Logits and attention of each video go into the golden; returns the leaves and the parts of the loss."""
    w = Weights("captioner")
    features = uniform(SEED, "captioner.features", (len(SEGMENTS), max(SEGMENTS), FEATURES), 1.0).double()
    features.requires_grad_()
    likelihoods, penalties = [], []
    for video, (segments, sentence) in enumerate(zip(SEGMENTS, SENTENCES)):
        logits, attention = decode(w, features[video, :segments], sentence, keep)
        golden[f"captioner.keep_{keep}.logits.{video}"] = logits
        golden[f"captioner.keep_{keep}.attention.{video}"] = attention
        target = torch.tensor(sentence + [0])
        likelihoods.append(-logits.log_softmax(1).gather(1, target[:, None]).sum())
        penalties.append(((1 - attention.sum(0)) ** 2).sum())
    return w, features, torch.stack(likelihoods), torch.stack(penalties)


if __name__ == "__main__":
    golden = {}
    with torch.no_grad():
        videos(golden, 0.5)
    w, features, likelihoods, penalties = videos(golden, 1.0)
    squares = sum((value**2).sum() for value in w.leaves.values())
    loss = likelihoods.mean() + ATTENTION * penalties.mean() + DECAY * squares
    golden["captioner.negative_log_likelihood"] = likelihoods
    golden["captioner.attention_penalty"] = penalties
    golden["captioner.weight_penalty"] = squares.reshape(1)
    golden["captioner.loss"] = loss.reshape(1)
    loss.backward()
    for name, value in w.leaves.items():
        golden[f"captioner.grad.{name}"] = value.grad
    golden["captioner.grad_features"] = features.grad
    save("captioner.safetensors", golden, SEED)
