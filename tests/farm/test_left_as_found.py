"""Everything that a farm changes in the kernel is put back."""

from lan.as_found import as_found, differences
from lan.shared import shared_farm
from lan.site import site
from lan.stage import needs_root
from lan.stories import story

pytestmark = needs_root


@story("left as found")
def test_addresses_routes_parameters_filters_and_rules_are_put_back_after_a_stop_and_after_a_kill(tmp_path, way):
    with (
        site(tmp_path, servers=("web1", "web2")) as lan,
        shared_farm(lan, delivery=way.delivery, packet_filter=way.packet_filter) as farm,
    ):
        before = {name: as_found(host) for name, host in lan.servers.items()}

        def left():
            return {name: differences(before[name], as_found(host)) for name, host in lan.servers.items()}

        farm.start().serving()
        assert all(left().values()), "a farm that serves has changed something"
        for name in farm.names:
            farm.shut_down(name)
        assert left() == {"web1": [], "web2": []}

        farm.start().serving()
        for name in farm.names:
            farm.kill_daemon(name)
        assert all(left().values()), "a killed daemon has put nothing back"
        farm.start().serving()
        for name in farm.names:
            farm.shut_down(name)
        assert left() == {"web1": [], "web2": []}
