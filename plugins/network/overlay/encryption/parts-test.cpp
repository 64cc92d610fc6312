// Keys, the address that is made of one, and the texts of wireguard-go. No kernel.
#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <fstream>

#include "encryption/uapi.h"
#include "lib/host-address.h"
#include "orch/testing/test-host.h"

namespace orch::network::overlay {
namespace {

Key keyFull(uint8_t byte) {
  Key key;
  key.fill(byte);
  return key;
}

TEST_CASE("encryption: a key is said and read in base64, and nothing else is one", "[network]") {
  auto key = newPrivateKey();
  CHECK(parseKey(keyText(key)) == key);
  CHECK(keyText(keyFull(0)) == "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
  CHECK(keyOfHex(hexOf(key)) == key);
  for (auto text : {"", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!="}) {
    CHECK_FALSE(parseKey(text));
  }
  CHECK_FALSE(keyOfHex("00"));
  CHECK_FALSE(keyOfHex(std::string(64, 'g')));
}

TEST_CASE("encryption: a public key is that of wg(8)", "[network]") {
  auto key = parseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHl8=");
  REQUIRE(key);
  CHECK(keyText(publicKeyOf(*key)) == "j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8=");
}

TEST_CASE("encryption: an address in the tunnel is made of the key alone", "[network]") {
  auto one = tunnelAddressOf(keyFull(1)), two = tunnelAddressOf(keyFull(2));
  CHECK(one != two);
  CHECK(one == tunnelAddressOf(keyFull(1)));
  // The beginning of SHA-256 of 32 bytes of 1: 72cd6e8422c407fb6d09…
  CHECK(hostText(one) == "fd6f:7263:6865:72cd:6e84:22c4:7fb:6d09");
}

TEST_CASE("encryption: a host's address is of either family", "[network]") {
  HostAddress none, four(*parseIpv4("192.168.50.10"));
  CHECK_FALSE(none.isKnown());
  CHECK_FALSE(HostAddress(Ipv4(0)).isKnown());
  CHECK(four.isIpv4());
  CHECK(four.ipv4() == *parseIpv4("192.168.50.10"));
  CHECK(hostText(four) == "192.168.50.10");
  CHECK_FALSE(tunnelAddressOf(keyFull(1)).isIpv4());
}

TEST_CASE("encryption: a private key is kept, for its owner alone", "[network]") {
  testing::TestFolder folder("overlay-key");
  std::string path = folder.sub("data/wireguard.key").cStr();
  auto key = keptKey(path);
  CHECK(keptKey(path) == key);
  struct stat status;
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  std::ofstream(path) << "damaged\n";
  auto other = keptKey(path);
  CHECK(other != key);
  CHECK(keptKey(path) == other);
}

TEST_CASE("encryption: only what is different is told", "[network]") {
  WireguardPeer peer{*parseIpv4("192.168.50.11"), 51820, tunnelAddressOf(keyFull(1))};
  WireguardFacts there{keyFull(9), 51820, {{keyFull(1), peer}, {keyFull(2), peer}}};
  CHECK(changeTo(there, there).empty());
  auto wanted = there;
  wanted.port = 1;
  wanted.peers.erase(keyFull(1));
  wanted.peers[keyFull(2)].host += 1;
  wanted.peers[keyFull(3)] = peer;
  auto change = changeTo(wanted, there);
  CHECK_FALSE(change.privateKey);
  CHECK(change.port == 1);
  CHECK(change.gone == std::vector<Key>{keyFull(1)});
  CHECK(change.peers.size() == 2);
}

TEST_CASE("encryption: wireguard-go is told of peers, and says what it has", "[network]") {
  auto inside = tunnelAddressOf(keyFull(1));
  WireguardChange change;
  change.port = 51820;
  change.gone.push_back(keyFull(2));
  change.peers[keyFull(1)] = {*parseIpv4("192.168.50.11"), 51820, inside};
  CHECK(uapiSet(change) == "set=1\nlisten_port=51820\npublic_key=" + hexOf(keyFull(2)) +
                               "\nremove=true\npublic_key=" + hexOf(keyFull(1)) +
                               "\nendpoint=192.168.50.11:51820\nreplace_allowed_ips=true\n"
                               "allowed_ip=fd6f:7263:6865:72cd:6e84:22c4:7fb:6d09/128\n\n");
  auto facts = parseUapi("private_key=" + hexOf(keyFull(9)) +
                         "\nlisten_port=51820\npublic_key=" + hexOf(keyFull(1)) +
                         "\nendpoint=192.168.50.11:51820\nlast_handshake_time_sec=0\n"
                         "allowed_ip=fd6f:7263:6865:72cd:6e84:22c4:7fb:6d09/128\n"
                         "protocol_version=1\nerrno=0\n\n");
  CHECK(facts.privateKey == keyFull(9));
  CHECK(facts.port == 51820);
  CHECK(facts.peers == change.peers);
  CHECK_THROWS(parseUapi("listen_port=51820\n"));
  CHECK_THROWS(parseUapi("errno=-22\n\n"));
  CHECK(uapiError("errno=-22\n\n") == -22);
}

}  // namespace
}  // namespace orch::network::overlay
