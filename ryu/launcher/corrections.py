"""Every correction to Ryu 4.34, in one place. They change the loaded classes, never Ryu's files."""

from launcher import changes, connections, hosts, links, loops, packets, statistics


def apply(verbose):
    """To be called once, after Ryu's modules are loaded and before its applications are created."""
    connections.notice_dead_switches()
    connections.take_reconnection_as_leave_and_enter()
    connections.forget_what_a_switch_learned_when_it_connects()
    links.survive_lost_links()
    links.notice_dead_links_sooner()
    hosts.keep_all_sightings()
    loops.keep_frames_from_circling()
    changes.tell()
    packets.look_no_deeper_than_needed()
    statistics.tell_silence_from_emptiness()
    statistics.name_numbers_quickly()
    statistics.report_refusals()
    if not verbose:
        statistics.leave_telling_to_the_answer()
