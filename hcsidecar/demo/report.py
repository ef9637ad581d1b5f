"""The report of the story, as text and as a document: what clients saw in each step, and the promises kept. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from hcsidecar.demo.judge import PromiseResult, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryStep:
    """One step of the story."""

    title: str
    summary: Summary
    "What the client of HAProxy saw."
    vip: Summary | None = None
    "What the clients of the virtual IP saw; None without a virtual IP."
    verdicts: tuple[PromiseResult, ...]
    balancer_log: tuple[str, ...]
    "HAProxy's log lines about servers that left or came."

    @property
    def kept(self) -> bool:
        """Whether every promise of the step was kept."""
        return all(verdict.kept for verdict in self.verdicts)


def step_text(number: int, step: StoryStep) -> str:
    """Return the text of a step: what the clients saw, and every promise."""
    lines = [_heading(number, step)]
    lines += [
        f"   through {way}: {summary_text(summary)}" if way else f"   {summary_text(summary)}"
        for way, summary in _ways(step)
    ]
    return "\n".join(lines + [verdict_text(verdict) for verdict in step.verdicts])


def verdict_text(verdict: PromiseResult) -> str:
    """Return the text of a verdict, with its evidence after it, or below it if that has several lines."""
    promise = f"   {'kept  ' if verdict.kept else 'BROKEN'}  {verdict.promise}"
    first, *more = verdict.found.split("\n")
    if not more:
        return f"{promise}: {first}"
    return "\n".join([f"{promise}:", *(f"             {line}" for line in (first, *more))])


def summary_text(summary: Summary) -> str:
    """Return the figures of a period of time in one line."""
    parts = [
        f"{summary.requests} requests in {summary.seconds:.1f} s, {failures_text(summary.failed, summary.complaints)}"
    ]
    if summary.by_server:
        parts.append(", ".join(f"{name} {count}" for name, count in summary.by_server.items()))
    if summary.lost:
        parts.append(f"{summary.lost} kept connections broke")
    parts.append(f"longest gap {summary.longest_gap * 1000:.0f} ms")
    if summary.median_latency is not None and summary.worst_latency is not None:
        parts.append(f"median {summary.median_latency * 1000:.1f} ms, worst {summary.worst_latency * 1000:.0f} ms")
    return "; ".join(parts)


def failures_text(failed: int, complaints: Mapping[str, int]) -> str:
    """Return how many requests failed, and how."""
    if not failed:
        return "0 failed"
    return f"{failed} failed ({', '.join(f'{count} × {what}' for what, count in complaints.items())})"


def ending_text(steps: Sequence[StoryStep]) -> str:
    """Return the summary of the story: the figures of every step, and the promises."""
    names = sorted({name for step in steps for _, summary in _ways(step) for name in summary.by_server})
    rows = [
        (f"{_heading(number, step) if place == 0 else '':<{_longest_heading(steps)}}  {way}".rstrip(), summary)
        for number, step in enumerate(steps, start=1)
        for place, (way, summary) in enumerate(_ways(step))
    ]
    title = "What the client saw" if len(rows) == len(steps) else "What the clients saw"
    width = max(map(len, [title, *(name for name, _ in rows)]))
    lines = [f"{title:<{width}} requests failed longest gap  {'  '.join(names)}"]
    for row, summary in rows:
        figures = f"{summary.requests:8} {summary.failed:6} {summary.longest_gap * 1000:8.0f} ms"
        shares = "  ".join(f"{summary.by_server.get(name, 0):{len(name)}}" for name in names)
        lines.append(f"{row:<{width}} {figures}  {shares}")
    verdicts = [verdict for step in steps for verdict in step.verdicts]
    broken = [verdict for verdict in verdicts if not verdict.kept]
    lines += ["", *map(verdict_text, broken)]
    lines.append(
        f"{len(broken)} of {len(verdicts)} promises broken." if broken else f"All {len(verdicts)} promises kept."
    )
    return "\n".join(lines)


def document(steps: Sequence[StoryStep], *, vip: str | None) -> dict[str, object]:
    """Return the report for programs: {"kept", "vip", "steps"}; `vip` is null without a virtual IP.

    A step is {"title", "kept", "summary", "vip", "verdicts", "balancer_log"}. `summary` is what the client of HAProxy
    saw, and `vip` what those of the virtual IP saw, or null.
    """
    return {
        "kept": all(step.kept for step in steps),
        "vip": vip,
        "steps": [{"title": step.title, "kept": step.kept} | asdict(step) for step in steps],
    }


def _ways(step: StoryStep) -> list[tuple[str, Summary]]:
    """Return the summary of each way to the servers; the name is empty if there is only one."""
    if step.vip is None:
        return [("", step.summary)]
    return [("HAProxy", step.summary), ("the VIP", step.vip)]


def _longest_heading(steps: Sequence[StoryStep]) -> int:
    return max(len(_heading(number, step)) for number, step in enumerate(steps, start=1))


def _heading(number: int, step: StoryStep) -> str:
    return f"{number}. {step.title}"
