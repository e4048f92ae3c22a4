"""Pairs of output channels: how weights and channels' constants are packed and read back.

``micro_project/kernels/dot.h`` and ``pair.h`` say why they are packed so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from .dsp_pair import PairScaling, sums_are_narrow
from .kernel import Constants

Array = npt.NDArray[np.generic]
Integers = npt.NDArray[np.int64]

#: int32 numbers of ``struct tvmp_pair``.
PAIR_NUMBERS = 5


@dataclass(frozen=True)
class Pairing:
    """Output channels two by two.

    Parameters
    ----------
    groups, group_out : int
        Pairs are made within each group of channels; an odd one is paired with zeros.
    joint : bool
        Weights are halfwords 256 * w1 + w0.
    scaling : PairScaling
        What becomes of the sums.
    """

    groups: int
    group_out: int
    joint: bool
    scaling: PairScaling

    @property
    def pairs(self) -> int:
        """Of one group."""
        return (self.group_out + 1) // 2

    def pack_weights(self, words: Array) -> npt.NDArray[np.int8]:
        """Interleave the weights of each pair as SXTB16 takes them apart.

        Parameters
        ----------
        words : ndarray of int8, shape [channels, runs, words, 4]
            From :func:`words_of_runs`.

        Returns
        -------
        ndarray of int8, shape [groups * pairs, runs, words, 8]
            The last axis counts halves of a word's inputs (even, odd), inputs, channels.

        Raises
        ------
        ValueError
            If weights cannot be joint.
        """
        if self.joint and not _may_be_joint(words):
            raise ValueError("a weight is -128: the kernel must not promise joint ones")
        _, runs, count, _ = words.shape
        grouped = words.astype(np.int64).reshape(self.groups, self.group_out, runs, count, 4)
        missing = 2 * self.pairs - self.group_out
        grouped = np.pad(grouped, [(0, 0), (0, missing), (0, 0), (0, 0), (0, 0)])
        split = grouped.reshape(-1, 2, runs, count, 2, 2)
        paired = np.ascontiguousarray(split.transpose(0, 2, 3, 5, 4, 1))
        if self.joint:
            # A negative low byte takes one from the high byte.
            paired[..., 1] -= paired[..., 0] < 0
        return paired.astype(np.int8).reshape(-1, runs, count, 8)

    def pack_channels(self, constants: Constants) -> npt.NDArray[np.int32]:
        """``struct tvmp_pair`` of each pair.

        Parameters
        ----------
        constants : dict
            weight int8 [channels, ...]; bias, multiplier, shift int32 [channels].

        Returns
        -------
        ndarray of int32, shape [groups * pairs, PAIR_NUMBERS]
        """

        def paired(values: Array) -> Integers:
            grouped = values.astype(np.int64).reshape(self.groups, self.group_out)
            missing = 2 * self.pairs - self.group_out
            return np.pad(grouped, [(0, 0), (0, missing)]).reshape(-1, 2)

        start = paired(constants["bias"])
        if self.joint:
            start[:, 1] = start[:, 1] * 256 + start[:, 0]
        exponents, offset = self.scaling.pack(constants)
        low, high = (paired(exponents) & 0xFF).T
        shifts = (offset << 16) | (high << 8) | low
        columns = [start, paired(constants["multiplier"]), shifts[:, None]]
        return np.concatenate(columns, axis=1).astype(np.uint32).view(np.int32)

    def pair_of(self, channel: tirx.Expr) -> tirx.Expr:
        """Index of the pair of an output channel."""
        return channel // self.group_out * self.pairs + channel % self.group_out // 2

    def is_second(self, channel: tirx.Expr) -> tirx.Expr:
        """0 for the first channel of a pair, 1 for the second."""
        return channel % self.group_out % 2

    def weight(
        self, weight: te.Tensor, word_at: tirx.Expr, inner: tirx.Expr, channel: tirx.Expr
    ) -> tirx.Expr:
        """A weight out of its packed word, as int32.

        Parameters
        ----------
        weight : te.Tensor
            int8, flat.
        word_at : tvm.tirx.Expr
            Where the eight weights of the word and the pair begin.
        inner : tvm.tirx.Expr
            Input within the word, in [0, 4).
        channel : tvm.tirx.Expr
            Output channel.
        """
        index = word_at + inner % 2 * 4 + inner // 2 * 2
        first = weight[index].astype("int32")
        second = weight[index + 1].astype("int32")
        if self.joint:
            second = second - (first >> tirx.const(31, "int32"))
        return tirx.Select(self.is_second(channel) == 0, first, second)

    def output(self, sum_: tirx.Expr, channels: te.Tensor, channel: tirx.Expr) -> tirx.Expr:
        """The int8 output of a sum without its bias."""
        pair, second = self.pair_of(channel), self.is_second(channel)
        start = channels[pair, second]
        if self.joint:
            joint = (channels[pair, 1] - channels[pair, 0]) >> tirx.const(8, "int32")
            start = tirx.Select(second == 0, channels[pair, 0], joint)
        shifts = channels[pair, 4]
        # Arithmetic shifts: the byte with its sign.
        first = (shifts << tirx.const(24, "int32")) >> tirx.const(24, "int32")
        other = (shifts << tirx.const(16, "int32")) >> tirx.const(24, "int32")
        exponent = tirx.Select(second == 0, first, other)
        return self.scaling.apply(sum_ + start, channels[pair, 2 + second], exponent)


def words_of_runs(weight: Array, run_bytes: int) -> Array:
    """Cut runs of weights into words of four, the last of which ends with the run.

    Parameters
    ----------
    weight : ndarray of int8, shape [channels, ...]
        Whole runs of ``run_bytes`` weights each, at least four.
    run_bytes : int
        Length of a run.

    Returns
    -------
    ndarray of int8, shape [channels, runs, words, 4]
        Zero where the last word overlaps the one before.
    """
    runs = weight.reshape(weight.shape[0], -1, run_bytes)
    words = (run_bytes + 3) // 4
    body, tail = np.split(runs, [4 * (words - 1)], axis=2)
    zeros = np.zeros((*runs.shape[:2], 4 * words - run_bytes), weight.dtype)
    return np.concatenate([body, zeros, tail], axis=2).reshape(*runs.shape[:2], words, 4)


def position_in_run(position: tirx.Expr, run_bytes: int) -> tirx.Expr:
    """Where in a run the input of a position in its words lies."""
    words = (run_bytes + 3) // 4
    last = position >= 4 * (words - 1)
    return tirx.Select(last, position - (4 * words - run_bytes), position)


def sums_and_weights(settled: Constants) -> tuple[bool, bool]:
    """Whether a layer's sums are narrow, and whether its weights may be joint.

    Parameters
    ----------
    settled : dict
        weight int8 [channels, ...]; bias int32 [channels].
    """
    narrow = sums_are_narrow(settled)
    return narrow, narrow and _may_be_joint(settled["weight"])


def _may_be_joint(weight: Array) -> bool:
    """Whether 256 times a weight and another one always fit in a halfword."""
    return int(weight.min()) > -128
