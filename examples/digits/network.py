"""The demo network: MobileNetV2's blocks (arXiv 1801.04381), small, with large first maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from quantise import Block, Classifier, Layer, Network
from torch import Tensor, nn

STEM_CHANNELS = 16
FEATURES = 64


@dataclass(frozen=True)
class Stage:
    """One inverted residual block: expand by `expansion`, depthwise 3x3, project to `channels`."""

    expansion: int
    channels: int
    stride: int


STAGES = (
    Stage(expansion=1, channels=8, stride=1),
    Stage(expansion=4, channels=8, stride=1),
    Stage(expansion=10, channels=16, stride=2),
    Stage(expansion=3, channels=16, stride=1),
    Stage(expansion=4, channels=24, stride=2),
    Stage(expansion=3, channels=24, stride=1),
)


class ConvNorm(nn.Module):
    """Convolution with TFLite's SAME padding, batch norm, and RELU6 if `clipped`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        depthwise: bool = False,
        clipped: bool = True,
    ) -> None:
        super().__init__()
        self.clipped = clipped
        groups = inputs if depthwise else 1
        # On even extents SAME with stride 2 pads at the bottom and right only.
        before = (kernel - stride) // 2
        after = kernel - stride - before
        self.pad = nn.ZeroPad2d((before, after, before, after))
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(self.pad(x)))
        return nn.functional.relu6(x) if self.clipped else x

    def folded(self, name: str) -> Layer:
        """The layer with batch norm folded into weights and bias."""
        gain = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        weight = (self.conv.weight * gain[:, None, None, None]).detach().double()
        bias = (self.norm.bias - self.norm.running_mean * gain).detach().double()
        depthwise = self.conv.groups > 1
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        kernel = weight.permute(order).numpy()
        return Layer(
            name=name,
            weight=kernel[0] if depthwise else kernel,
            bias=bias.numpy(),
            depthwise=depthwise,
            stride=self.conv.stride[0],
            activation="RELU6" if self.clipped else "NONE",
        )


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; the input is added where shapes agree."""

    def __init__(self, inputs: int, stage: Stage) -> None:
        super().__init__()
        self.adds = stage.stride == 1 and inputs == stage.channels
        hidden = inputs * stage.expansion
        self.layers = nn.ModuleDict()
        if stage.expansion > 1:
            self.layers["expand"] = ConvNorm(inputs, hidden)
        self.layers["depthwise"] = ConvNorm(hidden, hidden, 3, stride=stage.stride, depthwise=True)
        self.layers["project"] = ConvNorm(hidden, stage.channels, clipped=False)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.layers.values():
            y = layer(y)
        return x + y if self.adds else y

    def folded(self, name: str) -> Block:
        """The block with batch norms folded."""
        layers = tuple(layer.folded(f"{name}/{key}") for key, layer in self.layers.items())
        return Block(name, layers, adds_input=self.adds)


class DigitNet(nn.Module):
    """[N, 1, 64, 64] in 0..1 to logits [N, 10]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = ConvNorm(1, STEM_CHANNELS, 3, stride=2)
        blocks, channels = [], STEM_CHANNELS
        for stage in STAGES:
            blocks.append(InvertedResidual(channels, stage))
            channels = stage.channels
        self.blocks = nn.ModuleList(blocks)
        self.features = ConvNorm(channels, FEATURES)
        self.classifier = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return logits

    def folded(self) -> Network:
        """The network as plain arrays, batch norms folded, ready to quantise."""
        blocks = [Block("stem", (self.stem.folded("stem"),), adds_input=False)]
        blocks += [block.folded(f"block{i}") for i, block in enumerate(self.blocks, start=1)]
        blocks.append(Block("features", (self.features.folded("features"),), adds_input=False))
        weight = self.classifier.weight.detach().double().numpy()
        bias = self.classifier.bias.detach().double().numpy()
        return Network(tuple(blocks), Classifier(weight, bias))
