"""Speed and time left against sums done by hand."""

import pytest

from cmlcore.jobs.rate import WINDOW_S, Rate, batch_size


def test_nothing_is_said_before_something_is_measured() -> None:
    rate = Rate(100.0)
    assert (rate.blocks_per_s, rate.mean_blocks_per_s, rate.left_s(101.0, 5, 0)) == (None, None, None)


def test_a_steady_rate() -> None:
    rate = Rate(0.0)
    for t in range(1, 11):
        rate.tick(float(t), 2)
    assert rate.blocks_per_s == rate.mean_blocks_per_s == 2.0
    assert rate.left_s(10.0, 40, 0) == pytest.approx(20 + 1)
    assert rate.left_s(10.25, 40, 0) == pytest.approx(19.75 + 1)
    assert rate.left_s(99.0, 40, 0) == pytest.approx(19.5 + 1)  # no more than one block can be under way
    assert rate.left_s(10.0, 40, 100_000) == pytest.approx(20 + 1 + 1)


def test_a_slow_start_is_forgotten() -> None:
    rate = Rate(0.0)
    rate.tick(50.0, 1)
    for k in range(1, 101):
        rate.tick(50.0 + k, 1)
    assert rate.blocks_per_s == pytest.approx(1.0)
    assert rate.mean_blocks_per_s == pytest.approx(101 / 150)
    assert len(rate._seen) <= WINDOW_S + 2


@pytest.mark.parametrize(
    ("seconds", "blocks"),
    [(None, 1), (0.0, 1), (50.0, 1), (1.0, 3), (0.3, 8), (0.29, 8), (0.1, 24), (1e-4, 256)],
)
def test_batches_last_about_three_seconds(seconds: float | None, blocks: int) -> None:
    assert batch_size(seconds) == blocks
