#include "orch/trust/node-credentials.h"

#include <capnp/serialize.h>
#include <kj/debug.h>

#include <cstring>

#include "orch/fail.h"
#include "orch/trust/lock-box.h"

namespace orch::trust {

std::string textOf(kj::ArrayPtr<const kj::byte> bytes) {
  auto chars = bytes.asChars();
  return std::string(chars.begin(), chars.size());
}

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

namespace {

std::string flat(capnp::MessageBuilder& message) {
  auto words = capnp::messageToFlatArray(message);
  auto bytes = words.asBytes().asChars();
  return std::string(bytes.begin(), bytes.size());
}

// What is secret of it, with the key of the node's lock.
std::string seal(const Credentials& credentials, const std::string& lockKey) {
  if (!credentials.sealed.empty()) return credentials.sealed;
  capnp::MallocMessageBuilder message;
  auto secrets = message.initRoot<schema::NodeSecrets>();
  secrets.setKey(credentials.key.c_str());
  secrets.setDataKey(bytesOf(credentials.dataKey));
  return lockUp(lockKey, flat(message));
}

std::vector<std::string> texts(capnp::List<capnp::Text>::Reader list) {
  std::vector<std::string> result;
  for (auto text : list) result.emplace_back(text.cStr());
  return result;
}

}  // namespace

kj::Array<kj::byte> encode(const Credentials& credentials, const std::string& lockKey) {
  capnp::MallocMessageBuilder message;
  auto record = message.initRoot<schema::NodeCredentials>();
  if (credentials.lock.empty()) {
    record.setKey(credentials.key.c_str());
  } else {
    record.setLock(credentials.lock.c_str());
    record.setSealed(bytesOf(seal(credentials, lockKey)));
  }
  record.setCertificate(credentials.certificate.c_str());
  record.setAuthority(credentials.trusted.authorities.c_str());
  record.setFormer(credentials.trusted.former.c_str());
  record.setCrossed(credentials.trusted.crossed.c_str());
  record.setAddress(credentials.address.c_str());
  record.setOwn(credentials.own);
  auto managers = record.initManagers(credentials.managers.size());
  for (uint32_t i = 0; i < managers.size(); ++i) managers.set(i, credentials.managers[i].c_str());
  auto words = capnp::messageToFlatArray(message);
  auto bytes = words.asBytes();
  return kj::heapArray<kj::byte>(bytes.begin(), bytes.size());
}

Credentials decode(kj::ArrayPtr<const kj::byte> bytes) {
  auto words = kj::arrayPtr(reinterpret_cast<const capnp::word*>(bytes.begin()),
                            bytes.size() / sizeof(capnp::word));
  capnp::FlatArrayMessageReader message(words);
  auto record = message.getRoot<schema::NodeCredentials>();
  Trusted trusted{record.getAuthority().cStr(), record.getFormer().cStr(),
                  record.getCrossed().cStr()};
  return {record.getKey().cStr(),
          record.getCertificate().cStr(),
          kj::mv(trusted),
          texts(record.getManagers()),
          record.getAddress().cStr(),
          record.getOwn(),
          record.getLock().cStr(),
          "",
          textOf(record.getSealed())};
}

void openSecrets(Credentials& credentials, const std::string& lockKey) {
  if (nameOfKey(lockKey) != credentials.lock) {
    fail(
        kj::str("this is not the key that this node was locked with, nothing has changed; 'orch "
                "unlock-key' on a manager that is not locked prints the cluster's, but if that was "
                "replaced while this node was off, the one of before the last 'orch unlock-key "
                "--rotate' is wanted"));
  }
  auto opened = openUp(lockKey, credentials.sealed);
  if (opened == nullptr) {
    fail(
        kj::str("the key is right, but what this node keeps is damaged; 'orch leave --force', then "
                "'orch join' with a token"));
  }
  auto& plain = KJ_ASSERT_NONNULL(opened);
  auto words = kj::heapArray<capnp::word>(plain.size() / sizeof(capnp::word));
  memcpy(words.begin(), plain.data(), words.asBytes().size());
  capnp::FlatArrayMessageReader message(words);
  auto secrets = message.getRoot<schema::NodeSecrets>();
  credentials.key = secrets.getKey().cStr();
  credentials.dataKey = textOf(secrets.getDataKey());
  credentials.sealed.clear();
}

}  // namespace orch::trust
