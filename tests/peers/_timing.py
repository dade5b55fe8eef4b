"""What the measurements share: ratios of times, and a row of results."""

import statistics


def ratio(peers: list[float], ours: list[float]) -> dict:
    """The median of the rounds' ratios, with the least and the greatest."""
    ratios = [peer / own for peer, own in zip(peers, ours)]
    return {"ratio": round(statistics.median(ratios), 3), "spread": [round(min(ratios), 3), round(max(ratios), 3)]}


def row(workload: str, peers: list[float], ours: list[float]) -> dict:
    """A workload with the milliseconds of the rounds."""
    times = {"ours_ms": round(statistics.median(ours), 4), "peer_ms": round(statistics.median(peers), 4)}
    return {"workload": workload, **times, **ratio(peers, ours)}
