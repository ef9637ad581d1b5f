from hcsidecar.core.console.packet_words import ACTION_WORDS, DELIVERY_WORDS
from l2mode.core.reasons import Action
from l2mode.core.verdict import Delivery


def test_each_action_and_each_delivery_has_words_for_people():
    assert set(ACTION_WORDS) == {action.value for action in Action}
    assert set(DELIVERY_WORDS) == {delivery.value for delivery in Delivery}
