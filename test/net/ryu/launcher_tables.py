"""Unit tests of the tables that the launcher puts in place of Ryu's, run in Ryu's own environment."""

import collections
import pathlib
import random
import sys
import unittest

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[3] / "ryu")

from launcher import compat

compat.prepare()

from ryu.cmd import manager  # noqa: F401
from ryu.lib import ofctl_utils
from ryu.ofproto import ofproto_v1_0, ofproto_v1_2, ofproto_v1_3, ofproto_v1_4, ofproto_v1_5
from ryu.topology import switches

from launcher import corrections, homes, hosts, links, loops

Port = collections.namedtuple("Port", "dpid port_no")


def host(mac, dpid, port_no):
    return switches.Host(mac, Port(dpid, port_no))


class Links(unittest.TestCase):
    def setUp(self):
        self.links = links.LinkState()
        self.a, self.b, self.c = Port(1, 1), Port(2, 1), Port(3, 1)

    def test_a_segment_of_three_switches_leaves_nothing_that_cannot_time_out(self):
        self.links.update_link(self.a, self.c)
        self.links.update_link(self.c, self.b)
        self.assertEqual(self.links.port_deleted(self.a), (self.c, None))
        self.assertEqual(list(self.links), [switches.Link(self.c, self.b)])
        self.links.link_down(switches.Link(self.c, self.b))
        self.links.link_down(switches.Link(self.c, self.b))
        self.assertEqual(dict(self.links), {})
        self.assertRaises(KeyError, self.links.port_deleted, self.c)

    def test_a_port_that_goes_takes_both_directions(self):
        self.links.update_link(self.a, self.b)
        self.assertTrue(self.links.update_link(self.b, self.a))
        self.assertEqual(self.links.port_deleted(self.b), (self.a, self.b))
        self.assertEqual(dict(self.links), {})
        self.assertIsNone(self.links.get_peer(self.a))

    def test_found_counts_new_links_only(self):
        for _ in range(3):
            self.links.update_link(self.a, self.b)
        self.assertEqual(self.links.found, 1)


class SpanningTrees(unittest.TestCase):
    def random_links(self, chance):
        count = chance.randint(2, 12)
        links, ports = set(), collections.Counter()
        for dpid in range(2, count + 1):
            self.join(links, ports, dpid, chance.randint(1, dpid - 1))
        for _ in range(chance.randint(0, 8)):
            one, other = chance.sample(range(1, count + 1), 2)
            self.join(links, ports, one, other)
        return count, links

    def join(self, links, ports, one, other):
        ports.update((one, other))
        links.add(((one, ports[one]), (other, ports[other])))

    def test_all_switches_are_joined_by_as_few_links_as_that_takes(self):
        chance = random.Random(7)
        for _ in range(300):
            count, links = self.random_links(chance)
            linked, tree = loops.spanning_tree(links)
            self.assertEqual(linked, {port for link in links for port in link})
            inside = [link for link in links if link[0] in tree]
            self.assertTrue(all(other in tree for _, other in inside))
            self.assertEqual(len(inside), count - 1)
            joined = {1}
            for _ in range(count):
                for one, other in inside:
                    if one[0] in joined or other[0] in joined:
                        joined |= {one[0], other[0]}
            self.assertEqual(len(joined), count)

    def test_either_direction_counts_and_no_order_matters(self):
        chance = random.Random(8)
        for _ in range(100):
            _, links = self.random_links(chance)
            turned = [link if chance.random() < 0.5 else link[::-1] for link in links]
            both = turned + [link[::-1] for link in turned]
            chance.shuffle(both)
            self.assertEqual(loops.spanning_tree(both), loops.spanning_tree(links))


class Ways(unittest.TestCase):
    def test_a_flood_is_never_astray_and_a_frame_that_has_gone_round_is_at_every_other_port(self):
        chance = random.Random(9)
        for _ in range(300):
            count, links = SpanningTrees().random_links(chance)
            linked, tree = loops.spanning_tree(links)
            ways = homes.Ways(tree)
            home = (chance.randint(1, count), 99)
            entered = {home[0]: None}
            queue = [home[0]]
            for dpid in queue:
                for here, there in tree.items():
                    if here[0] == dpid and there[0] not in entered:
                        entered[there[0]] = there[1]
                        queue.append(there[0])
            self.assertEqual(len(entered), count)
            for dpid, number in tree:
                self.assertEqual(ways.is_astray(dpid, number, home), number != entered[dpid])

    def test_nothing_is_known_of_ways_that_no_tree_has(self):
        self.assertFalse(homes.Ways({}).is_astray(1, 1, (2, 1)))


class Homes(unittest.TestCase):
    def test_a_port_that_turns_out_to_lead_to_a_switch_is_nobodys_home(self):
        table = homes.Homes()
        self.assertTrue(table.moves("m", (1, 1)))
        self.assertFalse(table.moves("m", (1, 1)))
        self.assertTrue(table.moves("m", (1, 2)))
        table.settle({(1, 1)})
        self.assertEqual(table.at, {"m": (1, 2)})
        table.settle({(1, 2)})
        self.assertEqual(table.at, {})

    def test_who_was_heard_anew_longest_ago_makes_room(self):
        table = homes.Homes()
        for i in range(homes.MAX_HOSTS + 10):
            table.moves(i, (1, 1))
        self.assertEqual(len(table.at), homes.MAX_HOSTS)
        self.assertNotIn(9, table.at)
        self.assertIn(10, table.at)


class Sightings(unittest.TestCase):
    def setUp(self):
        self.hosts = hosts.Sightings()

    def test_the_latest_sighting_at_an_edge_is_the_place(self):
        for place in [(1, 1), (1, 2), (2, 1)]:
            self.hosts["m"] = host("m", *place)
        self.hosts.settle(lambda port: port in {Port(1, 1), Port(1, 2)})
        self.assertEqual(self.hosts["m"].port, Port(1, 2))
        self.hosts.settle(lambda port: port == Port(1, 1))
        self.assertEqual(self.hosts["m"].port, Port(1, 1))
        self.hosts.settle(lambda port: False)
        self.assertNotIn("m", self.hosts)

    def test_ryu_deleting_a_host_falls_back_to_the_sighting_before(self):
        self.hosts.add(host("m", 1, 1))
        self.hosts["m"] = host("m", 2, 1)
        del self.hosts["m"]
        self.assertEqual(self.hosts["m"].port, Port(1, 1))
        del self.hosts["m"]
        self.assertEqual(len(self.hosts), 0)

    def test_tables_are_bounded_and_the_oldest_makes_room(self):
        for i in range(hosts.MAX_HOSTS + 10):
            self.hosts.add(host("m%d" % i, 1, 1))
        self.assertEqual(len(self.hosts), hosts.MAX_HOSTS)
        self.assertEqual(len(self.hosts.seen), hosts.MAX_HOSTS)
        self.assertNotIn("m9", self.hosts)
        last = host("m20", 1, 1)
        for i in range(hosts.MAX_ADDRESSES + 5):
            self.hosts.update_ip(last, ip_v4="10.0.0.%d" % i)
        self.assertEqual(len(self.hosts["m20"].ipv4), hosts.MAX_ADDRESSES)
        self.assertEqual(self.hosts["m20"].ipv4[-1], "10.0.0.20")
        self.assertEqual(len(self.hosts.users), hosts.MAX_ADDRESSES)

    def test_random_histories_keep_the_indices_in_step(self):
        for seed in range(200):
            chance = random.Random(seed)
            table = hosts.Sightings()
            for _ in range(100):
                mac = "m%d" % chance.randrange(4)
                what = chance.randrange(5)
                if what == 0:
                    table.add(host(mac, chance.randrange(3), chance.randrange(3)))
                elif what == 1:
                    table[mac] = host(mac, chance.randrange(3), chance.randrange(3))
                elif what == 2:
                    table.update_ip(host(mac, 0, 0), ip_v4="10.0.0.%d" % chance.randrange(4))
                elif what == 3 and mac in table:
                    del table[mac]
                elif what == 4:
                    bad = Port(chance.randrange(3), chance.randrange(3))
                    table.settle(lambda port, bad=bad: port != bad)
                    self.assertTrue(all(h.port != bad for h in table.values()), seed)
                self.check(table, seed)

    def check(self, table, seed):
        self.assertEqual(set(table), set(table.seen), seed)
        users = {}
        for mac, known in table.items():
            self.assertIs(next(reversed(table.seen[mac].values())), known, seed)
            for address in known.ipv4:
                self.assertNotIn(address, users, seed)
                users[address] = mac
        self.assertEqual(users, table.users, seed)


class Numbers(unittest.TestCase):
    def test_numbers_get_the_names_that_ryu_gives_them(self):
        original = ofctl_utils.OFCtlUtil._reserved_num_to_user
        corrections.apply(verbose=False)
        quick = ofctl_utils.OFCtlUtil._reserved_num_to_user
        self.assertIsNot(quick, original)
        for version in (ofproto_v1_0, ofproto_v1_2, ofproto_v1_3, ofproto_v1_4, ofproto_v1_5):
            util = ofctl_utils.OFCtlUtil(version)
            numbers = {n for n in vars(version).values() if isinstance(n, int)} | {0, 5, 1 << 31, 1 << 64}
            for prefix in ("OFPP_", "OFPTT_", "OFPG_", "OFPM_", "OFPQ_", "OFPCR_ROLE_", "OFPCML_", "OFPTFPT_"):
                for number in numbers:
                    self.assertEqual(
                        quick(util, number, prefix), original(util, number, prefix), (version.__name__, prefix, number)
                    )


if __name__ == "__main__":
    unittest.main()
