// The cluster's authority.
#include <catch2/catch.hpp>

#include <fstream>

#include "orch/testing/test-authority.h"
#include "orch/trust/certificate.h"
#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: ca shows the authority, and waits until the nodes have another one", "[cli]") {
  RecordingServer server;
  auto shown = server.run({"ca"});
  CHECK(shown.status == 0);
  CHECK(shown.out == "old\n");
  auto rotated = server.run({"ca", "--rotate"});
  CHECK(rotated.status == 0);
  CHECK(rotated.out == "new 0\n");
  CHECK(rotated.errors ==
        "rotation progress: 1 out of 3 nodes have a certificate of the new authority; waiting for "
        "'n2'\n"
        "rotation progress: 2 out of 3 nodes have a certificate of the new authority\n"
        "'n3' is away and follows when it returns; until then the authority of before is trusted, "
        "too. 'orch node rm' of whoever does not return ends that.\n");
}

TEST_CASE("cli: ca --rotate without waiting, without a word, and with an authority of one's own",
          "[cli]") {
  RecordingServer server;
  auto detached = server.run({"ca", "--rotate", "-d"});
  CHECK(detached.status == 0);
  CHECK(detached.out + detached.errors == "");
  auto quiet = server.run({"ca", "--rotate", "-q"});
  CHECK(quiet.out == "new 0\n");
  CHECK(!has(quiet.errors, "progress"));
  for (auto name : {"ca.pem", "ca.key"}) std::ofstream(server.tryPath(name)) << name;
  auto own = server.run({"ca", "--rotate", "--ca-cert", server.tryPath("ca.pem"), "--ca-key",
                         server.tryPath("ca.key")});
  CHECK(own.out == "new 12\n");
  auto spec = kj::str("protocol=cfssl,url=https://ca:8888,cacert=", server.tryPath("ca.pem"));
  auto external = server.run({"ca", "--rotate", "--external-ca", spec.cStr()});
  CHECK(external.out == "new cfssl https://ca:8888 ca.pem\n");
  auto apart = server.run({"ca", "--rotate", "--ca-cert", server.tryPath("ca.pem"), "--external-ca",
                           "protocol=cfssl,url=https://ca:8888"});
  CHECK(apart.out == external.out);
}

TEST_CASE("cli: cluster update --external-ca keeps the authority, which signs elsewhere", "[cli]") {
  RecordingServer server;
  std::ofstream(server.tryPath("ca.pem")) << "ca.pem";
  auto spec = kj::str("protocol=cfssl,url=https://ca:8889,cacert=", server.tryPath("ca.pem"));
  auto moved = server.run({"cluster", "update", "--external-ca", spec.cStr()});
  CHECK(moved.status == 0);
  CHECK(moved.out + moved.errors == "default\n");
  CHECK(server.run({"ca"}).out == "still old\ncfssl https://ca:8889 ca.pem\n");
  auto wrong = server.run({"cluster", "update", "--external-ca", "protocol=acme,url=x"});
  CHECK(wrong.status == 2);
  CHECK(has(wrong.errors, "for --external-ca: expected protocol=cfssl,url="));
  auto nothing = server.run({"cluster", "update"});
  CHECK(nothing.status == 2);
  CHECK(has(nothing.errors, "say what to change: --autolock, --cert-expiry, --external-ca, "));
}

TEST_CASE("cli: ca warns of an authority that comes to its end", "[cli]") {
  RecordingServer server;
  testing::TestFolder folder("cli-ca-end");
  testing::TestAuthority authority(folder, "soon");
  std::ofstream(server.tryPath("ca.pem")) << authority.certificate();
  std::ofstream(server.tryPath("ca.key")) << "key";
  auto shown = server.run({"ca"});
  CHECK(!has(shown.errors, "ends at"));
  auto ran = server.run({"ca", "--rotate", "-q", "--ca-cert", server.tryPath("ca.pem"), "--ca-key",
                         server.tryPath("ca.key")});
  CHECK(ran.out == authority.certificate());
  CHECK(has(ran.errors, "The authority ends at " +
                            trust::timeText(trust::endNsOf(authority.certificate())) +
                            ", and with it all certificates: 'orch ca --rotate' puts"));
}

TEST_CASE("cli: ca says what goes together", "[cli]") {
  RecordingServer server;
  auto check = [&](Words words, const std::string& errors) {
    auto ran = server.run(words);
    CHECK(ran.status == 2);
    CHECK(has(ran.errors, errors));
  };
  check({"ca", "-d"}, "--detach is for 'orch ca --rotate'");
  check({"ca", "--cert-expiry", "10h"}, "--cert-expiry is for 'orch ca --rotate'");
  check({"ca", "--rotate", "--ca-cert", "x"}, "--ca-cert and --ca-key go together");
  check({"ca", "--external-ca", "protocol=cfssl,url=x"}, "--external-ca is for 'orch ca --rotate'");
  check({"ca", "--rotate", "--ca-key", "x", "--external-ca", "protocol=cfssl,url=x"},
        "--ca-key has no place beside --external-ca");
  for (auto spec : {"x", "", "url=x", "protocol=acme,url=x", "protocol=cfssl",
                    "protocol=cfssl,url=", "protocol=cfssl,url=x,key=y", ",protocol=cfssl"}) {
    check({"ca", "--rotate", "--external-ca", spec},
          "for --external-ca: expected protocol=cfssl,url=");
  }
  auto missing =
      server.run({"ca", "--rotate", "--ca-cert", "/nowhere/x", "--ca-key", "/nowhere/y"});
  CHECK(missing.status == 1);
  CHECK(missing.errors ==
        "orch: cannot read the certificate '/nowhere/x': No such file or directory\n");
}

TEST_CASE("cli: the unlock key is shown with what it is for, or alone", "[cli]") {
  RecordingServer server;
  auto none = server.run({"unlock-key"});
  CHECK(none.status == 1);
  CHECK(none.errors ==
        "orch: managers are not locked when they start again; 'orch cluster update "
        "--autolock=true' locks them\n");
  const std::string told =
      "\nA manager that starts again waits for 'orch unlock' with this key:\n\n    "
      "ORCHKEY-1-abc\n\nKeep it in a safe place: without it, no manager can be started again.\n";
  CHECK(server.run({"cluster", "update", "--autolock=true"}).out == "default\n" + told);
  auto json = server.run({"cluster", "update", "--autolock=true", "--json"}).out;
  CHECK(has(json, "\"unlockKey\": \"ORCHKEY-1-abc\""));
  CHECK(has(json, "\"cluster\""));
  CHECK(server.run({"unlock-key"}).out == told);
  CHECK(server.run({"unlock-key", "-q"}).out == "ORCHKEY-1-abc\n");
  CHECK(server.run({"unlock-key", "--rotate"}).out ==
        "There is another unlock key from now on.\n" + told);
  CHECK(server.run({"cluster", "update", "--autolock=false"}).out == "default\n");
  CHECK(server.run({"unlock-key", "-q"}).status == 1);
}

TEST_CASE("cli: unlock asks nobody with what is no key", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"unlock"});
  CHECK(ran.status == 2);
  CHECK(has(ran.errors, "orch: this is no unlock key: expected ORCHKEY-1-<64 digits>, whole"));
  CHECK(server.calls.empty());
}

}  // namespace
}  // namespace orch::cli
