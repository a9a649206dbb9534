"""Thousands of noisy points become a line the eye can follow, and lose neither spikes nor gaps on the way."""

from collections.abc import Sequence

from trivium.report.scale import is_drawable

Point = tuple[float, float]
Gappy = list[Point | None]  # None is a gap: the pen leaves the paper

MAX_BUCKETS = 200  # a small chart is about 300 pixels wide


def is_noisy(points: Sequence[Point]) -> bool:
    """Whether the line turns so often (a quarter of its steps; pure noise turns at two thirds) that a smoothed one helps."""
    values = [y for _, y in points if is_drawable(y)]
    steps = [after - before for before, after in zip(values, values[1:], strict=False)]
    num_turns = sum(before * after < 0 for before, after in zip(steps, steps[1:], strict=False))
    return len(values) >= 20 and num_turns > len(steps) / 4


def smooth(points: Sequence[Point]) -> list[Point]:
    """The mean over a centred window of a twentieth of the points; what is not finite stays a gap and spoils no neighbour.

    The window shrinks towards the start, where a loss falls fastest, and is cut at the end, where one point should not decide.
    """
    sums, counts = [0.0], [0]
    for _, y in points:
        drawable = is_drawable(y)
        sums.append(sums[-1] + (y if drawable else 0.0))
        counts.append(counts[-1] + drawable)
    radius, last = max(1, len(points) // 40), len(points) - 1
    smoothed = []
    for index, (x, y) in enumerate(points):
        half = min(radius, max(index, 1))
        start, stop = max(0, index - half), min(last, index + half) + 1
        smoothed.append((x, (sums[stop] - sums[start]) / (counts[stop] - counts[start]) if is_drawable(y) else y))
    return smoothed


def decimate(points: Sequence[Point], buckets: int = MAX_BUCKETS) -> Gappy:
    """At most three entries a bucket: its lowest and highest point, so that spikes survive, and a gap if it holds one."""
    if len(points) <= 2 * buckets:
        return [point if _has_place(point) else None for point in points]
    kept: Gappy = []
    for bucket in range(buckets):
        part = points[bucket * len(points) // buckets : (bucket + 1) * len(points) // buckets]
        drawable = [(index, point) for index, point in enumerate(part) if _has_place(point)]
        if drawable:
            ends = {min(drawable, key=lambda entry: entry[1][1]), max(drawable, key=lambda entry: entry[1][1])}
            kept += [point for _, point in sorted(ends)]
        if len(drawable) < len(part):
            kept.append(None)
    return kept


def bin_means(points: Sequence[Point], num_bins: int = 12) -> list[Point]:
    """Mean point of each of `num_bins` equal shares of the points in order of x: how y depends on x, whatever the order in time."""
    ordered = sorted(point for point in points if _has_place(point))
    num_bins = min(num_bins, len(ordered))
    parts = [ordered[index * len(ordered) // num_bins : (index + 1) * len(ordered) // num_bins] for index in range(num_bins)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _has_place(point: Point) -> bool:
    return is_drawable(point[0]) and is_drawable(point[1])
