"""Writes families of metrics in Prometheus's formats. Imported only when somebody asks for metrics.

The library has a registry and counters of its own, for programs that keep none; here it only writes.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from hcsidecar.core.metric_catalogue import Family, MetricKind

_OPENMETRICS = "application/openmetrics-text"


class Form(Enum):
    """The formats in which metrics are written: those that every version of Prometheus reads, and no others.

    A client could otherwise choose among the library's dozens of variants by words that it makes up.
    """

    TEXT = "text/plain;version=0.0.4"
    OPENMETRICS = f"{_OPENMETRICS};version=1.0.0"


class MetricsText(NamedTuple):
    """Metrics as they are sent."""

    text: bytes
    content_type: str


def form_for(accept: str) -> Form:
    """Return the format for an Accept header: OpenMetrics 1.0.0 if the client takes it, else the text format 0.0.4."""
    for part in accept.split(","):
        media_type, *parameters = (word.strip() for word in part.split(";"))
        if media_type == _OPENMETRICS and "version=0.0.1" not in parameters:
            return Form.OPENMETRICS
    return Form.TEXT


def render(families: Iterable[Family], form: Form = Form.TEXT) -> MetricsText:
    """Return the families in a format."""
    encode, content_type = choose_encoder(form.value)
    return MetricsText(encode(_Given(families)), content_type)


class _Given(Collector):
    """Passes metrics to the library."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families as the library's type."""
        return map(_metric, self._families)


def _metric(family: Family) -> Metric:
    labels = tuple(family.samples[0].labels) if family.samples else ()
    made: CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily
    match family.kind:
        case MetricKind.COUNTER:
            made = CounterMetricFamily(family.name, family.help, labels=labels)
        case MetricKind.GAUGE:
            made = GaugeMetricFamily(family.name, family.help, labels=labels)
        case MetricKind.INFO:
            made = InfoMetricFamily(family.name.removesuffix("_info"), family.help)
            for sample in family.samples:
                made.add_metric((), sample.labels)
            return made
    for sample in family.samples:
        made.add_metric(tuple(sample.labels.values()), sample.value)
    return made
