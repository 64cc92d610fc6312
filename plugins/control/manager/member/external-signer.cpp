#include "member/external-signer.h"

#include <capnp/compat/json.h>
#include <capnp/message.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "http/endpoint.h"
#include "member/authority.h"
#include "member/given-authority.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

using namespace trust::openssl;
using Json = capnp::json::Value;

constexpr kj::Duration SIGNED_WITHIN = 5 * kj::SECONDS;  // swarm mode's
constexpr kj::StringPtr PROTOCOL = "cfssl"_kj;
constexpr const char* SIGN_PATH = "/api/v1/cfssl/sign";
constexpr const char* CROSS_PROFILE = "CA";  // swarm mode's

struct Url {
  http::Endpoint endpoint;
  std::string path;
};

Url splitUrl(const std::string& url) {
  auto host = url.find("://");
  auto end = host == std::string::npos ? host : url.find('/', host + 3);
  auto server = url.substr(0, end);
  auto path = end == std::string::npos ? std::string("/") : url.substr(end);
  bool named = server.find(':', host == std::string::npos ? 0 : host + 3) != std::string::npos;
  if (!named && host != std::string::npos) server += url.starts_with("https:") ? ":443" : ":80";
  return {http::Endpoint::parse(server), path == "/" ? SIGN_PATH : path};
}

bool isThisHost(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::vector<std::string> hostNames(schema::Role role) {
  std::vector<std::string> names;
  std::string all = namesOf(role);
  for (size_t at = 0; at < all.size();) {
    auto end = std::min(all.find(',', at), all.size());
    auto name = all.substr(at, end - at);
    names.push_back(name.substr(name.find(':') + 1));
    at = end + 1;
  }
  return names;
}

// An object of so many fields, which are set in order.
struct JsonFields {
  JsonFields(Json::Builder value, unsigned size) : list(value.initObject(size)) {}
  Json::Builder next(kj::StringPtr name) {
    list[used].setName(name);
    return list[used++].initValue();
  }
  capnp::List<Json::Field>::Builder list;
  unsigned used = 0;
};

std::string textOf(Json::Reader value) {
  auto text = capnp::JsonCodec().encodeRaw(value);
  return {text.begin(), text.size()};
}

kj::Maybe<Json::Reader> fieldOf(Json::Reader value, kj::StringPtr name) {
  if (!value.isObject()) return nullptr;
  for (auto field : value.getObject()) {
    if (field.getName() == name) return field.getValue();
  }
  return nullptr;
}

// Of the list of errors in an answer.
std::string complaintIn(Json::Reader answer) {
  KJ_IF_MAYBE (errors, fieldOf(answer, "errors")) {
    if (!errors->isArray()) return {};
    for (auto error : errors->getArray()) {
      KJ_IF_MAYBE (message, fieldOf(error, "message")) {
        if (message->isString()) return message->getString().cStr();
      }
    }
  }
  return {};
}

[[noreturn]] void failAbout(const std::string& url, kj::StringPtr reason) {
  if (reason.startsWith("usage: ")) reason = reason.slice(7);
  fail(kj::str("the external authority at '", url.c_str(), "': ", reason));
}

}  // namespace

SigningPlace SigningPlace::of(schema::ExternalAuthority::Reader named) {
  if (named.getProtocol() != PROTOCOL) {
    fail(kj::str("usage: the protocol of an external authority is ", PROTOCOL, ", not '",
                 named.getProtocol(), "'"));
  }
  auto url = attemptNow([&] { return splitUrl(named.getUrl().cStr()); });
  if (!url.ok()) fail(kj::str("usage: the external authority: ", url.message()));
  auto& endpoint = url.value().endpoint;
  if (!endpoint.secure && !isThisHost(endpoint.host)) {
    fail(kj::str("usage: an external authority on another host is asked by https://, not '",
                 named.getUrl(), "'"));
  }
  return SigningPlace(named.getUrl().cStr(), named.getCertificate().cStr());
}

void SigningPlace::fill(schema::ExternalAuthority::Builder to) const {
  to.setProtocol(PROTOCOL);
  to.setUrl(url.c_str());
  to.setCertificate(vouchedBy.c_str());
}

std::string signText(const std::string& request, schema::Role role, const std::string& id) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<Json>();
  JsonFields all(root, 3);
  all.next("certificate_request").setString(request.c_str());
  auto names = hostNames(role);
  auto hosts = all.next("hosts").initArray(names.size());
  for (unsigned i = 0; i < hosts.size(); ++i) hosts[i].setString(names[i].c_str());
  JsonFields subject(all.next("subject"), 2);
  subject.next("CN").setString(id.c_str());
  auto list = subject.next("names").initArray(1);
  JsonFields name(list[0], 2);
  name.next("O").setString("orch");
  name.next("OU").setString(unitOf(role));
  return textOf(root);
}

std::string crossText(const std::string& request) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<Json>();
  JsonFields all(root, 2);
  all.next("certificate_request").setString(request.c_str());
  all.next("profile").setString(CROSS_PROFILE);
  return textOf(root);
}

std::string certificateIn(kj::StringPtr answer) {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<Json>();
  auto decoded = attemptNow([&] { capnp::JsonCodec().decodeRaw(answer, root); });
  if (!decoded.ok()) fail(kj::str("it does not answer as cfssl does; is the URL right?"));
  auto complaint = complaintIn(root);
  if (!complaint.empty()) fail(kj::str("it says: ", complaint.c_str()));
  KJ_IF_MAYBE (result, fieldOf(root, "result")) {
    KJ_IF_MAYBE (certificate, fieldOf(*result, "certificate")) {
      if (certificate->isString()) return trust::firstIn(certificate->getString().cStr());
    }
  }
  fail(kj::str("it answers without a certificate; is the URL right?"));
}

void checkSignedAs(const std::string& certificate, const std::string& request,
                   const std::string& authority, schema::Role role, const std::string& id,
                   int64_t nowNs) {
  Certificate made(PEM_read_bio_X509(bufferOf(certificate).get(), nullptr, nullptr, nullptr));
  SigningRequest asked(PEM_read_bio_X509_REQ(bufferOf(request).get(), nullptr, nullptr, nullptr));
  need(made != nullptr && asked != nullptr, "PEM_read_bio");
  auto* key = X509_REQ_get0_pubkey(asked.get());
  bool same = key != nullptr && EVP_PKEY_eq(X509_get0_pubkey(made.get()), key) == 1;
  ERR_clear_error();
  if (!same) fail(kj::str("it has signed another key than was asked for"));
  auto holder = attemptNow([&] { return trust::holderOf(certificate); });
  if (!holder.ok() || holder.value().role != role || holder.value().id != id) {
    fail(
        kj::str("it has signed another name than was asked for; its profile must let the request "
                "say the subject"));
  }
  checkTaken(certificate, "", authority, nowNs);
  if (X509_check_ca(made.get()) != 0) {
    fail(kj::str("it has signed the certificate of an authority; its default profile must not"));
  }
  auto allowed = hostNames(role);
  for (auto name : {"manager.orch", "worker.orch", "admin.orch"}) {
    bool has = X509_check_host(made.get(), name, 0, 0, nullptr) == 1;
    bool wanted = std::find(allowed.begin(), allowed.end(), name) != allowed.end();
    ERR_clear_error();
    if (has == wanted) continue;
    fail(kj::str("its certificate ", has ? "is" : "is not", " for '", name,
                 "'; its profile must let the request say the hosts"));
  }
}

ExternalSigner::ExternalSigner(Env& env, std::string file) : env(env), file(std::move(file)) {}

Task<std::string> ExternalSigner::sign(SigningPlace at, std::string authority, std::string request,
                                       schema::Role role, std::string id) {
  checkRequest(request);
  auto url = at.url;
  auto path = splitUrl(url).path;
  auto made = co_await ask(kj::mv(at), kj::mv(path), signText(request, role, id));
  auto checked =
      attemptNow([&] { checkSignedAs(made, request, authority, role, id, env.nowNs()); });
  if (!checked.ok()) failAbout(url, checked.message());
  co_return made;
}

Task<std::string> ExternalSigner::cross(SigningPlace at, std::string request) {
  auto path = splitUrl(at.url).path;
  co_return co_await ask(kj::mv(at), kj::mv(path), crossText(request));
}

Task<std::string> ExternalSigner::certificateOf(SigningPlace at) {
  auto path = splitUrl(at.url).path;
  path = path.substr(0, path.rfind('/')) + "/info";
  co_return co_await ask(kj::mv(at), kj::mv(path), "{\"label\":\"\"}");
}

Task<std::string> ExternalSigner::ask(SigningPlace at, std::string path, std::string body) {
  auto pass = co_await asking.enter();
  auto url = at.url;
  auto sending = send(kj::mv(at), kj::mv(path), kj::mv(body)).promise();
  auto late = env.timer().afterDelay(SIGNED_WITHIN).then([]() -> std::string {
    fail(kj::str("it has not answered within ", SIGNED_WITHIN / kj::SECONDS, " s"));
  });
  auto answered = co_await attempt(sending.exclusiveJoin(kj::mv(late)));
  if (answered.ok()) co_return kj::mv(answered.value());
  failAbout(url, http::EndpointClient::reasonOf(answered.error()));
}

Task<void> ExternalSigner::write(std::string authorities) {
  auto alone = co_await writing.enter();
  if (authorities == written) co_return;
  auto replace = [path = file, text = authorities]() {
    replaceFile(path, kj::StringPtr(text.c_str()).asBytes(), Outlives::PROCESS);
  };
  co_await env.workers().run(kj::mv(replace));
  written = kj::mv(authorities);
}

Task<std::string> ExternalSigner::send(SigningPlace at, std::string path, std::string body) {
  http::TlsFiles files;
  if (!at.vouchedBy.empty()) {
    files.ca = file;
    co_await write(at.vouchedBy);
  }
  http::EndpointClient client(env, splitUrl(at.url).endpoint, files);
  auto answer = co_await client.ask(kj::HttpMethod::POST, path, body);
  co_return certificateIn(answer.text.c_str());
}

}  // namespace orch::control::manager
