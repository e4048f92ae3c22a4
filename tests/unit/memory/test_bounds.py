from __future__ import annotations

from hypothesis import given

from tvm_patch.memory import Buffer, Problem, find_peak, lower_bound_bytes

from .strategies import brute_force_arena, problems


def test_peak_names_the_step_and_its_buffers_largest_first() -> None:
    problem = Problem(
        (
            Buffer("input", 100, 0, 0),
            Buffer("small", 40, 0, 1),
            Buffer("large", 120, 1, 2),
            Buffer("output", 20, 2, 2),
        )
    )
    peak = find_peak(problem)
    assert (peak.step, peak.live_bytes) == (1, 160)
    assert [buffer.name for buffer in peak.buffers] == ["large", "small"]


def test_the_first_of_equal_peaks_is_reported() -> None:
    problem = Problem((Buffer("late", 8, 5, 6), Buffer("early", 8, 1, 2)))
    assert find_peak(problem).step == 1


def test_alignment_gaps_count_except_above_the_topmost_buffer() -> None:
    assert lower_bound_bytes(Problem((Buffer("a", 5, 0, 0, 4),))) == 5
    assert lower_bound_bytes(Problem((Buffer("a", 5, 0, 0, 4), Buffer("b", 6, 0, 0, 4)))) == 13
    assert lower_bound_bytes(Problem((Buffer("a", 5, 0, 0, 1), Buffer("b", 6, 0, 0, 1)))) == 11


def test_coarsely_aligned_buffers_bound_even_when_fine_ones_fill_their_gaps() -> None:
    coarse = (Buffer("a", 1, 0, 0, 16), Buffer("b", 1, 0, 0, 16))
    assert lower_bound_bytes(Problem((*coarse, Buffer("c", 15, 0, 0, 1)))) == 17


def test_no_buffers_need_no_bytes() -> None:
    assert lower_bound_bytes(Problem(())) == 0
    assert find_peak(Problem(())).buffers == ()


@given(problems(max_buffers=9))
def test_peak_is_the_largest_sum_over_all_steps_if_nothing_needs_alignment(
    problem: Problem,
) -> None:
    problem = Problem(
        tuple(Buffer(b.name, b.size_bytes, b.first_use, b.last_use, 1) for b in problem.buffers)
    )
    sums = [
        sum(b.size_bytes for b in problem.buffers if b.first_use <= step <= b.last_use)
        for step in range(10)
    ]
    peak = find_peak(problem)
    assert (peak.live_bytes, peak.step) == (max(sums), sums.index(max(sums)))


@given(problems(max_buffers=5, max_size=40, horizon=4))
def test_bound_is_never_above_the_best_packing(problem: Problem) -> None:
    assert lower_bound_bytes(problem) <= brute_force_arena(problem)
