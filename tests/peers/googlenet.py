"""torchvision's GoogLeNet with `transform_input`, as its ImageNet weights have it, on weights drawn by the counter formula of
_common.py, in float64: digests of the outputs of all inception modules, of their last mean and of the logits, and the five
best classes."""

import torch
import torchvision

from _common import blocky_frame, digest, imagenet, save, weights

SEED = 6624904

if __name__ == "__main__":
    model = torchvision.models.googlenet(init_weights=False, transform_input=True)
    missing, unused = model.load_state_dict(weights(SEED, model), strict=False)
    assert not unused and all(key.endswith("num_batches_tracked") for key in missing)
    model.double().eval()
    for name, module in model.named_children():
        if name.startswith("inception"):
            module.register_forward_hook(lambda _module, _input, output, name=name: digest(golden, f"{size}.{name}", output, SEED))
    model.avgpool.register_forward_hook(lambda _module, _input, output: digest(golden, f"{size}.pool5", output, SEED))
    golden = {}
    with torch.no_grad():
        for height, width in [(224, 224), (63, 47)]:
            size = f"{height}x{width}"
            logits = model(imagenet(blocky_frame(SEED, f"frame.{size}", height, width))).flatten()
            best = logits.topk(5)
            golden |= {f"{size}.best": best.indices, f"{size}.best_logits": best.values}
            digest(golden, f"{size}.logits", logits.reshape(1, -1), SEED)
    save("googlenet.safetensors", golden, SEED)
