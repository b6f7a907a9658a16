"""Two ICE agents of libnice in one process that may only use relayed candidates.

Usage: libnice.py udp|tcp|tls ADDRESS PORT USERNAME PASSWORD. Prints one line for each pair in use and one for the echo.
"""

import sys

import gi

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice  # noqa: E402

TRANSPORTS = {"udp": Nice.RelayType.UDP, "tcp": Nice.RelayType.TCP, "tls": Nice.RelayType.TLS}
COMPONENT = 1
DEADLINE_SECONDS = 40

loop = GLib.MainLoop()


class Agent:
    def __init__(self, name, controlling, relay):
        self.name = name
        self.gathered = self.ready = False
        # Reliable: data is a stream, which Python can read.
        self.nice = Nice.Agent.new_reliable(loop.get_context(), Nice.Compatibility.RFC5245)
        self.nice.props.controlling_mode = controlling
        self.nice.props.force_relay = True
        self.nice.props.upnp = False
        self.nice.props.ice_tcp = False
        # libnice leaves loopback out unless told otherwise.
        own = Nice.Address()
        own.set_from_string("127.0.0.1")
        self.nice.add_local_address(own)
        self.nice.connect("candidate-gathering-done", self.on_gathered)
        self.nice.connect("new-selected-pair-full", self.on_pair)
        self.nice.connect("component-state-changed", self.on_state)
        self.stream = self.nice.add_stream(1)
        self.nice.set_stream_name(self.stream, "application")
        self.nice.set_relay_info(self.stream, COMPONENT, *relay)
        self.io = self.nice.get_io_stream(self.stream, COMPONENT)

    def on_gathered(self, _agent, _stream):
        self.gathered = True
        if all(agent.gathered for agent in agents):
            descriptions = [agent.nice.generate_local_sdp() for agent in agents]
            for agent, description in zip(agents, reversed(descriptions)):
                if agent.nice.parse_remote_sdp(description) <= 0:
                    fail(f"no candidate for {agent.name} in: {description}")

    def on_pair(self, _agent, _stream, _component, *pair):
        self.pair = " ".join(candidate.type.value_nick for candidate in pair)

    def on_state(self, _agent, _stream, _component, state):
        if state == Nice.ComponentState.FAILED:
            fail(f"{self.name} has failed")
        if state == Nice.ComponentState.READY and not self.ready:
            self.ready = True
            if all(agent.ready for agent in agents):
                talk()


def talk():
    for agent in agents:
        print(f"{agent.name}: {agent.pair}", flush=True)
    say(agents[0], b"hello")


def say(agent, data):
    agent.io.get_output_stream().write_bytes_async(GLib.Bytes.new(data), 0, None, None)


def on_question(stream, result):
    question = stream.read_bytes_finish(result).get_data()
    say(agents[1], b"echo of " + question)


def on_answer(stream, result):
    print(stream.read_bytes_finish(result).get_data().decode(), flush=True)
    loop.quit()


def fail(why):
    print(why, flush=True)
    sys.exit(1)


def main():
    transport, address, port, username, password = sys.argv[1:]
    relay = (address, int(port), username, password, TRANSPORTS[transport])
    agents.extend([Agent("caller", True, relay), Agent("callee", False, relay)])
    GLib.timeout_add_seconds(DEADLINE_SECONDS, lambda: fail("it takes too long"))
    for agent, receive in zip(agents, [on_answer, on_question]):
        # libnice takes nothing from its sockets, answers of the server either, unless somebody reads.
        agent.io.get_input_stream().read_bytes_async(64, 0, None, receive)
        if not agent.nice.gather_candidates(agent.stream):
            fail(f"{agent.name} cannot gather candidates")
    loop.run()


agents = []
main()
