"""Writes families of metrics as Prometheus reads them. Imported where somebody asks for them, and not before.

The library brings a registry and counters of its own, for programs that keep none; here it only writes.
"""

from collections.abc import Iterable
from enum import Enum

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from hcsidecar.core.metric_catalogue import Family, MetricKind

_OPENMETRICS = "application/openmetrics-text"


class Form(Enum):
    """The forms in which metrics are written: those that every version of Prometheus reads, and no others.

    Of the library's dozens of variants the asker would choose by words that he makes up.
    """

    TEXT = "text/plain;version=0.0.4"
    OPENMETRICS = f"{_OPENMETRICS};version=1.0.0"


def form_for(accept: str) -> Form:
    """Choose the form by an Accept header: OpenMetrics 1.0.0 for who takes it, else the text format 0.0.4."""
    for part in accept.split(","):
        media_type, *parameters = (word.strip() for word in part.split(";"))
        if media_type == _OPENMETRICS and "version=0.0.1" not in parameters:
            return Form.OPENMETRICS
    return Form.TEXT


def render(families: Iterable[Family], form: Form = Form.TEXT) -> tuple[bytes, str]:
    """Write families; gives the text and its content type."""
    encode, content_type = choose_encoder(form.value)
    return encode(_Given(families)), content_type


class _Given(Collector):
    """What the library takes metrics from."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Give the families in the library's words."""
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
