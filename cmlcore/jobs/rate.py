"""Speed and time left, from what was measured; nothing is said before the first measurement."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0  # recent enough to follow a change of load, long enough to be calm
_SUM_UP_S, _SUM_UP_S_PER_CELL = 1.0, 1e-5


class Rate:
    """Blocks per second over the last minute or so. Times are seconds of one monotonic clock."""

    def __init__(self, start_s: float) -> None:
        """Begin to count at ``start_s``."""
        self._seen: deque[tuple[float, int]] = deque([(start_s, 0)])
        self._start_s = start_s

    def tick(self, now_s: float, blocks: int) -> None:
        """``blocks`` more are done."""
        self._seen.append((now_s, self._seen[-1][1] + blocks))
        # The warm-up of the first batch must not colour the rest, so the window moves on.
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()

    @property
    def blocks_per_s(self) -> float | None:
        """The present speed; None before the first tick."""
        (t0, n0), (t1, n1) = self._seen[0], self._seen[-1]
        return (n1 - n0) / (t1 - t0) if n1 > n0 and t1 > t0 else None

    @property
    def mean_blocks_per_s(self) -> float | None:
        """The speed since the start; None before the first tick."""
        t1, n1 = self._seen[-1]
        return n1 / (t1 - self._start_s) if n1 and t1 > self._start_s else None

    def left_s(self, now_s: float, blocks: int, cells: int) -> float | None:
        """Seconds for ``blocks`` more and for summing up ``cells`` and those to come; None: unknown."""
        speed = self.blocks_per_s
        if speed is None:
            return None
        since = min(now_s - self._seen[-1][0], 1 / speed)  # part of the next block is already behind us
        return max(0.0, blocks / speed - since) + _SUM_UP_S + _SUM_UP_S_PER_CELL * cells


def batch_size(seconds_per_block: float | None, target_s: float = 3.0, most: int = 256) -> int:
    """Blocks to hand out at once so that a batch takes about ``target_s``; one while nothing is known.

    From eight on a multiple of eight, so that a GPU's batches of tiles come out whole.
    """
    if not seconds_per_block:
        return 1
    n = max(1, min(most, int(target_s / seconds_per_block)))
    return n if n < 8 else n // 8 * 8
