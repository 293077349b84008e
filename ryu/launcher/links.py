"""Links between switches."""

import functools

from ryu.topology import switches


def survive_lost_links():
    """
    Where three switches meet on one segment, or cables are swapped, a link's way back leads elsewhere. LinkState then
    forgets the peer of a link it still lists, and when that link times out, a KeyError ends the only loop that lets
    links time out. Now peers and links are kept in step, and removing what is gone already is no error.
    """
    create = switches.Switches.__init__

    @functools.wraps(create)
    def init(self, *args, **kwargs):
        create(self, *args, **kwargs)
        self.links = LinkState()

    switches.Switches.__init__ = init


def notice_dead_links_sooner():
    """
    A link that dies without a port going down (a media converter, a foreign switch between) is missed by its LLDP frames
    alone, one about every second. Ryu looks every 5 s for links that have brought none for 10 s and of which more than five in a
    row are missing; now every second for 5 s. That six are missing keeps a slow Ryu from seeing dead links.
    """
    switches.Switches.TIMEOUT_CHECK_PERIOD = 1.0
    switches.Switches.LINK_TIMEOUT = 5.0


class LinkState(switches.LinkState):
    """Link -> time of its last LLDP frame; `_map` has the peer of each source port. `found` counts new links."""

    def __init__(self):
        super().__init__()
        self.found = 0

    def update_link(self, src, dst):
        if switches.Link(src, dst) not in self:
            self.found += 1
        return super().update_link(src, dst)

    def link_down(self, link):
        self.pop(link, None)
        # Ryu's ports can be compared with nothing but ports.
        if link.src in self._map and self._map[link.src] == link.dst:
            del self._map[link.src]

    def port_deleted(self, src):
        """The port's peer, and the port again if the way back was known; KeyError, which callers expect, if no peer."""
        dst = self.get_peer(src)
        if dst is None:
            raise KeyError(src)
        there, back = switches.Link(src, dst), switches.Link(dst, src)
        back_known = back in self
        self.link_down(there)
        self.link_down(back)
        return dst, src if back_known else None
