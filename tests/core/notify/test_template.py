import pytest

from hcsidecar.core.notify.template import JsonError, filled, template_in

VALUES = {"text": 'web1: "down"\n{farm}', "subject": "farm apache: 1 event", "farm": "apache", "node": "web1"}


def test_placeholders_are_replaced_in_every_text_of_a_template():
    template = template_in(
        '{"text": "{subject}: {text}", "more": [{"from": "{node} of {farm}"}], "level": 3, "x": null}'
    )
    assert filled(template, VALUES) == {
        "text": 'farm apache: 1 event: web1: "down"\n{farm}',
        "more": [{"from": "web1 of apache"}],
        "level": 3,
        "x": None,
    }


def test_what_a_value_contains_is_no_placeholder():
    assert filled(template_in('"{text}{text}"'), {"text": "{node}", "node": "web1"}) == "{node}{node}"


@pytest.mark.parametrize("text", ['{"text": {text}}', "", "{" * 100_000, '"\udc80{text}"'])
def test_a_template_that_is_no_json_is_refused(text):
    with pytest.raises(JsonError):
        template_in(text)


@pytest.mark.parametrize("text", ['{"text": "alarm"}', '{"{text}": 1}', "[]", "3", '"{farm}"'])
def test_a_template_that_could_not_tell_anything_is_refused(text):
    with pytest.raises(ValueError, match="neither"):
        template_in(text)
