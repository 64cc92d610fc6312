// The cluster's authority, and another one in its place.
#include <kj/debug.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "external-ca.h"
#include "orch/trust/certificate.h"
#include "output.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option CA_OPTIONS[] = {
    {"--rotate", nullptr,
     "Put another authority in its place: all nodes get new certificates, those that are away when "
     "they return, and tokens of before are refused"},
    {"--ca-cert", "FILE", "With --rotate: an authority that there is, its certificate in PEM"},
    {"--ca-key", "FILE", "With --ca-cert: its key in PEM"},
    EXTERNAL_CA_OPTION,
    {"--cert-expiry", "DURATION",
     "With --rotate: how long certificates are good from now on, 1h to 43800h"},
    {"-d,--detach", nullptr, "With --rotate: do not wait until the nodes have new certificates"},
    {"-q,--quiet", nullptr, "With --rotate: do not show how far they are"},
};

using Answer = capnp::Response<schema::ClusterControl::AuthorityResults>;

Task<Answer> ask(Context& context, uint64_t after) {
  constexpr uint32_t POLL_MS = 30'000;  // the server answers at once if something is new
  co_return co_await context.connection.change<schema::ClusterControl::AuthorityResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.authorityRequest();
        request.setAfter(after);
        request.setTimeoutMs(after == 0 ? 0 : POLL_MS);
        return request.send();
      },
      "'orch ca --rotate' goes on by itself; see 'orch ca'");
}

kj::String names(capnp::List<capnp::Text>::Reader list) {
  return kj::strArray(
      KJ_MAP(name, list) { return kj::str("'", name, "'"); }, ", ");
}

kj::String rotationLine(schema::Rotation::Reader rotation) {
  auto line = kj::str("rotation progress: ", rotation.getRenewed(), " out of ", rotation.getNodes(),
                      rotation.getNodes() == 1 ? " node has" : " nodes have",
                      " a certificate of the new authority");
  auto waiting = rotation.getWaiting();
  bool few = waiting.size() > 0 && waiting.size() <= 5;
  return few ? kj::str(line, "; waiting for ", names(waiting)) : kj::mv(line);
}

// Until those that are there have renewed. The answer then.
Task<Answer> waitForNodes(Context& context) {
  context.waitsFor = kj::str("the rotation goes on by itself; nodes that are away follow");
  bool quiet = context.args.on("--quiet");
  kj::String last;
  for (uint64_t after = 0;;) {
    auto answer = co_await ask(context, after);
    after = answer.getRevision();
    auto line = rotationLine(answer.getRotation());
    if (!quiet && line != last) {
      bool again = context.out.terminal() && last.size() > 0;
      context.out.toErrors(kj::str(again ? "\x1b[A\x1b[2K" : "", line, "\n"));
      last = kj::mv(line);
    }
    if (answer.getRotation().getWaiting().size() > 0) continue;
    context.waitsFor = kj::String();
    co_return kj::mv(answer);
  }
}

Task<void> rotate(Context& context) {
  auto& args = context.args;
  bool expires = args.given("--cert-expiry");
  auto expiryMs = expires ? parseExpiryMs("--cert-expiry", args.text("--cert-expiry")) : 0;
  std::string certificate, key;
  auto external = externalCaOf(args);
  if (args.given("--ca-cert")) certificate = readPem("certificate", args.text("--ca-cert"));
  if (args.given("--ca-key")) key = readPem("key", args.text("--ca-key"));
  KJ_IF_MAYBE (ca, external) {
    if (ca->certificate.empty()) ca->certificate = kj::mv(certificate);
    certificate.clear();
  }
  auto requestId = context.env.newId();
  co_await context.connection.change<schema::ClusterControl::RotateAuthorityResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.rotateAuthorityRequest();
        request.setRequestId(requestId);
        request.setCertificate(certificate.c_str());
        request.setKey(key.c_str());
        request.setCertificateMs(expiryMs);
        KJ_IF_MAYBE (ca, external) ca->fill(request.initExternalAuthority());
        return request.send();
      },
      "whether another authority is in its place is unknown: look with 'orch ca', then ask again");
}

void checkFlags(const Arguments& args) {
  for (auto flag : {"--cert-expiry", "--ca-cert", "--ca-key", "--external-ca"}) {
    if (args.given(flag) && !args.on("--rotate")) {
      fail(kj::str("usage: ", flag, " is for 'orch ca --rotate'"));
    }
  }
  for (auto flag : {"--detach", "--quiet"}) {
    if (args.on(flag) && !args.on("--rotate")) {
      fail(kj::str("usage: ", flag, " is for 'orch ca --rotate'"));
    }
  }
  bool external = args.given("--external-ca");
  if (external && args.given("--ca-key")) {
    fail(kj::str("usage: --ca-key has no place beside --external-ca: others have the key"));
  }
  if (!external && args.given("--ca-cert") != args.given("--ca-key")) {
    fail(
        kj::str("usage: --ca-cert and --ca-key go together: nodes get certificates of the "
                "authority, which takes its key"));
  }
}

void warnOfEnd(Context& context, const std::string& certificate) {
  constexpr int64_t DAY_NS = 24ll * 3'600 * 1'000'000'000, WARNED_NS = 90 * DAY_NS;
  if (trust::certificatesIn(certificate).empty()) return;
  auto endNs = trust::endNsOf(certificate), nowNs = context.env.nowNs();
  if (endNs - nowNs > WARNED_NS) return;
  context.out.toErrors(
      kj::str("The authority ", endNs <= nowNs ? "has ended" : "ends", " at ",
              trust::timeText(endNs).c_str(),
              ", and with it all certificates: 'orch ca --rotate' puts another one "
              "in its place.\n"));
}

Task<int> ca(Context& context) {
  checkFlags(context.args);
  bool rotates = context.args.on("--rotate");
  if (rotates) co_await rotate(context);
  if (rotates && context.args.on("--detach")) co_return 0;
  auto asked = rotates ? waitForNodes(context) : ask(context, 0);
  auto answer = co_await kj::mv(asked);
  schema::ClusterControl::AuthorityResults::Reader found = answer;
  if (context.out.wroteJson(capnp::toDynamic(found))) co_return 0;
  warnOfEnd(context, found.getCertificate().cStr());
  auto away = found.getRotation().getAway();
  if (away.size() > 0) {
    context.out.toErrors(
        kj::str(names(away),
                away.size() == 1 ? " is away and follows when it returns"
                                 : " are away and follow when they return",
                "; until then the authority of before is trusted, too. 'orch node rm' of whoever "
                "does not return ends that.\n"));
  }
  context.out.write(found.getCertificate());
  co_return 0;
}

}  // namespace

const Command CA = {
    "ca",  "",  "Show the certificate of the cluster's authority, or replace it", CA_OPTIONS, ca,
    false, true};

}  // namespace orch::cli
