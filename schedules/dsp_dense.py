"""Fully connected layers by the micro-kernel of ``micro_project/kernels/dense.h``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .channels import settle_constant_channels
from .dense import Dense
from .dsp_pair import PairScaling
from .dsp_pairs import PAIR_NUMBERS, Pairing, position_in_run, sums_and_weights, words_of_runs
from .kernel import Constants
from .micro_kernel import WithWeights, describe, implement, micro_kernel_name

#: Instructions of a block besides its words and outputs.
_OVERHEAD = 25
#: Pairs of channels whose weights are interleaved.
_BLOCK_PAIRS = 3


@dataclass(frozen=True)
class DspDense(WithWeights):
    """:class:`Dense` with six outputs at a time.

    Buffers: data int8 [in_features], weight int8 (packed, see ``dense.h``), channels int32
    [pairs, 5], out int8 [out_features].

    Parameters
    ----------
    plain : Dense
        Shape and arithmetic.
    narrow, joint : bool
        As of ``DspConvRow``; :func:`dsp_dense` finds out.
    """

    plain: Dense
    narrow: bool
    joint: bool

    headers = ("dense.h", "dot.h", "dsp.h", "pair.h", "requantise.h")

    @property
    def name(self) -> str:
        """C identifier stem."""
        stem = self.plain.name.removeprefix("dense_").rsplit("_", 1)[0]
        return micro_kernel_name(f"dense_dsp_{stem}", self.numbers)

    @property
    def _pairing(self) -> Pairing:
        scaling = PairScaling(self.plain.requantisation, self.narrow)
        return Pairing(1, self.plain.out_features, self.joint, scaling)

    @property
    def words(self) -> int:
        """Words of four inputs."""
        return (self.plain.in_features + 3) // 4

    @property
    def _block_channels(self) -> int:
        """Channels in blocks of six; the others follow pair by pair."""
        return self.plain.out_features // (2 * _BLOCK_PAIRS) * (2 * _BLOCK_PAIRS)

    @property
    def instructions(self) -> int:
        """Instructions of one call on a Cortex-M, by a model of the blocks in ``dense.h``."""
        weights = 7 if self.joint else 9
        blocks = self._block_channels // (2 * _BLOCK_PAIRS)
        alone = self._pairing.pairs - blocks * _BLOCK_PAIRS
        dots = self.words * (blocks * (4 + 3 * weights) + alone * (3 + weights))
        scaled = round(self.plain.out_features * self._pairing.scaling.instructions)
        return dots + (blocks + alone) * _OVERHEAD + scaled

    @property
    def remark(self) -> str:
        """How sums are made and requantised."""
        weights = "joint weights" if self.joint else "single weights"
        return f"1 pixel x 6 channels, {weights}, {self._pairing.scaling.remark}"

    def pack(self, constants: Constants) -> Constants:
        """Interleave the weights of three pairs of outputs, word by word.

        Parameters
        ----------
        constants : dict
            weight int8 [N, K] or of any shape [N, ...] of K elements; bias, multiplier, shift
            int32 [N].
        """
        weight = constants["weight"].reshape(self.plain.out_features, self.plain.in_features)
        flat = {**constants, "weight": weight}
        settled = settle_constant_channels(flat, 0, self.plain.requantisation)
        words = words_of_runs(settled["weight"], self.plain.in_features)
        paired = self._pairing.pack_weights(words)[:, 0]
        blocks = self._block_channels // 2
        block = paired[:blocks].reshape(-1, _BLOCK_PAIRS, self.words, 8).transpose(0, 2, 1, 3)
        packed = np.concatenate([block.reshape(-1), paired[blocks:].reshape(-1)])
        return {"weight": packed, "channels": self._pairing.pack_channels(settled)}

    def description(self) -> tirx.PrimFunc:
        """The layer as TE tensors over the packed constants."""
        plain, pairing, words = self.plain, self._pairing, self.words
        data = te.placeholder((plain.in_features,), "int8", "data")
        weight = te.placeholder((pairing.pairs * words * 8,), "int8", "weight")
        channels = te.placeholder((pairing.pairs, PAIR_NUMBERS), "int32", "channels")
        position = te.reduce_axis((0, 4 * words), "position")

        def word_at(n: tirx.Expr) -> tirx.Expr:
            pair, word = n // 2, position // 4
            in_block = pair // _BLOCK_PAIRS * words + word
            in_block = (in_block * _BLOCK_PAIRS + pair % _BLOCK_PAIRS) * 8
            alone = (pair * words + word) * 8
            return tirx.Select(n < self._block_channels, in_block, alone)

        def tap(n: tirx.Var) -> tirx.Expr:
            pixel = data[position_in_run(position, plain.in_features)].astype("int32")
            product = pixel * pairing.weight(weight, word_at(n), position % 4, n)
            return te.sum(product, axis=[position])

        acc = te.compute((plain.out_features,), tap, name="acc")
        out = te.compute(
            (plain.out_features,), lambda n: pairing.output(acc[n], channels, n), name="out"
        )
        return describe([data, weight, channels, out])

    @property
    def numbers(self) -> tuple[int, ...]:
        """Arguments of ``tvmp_dense``."""
        shape = (self.plain.in_features, self.plain.out_features)
        return (*shape, int(self.joint), *self._pairing.scaling.numbers)

    def prim_func(self) -> tirx.PrimFunc:
        """One call of ``tvmp_dense``."""
        return implement(self.description(), "tvmp_dense", self.numbers)


def dsp_dense_objection(plain: Dense) -> str | None:
    """Why a layer has no micro-kernel; None if it has."""
    return "its vector is shorter than a word" if plain.in_features < 4 else None


def dsp_dense(plain: Dense, constants: Constants) -> DspDense | None:
    """The micro-kernel for a fully connected layer, if it has one.

    Parameters
    ----------
    plain : Dense
        What it computes.
    constants : dict
        The layer's, as in :meth:`DspDense.pack`.

    Returns
    -------
    DspDense or None
        None where :func:`dsp_dense_objection` has one.
    """
    if dsp_dense_objection(plain) is not None:
        return None
    settled = settle_constant_channels(constants, 0, plain.requantisation)
    narrow, joint = sums_and_weights(settled)
    return DspDense(plain, narrow=narrow, joint=joint)
