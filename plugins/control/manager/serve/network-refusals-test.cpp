// Networks that cannot be as they are asked for.
#include <catch2/catch.hpp>

#include "serve/test-networks.h"

namespace orch::control::manager {
namespace {

TEST_CASE("networks: what cannot be is refused with one line, and nothing is made", "[manager]") {
  NetworkFixture cluster;
  cluster.make("net", [](auto it) { it.setSubnet("10.5.0.0/24"); });
  using Fill = NetworkFixture::Fill;
  struct Case {
    const char* name;
    Fill fill;
    const char* text;
  };
  using Pairs = std::vector<std::pair<const char*, const char*>>;
  auto reserve = [](schema::Network::Builder it, const Pairs& pairs) {
    auto list = it.initReserved(pairs.size());
    for (uint32_t i = 0; i < list.size(); ++i) {
      list[i].setKey(pairs[i].first);
      list[i].setValue(pairs[i].second);
    }
  };
  auto option = [](const char* key, const char* value) {
    return [key, value](schema::Network::Builder it) {
      auto list = it.initOptions(1);
      list[0].setKey(key);
      list[0].setValue(value);
    };
  };
  auto in = [](const char* subnet, Fill more) {
    return [subnet, more](schema::Network::Builder it) {
      it.setSubnet(subnet);
      more(it);
    };
  };
  auto dual = [&](const char* subnet6, Fill more = nullptr) {
    return in("10.6.0.0/24", [subnet6, more](schema::Network::Builder it) {
      it.setIpv6(true);
      it.setSubnet6(subnet6);
      if (more) more(it);
    });
  };
  cluster.make("dual", [](auto it) {
    it.setIpv6(true);
    it.setSubnet6("fd09::/48");
  });
  Case cases[] = {
      {"net", [](auto) {}, "network 'net' exists already; choose another name"},
      {"bridge", [](auto) {}, "network 'bridge' exists already"},
      {"a b", [](auto) {}, "the network name 'a b' must be"},
      {"x", [](auto it) { it.setDriver("vlan"); }, "unknown driver 'vlan'"},
      {"x", [](auto it) { it.setDriver("bridge"); }, "is each node's own"},
      {"x", [](auto it) { it.setSubnet("10.5.0.1/24"); }, "must be an IPv4 subnet"},
      {"x", [](auto it) { it.setSubnet("10.6.0.0/30"); }, "must have a prefix of 8 to 29"},
      {"x", [](auto it) { it.setSubnet("10.5.0.128/25"); },
       "the subnet 10.5.0.128/25 is taken: the network 'net' has 10.5.0.0/24"},
      {"x", [](auto it) { it.setGateway("10.7.0.1"); }, "needs a --subnet that it is in"},
      {"x", [](auto it) { it.setIpRange("10.7.0.0/25"); }, "needs a --subnet that it is in"},
      {"x",
       [&](auto it) {
         reserve(it, {{"a", "10.7.0.9"}});
       },
       "--aux-address needs a --subnet that it is in"},
      {"host", [](auto) {}, "network 'host' exists already"},
      {"none", [](auto) {}, "network 'none' exists already"},
      {"", [](auto) {}, "the network name '' must be"},
      {"-x", [](auto) {}, "begin with a letter or a digit"},
      {"x", [](auto it) { it.setDriver("host"); }, "unknown driver 'host' for --driver"},
      {"x", [](auto it) { it.setSubnet("10.6.0.0"); }, "must be an IPv4 subnet"},
      {"x", [](auto it) { it.setSubnet("fd00::/64"); }, "must be an IPv4 subnet"},
      {"x", [](auto it) { it.setSubnet("10.0.0.0/7"); }, "must have a prefix of 8 to 29"},
      {"x", [](auto it) { it.setSubnet("127.0.0.0/24"); }, "must not meet 127.0.0.0/8"},
      {"x", [](auto it) { it.setSubnet("192.168.0.0/24"); },
       "the subnet 192.168.0.0/24 is taken: node 'host-node1' has the address 192.168.0.1"},
      {"x", in("10.6.0.0/24", [](auto it) { it.setGateway("10.7.0.1"); }),
       "--gateway '10.7.0.1' must be an address in the subnet 10.6.0.0/24"},
      {"x", in("10.6.0.0/24", [](auto it) { it.setIpRange("10.6.1.0/25"); }),
       "--ip-range '10.6.1.0/25' must be in the subnet 10.6.0.0/24"},
      {"x", in("10.6.0.0/24", [](auto it) { it.setIpRange("10.6.0.0/16"); }),
       "must be in the subnet 10.6.0.0/24"},
      {"x", in("10.6.0.0/24", [](auto it) { it.setIpRange("10.6.0.1/32"); }),
       "--ip-range '10.6.0.1/32' leaves no address for tasks"},
      {"x", in("10.6.0.0/24", [](auto it) { it.setIpRange("some"); }), "must be an IPv4 subnet"},
      {"x", in("10.6.0.0/24", [](auto it) { it.setGateway("10.6.0.0"); }),
       "--gateway '10.6.0.0' must be an address in the subnet"},
      {"x", in("10.6.0.0/24", [](auto it) { it.setGateway("10.6.0.255"); }),
       "--gateway '10.6.0.255' must be an address in the subnet"},
      {"x", in("10.6.0.0/24", [](auto it) { it.setGateway("x"); }),
       "--gateway 'x' must be an IPv4 address"},
      {"x",
       in("10.6.0.0/24",
          [&](auto it) {
            reserve(it, {{"a", "10.7.0.9"}});
          }),
       "--aux-address '10.7.0.9' must be an address in the subnet 10.6.0.0/24"},
      {"x",
       in("10.6.0.0/24",
          [&](auto it) {
            reserve(it, {{"a", ""}});
          }),
       "--aux-address 'a=' must be NAME=ADDRESS"},
      {"x",
       in("10.6.0.0/24",
          [&](auto it) {
            reserve(it, {{"", "10.6.0.9"}});
          }),
       "--aux-address '=10.6.0.9' must be NAME=ADDRESS"},
      {"x",
       in("10.6.0.0/24",
          [&](auto it) {
            reserve(it, {{"a", "10.6.0.1"}});
          }),
       "--aux-address 'a=10.6.0.1' is the gateway's address"},
      {"x",
       in("10.6.0.0/24",
          [&](auto it) {
            reserve(it, {{"a", "10.6.0.9"}, {"b", "10.6.0.9"}});
          }),
       "--aux-address '10.6.0.9' is given twice"},
      {"x", option("encrypted", ""),
       "no node can be on an encrypted network (host-node1: it has no key; host-node2: it has no "
       "key); install wireguard-go, or leave --opt encrypted out"},
      {"x", option("encrypted", "false"),
       "--opt encrypted has no value but true, not 'false'; without the option a network is not "
       "encrypted"},
      {"x", [](auto it) { it.setSubnet6("fd00:1::/64"); },
       "--subnet 'fd00:1::/64' is of IPv6: add --ipv6, or leave it out"},
      {"x", [](auto it) { it.setGateway6("fd00:1::1"); }, "--gateway 'fd00:1::1' is of IPv6"},
      {"x", [](auto it) { it.setIpRange6("fd00:1::/80"); }, "--ip-range 'fd00:1::/80' is of IPv6"},
      {"x",
       in("10.6.0.0/24",
          [&](auto it) {
            reserve(it, {{"a", "fd00:1::9"}});
          }),
       "--aux-address 'fd00:1::9' is of IPv6"},
      {"x", dual("fd00:5::1/64"), "must be an IPv6 subnet such as fd00:1::/64"},
      {"x", dual("fd00:5::/121"),
       "must have a prefix of 8 to 120: it has an address for each one of 10.6.0.0/24"},
      {"x", dual("fc00::/7"), "must have a prefix of 8 to 120"},
      {"x", dual("fe80:1::/64"), "must not meet fe80::/9"},
      {"x", dual("ff05::/64"), "must not meet ff00::/8"},
      {"x", dual("fd09:0:0:1::/64"), "is taken: the network 'dual' has fd09::/48"},
      {"x", dual("fd00:5::/64", [](auto it) { it.setGateway6("fd00:6::1"); }),
       "--gateway 'fd00:6::1' must be an address in the subnet fd00:5::/64"},
      {"x", dual("fd00:5::/64", [](auto it) { it.setGateway6("fd00:5::"); }),
       "--gateway 'fd00:5::' must be an address in the subnet"},
      {"x", dual("fd00:5::/64", [](auto it) { it.setGateway6("x"); }), "must be an IPv6 address"},
      {"x", dual("fd00:5::/64", [](auto it) { it.setIpRange6("fd00:6::/80"); }),
       "--ip-range 'fd00:6::/80' must be in the subnet fd00:5::/64"},
      {"x", dual("fd00:5::/64", [](auto it) { it.setIpRange6("fd00:5::/124"); }),
       "--ip-range 'fd00:5::/124' must have a prefix of 8 to 120"},
      {"x",
       dual("fd00:5::/64",
            [&](auto it) {
              reserve(it, {{"a", "fd00:6::9"}});
            }),
       "--aux-address 'fd00:6::9' must be an address in the subnet fd00:5::/64"},
      {"x",
       dual("fd00:5::/64",
            [&](auto it) {
              reserve(it, {{"a", "fd00:5::1"}});
            }),
       "--aux-address 'a=fd00:5::1' is the gateway's address"},
      {"x", dual("", [](auto it) { it.setGateway6("fd00:5::1"); }),
       "'fd00:5::1' needs a --subnet that it is in"},
      {"x",
       dual("",
            [&](auto it) {
              reserve(it, {{"a", "fd00:5::9"}});
            }),
       "--aux-address needs a --subnet that it is in"},
      {"x", dual("fd00:5::/64", option("com.docker.network.driver.mtu", "1279")),
       "must be 1280 to 65485 with IPv6, not '1279'"},
      {"x", option("mtu", "1400"), "unknown --opt 'mtu'"},
      {"x", option("com.docker.network.driver.mtu", "12"), "must be 576 to 65485, not '12'"},
      {"x", option("com.docker.network.driver.mtu", "65486"), "must be 576 to 65485"},
      {"x", option("com.docker.network.driver.mtu", "many"), "must be 576 to 65485, not 'many'"},
      {"x", option("com.docker.network.driver.mtu", ""), "must be 576 to 65485, not ''"},
      {"x", option("com.docker.network.driver.mtu", "99999999999999999999"), "must be 576 to"},
      {"x", [](auto it) { it.initLabels(1)[0].setValue("\xff"); }, "--label is not valid UTF-8"},
      {"x", [](auto it) { it.initLabels(257); }, "--label can be given 256 times at most"},
      {"x", [](auto it) { it.initLabels(1)[0].setValue(std::string(70'000, 'x').c_str()); },
       "the network's description is too large"},
  };
  for (auto& one : cases) {
    INFO(one.text);
    auto error = cluster.makeError(one.name, one.fill);
    CHECK_THAT(error, Catch::Contains(one.text));
    CHECK(error.find('\n') == std::string::npos);
  }
  auto listed = cluster.control.networksRequest().send().wait(cluster.world.waitScope());
  CHECK(listed.getNetworks().size() == 5);
}

}  // namespace
}  // namespace orch::control::manager
