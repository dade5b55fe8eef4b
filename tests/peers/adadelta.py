"""torch's Adadelta over several steps on given gradients, from zero, so that what is compared are the steps."""

import torch

from _common import save, uniform

SEED = 20121222
STEPS = 12

if __name__ == "__main__":
    golden = {}
    for name, options in {"authors": dict(rho=0.95, eps=1e-6, lr=1.0), "others": dict(rho=0.8, eps=1e-4, lr=0.3)}.items():
        weight = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adadelta([weight], **options)
        weights = []
        for step in range(STEPS):
            # Magnitudes from 1 down to 1/2048.
            weight.grad = uniform(SEED, f"gradient.{step}", (3, 4), 1.0).double() / 2**step
            optimizer.step()
            weights.append(weight.detach().clone())
        golden[f"{name}.weights"] = torch.stack(weights)
    save("adadelta.safetensors", golden, SEED)
